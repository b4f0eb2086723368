//! Tests of processes: exit, logs, figures, and directories to remove.

use std::path::Path;
use std::time::Duration;

use testbed::{Process, ProcessSpec, Workdir, eventually};

/// The time limit of a wait, far above the milliseconds that it takes on an idle machine.
const SOON: Duration = Duration::from_mins(2);

fn shell(dir: &Workdir, script: &str) -> ProcessSpec {
    ProcessSpec::new("shell", "/bin/sh", ["-c", script], dir.path().join("shell.log"))
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until the log contains a text.
async fn await_log(process: &Process, text: &str) -> anyhow::Result<()> {
    eventually(text, SOON, async || Ok(process.log().contains(text).then_some(()))).await
}

#[tokio::test]
async fn exit_code_and_log_are_available_after_the_end() {
    let dir = Workdir::new("process").unwrap();
    let mut process = Process::spawn(shell(&dir, "echo out; echo err >&2; exit 7")).unwrap();
    assert_eq!(process.wait().await.code(), Some(7));
    assert!(process.log().contains("out\n") && process.log().contains("err\n"));
    assert!(process.memory().is_err());
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed() {
    let dir = Workdir::new("process").unwrap();
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut polite = Process::spawn(shell(&dir, script)).unwrap();
    await_log(&polite, "up").await.unwrap();
    assert_eq!(polite.terminate(SOON).await.unwrap().code(), Some(3));

    let mut stubborn =
        Process::spawn(shell(&dir, "trap '' TERM; echo stubborn; while :; do sleep 1; done")).unwrap();
    await_log(&stubborn, "stubborn").await.unwrap();
    let error = stubborn.terminate(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().contains("ignored SIGTERM"), "{error}");
    assert!(!exists(stubborn.pid()));
}

#[tokio::test]
async fn kill_and_drop_leave_neither_process_nor_directory() {
    let dir = Workdir::new("process").unwrap();
    let data = dir.path().join("data");
    for dropped in [false, true] {
        std::fs::create_dir_all(&data).unwrap();
        let mut spec = shell(&dir, "sleep 1000 & wait");
        spec.remove.push(data.clone());
        let mut process = Process::spawn(spec).unwrap();
        let pid = process.pid();
        assert!(exists(pid) && process.memory().unwrap().rss > 0);
        assert!(process.cpu_time().unwrap() < SOON);
        if dropped {
            drop(process);
        } else {
            process.kill().await;
            assert_eq!(process.try_wait().unwrap().code(), Some(137));
        }
        assert!(!exists(pid));
        assert!(!data.exists());
    }
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let dir = Workdir::new("process").unwrap();
    let spec = ProcessSpec::new("nothing", "/no/such/program", ["x"], dir.path().join("log"));
    let error = Process::spawn(spec).unwrap_err().to_string();
    assert!(error.contains("/no/such/program"), "{error}");
}

#[tokio::test]
async fn the_error_of_eventually_has_the_condition_and_the_last_error() {
    let error = eventually::<()>("the server is ready", Duration::from_millis(60), async || {
        Err(anyhow::anyhow!("connection refused"))
    });
    let error = format!("{:#}", error.await.unwrap_err());
    assert!(error.contains("the server is ready") && error.contains("connection refused"), "{error}");
}
