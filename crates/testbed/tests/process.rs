//! Processes: their end in every way, their logs and figures, and the directories that go with them.

use std::path::Path;
use std::time::Duration;

use testbed::{Process, ProcessSpec, Workdir, eventually};

/// A moment on an idle machine. Only what never happens takes this long.
const SOON: Duration = Duration::from_mins(2);

fn shell(dir: &Workdir, script: &str) -> ProcessSpec {
    ProcessSpec::new("shell", "/bin/sh", ["-c", script], dir.path().join("shell.log"))
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn logged(process: &Process, text: &str) -> anyhow::Result<()> {
    eventually(text, SOON, async || Ok(process.log().contains(text).then_some(()))).await
}

#[tokio::test]
async fn the_end_is_seen_with_its_code_and_log() {
    let dir = Workdir::new("process").unwrap();
    let mut process = Process::spawn(shell(&dir, "echo out; echo err >&2; exit 7")).unwrap();
    assert_eq!(process.wait().await.code(), Some(7));
    assert!(process.log().contains("out\n") && process.log().contains("err\n"));
    assert!(process.memory().is_err());
}

#[tokio::test]
async fn a_polite_process_ends_by_sigterm_and_a_deaf_one_by_force() {
    let dir = Workdir::new("process").unwrap();
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut polite = Process::spawn(shell(&dir, script)).unwrap();
    logged(&polite, "up").await.unwrap();
    assert_eq!(polite.terminate(SOON).await.unwrap().code(), Some(3));

    let mut deaf = Process::spawn(shell(&dir, "trap '' TERM; echo deaf; while :; do sleep 1; done")).unwrap();
    logged(&deaf, "deaf").await.unwrap();
    let error = deaf.terminate(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().contains("ignored SIGTERM"), "{error}");
    assert!(!exists(deaf.pid()));
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
async fn eventually_says_what_it_waited_for() {
    let error =
        eventually::<()>("the moon", Duration::from_millis(60), async || Err(anyhow::anyhow!("clouds")));
    let error = format!("{:#}", error.await.unwrap_err());
    assert!(error.contains("the moon") && error.contains("clouds"), "{error}");
}
