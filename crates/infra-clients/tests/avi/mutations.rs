//! Tests of the cases: if one rule of the controller is broken, the case about it fails.

use anyhow::{Context, Result, ensure};
use avi_simulator::{Rule, Rules};
use tokio::time::error::Elapsed;

use crate::cases::CASES;

/// The rule of each case.
const ABOUT: &[(Rule, &str)] = &[
    (Rule::Csrf, "strangers_write_nothing"),
    (Rule::SessionExpiry, "expired_session"),
    (Rule::UniqueNames, "unique_names"),
    (Rule::ReferentialIntegrity, "delete"),
    (Rule::OptimisticLock, "stale"),
    (Rule::Paging, "thousand"),
    (Rule::TenantScope, "switch"),
    (Rule::NameFilter, "by_name"),
    (Rule::PatchAdd, "patch"),
    (Rule::PatchDelete, "patch"),
    (Rule::VersionShape, "versions"),
    (Rule::Slug, "slug"),
    (Rule::PasswordCheck, "wrong_password"),
    (Rule::PutReplaces, "put_replaces"),
    (Rule::Permissions, "roles_limit"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_is_noticed() -> Result<()> {
    for &rule in Rule::ALL {
        let (_, name) =
            ABOUT.iter().find(|(about, _)| *about == rule).with_context(|| format!("{rule:?}"))?;
        let case = CASES.iter().find(|case| case.name == *name).with_context(|| format!("no case {name}"))?;
        let noticed = case.run(Rules::default().without(rule)).await;
        let error =
            noticed.err().with_context(|| format!("{name} does not notice that {rule:?} is broken"))?;
        ensure!(!error.is::<Elapsed>(), "{name} hangs when {rule:?} is broken");
        println!("{rule:?}: {name}: {error:#}");
    }
    Ok(())
}
