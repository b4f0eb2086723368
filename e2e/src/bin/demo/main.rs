//! `cargo xtask demo [--keep]`: shows vm-operator in a terminal.
//!
//! Owns the order of the steps. Each is shown and then verified: the exit code is 0 only if all succeed. Observes the
//! operator only through `kubectl` and the vCenter's inventory.

mod keeping;
mod screen;

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{OperatorProcess, VmRig};
use testbed::{Vcsim, eventually, project_root};
use tokio::signal::unix::{SignalKind, signal};

use crate::screen::Screen;

/// The template of the samples.
const TEMPLATE: &str = "vm-operator-template";
/// The duration of a task in the vCenter, so that a person can follow the changes.
const CLONE_TIME: Duration = Duration::from_millis(1500);
const POWER_ON_DELAY: Duration = Duration::from_secs(1);
/// The time limit of a step, which usually takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of lines of the operator's log that are shown after a failure.
const LOG_TAIL: usize = 20;

/// The group of samples/vmgroup.yaml.
const GROUP: &str = "vmgroup-sample";
/// The group of samples/wrong-template.yaml.
const WRONG: &str = "vg-2";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let keep = match arguments.as_slice() {
        [] => false,
        [keep] if keep == "--keep" => true,
        _ => {
            eprintln!("usage: demo [--keep]");
            return ExitCode::FAILURE;
        }
    };
    match run(keep).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo. All servers stop when this returns or is dropped.
async fn run(keep: bool) -> Result<()> {
    let kept = tokio::select! {
        result = demo(keep) => result?,
        interrupted = interrupt() => return interrupted.and_then(|()| bail!("interrupted")),
    };
    if let Some((rig, operator)) = kept {
        keeping::tell(&rig, &operator)?;
        interrupt().await?;
        println!("\nstopping everything");
    }
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn interrupt() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Runs the steps. With `keep`, returns the running servers.
async fn demo(keep: bool) -> Result<Option<(VmRig, OperatorProcess)>> {
    // The printed commands have paths relative to the root of the checkout.
    env::set_current_dir(project_root()?)?;
    let mut screen = Screen::new();
    screen.step("A Kubernetes control plane and a simulated vCenter");
    let vcenter = Vcsim::builder()
        .templates(&[TEMPLATE])
        .clone_time(CLONE_TIME)
        .call_delay("PowerOnVM_Task", POWER_ON_DELAY);
    let rig = VmRig::builder().alone().vcenter(vcenter).start().await?;
    screen.say(&format!("etcd, kube-apiserver and kube-controller-manager at {}", rig.control_plane().url()));
    screen.say(&format!("vCenter at https://{}/sdk with the template {TEMPLATE}", rig.vcenter.host()));

    let shown = show(&rig, &mut screen, keep).await;
    if shown.is_err() {
        let log = std::fs::read_to_string(rig.log_path()).unwrap_or_default();
        let skip = log.lines().count().saturating_sub(LOG_TAIL);
        eprintln!("\nThe end of the operator's log:");
        log.lines().skip(skip).for_each(|line| eprintln!("{line}"));
    }
    Ok(shown?.map(|operator| (rig, operator)))
}

/// Runs the steps; with `keep`, only the first, after which the operator keeps running.
async fn show(rig: &VmRig, screen: &mut Screen, keep: bool) -> Result<Option<OperatorProcess>> {
    screen.step("Install vm-operator, and run it under its own ServiceAccount");
    screen.command("apply --server-side -k deploy/vm-operator/base", rig.install_output());
    let launch = rig.launch().arg("--enable-leader-election");
    let mut operator = rig.spawn(&launch)?;
    operator.ready().await?;
    screen.say(&format!(
        "there is no node to run Pods: the operator runs as process {} with the ServiceAccount's token",
        operator.process.pid()
    ));

    screen.step("A group of 3");
    screen.watch(rig).await?;
    screen.kubectl(rig, "apply -f deploy/vm-operator/samples/vmgroup.yaml").await?;
    settled(rig, screen, GROUP, 3).await?;

    screen.step("Scale to 5");
    screen.kubectl(rig, &format!("scale vg/{GROUP} --replicas 5")).await?;
    settled(rig, screen, GROUP, 5).await?;

    screen.step("A machine is powered off behind the operator's back");
    power_off_one(rig, screen).await?;

    if keep {
        return Ok(Some(operator));
    }

    screen.step("A group with a wrong template says so");
    screen.kubectl(rig, "apply -f deploy/vm-operator/samples/wrong-template.yaml").await?;
    screen.during(rig, rig.reason(WRONG, "TemplateNotFound")).await?;
    screen.kubectl(rig, &format!("get vg {WRONG}")).await?;
    let events =
        format!("get events --field-selector involvedObject.kind=VmGroup,involvedObject.name={WRONG}");
    let reported = eventually("an event reports the template", PATIENCE, async || {
        let events = screen::kubectl(rig, &events).await?;
        Ok(events.contains("TemplateNotFound").then_some(events))
    });
    let reported = screen.during(rig, reported).await?;
    screen.command(&events, &reported);

    screen.step("… and recovers");
    let patch = format!(r#"'{{"spec":{{"template":"{TEMPLATE}"}}}}'"#);
    screen.kubectl(rig, &format!("patch vg {WRONG} --type merge -p {patch}")).await?;
    settled(rig, screen, WRONG, 1).await?;
    screen.kubectl(rig, "get vg,vgi").await?;

    screen.step("Delete both: neither machines nor folders are left");
    screen.kubectl(rig, &format!("delete vg {GROUP} {WRONG}")).await?;
    screen.during(rig, nothing_left(rig)).await?;
    screen.kubectl(rig, "get vg,vgi").await?;
    screen.say(&format!("folders in the vCenter: {}", rig.vcenter.folders().await?.join(", ")));

    screen.step("Stop the operator");
    let status = operator.process.terminate(PATIENCE).await?;
    ensure!(status.success(), "the operator ended with {status}");
    let sessions = rig.vcenter.sessions().await?;
    ensure!(sessions.now == 0, "{} sessions are left at the vCenter", sessions.now);
    screen.say("it ended with status 0 and logged out of the vCenter");
    screen.step("All of it came true");
    Ok(None)
}

/// Shows the changes until the group has its machines, and verifies them in the vCenter.
async fn settled(rig: &VmRig, screen: &mut Screen, group: &str, replicas: usize) -> Result<()> {
    screen.during(rig, rig.settled_within(group, replicas, PATIENCE)).await?;
    let machines = machines(rig, group).await?;
    ensure!(
        machines.len() == replicas && machines.values().all(|on| *on),
        "{group} says that {replicas} machines are ready, but the vCenter has {machines:?}"
    );
    screen.say(&format!("verified in the vCenter: machines of {group}: {replicas}, each powered on"));
    Ok(())
}

async fn power_off_one(rig: &VmRig, screen: &mut Screen) -> Result<()> {
    let machines = machines(rig, GROUP).await?;
    let path = machines.keys().next().context("the group has no machine")?;
    let power_ons = rig.calls().await?.get("PowerOnVM_Task").copied().unwrap_or(0);
    screen.say(&format!("power off {path}"));
    rig.vcenter.power_off(path).await?;
    let seen = eventually("the operator powers it on", PATIENCE, async || {
        let calls = rig.calls().await?.get("PowerOnVM_Task").copied().unwrap_or(0);
        let on = rig.machines().await?.get(path).copied();
        Ok((calls > power_ons && on == Some(true)).then_some(()))
    });
    screen.during(rig, seen).await?;
    settled(rig, screen, GROUP, machines.len()).await
}

/// Returns the group's machines by inventory path, and whether each is powered on.
async fn machines(rig: &VmRig, group: &str) -> Result<BTreeMap<String, bool>> {
    let folder = format!("/default.{group}/");
    let mut machines = rig.machines().await?;
    machines.retain(|path, _| path.contains(&folder));
    Ok(machines)
}

async fn nothing_left(rig: &VmRig) -> Result<()> {
    rig.gone(GROUP).await?;
    rig.gone(WRONG).await?;
    eventually("nothing is left in the vCenter", PATIENCE, async || {
        let (machines, folders) = (rig.machines().await?, rig.vcenter.folders().await?);
        let left: Vec<_> =
            folders.iter().filter(|folder| folder.starts_with("/DC0/vm/vm-operator/")).collect();
        ensure!(machines.is_empty() && left.is_empty(), "there are {machines:?} and {left:?}");
        Ok(Some(()))
    })
    .await
}
