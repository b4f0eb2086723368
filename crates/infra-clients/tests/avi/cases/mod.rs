//! What a client requires of a controller, case by case: the same as in the Python suite. Each case has a simulator
//! of its own; if a rule of the controller is broken one of them must fail.

mod accounts;
mod kinds;
mod lists;
mod objects;
mod sessions;
mod tenants;

use anyhow::{Result, ensure};
use avi_simulator::Rules;
use futures::future::BoxFuture;

use crate::rig::{Rig, SOON};

/// A case: its name and its function; an error is a failure.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    run: fn(&Rig) -> BoxFuture<'_, Result<()>>,
}

impl Case {
    /// Runs it against a simulator with these rules; a case that hangs fails.
    pub(crate) async fn run(&self, rules: Rules) -> Result<()> {
        let rig = Rig::with(avi_simulator::Config { rules, ..Default::default() }, |_| {}).await?;
        tokio::time::timeout(SOON, (self.run)(&rig)).await??;
        Ok(())
    }
}

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        &[$(Case { name: stringify!($name), run: |rig| Box::pin($module::$name(rig)) },)*]
    };
}

pub(crate) const CASES: &[Case] = cases![
    sessions::by_password,
    sessions::by_token,
    sessions::wrong_password,
    sessions::expired_session,
    sessions::logout,
    sessions::strangers_write_nothing,
    sessions::upgrade,
    accounts::user_logs_in,
    accounts::own_password,
    accounts::service_users,
    accounts::roles_limit,
    accounts::changes_of_access,
    kinds::infrastructure,
    kinds::tenants_roles_and_users,
    kinds::services,
    objects::unknown_fields,
    objects::ranges_keep_their_type,
    objects::put_replaces,
    objects::stale,
    objects::patch,
    objects::delete,
    objects::slug,
    objects::unique_names,
    objects::versions,
    objects::refs,
    lists::thousand,
    lists::by_name,
    lists::odd_names,
    lists::filters,
    tenants::switch,
    tenants::across,
    tenants::unknown,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_case() {
    let mut failed = Vec::new();
    for case in CASES {
        if let Err(error) = case.run(Rules::default()).await {
            failed.push(format!("{}: {error:?}", case.name));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), CASES.len(), failed.join("\n"));
}

/// Checks that two values are equal.
#[expect(clippy::needless_pass_by_value, reason = "reads as it is meant: same(is, should)")]
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(is: T, should: T) -> Result<()> {
    ensure!(is == should, "{is:?} instead of {should:?}");
    Ok(())
}
