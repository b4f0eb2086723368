//! `Scenario`: changes of an object that are more than another value of a field.

use std::fmt;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::eventually;

use super::lane::{Lane, text};
use super::mutation::Mutation;
use super::schema::{Path, Shape, places};
use super::state::Verdict;
use super::suite::is_clear;
use crate::objects::condition;
use crate::rig::Rig;
use crate::site::PATIENCE;

/// A finalizer of another client.
const FOREIGN: &str = "example.com/foreign";

/// One change in several requests. It begins and ends with the sample. Displayed as its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Scenario {
    /// The number of replicas becomes 0 and then what it was.
    ToZeroAndBack(Path),
    /// The scale subresource asks for one more, and then for what it was.
    Scale(Path),
    /// A text refers to nothing from the start, then to what the sample names, then to nothing.
    BadGoodBad(Path),
    /// Another client's finalizer keeps the deleted object.
    ForeignFinalizer,
    /// The owner references of all objects of a kind that the operator creates are removed, and then restored.
    OwnerReferenceRemoved(&'static str),
    /// Each object of a kind is created again under another name, as `kubectl get -o yaml | sed | kubectl create` does.
    Copied(&'static str),
    /// The first object of a kind that the operator creates is edited by hand.
    CreatedEdited(&'static str, Mutation),
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToZeroAndBack(path) => write!(f, "{path}:to-zero-and-back"),
            Self::Scale(path) => write!(f, "{path}:scale-subresource"),
            Self::BadGoodBad(path) => write!(f, "{path}:bad-good-bad"),
            Self::ForeignFinalizer => f.write_str("foreign-finalizer"),
            Self::OwnerReferenceRemoved(kind) => write!(f, "{kind}:owner-reference-removed"),
            Self::Copied(kind) => write!(f, "{kind}:copied"),
            Self::CreatedEdited(kind, mutation) => write!(f, "{kind}/{mutation}"),
        }
    }
}

impl Scenario {
    /// Returns the scenarios for a sample. `scale` is the path that the CRD names for the scale subresource.
    #[must_use]
    pub fn all<R: Rig>(schema: &Value, scale: Option<&Path>, sample: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        if let Some(path) = scale {
            all.extend([Self::ToZeroAndBack(path.clone()), Self::Scale(path.clone())]);
        }
        let places = places(Path::field("spec"), &schema["properties"]["spec"], sample.get("spec"));
        let texts = places.into_iter().filter(|place| {
            Shape::of(place.schema) == Shape::Text
                && place.schema["enum"].is_null()
                && place.schema["format"].is_null()
                && place.schema["pattern"].is_null()
        });
        all.extend(texts.map(|place| Self::BadGoodBad(place.path)));
        all.push(Self::ForeignFinalizer);
        let owned = R::SUBJECT.kinds.iter().filter(|kind| !kind.by_users);
        all.extend(owned.map(|kind| Self::OwnerReferenceRemoved(kind.kind)));
        let kinds = R::SUBJECT.kinds.iter().filter(|kind| !kind.by_users || sample["kind"] == kind.kind);
        all.extend(kinds.map(|kind| Self::Copied(kind.kind)));
        all
    }

    /// Returns the field of the spec that it is about, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::ToZeroAndBack(path) | Self::Scale(path) | Self::BadGoodBad(path) => Some(path),
            Self::ForeignFinalizer
            | Self::OwnerReferenceRemoved(_)
            | Self::Copied(_)
            | Self::CreatedEdited(..) => None,
        }
    }

    /// Plays the scenario. Returns how it was answered.
    pub(super) async fn play<R: Rig>(&self, lane: &Lane<R>) -> Result<String> {
        match self {
            Self::CreatedEdited(kind, mutation) => return created_edited(lane, kind, mutation).await,
            Self::ToZeroAndBack(path) => to_zero_and_back(lane, path).await,
            Self::Scale(path) => scale(lane, path).await,
            Self::BadGoodBad(path) => bad_good_bad(lane, path).await,
            Self::ForeignFinalizer => foreign_finalizer(lane).await,
            Self::OwnerReferenceRemoved(kind) => owner_reference_removed(lane, kind).await,
            Self::Copied(kind) => copied(lane, kind).await,
        }?;
        Ok("as before".to_owned())
    }
}

async fn to_zero_and_back<R: Rig>(lane: &Lane<R>, path: &Path) -> Result<()> {
    let mut zero = lane.sample.clone();
    path.set(&mut zero, Some(&json!(0)));
    lane.put(&zero, false).await?.context("0 is refused")?;
    let state = lane.judge().await?;
    ensure!(state.verdict == Verdict::Settled { in_sync: true }, "with 0 it is {:?}", state.verdict);
    lane.revert().await
}

async fn scale<R: Rig>(lane: &Lane<R>, path: &Path) -> Result<()> {
    let replicas = path.get(&lane.sample).and_then(Value::as_i64).context("the sample has no replicas")?;
    let ask = async |replicas: i64| {
        let asked = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        lane.api.patch_scale(lane.name(), &PatchParams::default(), &asked).await
    };
    ask(replicas + 1).await?;
    let state = lane.judge().await?;
    ensure!(state.verdict == Verdict::Settled { in_sync: true }, "scaled, it is {:?}", state.verdict);
    let scale = lane.api.get_scale(lane.name()).await?;
    let reported = scale.status.map(|status| i64::from(status.replicas));
    ensure!(reported == Some(replicas + 1), "the scale subresource reports {reported:?} of {}", replicas + 1);
    ask(replicas).await?;
    lane.is_as_before_again().await
}

async fn bad_good_bad<R: Rig>(lane: &Lane<R>, path: &Path) -> Result<()> {
    let mut bad = lane.sample.clone();
    path.set(&mut bad, Some(&json!("no-such-thing")));
    let new = serde_json::from_value(lane.rig().localized(named(&bad, "dry-run")))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    if let Err(error) = lane.api.create(&dry_run, &new).await {
        // Where another field excludes it.
        return is_clear(error, [path]);
    }
    lane.delete().await?;
    let first = lane.create(&bad).await.context("with a bad reference from the start")?;
    lane.revert().await?;
    lane.put(&bad, false).await?.context("refused as an update, not as a creation")?;
    let second = lane.judge().await.context("with a bad reference again")?;
    lane.is_like(&second, &first)?;
    lane.revert().await
}

fn named(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = json!(name);
    object
}

async fn foreign_finalizer<R: Rig>(lane: &Lane<R>) -> Result<()> {
    let mut finalizers = finalizers(&lane.object().await?);
    finalizers.push(json!(FOREIGN));
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
    lane.api.patch(lane.name(), &PatchParams::default(), &patch).await?;
    lane.api.delete(lane.name(), &DeleteParams::default()).await?;
    eventually("the operator removes its finalizer and no other", PATIENCE, async || {
        let left = self::finalizers(&lane.object().await?);
        ensure!(left == [FOREIGN], "left are {left:?}");
        Ok(Some(()))
    })
    .await?;
    lane.nothing_is_left().await?;
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    lane.api.patch(lane.name(), &PatchParams::default(), &patch).await?;
    lane.gone().await?;
    lane.create(&lane.sample).await?;
    lane.is_as_before_again().await
}

fn finalizers(object: &Value) -> Vec<Value> {
    object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

async fn owner_reference_removed<R: Rig>(lane: &Lane<R>, kind: &str) -> Result<()> {
    let api = lane.rig().site().api(kind);
    let objects = objects(&api).await?;
    ensure!(!objects.is_empty(), "the sample has no {kind}");
    let outside = lane.rig().outside().await?;
    for object in &objects {
        own(&api, object, &Value::Null).await?;
    }
    // It may be restored, or refused with an explanation.
    lane.judge().await.context("without owner references")?;
    for object in &objects {
        let answered = async || {
            let now = serde_json::to_value(api.get(text(&object["metadata"]["name"])?).await?)?;
            lane.explained(&now)?;
            Ok(Some(()))
        };
        eventually("the object without its owner reference is answered", PATIENCE, answered).await?;
    }
    let now = lane.rig().outside().await?;
    ensure!(now == outside, "without owner references there is {now:?} instead of {outside:?}");
    for object in &objects {
        own(&api, object, &object["metadata"]["ownerReferences"]).await?;
    }
    lane.is_as_before_again().await.context("with the owner references restored")
}

async fn own(api: &Api<DynamicObject>, object: &Value, owners: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": owners } }));
    api.patch(text(&object["metadata"]["name"])?, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn copied<R: Rig>(lane: &Lane<R>, kind: &str) -> Result<()> {
    let api = lane.rig().site().api(kind);
    let objects = objects(&api).await?;
    ensure!(!objects.is_empty(), "the sample has no {kind}");
    let is_by_users = lane.sample["kind"] == kind;
    let mut copies = Vec::new();
    for object in &objects {
        let name = format!("{}-copy", text(&object["metadata"]["name"])?);
        let mut metadata = object["metadata"].clone();
        for id in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            metadata.as_object_mut().and_then(|metadata| metadata.remove(id));
        }
        metadata["name"] = json!(name);
        let copy = json!({ "apiVersion": lane.sample["apiVersion"], "kind": kind, "metadata": metadata, "spec": object["spec"] });
        api.create(&PostParams::default(), &serde_json::from_value(copy)?).await?;
        copies.push(name);
    }
    for copy in &copies {
        eventually("the copy is answered", PATIENCE, async || {
            let now = serde_json::to_value(api.get(copy).await?)?;
            let ready = lane.explained(&now)?;
            let is_refused = ready["reason"].as_str().is_some_and(|reason| R::EXCLUSIVE.contains(&reason));
            let is_answered = ready["status"] == "True" || is_refused || !is_by_users;
            let mismatch = if is_by_users && !is_refused { lane.rig().mismatch(&now).await? } else { None };
            ensure!(is_answered && mismatch.is_none(), "{mismatch:?}, its Ready is {ready}");
            Ok(Some(()))
        })
        .await?;
    }
    lane.judge().await.context("beside a copy")?;
    for copy in &copies {
        api.delete(copy, &DeleteParams::default()).await?;
        eventually("the copy is gone", PATIENCE, async || {
            let left = api.get_opt(copy).await?;
            let status = left.as_ref().map(|left| condition(&left.data["status"], "Ready"));
            ensure!(left.is_none(), "its Ready is {status:?}");
            Ok(Some(()))
        })
        .await?;
    }
    lane.is_as_before_again().await.context("after the copy")
}

async fn created_edited<R: Rig>(lane: &Lane<R>, kind: &str, mutation: &Mutation) -> Result<String> {
    let api = lane.rig().site().api(kind);
    let before =
        objects(&api).await?.into_iter().next().with_context(|| format!("the sample has no {kind}"))?;
    let mut wanted = before.clone();
    mutation.apply(&mut wanted);
    if let Err(error) = put(&api, &wanted).await? {
        is_clear(error, [mutation.path()])?;
        return Ok("refused".to_owned());
    }
    let name = text(&before["metadata"]["name"])?;
    // The operator may edit it back, or explain it.
    let ready = eventually("the edited object is answered", PATIENCE, async || {
        Ok(Some(lane.explained(&serde_json::to_value(api.get(name).await?)?)?.clone()))
    })
    .await?;
    let state = lane.judge().await?;
    if state.verdict == (Verdict::Settled { in_sync: true }) {
        // The same spec of the sample, the same state.
        lane.is_as_before_again().await.context("the edit is neither undone nor explained")?;
    }
    put(&api, &before).await?.context("the revert is refused")?;
    lane.is_as_before_again().await?;
    Ok(format!("{kind} {}, {} {}", ready["reason"], lane.sample["kind"], state.verdict))
}

/// Replaces the spec of an object.
async fn put(api: &Api<DynamicObject>, wanted: &Value) -> Result<kube::Result<DynamicObject>> {
    loop {
        let mut object = serde_json::to_value(api.get(text(&wanted["metadata"]["name"])?).await?)?;
        Path::field("spec").set(&mut object, wanted.get("spec"));
        let name = text(&wanted["metadata"]["name"])?;
        match api.replace(name, &PostParams::default(), &serde_json::from_value(object)?).await {
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            answer => return Ok(answer),
        }
    }
}

/// Returns the objects of a kind.
pub(super) async fn objects(api: &Api<DynamicObject>) -> Result<Vec<Value>> {
    let list = api.list(&ListParams::default()).await?;
    list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
}
