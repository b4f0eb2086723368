//! Where everything is as asked, another look costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testbed::{AuditEvent, eventually};

use crate::install::Plane;
use crate::operator::OperatorProcess;
use crate::rig::Rig;
use crate::site::{PATIENCE, Site};

/// A finalizer of another client.
const OTHER: &str = "example.com/other";

/// Checks that the operator writes nothing and calls nothing when it looks again at objects that are as asked.
///
/// # Errors
/// If it does.
pub async fn rest_costs_nothing<R: Rig>() -> Result<()> {
    let rig = R::start_on(Plane::of(&R::SUBJECT).await?).await?;
    let site = rig.site();
    let operator = rig.operator().await?;
    for step in R::STEPS.iter().take(2) {
        rig.play(step).await?;
    }
    let before = quiet(site, &operator).await?;
    let calls = rig.calls().await?;
    let mut marked = Vec::new();
    let mut looked = before.passes.clone();
    for kind in R::SUBJECT.kinds {
        // A finalizer of another client makes the operator look again.
        for object in site.api(kind.kind).list(&kube::api::ListParams::default()).await? {
            let name = object.name_any();
            let finalizers: Vec<_> = object.finalizers().iter().map(String::as_str).chain([OTHER]).collect();
            let add = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
            site.api(kind.kind).patch(&name, &PatchParams::default(), &add).await?;
            marked.push((kind.kind, name));
            *looked.entry(kind.kind.to_lowercase()).or_default() += 1;
        }
    }
    ensure!(!marked.is_empty(), "no object to look at");
    eventually("each controller looks again, at least once at each object", PATIENCE, async || {
        let passes = operator.passes().await?;
        for (controller, looked) in &looked {
            let passes = passes.get(controller).unwrap_or(&0);
            ensure!(passes >= looked, "{controller}: {passes} passes of {looked}");
        }
        Ok(Some(()))
    })
    .await?;
    quiet(site, &operator).await?;
    let written: Vec<_> =
        site.requests()?.split_off(before.requests).into_iter().filter(AuditEvent::is_write).collect();
    ensure!(written.is_empty(), "written at rest: {written:?}");
    let called: BTreeMap<_, _> =
        rig.calls().await?.into_iter().filter(|(method, n)| calls.get(method) != Some(n)).collect();
    ensure!(called.is_empty(), "called at rest: {called:?}");
    for (kind, name) in marked {
        let api = site.api(kind);
        let mut object = api.get(&name).await?;
        object.metadata.finalizers.iter_mut().for_each(|list| list.retain(|held| held != OTHER));
        api.replace(&name, &kube::api::PostParams::default(), &object).await?;
    }
    Ok(())
}

/// What the operator has done when it rests.
#[derive(Clone, PartialEq)]
struct Rest {
    requests: usize,
    passes: BTreeMap<String, u64>,
}

/// Waits until the operator has done nothing for a second.
async fn quiet(site: &Site, operator: &OperatorProcess) -> Result<Rest> {
    let mut last = None;
    eventually("the operator rests", PATIENCE, async || {
        let now = Rest { requests: site.requests()?.len(), passes: operator.passes().await? };
        tokio::time::sleep(Duration::from_secs(1)).await;
        let rests = last.as_ref() == Some(&now);
        last = Some(now.clone());
        Ok(rests.then_some(now))
    })
    .await
}
