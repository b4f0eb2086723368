//! The simulator, proved by a client that is not ours: `avisdk/*.py` drives it through Python's avisdk.
//!
//! Needs a Python with avisdk in it, named by `AVISDK_PYTHON`: `cargo xtask test avisdk` makes one. The suite must
//! pass, and must fail as soon as one rule of the simulator is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's way of failing")]

use std::env;
use std::fmt::Write as _;
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
const PATIENCE: Duration = Duration::from_mins(4);
/// Suites at a time, when each rule is broken in turn.
const AT_ONCE: usize = 2;
/// Lines of a suite's output that are shown of a failure.
const SHOWN: usize = 60;

/// Rules that this suite cannot notice, and why. Another suite must.
const UNNOTICED: &[(Rule, &str)] = &[];

/// How one run went.
struct Run {
    output: Output,
    time: Duration,
}

impl Run {
    /// The names of the tests that failed or broke.
    fn failures(&self) -> Vec<String> {
        let report = String::from_utf8_lossy(&self.output.stderr);
        let failed = |line: &str| {
            line.strip_prefix("FAIL: ").or_else(|| line.strip_prefix("ERROR: ")).map(str::to_owned)
        };
        report.lines().filter_map(failed).collect()
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
        let slots = Arc::clone(&slots);
        runs.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            (rule, suite(Rules::default().without(rule), &["--failfast"]).await)
        });
    }
    let mut report = String::new();
    let mut faults = String::new();
    let mut noticed = 0;
    while let Some(ended) = runs.join_next().await {
        let (rule, run) = ended.unwrap();
        let excuse = UNNOTICED.iter().find(|(unnoticed, _)| *unnoticed == rule).map(|(_, why)| *why);
        let failures = run.failures();
        writeln!(report, "{rule:?}: {} in {:.1} s", failures.join(", "), run.time.as_secs_f64()).unwrap();
        match (failures.is_empty(), run.output.status.success(), excuse) {
            (false, false, None) => noticed += 1,
            (true, true, Some(_)) => {}
            (true, true, None) => writeln!(faults, "{rule:?} is broken, and the suite passes").unwrap(),
            (false, false, Some(why)) => writeln!(faults, "{rule:?} is noticed after all; {why:?}?").unwrap(),
            _ => writeln!(faults, "{rule:?}: the suite did not run:\n{}", run.tail()).unwrap(),
        }
    }
    print!("{report}");
    assert!(faults.is_empty(), "{faults}\n{report}");
    assert!(noticed >= 10, "{noticed} rules are noticed");
}
