//! Of several replicas one writes.

use anyhow::{Context, Result, ensure};

use crate::install::Plane;
use crate::operator::OperatorProcess;
use crate::rig::Rig;
use crate::site::PATIENCE;

/// Checks that leadership is handed over: a leader that was suspended for longer than its Lease ends instead of writing, and
/// one that is asked to stop hands over; the writes of the replicas never mix.
///
/// # Errors
/// If they do.
pub async fn one_leader_writes<R: Rig>() -> Result<()> {
    let rig = R::start_on(Plane::alone(&R::SUBJECT).await?).await?;
    let site = rig.site();
    let [step_one, step_two, others @ ..] = R::STEPS else {
        anyhow::bail!("a rig with fewer than two steps");
    };
    let (last, others) = others.split_last().context("a rig with fewer than three steps")?;
    // The audit log names accounts, so each replica has its own.
    let other = format!("{}-second", R::SUBJECT.name);
    site.plane().create_account(&R::SUBJECT, &other).await?;
    let other = site.control_plane().service_account_kubeconfig(R::SUBJECT.namespace, &other).await?;
    let launch = |name: &str| rig.launch().arg("--enable-leader-election").env("POD_NAME", name);
    let ready = async |mut operator: OperatorProcess| {
        operator.ready().await?;
        anyhow::Ok(operator)
    };

    let mut first = ready(site.spawn(&launch("first"))?).await?;
    rig.play(step_one).await?;
    let mut second = ready(site.spawn_with(&other, &launch("second"))?).await?;
    ensure!(!leads(&second).await?, "two replicas lead");
    first.process.suspend()?;
    rig.play(step_two).await?;
    ensure!(leads(&second).await?, "the second replica does not lead");
    first.process.resume()?;
    let status = tokio::time::timeout(PATIENCE, first.process.wait()).await?;
    ensure!(!status.success(), "the replica that lost the Lease ended with {status}");

    for step in others {
        rig.play(step).await?;
    }
    let third = ready(site.spawn(&launch("third"))?).await?;
    let status = second.process.terminate(PATIENCE).await?;
    ensure!(status.success(), "the second replica ended with {status}");
    rig.play(last).await?;
    ensure!(leads(&third).await?, "the third replica does not lead");

    let mut writers: Vec<String> = site
        .control_plane()
        .audit_events()?
        .into_iter()
        .filter(|event| event.is_write() && event.resource != "leases" && (200..300).contains(&event.code))
        .filter(|event| event.user.starts_with(&site.account()))
        .map(|event| event.user)
        .collect();
    writers.dedup();
    let expected = [site.account(), format!("{}-second", site.account()), site.account()];
    ensure!(writers == expected, "the replicas wrote in the order {writers:?}");
    Ok(())
}

/// Returns whether a replica leads.
async fn leads(operator: &OperatorProcess) -> Result<bool> {
    let (_, metrics) = operator.get("/metrics").await?;
    Ok(metrics.lines().any(|line| line == "operator_leader 1"))
}
