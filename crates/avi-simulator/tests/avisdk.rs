//! Tests of the simulator with a third-party client: `avisdk/*.py` uses the vendor's Python SDK, avisdk.
//!
//! Needs a Python with avisdk, whose path is in `AVISDK_PYTHON`: `cargo xtask test avisdk` creates one. The suite must pass,
//! and for each broken rule of the simulator one of its tests must fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

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

/// The time limit of a run, far above its usual time, for a client that hangs.
const TIMEOUT: Duration = Duration::from_mins(10);
/// The number of concurrent runs with a broken rule.
const CONCURRENT_RUNS: usize = 2;
/// The number of lines of output in a failure message.
const SHOWN_LINES: usize = 60;

/// For each rule the test that must fail when it is broken. Another failure, for example of a slow machine, does not count.
const DETECTED_BY: &[(Rule, &str)] = &[
    (Rule::Csrf, "Csrf.test_a_write_without_token_or_referer_is_refused"),
    (Rule::SessionExpiry, "Expiry.test_logout_ends_the_session"),
    (Rule::UniqueNames, "Writing.test_names_are_unique"),
    (Rule::ReferentialIntegrity, "Writing.test_objects_with_referrers_cannot_be_deleted"),
    (Rule::OptimisticLock, "Writing.test_a_stale_put_is_refused"),
    (Rule::Paging, "Paging.test_pages_list_each_object_once"),
    (Rule::TenantScope, "Tenants.test_objects_are_visible_in_their_tenant_only"),
    (Rule::NameFilter, "ByName.test_a_name_that_other_names_contain"),
    (Rule::PatchAdd, "Patching.test_add_appends"),
    (Rule::PatchDelete, "Patching.test_delete_removes_matching_elements"),
    (Rule::VersionShape, "Versions.test_ranges_of_networks"),
    (Rule::Slug, "Writing.test_slug_sets_the_uuid"),
    (Rule::PasswordCheck, "Login.test_a_wrong_password_is_refused_and_tried_once"),
    (Rule::PutReplaces, "Writing.test_put_replaces"),
    (Rule::Permissions, "Permissions.test_a_role_grants_its_privileges_only"),
];

/// The result of a run.
struct Run {
    output: Output,
    time: Duration,
}

impl Run {
    /// Returns whether an assertion of the test failed. An error, for example a time-out, does not count.
    fn failed(&self, test: &str) -> bool {
        let report = String::from_utf8_lossy(&self.output.stderr);
        report.lines().filter_map(|line| line.strip_prefix("FAIL: ")).any(|failure| failure.contains(test))
    }

    /// Returns the end of the output.
    fn tail(&self) -> String {
        let report = String::from_utf8_lossy(&self.output.stderr);
        let lines: Vec<&str> = report.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

/// Runs the suite against a new simulator.
async fn suite(rules: Rules, arguments: &[&str]) -> Run {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = Config { rules, control_listen: Some(loopback), ..Config::default() };
    let simulator = Simulator::start(config).await.expect("the simulator starts");
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, simulator.ca_pem()).unwrap();

    let begin = Instant::now();
    let child = Command::new(python())
        // Hides warnings about avisdk's own code.
        .args(["-W", "ignore::DeprecationWarning", "-B", "-m", "unittest", "discover", "--verbose"])
        .args(arguments)
        // Relative to the package, which is cargo's working directory: the binary may be built from another checkout.
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
    let output =
        timeout(TIMEOUT, child).await.expect("the suite ends within the time limit").expect("python runs");
    Run { output, time: begin.elapsed() }
}

fn python() -> PathBuf {
    env::var_os("AVISDK_PYTHON").map(PathBuf::from).expect("AVISDK_PYTHON is set: cargo xtask test avisdk")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by cargo xtask test avisdk"]
async fn the_suite_passes() {
    let run = suite(Rules::default(), &[]).await;
    assert!(run.output.status.success(), "{}:\n{}", run.output.status, run.tail());
    let report = run.tail();
    let count = report.lines().find(|line| line.starts_with("Ran ")).unwrap_or_default();
    println!("{count}; {:.1} s", run.time.as_secs_f64());
    assert!(!report.contains("skipped"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by cargo xtask test avisdk"]
async fn the_suite_detects_every_broken_rule() {
    let slots = Arc::new(Semaphore::new(CONCURRENT_RUNS));
    let mut runs = JoinSet::new();
    for &rule in Rule::ALL {
        let found = DETECTED_BY.iter().find(|(detected, _)| *detected == rule);
        let (_, test) = *found.unwrap_or_else(|| panic!("no test detects {rule:?}"));
        let slots = Arc::clone(&slots);
        runs.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            (rule, test, suite(Rules::default().without(rule), &["-k", test]).await)
        });
    }
    let mut undetected = Vec::new();
    while let Some(ended) = runs.join_next().await {
        let (rule, test, run) = ended.unwrap();
        println!("{rule:?}: {:.1} s", run.time.as_secs_f64());
        if run.output.status.success() || !run.failed(test) {
            undetected.push(format!("{rule:?} is broken, but {test} does not fail:\n{}", run.tail()));
        }
    }
    assert!(undetected.is_empty(), "{}", undetected.join("\n"));
}
