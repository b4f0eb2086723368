//! The simulator, proved by a client that is not ours: `avisdk/*.py` drives it through Python's avisdk.
//!
//! Needs a Python with avisdk in it, named by `AVISDK_PYTHON`: `cargo xtask test avisdk` makes one. The suite must
//! pass, and of each rule of the simulator one of its tests must notice that it is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's way of failing")]

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use avi_simulator::{ADMIN, Config, Rule, Rules, Simulator};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Far above what the suite takes: a client that hangs must not hang the tests.
const PATIENCE: Duration = Duration::from_mins(10);
/// Runs at a time, when each rule is broken in turn.
const AT_ONCE: usize = 2;
/// Lines of a suite's output that are shown of a failure.
const SHOWN: usize = 60;

/// The test that notices when a rule is broken: that one must fail, not whichever a slow machine lets fail first.
const NOTICED_BY: &[(Rule, &str)] = &[
    (Rule::Csrf, "Csrf.test_a_write_without_token_or_referer_is_refused"),
    (Rule::SessionExpiry, "Expiry.test_logout_ends_the_session"),
    (Rule::UniqueNames, "Writing.test_names_are_used_once"),
    (Rule::ReferentialIntegrity, "Writing.test_what_others_refer_to_stays"),
    (Rule::OptimisticLock, "Writing.test_a_stale_put_is_refused"),
    (Rule::Paging, "Paging.test_over_a_thousand_objects_come_once_each"),
    (Rule::TenantScope, "Tenants.test_an_object_is_seen_in_its_tenant_only"),
    (Rule::NameFilter, "ByName.test_one_among_others_that_contain_the_name"),
    (Rule::PatchAdd, "Patching.test_add_appends"),
    (Rule::PatchDelete, "Patching.test_delete_removes_what_matches"),
    (Rule::VersionShape, "Versions.test_ranges_of_networks"),
    (Rule::Slug, "Writing.test_slug_chooses_the_uuid"),
    (Rule::PasswordCheck, "Login.test_a_wrong_password_is_refused_and_tried_once"),
    (Rule::PutReplaces, "Writing.test_put_replaces"),
    (Rule::Permissions, "Permissions.test_only_what_the_role_grants"),
];

/// How one run went.
struct Run {
    output: Output,
    time: Duration,
}

impl Run {
    /// Whether an assertion of this test did not hold. A test that broke off, as by a time-out, asserted nothing.
    fn failed(&self, test: &str) -> bool {
        let report = String::from_utf8_lossy(&self.output.stderr);
        report.lines().filter_map(|line| line.strip_prefix("FAIL: ")).any(|failure| failure.contains(test))
    }

    /// The end of what it printed.
    fn tail(&self) -> String {
        let report = String::from_utf8_lossy(&self.output.stderr);
        let lines: Vec<&str> = report.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

/// Runs the suite against a simulator of its own.
async fn suite(rules: Rules, arguments: &[&str]) -> Run {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = Config { rules, control_listen: Some(loopback), ..Config::default() };
    let simulator = Simulator::start(config).await.expect("the simulator starts");
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, simulator.ca_pem()).unwrap();

    let begin = Instant::now();
    let child = Command::new(python())
        // avisdk's own warnings are not ours to mend.
        .args(["-W", "ignore::DeprecationWarning", "-B", "-m", "unittest", "discover", "--verbose"])
        .args(arguments)
        // Of the package that cargo runs the test in: the binary may be one of another checkout with this target directory.
        .current_dir("tests/avisdk")
        .env("AVI_URL", simulator.url())
        .env("AVI_CONTROL", simulator.control_url().expect("a control API"))
        .env("AVI_CA_FILE", &ca)
        .env("AVI_USERNAME", ADMIN)
        .env("AVI_PASSWORD", simulator.admin_password())
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, child).await.expect("the suite ends in time").expect("python runs");
    Run { output, time: begin.elapsed() }
}

fn python() -> PathBuf {
    env::var_os("AVISDK_PYTHON").map(PathBuf::from).expect("AVISDK_PYTHON is set: cargo xtask test avisdk")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by cargo xtask test avisdk"]
async fn avisdk_finds_what_it_needs() {
    let run = suite(Rules::default(), &[]).await;
    assert!(run.output.status.success(), "{}:\n{}", run.output.status, run.tail());
    let report = run.tail();
    let count = report.lines().find(|line| line.starts_with("Ran ")).unwrap_or_default();
    println!("{count}; {:.1} s in all", run.time.as_secs_f64());
    assert!(!report.contains("skipped"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by cargo xtask test avisdk"]
async fn avisdk_notices_every_broken_rule() {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = JoinSet::new();
    for &rule in Rule::ALL {
        let found = NOTICED_BY.iter().find(|(noticed, _)| *noticed == rule);
        let (_, test) = *found.unwrap_or_else(|| panic!("no test notices {rule:?}"));
        let slots = Arc::clone(&slots);
        runs.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            (rule, test, suite(Rules::default().without(rule), &["-k", test]).await)
        });
    }
    let mut unnoticed = Vec::new();
    while let Some(ended) = runs.join_next().await {
        let (rule, test, run) = ended.unwrap();
        println!("{rule:?}: {:.1} s", run.time.as_secs_f64());
        if run.output.status.success() || !run.failed(test) {
            unnoticed.push(format!("{rule:?} is broken, and {test} does not notice:\n{}", run.tail()));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
