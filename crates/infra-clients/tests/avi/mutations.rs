//! That the cases notice: with any one rule of the controller's broken, the case that is about it fails.

use anyhow::{Context, Result, ensure};
use avi_simulator::{Rule, Rules};
use tokio::time::error::Elapsed;

use crate::cases::CASES;

/// Which case is about which rule.
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
async fn each_rule_is_missed() -> Result<()> {
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
