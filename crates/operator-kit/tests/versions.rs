//! A kind that is served in several versions, of which the test cluster does not have the newest.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{borrow::Cow, sync::Arc, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Resource,
    api::{DeleteParams, ObjectMeta, PostParams},
    core::{DynamicResourceScope, object::HasStatus},
};
use operator_kit::{
    Clock, Disposition, Kit, KitError, Operator, Outcome, ReconcileError, Reconciler, Triggers, Turn, Watch,
    driver,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testbed::{ControlPlane, eventually};

const OPERATOR: Operator = Operator { name: "test-operator", group: "kit.example.com", version: "1.0.0" };
const FINALIZER: &str = "kit.example.com/gadget";
const PATIENCE: Duration = Duration::from_mins(3);
/// What is served.
const OLD: Version = Version("v1beta1");

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Version(&'static str);

impl Default for Version {
    fn default() -> Self {
        Self("v1")
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Gadget {
    metadata: ObjectMeta,
    status: Option<Seen>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Seen {
    generation: Option<i64>,
}

impl Resource for Gadget {
    type DynamicType = Version;
    type Scope = DynamicResourceScope;

    fn kind(_: &Version) -> Cow<'_, str> {
        "Gadget".into()
    }

    fn group(_: &Version) -> Cow<'_, str> {
        "kit.example.com".into()
    }

    fn version(version: &Version) -> Cow<'_, str> {
        version.0.into()
    }

    fn plural(_: &Version) -> Cow<'_, str> {
        "gadgets".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl HasStatus for Gadget {
    type Status = Seen;

    fn status(&self) -> Option<&Seen> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<Seen> {
        &mut self.status
    }
}

fn crd() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": "gadgets.kit.example.com"},
        "spec": {
            "group": "kit.example.com",
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
            "versions": [{
                "name": OLD.0, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }))
    .unwrap()
}

struct Keeper;

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Refused(#[from] KitError);

impl ReconcileError for Refused {
    fn classify(&self) -> (&'static str, Disposition) {
        self.0.classify()
    }
}

impl Reconciler for Keeper {
    type Object = Gadget;
    type Seen = ();
    type Plan = ();
    type Done = ();
    type Error = Refused;

    const NAME: &'static str = "gadget";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    async fn observe(&self, _: &Gadget) -> Result<(), Refused> {
        Ok(())
    }

    fn plan(gadget: &Gadget, (): &(), _: Timestamp) -> Turn<()> {
        if gadget.metadata.deletion_timestamp.is_some() { Turn::Gone } else { Turn::Settled }
    }

    async fn apply(&self, _: &Gadget, (): ()) -> Result<(), Refused> {
        Ok(())
    }

    fn status(
        _: Option<&Seen>,
        gadget: &Gadget,
        _: Option<&()>,
        _: &Outcome<(), Refused>,
        _: Timestamp,
    ) -> Option<Seen> {
        Some(Seen { generation: gadget.metadata.generation })
    }

    fn conditions(_: &Seen) -> &[Condition] {
        &[]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_written_in_the_version_that_is_served() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.create(&PostParams::default(), &crd()).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    let served = kube::runtime::wait::await_condition(crds, "gadgets.kit.example.com", established);
    tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap();

    let kit = Kit::with_client(OPERATOR, client.clone(), Clock::default()).unwrap();
    let running = tokio::spawn({
        let kit = kit.clone();
        let watch = Watch::<Gadget>::version(&kit, OLD);
        async move { driver::run(&kit, watch, Triggers::default(), Arc::new(Keeper)).await }
    });

    let mut gadget = Gadget::default();
    gadget.metadata.name = Some("old".to_owned());
    gadget.metadata.namespace = Some("default".to_owned());
    let gadgets: Api<Gadget> = Api::namespaced_with(client, "default", &OLD);
    Watch::<Gadget>::version(&kit, OLD).objects().create("test", &gadget).await.unwrap();
    eventually("its status", PATIENCE, async || {
        let gadget = gadgets.get("old").await?;
        let held = gadget.metadata.finalizers.as_deref() == Some(&[FINALIZER.to_owned()]);
        let generation = gadget.metadata.generation;
        Ok((held && gadget.status == Some(Seen { generation })).then_some(()))
    })
    .await
    .unwrap();
    gadgets.delete("old", &DeleteParams::default()).await.unwrap();
    eventually("its end", PATIENCE, async || Ok(gadgets.get_opt("old").await?.is_none().then_some(())))
        .await
        .unwrap();

    kit.shutdown().cancel();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}
