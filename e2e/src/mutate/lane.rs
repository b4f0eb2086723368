//! `Lane`: a namespace with one sample object and an operator that runs, in which mutations are applied one after the other.
//!
//! Owns the oracle's waiting part: how the operator answers an object, and that it rests afterwards. Next:
//! [`suite`](super::suite), which mutations a lane gets.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::eventually;

use super::schema::Path;
use super::state::{State, Verdict};
use crate::command::seconds;
use crate::contract::docs;
use crate::install::Plane;
use crate::objects::{condition, is_answered};
use crate::operator::{OperatorProcess, panic_in};
use crate::rig::Rig;
use crate::site::PATIENCE;
use crate::snapshot::{Mask, Snapshot};

/// A finalizer of no controller: where it comes or goes, the operator looks at the object again.
const MARKER: &str = "example.com/marker";

/// A namespace with one sample and a running operator.
pub(super) struct Lane<R: Rig> {
    // Dropped first: the plane is free once the rig is dropped.
    operator: OperatorProcess,
    rig: R,
    pub(super) api: Api<DynamicObject>,
    pub(super) sample: Value,
    docs: String,
    /// What exists outside before the sample is created.
    empty: BTreeMap<String, Value>,
    /// The state with the sample.
    settled: State,
    mask: Mask,
    /// How much of the operator's log is checked.
    log_checked: Cell<usize>,
}

impl<R: Rig> Lane<R> {
    /// Starts a rig and its operator, creates the sample twice, and learns what differs between the two.
    pub(super) async fn start(plane: Arc<Plane>, sample: Value) -> Result<Self> {
        let rig = R::start_on(plane).await?;
        let operator = rig.operator_with(&rig.frugal_launch()).await?;
        let api = rig.site().api(text(&sample["kind"])?);
        let settled = State { verdict: Verdict::Settled { in_sync: true }, facts: Snapshot::default() };
        let docs = docs(&R::SUBJECT)?;
        let (empty, mask, log_checked) = (rig.outside().await?, Mask::default(), Cell::default());
        Self { operator, rig, api, sample, docs, empty, settled, mask, log_checked }.begin().await
    }

    /// Goes on with another sample, with the same rig and operator.
    pub(super) async fn with(self, sample: Value) -> Result<Self> {
        self.delete().await?;
        let api = self.rig.site().api(text(&sample["kind"])?);
        Self { api, sample, mask: Mask::default(), ..self }.begin().await
    }

    async fn begin(self) -> Result<Self> {
        let mut lane = self;
        lane.settled = lane.create_settled().await?;
        let created = seconds();
        lane.delete().await?;
        // Statuses say when something was made in seconds: the mask learns only of those that differ.
        eventually("the clock shows another second", PATIENCE, async || {
            Ok((seconds() != created).then_some(()))
        })
        .await?;
        let again = lane.create_settled().await?;
        lane.mask = Mask::between([(&lane.settled.facts, &again.facts)]);
        lane.settled = again;
        Ok(lane)
    }

    pub(super) fn rig(&self) -> &R {
        &self.rig
    }

    /// Returns the name of the sample.
    pub(super) fn name(&self) -> &str {
        self.sample["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Returns the sample as it is now.
    pub(super) async fn object(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.api.get(self.name()).await?)?)
    }

    /// Creates an object and waits for the answer.
    pub(super) async fn create(&self, object: &Value) -> Result<State> {
        let object = serde_json::from_value(self.rig.localized(object.clone()))?;
        self.api.create(&PostParams::default(), &object).await?;
        self.judge().await
    }

    async fn create_settled(&self) -> Result<State> {
        let state = self.create(&self.sample).await.context("the sample")?;
        let settled = Verdict::Settled { in_sync: true };
        ensure!(state.verdict == settled, "the sample is {:?}", state.verdict);
        Ok(state)
    }

    /// Deletes the sample and waits until nothing of it is left. Creates it again with [`restore`](Self::restore).
    pub(super) async fn delete(&self) -> Result<()> {
        self.api.delete(self.name(), &DeleteParams::default()).await?;
        self.gone().await?;
        self.nothing_is_left().await
    }

    /// Waits until the sample does not exist.
    pub(super) async fn gone(&self) -> Result<()> {
        eventually("the sample is gone", PATIENCE, async || {
            let found = self.api.get_opt(self.name()).await?;
            ensure!(
                found.is_none(),
                "its status is {:?}",
                found.map(|found| found.data["status"].to_string())
            );
            Ok(Some(()))
        })
        .await
    }

    /// Deletes the sample, where the next rig has the same plane.
    pub(super) async fn end(self) -> Result<()> {
        if R::SUBJECT.has_fixed_names { self.delete().await } else { Ok(()) }
    }

    /// Waits until the outside is as it was before the sample was created.
    pub(super) async fn nothing_is_left(&self) -> Result<()> {
        eventually("nothing is left outside of a deleted object", PATIENCE, async || {
            let outside = self.rig.outside().await?;
            ensure!(outside == self.empty, "there is {outside:?} instead of {:?}", self.empty);
            Ok(Some(()))
        })
        .await
    }

    /// Replaces the spec of the object by that of `wanted`. The outer result is of the run, the inner one of the request.
    pub(super) async fn put(&self, wanted: &Value, dry_run: bool) -> Result<kube::Result<DynamicObject>> {
        let params = PostParams { dry_run, ..PostParams::default() };
        let wanted = self.rig.localized(wanted.clone());
        loop {
            let mut object = self.object().await?;
            Path::field("spec").set(&mut object, wanted.get("spec"));
            match self.api.replace(self.name(), &params, &serde_json::from_value(object)?).await {
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                answer => return Ok(answer),
            }
        }
    }

    /// Reverts the object to the sample and checks that everything is as before.
    pub(super) async fn revert(&self) -> Result<()> {
        self.put(&self.sample, false).await?.context("the sample is refused as an update")?;
        let state = self.judge().await.context("after the revert")?;
        self.is_as_before(&state)
    }

    /// Brings the sample back: as an update, and as a new object where that is refused or something of an earlier spec remains.
    pub(super) async fn restore(&self) -> Result<()> {
        if self.put(&self.sample, false).await?.is_ok() {
            let state = self.judge().await.context("with the sample's spec instead of the mutated one")?;
            if state.verdict != (Verdict::Settled { in_sync: false }) {
                return self.is_as_before(&state);
            }
        }
        self.delete().await?;
        let state = self.create(&self.sample).await?;
        self.is_as_before(&state)
    }

    /// Waits until the operator rests and everything is as before. Unlike [`judge`](Self::judge), for changes that are none of
    /// the spec: no generation says whether the status is older than they are.
    pub(super) async fn is_as_before_again(&self) -> Result<()> {
        eventually("everything is as before", PATIENCE, async || {
            self.is_as_before(&self.judge().await?)?;
            Ok(Some(()))
        })
        .await
    }

    /// Checks that a state is the sample's.
    fn is_as_before(&self, state: &State) -> Result<()> {
        ensure!(state.verdict == self.settled.verdict, "after the revert it is {:?}", state.verdict);
        let differences = self.mask.differences(&self.settled.facts, &state.facts);
        ensure!(
            differences.is_empty(),
            "after the revert it is not as before:\n  {}",
            differences.join("\n  ")
        );
        Ok(())
    }

    /// Checks that a new object is answered like one that was changed to the same spec.
    pub(super) fn is_like(&self, changed: &State, new: &State) -> Result<()> {
        match (&changed.verdict, &new.verdict) {
            // What exists is of an earlier spec, and the status says so.
            (Verdict::Settled { in_sync: false }, _) => Ok(()),
            (Verdict::Explained(reason), _) if R::KEEPS_EARLIER.contains(&reason.as_str()) => Ok(()),
            (Verdict::Settled { in_sync: true }, Verdict::Settled { .. }) => {
                let mut differences = self.mask.differences(&changed.facts, &new.facts);
                differences.retain(|line| !R::KEPT.iter().any(|kept| line.starts_with(kept)));
                ensure!(
                    differences.is_empty(),
                    "a new object with this spec is not as a changed one:\n  {}",
                    differences.join("\n  ")
                );
                Ok(())
            }
            (one, other) if one == other => Ok(()),
            (one, other) => bail!("an object changed to this spec is {one:?}, a new one is {other:?}"),
        }
    }

    /// Waits until the operator has answered the object and rests. Returns the state.
    pub(super) async fn judge(&self) -> Result<State> {
        let answered = eventually("the operator answers and rests", PATIENCE, async || {
            let verdict = self.verdict(&self.object().await?).await?;
            self.rest(&verdict).await?;
            let violations = self.rig.violations().await?;
            ensure!(violations.is_empty(), "{violations:?}");
            let facts = Snapshot::take(&self.rig).await?.without_versions();
            Ok(Some(State { verdict, facts }))
        });
        let answered = answered.await;
        self.check_log()?;
        answered
    }

    /// Returns how the operator answers an object, if it does.
    async fn verdict(&self, object: &Value) -> Result<Verdict> {
        let status = &object["status"];
        let ready = self.explained(object)?;
        if ready["status"] == "True" {
            if let Some(mismatch) = self.rig.mismatch(object).await? {
                bail!("it is Ready although {mismatch}; its status is {status}");
            }
            return Ok(Verdict::Settled { in_sync: self.rig.is_in_sync(object) });
        }
        let reason = text(&ready["reason"])?;
        ensure!(!R::PASSING.contains(&reason), "it says {reason}, which passes: {status}");
        Ok(Verdict::Explained(reason.to_owned()))
    }

    /// Returns the Ready condition if it answers the present spec, with a documented reason and, unless it is True, a message.
    pub(super) fn explained<'a>(&self, object: &'a Value) -> Result<&'a Value> {
        let status = &object["status"];
        ensure!(
            is_answered(status, object["metadata"]["generation"].as_i64()),
            "generation {} is not answered: {status}",
            object["metadata"]["generation"]
        );
        let ready = condition(status, "Ready").with_context(|| format!("no condition Ready: {status}"))?;
        let reason = text(&ready["reason"])?;
        if ready["status"] != "True" {
            ensure!(self.docs.contains(reason), "{:?} do not list the reason {reason}", R::SUBJECT.docs);
            ensure!(!text(&ready["message"])?.is_empty(), "{reason} has no message: {status}");
        }
        Ok(ready)
    }

    /// Checks that two looks at the object write nothing and, where it is settled, call nothing.
    async fn rest(&self, verdict: &Verdict) -> Result<()> {
        if self.api.get(self.name()).await?.finalizers().iter().any(|name| name == MARKER) {
            // An earlier look was disturbed.
            self.mark(false).await?;
        }
        let (mut versions, calls) = (self.versions().await?, self.rig.calls().await?);
        let controller = text(&self.sample["kind"])?.to_lowercase();
        for is_added in [true, false] {
            let before = self.operator.passes_of(&controller).await?;
            let version = self.mark(is_added).await?;
            versions.insert(format!("{}/{}", text(&self.sample["kind"])?, self.name()), version);
            eventually("the operator looks again", PATIENCE, async || {
                Ok((self.operator.passes_of(&controller).await? > before).then_some(()))
            })
            .await?;
        }
        let after = self.versions().await?;
        let written: Vec<_> =
            after.iter().filter(|(name, version)| versions.get(*name) != Some(version)).collect();
        ensure!(
            written.is_empty() && after.len() == versions.len(),
            "it does not rest, written: {written:?}"
        );
        let after = self.rig.calls().await?;
        let is_settled = matches!(verdict, Verdict::Settled { .. });
        ensure!(!is_settled || after == calls, "it does not rest, calls before {calls:?}, after {after:?}");
        Ok(())
    }

    /// Adds or removes the marker. Returns the new version of the object.
    async fn mark(&self, is_added: bool) -> Result<String> {
        let object = self.api.get(self.name()).await?;
        let mut finalizers: Vec<_> = object.finalizers().iter().filter(|name| *name != MARKER).collect();
        let marker = MARKER.to_owned();
        if is_added {
            finalizers.push(&marker);
        }
        let metadata =
            json!({ "finalizers": finalizers, "resourceVersion": object.metadata.resource_version });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let object = self.api.patch(self.name(), &PatchParams::default(), &patch).await?;
        object.metadata.resource_version.context("an object without a version")
    }

    /// Returns the versions of the operator's objects and of the events in the namespace.
    async fn versions(&self) -> Result<BTreeMap<String, String>> {
        let site = self.rig.site();
        let mut versions = BTreeMap::new();
        for kind in R::SUBJECT.kinds {
            for object in site.api(kind.kind).list(&ListParams::default()).await? {
                versions.insert(
                    format!("{}/{}", kind.kind, object.name_any()),
                    object.resource_version().unwrap_or_default(),
                );
            }
        }
        let events: Api<Event> = Api::namespaced(site.client(), site.namespace());
        for event in events.list(&ListParams::default()).await? {
            versions
                .insert(format!("Event/{}", event.name_any()), event.resource_version().unwrap_or_default());
        }
        Ok(versions)
    }

    /// Checks that the operator has not panicked since the last check.
    fn check_log(&self) -> Result<()> {
        let log = fs::read(self.rig.site().log_path())?;
        let new = log.get(self.log_checked.get()..).unwrap_or_default();
        let new = String::from_utf8_lossy(new);
        if let Some(line) = panic_in(&new) {
            bail!(anyhow!("the operator panicked: {line}"));
        }
        self.log_checked.set(log.len());
        Ok(())
    }
}

/// Returns a text of an object.
pub(super) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} instead of a text"))
}
