//! Objects of others: held only while they are selected, by a label that the reconciler reads, and never given a status.

use std::{
    collections::BTreeSet,
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use operator_kit::{Foreign, NoStatus, Notice, Outcome, ReconcileError as _, Reconciler, Turn};
use serde_json::{Value, json};
use testbed::eventually;

use crate::things::{Step, Things, Trouble};
use crate::{Bench, PATIENCE};

const FINALIZER: &str = "kit.example.com/guest";
/// An earlier spelling, which objects may still have.
const FORMER: &str = "kit.example.com/visitor";
/// Selects an object, and says what becomes of it.
const LABEL: &str = "guest";
const NOTE: &str = "kit.example.com/note";

/// Serves the `ConfigMap`s with a label. What it makes for each is a name in memory.
#[derive(Default)]
pub struct Guests {
    pub steps: Things,
    made: Mutex<BTreeSet<String>>,
}

pub struct Seen {
    is_selected: bool,
    is_made: bool,
}

#[derive(Debug)]
pub enum Plan {
    Make,
    Remove,
}

impl Reconciler for Guests {
    type Object = Foreign<ConfigMap>;
    type Seen = Seen;
    type Plan = Plan;
    type Done = ();
    type Error = Trouble;

    const NAME: &'static str = "guest";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    const FORMER_FINALIZERS: &'static [&'static str] = &[FORMER];

    fn reads(config: &Self::Object) -> impl Hash {
        let note = config.annotations().get(NOTE);
        assert_ne!(note.map(String::as_str), Some("panic"), "as the test wants it");
        (config.labels().get(LABEL), note)
    }

    fn holds(_: &Self::Object, seen: Option<&Seen>) -> bool {
        seen.is_some_and(|seen| seen.is_selected)
    }

    async fn observe(&self, config: &Self::Object) -> Result<Seen, Trouble> {
        let name = config.name_any();
        self.steps.note(&name, Step::Observe);
        let is_made = self.made.lock().unwrap().contains(&name);
        Ok(Seen { is_selected: config.labels().contains_key(LABEL), is_made })
    }

    fn plan(config: &Self::Object, seen: &Seen, _: Timestamp) -> Turn<Plan> {
        let is_leaving = config.metadata.deletion_timestamp.is_some() || !seen.is_selected;
        match config.labels().get(LABEL).map(String::as_str) {
            _ if is_leaving && seen.is_made => Turn::LookAgain(Plan::Remove),
            _ if is_leaving => Turn::Gone,
            Some("hopeless") => Turn::Blocked { reason: "Hopeless", message: "it is hopeless".to_owned() },
            _ if seen.is_made => Turn::Settled,
            _ => Turn::Act(Plan::Make),
        }
    }

    async fn apply(&self, config: &Self::Object, plan: Plan) -> Result<(), Trouble> {
        let (name, mut made) = (config.name_any(), self.made.lock().unwrap());
        self.steps.note(&name, Step::Apply);
        assert!(config.finalizers().contains(&FINALIZER.to_owned()), "changed without the finalizer");
        match plan {
            Plan::Make if config.labels()[LABEL] == "failing" => return Err(Trouble::Failing),
            Plan::Make => made.insert(name),
            Plan::Remove => made.remove(&name),
        };
        Ok(())
    }

    fn status(
        _: Option<&NoStatus>,
        _: &Self::Object,
        _: Option<&Seen>,
        _: &Outcome<(), Trouble>,
        _: Timestamp,
    ) -> Option<NoStatus> {
        None
    }

    async fn report_failure(&self, config: &Self::Object, error: &Trouble) -> Result<(), Trouble> {
        assert_eq!(error.reason(), "Failing");
        self.steps.note(&config.name_any(), Step::Report);
        Ok(())
    }

    fn conditions(status: &NoStatus) -> &[Condition] {
        status.conditions()
    }

    fn last_event(_: &Self::Object, _: &Seen) -> Option<Notice> {
        Some(Notice::warning("Left", "it is served no more"))
    }

    fn forget(&self, uid: &str) {
        self.steps.note(uid, Step::Forget);
    }
}

/// Looks at the objects of `Guests`, beside it.
#[derive(Default)]
pub struct Witness(Things);

impl Reconciler for Witness {
    type Object = Foreign<ConfigMap>;
    type Seen = ();
    type Plan = ();
    type Done = ();
    type Error = Trouble;

    const NAME: &'static str = "witness";
    const FINALIZER: Option<&'static str> = None;

    async fn observe(&self, config: &Self::Object) -> Result<(), Trouble> {
        self.0.note(&config.name_any(), Step::Observe);
        Ok(())
    }

    fn plan(_: &Self::Object, (): &(), _: Timestamp) -> Turn<()> {
        Turn::Settled
    }

    async fn apply(&self, _: &Self::Object, (): ()) -> Result<(), Trouble> {
        Ok(())
    }

    fn status(
        _: Option<&NoStatus>,
        _: &Self::Object,
        _: Option<&()>,
        _: &Outcome<(), Trouble>,
        _: Timestamp,
    ) -> Option<NoStatus> {
        None
    }

    fn conditions(status: &NoStatus) -> &[Condition] {
        status.conditions()
    }
}

/// What a test of one object needs.
struct Host<'a> {
    bench: &'a Bench,
    guests: &'a Guests,
    configs: Api<ConfigMap>,
    name: &'static str,
}

impl Host<'_> {
    async fn create(&self, metadata: Value) -> ConfigMap {
        let config = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        self.configs.create(&PostParams::default(), &config).await.unwrap()
    }

    async fn patch(&self, metadata: Value) {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.configs.patch(self.name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn label(&self, value: Option<&str>) {
        self.patch(json!({"labels": {LABEL: value}})).await;
    }

    /// Waits until the object has these finalizers, and something was made for it or not.
    async fn until(&self, finalizers: &[&str], is_made: bool) {
        eventually(&format!("{} has {finalizers:?}", self.name), PATIENCE, async || {
            let held = self.configs.get(self.name).await?;
            let made = self.guests.made.lock().unwrap().contains(self.name);
            Ok((held.finalizers() == finalizers && made == is_made).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Returns when all changes before this call have been seen.
    async fn caught_up(&self, marker: &str) {
        self.create(json!({"name": marker})).await;
        self.guests.steps.until(marker, Step::Observe, 1).await;
    }

    fn observed(&self) -> usize {
        self.guests.steps.count(self.name, Step::Observe)
    }

    /// Waits for the operator's writes: the audit log may be behind.
    async fn writes(&self, expected: &[&str]) {
        eventually(&format!("{} was written {expected:?}", self.name), PATIENCE, async || {
            Ok((self.bench.writes(self.name).len() >= expected.len()).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(self.bench.writes(self.name), expected, "{}", self.name);
    }
}

pub async fn objects_are_served_while_they_are_selected(
    bench: &Bench,
    guests: &Arc<Guests>,
    witness: &Arc<Witness>,
) {
    let host = |name| Host { bench, guests, configs: Api::default_namespaced(bench.client.clone()), name };
    tokio::join!(
        a_label_selects_and_releases(host("guest-labelled"), witness),
        a_deleted_object_is_left_to_its_owner(host("guest-deleted")),
        a_former_finalizer_is_taken_off(host("guest-former")),
        a_label_ends_a_back_off(host("guest-failing")),
        what_needs_help_is_published_without_a_status(host("guest-hopeless")),
    );
}

async fn a_label_selects_and_releases(host: Host<'_>, witness: &Witness) {
    let uid = host.create(json!({"name": host.name})).await.uid().unwrap();
    // Passes run beside each other: the marker's may be the first.
    host.guests.steps.until(host.name, Step::Observe, 1).await;
    host.caught_up("guest-marker-1").await;
    assert_eq!(host.observed(), 1, "an object that is not selected is looked at once");
    witness.0.until(host.name, Step::Observe, 1).await;
    host.patch(json!({"labels": {"other": "a"}, "annotations": {"other": "a"}})).await;
    host.caught_up("guest-marker-2").await;
    assert_eq!(host.observed(), 1, "labels and annotations that are not read");
    host.writes(&[]).await;

    host.label(Some("")).await;
    host.until(&[FINALIZER], true).await;
    host.caught_up("guest-marker-3").await;
    let observed = host.observed();
    host.patch(json!({"labels": {"other": "b"}})).await;
    host.caught_up("guest-marker-4").await;
    assert_eq!(host.observed(), observed, "a label that is not read");
    host.patch(json!({"annotations": {NOTE: "b"}})).await;
    host.guests.steps.until(host.name, Step::Observe, observed + 1).await;
    host.writes(&["patch"]).await;
    // A bug in what the watch calls does not end it.
    host.patch(json!({"annotations": {NOTE: "panic"}})).await;
    host.patch(json!({"annotations": {NOTE: null}})).await;

    // A finalizer that was removed by hand is there again.
    host.patch(json!({"finalizers": null})).await;
    host.until(&[FINALIZER], true).await;
    host.patch(json!({"finalizers": [FINALIZER, "example.com/audit"]})).await;
    host.label(None).await;
    host.until(&["example.com/audit"], false).await;
    host.guests.steps.until(&uid, Step::Forget, 1).await;
    let left = host.bench.warned(host.name, 1).await;
    assert_eq!(left[0].reason.as_deref(), Some("Left"));
    host.caught_up("guest-marker-5").await;
    host.writes(&["patch", "patch", "patch"]).await;
}

/// No status says that others keep it.
async fn a_deleted_object_is_left_to_its_owner(host: Host<'_>) {
    host.create(json!({"name": host.name, "labels": {LABEL: ""}, "finalizers": ["example.com/audit"]})).await;
    host.until(&["example.com/audit", FINALIZER], true).await;
    host.configs.delete(host.name, &DeleteParams::default()).await.unwrap();
    host.until(&["example.com/audit"], false).await;
    let observed = host.observed();
    host.patch(json!({"annotations": {NOTE: "a"}})).await;
    host.caught_up("guest-marker-6").await;
    assert_eq!(host.observed(), observed, "the operator's part is done");
    host.writes(&["patch", "patch"]).await;
    host.patch(json!({"finalizers": null})).await;
}

async fn a_former_finalizer_is_taken_off(host: Host<'_>) {
    host.create(json!({"name": host.name, "finalizers": [FORMER]})).await;
    host.until(&[], false).await;
    host.writes(&["patch"]).await;
}

async fn a_label_ends_a_back_off(host: Host<'_>) {
    host.create(json!({"name": host.name, "labels": {LABEL: "failing"}})).await;
    host.guests.steps.until(host.name, Step::Apply, 4).await;
    host.guests.steps.until(host.name, Step::Report, 4).await;
    // The next attempt is 6 s away at least.
    host.label(Some("")).await;
    host.until(&[FINALIZER], true).await;
    let times = host.guests.steps.times(host.name, Step::Apply);
    let gap = times[4] - times[3];
    assert!(times.len() == 5 && gap < Duration::from_secs(6), "{gap:?}");
}

async fn what_needs_help_is_published_without_a_status(host: Host<'_>) {
    host.create(json!({"name": host.name, "labels": {LABEL: "hopeless"}})).await;
    host.bench.warned(host.name, 1).await;
    let observed = host.observed();
    host.patch(json!({"annotations": {NOTE: "a"}})).await;
    host.guests.steps.until(host.name, Step::Observe, observed + 1).await;
    host.label(Some("")).await;
    host.until(&[FINALIZER], true).await;
    host.label(Some("hopeless")).await;
    let warnings = eventually("another warning", PATIENCE, async || {
        let warnings = host.bench.warnings(host.name).await;
        Ok(warnings[0].series.is_some().then_some(warnings))
    });
    let warnings = warnings.await.unwrap();
    let count = warnings[0].series.as_ref().unwrap().count;
    assert_eq!((warnings.len(), count), (1, 2), "one for each transition: {warnings:?}");
    host.writes(&["patch"]).await;
}
