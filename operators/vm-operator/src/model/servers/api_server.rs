//! The API server.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use serde_json::json;
use testbed::{ControlPlane, Random};

use crate::api::{FINALIZER, VmGroup, VmInstance};
use crate::fixtures;

use super::super::kubernetes::{Deleted, Group, Instance, Kubernetes, SLOTS};
use super::super::tables::StatusId;
use super::{Pair, below, run_all, walk};

/// Sequences at a time.
const PARALLEL: usize = 32;

struct Server {
    groups: Api<VmGroup>,
    instances: Api<VmInstance>,
    name: String,
    /// The UIDs of the instances, by their number in the model.
    uids: Vec<String>,
    groups_made: u8,
    /// What was read last: the resource version, and what the model had then.
    read_group: Option<(String, Group)>,
    read: [Option<(String, Instance)>; SLOTS],
    model: Kubernetes,
}

/// Returns whether a write was accepted: not one that names an object which does not exist, or not any more.
fn accepted<T>(answer: kube::Result<T>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Server {
    fn instance_name(&self, slot: u8) -> String {
        format!("{}-{slot}", self.name)
    }

    /// Returns the UID of an instance; one that never existed for a number that was not given yet.
    fn uid(&self, number: u8) -> String {
        let known = self.uids.get(usize::from(number)).filter(|uid| !uid.is_empty());
        known.cloned().unwrap_or_else(|| "00000000-0000-0000-0000-000000000000".to_owned())
    }

    async fn change_group(&mut self, replicas: u8) -> Result<String> {
        if self.model.objects.group.is_none() {
            self.groups_made += 1;
            self.model.create_group(self.groups_made, replicas);
            let mut group = fixtures::group(replicas.into());
            (group.metadata.name, group.metadata.namespace) = (Some(self.name.clone()), None);
            (group.metadata.uid, group.metadata.finalizers, group.metadata.generation) = (None, None, None);
            self.groups.create(&PostParams::default(), &group).await?;
            return Ok(format!("create group {replicas}"));
        }
        self.model.scale(replicas);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.groups.patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(format!("scale {replicas}"))
    }

    async fn delete_group(&mut self) -> Result<String> {
        let existed = self.model.objects.group.is_some();
        self.model.delete_group();
        let deleted = accepted(self.groups.delete(&self.name, &DeleteParams::default()).await)?;
        ensure!(deleted == existed, "deleting the group: {deleted}");
        Ok("delete group".to_owned())
    }

    async fn set_group_finalizer(&mut self, held: bool) -> Result<String> {
        if let Some(group) = self.model.objects.group {
            self.model.set_group_finalizer(group.number, held);
            let finalizers: &[&str] = if held { &[FINALIZER] } else { &[] };
            let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
            accepted(self.groups.patch(&self.name, &PatchParams::default(), &patch).await)?;
        }
        Ok(format!("group finalizer {held}"))
    }

    async fn apply_group_status(&mut self, value: u8) -> Result<String> {
        let Some((version, group)) = self.read_group.clone() else {
            return Ok("no group was read".to_owned());
        };
        let written = self.model.apply_group_status(group, StatusId(u16::from(value) + 1)).is_some();
        let status = json!({
            "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1", "kind": "VmGroup",
            "metadata": { "resourceVersion": version },
            "status": { "lastMessage": value.to_string() },
        });
        let params = PatchParams::apply("model").force();
        let real = accepted(self.groups.patch_status(&self.name, &params, &Patch::Apply(status)).await)?;
        ensure!(real == written, "status of the group: {real}");
        self.read_group = None;
        Ok(format!("group status {value}"))
    }

    async fn create(&mut self, slot: u8) -> Result<String> {
        let created = self.model.create(0, slot);
        let mut instance = fixtures::instance(slot.into());
        instance.metadata.name = Some(self.instance_name(slot));
        (instance.metadata.namespace, instance.metadata.uid) = (None, None);
        (instance.metadata.owner_references, instance.metadata.generation) = (None, None);
        instance.metadata.creation_timestamp = None;
        instance.spec.instance_uuid = "00000000-0000-0000-0000-000000000001".into();
        match self.instances.create(&PostParams::default(), &instance).await {
            Ok(real) => {
                let number = created.context("the model has the name taken")?.number;
                ensure!(usize::from(number) == self.uids.len(), "number {number}");
                self.uids.push(real.uid().unwrap_or_default());
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                ensure!(created.is_none(), "the name is taken");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(format!("create {slot}"))
    }

    async fn delete(&mut self, slot: u8, number: u8) -> Result<String> {
        let deleted = self.model.delete(slot, number);
        let preconditions = Preconditions { uid: Some(self.uid(number)), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let real = accepted(self.instances.delete(&self.instance_name(slot), &params).await)?;
        ensure!(real == matches!(deleted, Deleted::Going(_)), "{deleted:?}, really {real}");
        Ok(format!("delete {slot} {number}"))
    }

    /// Reads a group and an instance, which a later status is bound to.
    async fn read(&mut self, slot: u8) -> Result<String> {
        let version = |meta: &ObjectMeta| meta.resource_version.clone();
        let group = self.groups.get_opt(&self.name).await?.and_then(|group| version(&group.metadata));
        self.read_group = group.zip(self.model.objects.group);
        let instance = self.instances.get_opt(&self.instance_name(slot)).await?;
        let instance = instance.and_then(|instance| version(&instance.metadata));
        self.read[usize::from(slot)] = instance.zip(self.model.objects.instances[usize::from(slot)]);
        Ok(format!("read {slot}"))
    }

    async fn apply_status(&mut self, slot: u8, value: u8) -> Result<String> {
        let Some((version, instance)) = self.read[usize::from(slot)].take() else {
            return Ok("no instance was read".to_owned());
        };
        let number = instance.number;
        let written = self.model.apply_status(instance, StatusId(u16::from(value) + 1)).is_some();
        let status = json!({
            "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1", "kind": "VmInstance",
            "metadata": { "uid": self.uid(number), "resourceVersion": version },
            "status": { "vmRef": value.to_string() },
        });
        let params = PatchParams::apply("model").force();
        let name = self.instance_name(slot);
        let real = accepted(self.instances.patch_status(&name, &params, &Patch::Apply(status)).await)?;
        ensure!(real == written, "status of {slot} {number}: {real}");
        Ok(format!("status {slot} {number} {value}"))
    }

    async fn remove_finalizer(&mut self, slot: u8, number: u8) -> Result<String> {
        let object = self.model.objects.instances[usize::from(slot)];
        if object.is_some_and(|object| object.number == number && !object.deleting) {
            return Ok("nothing: the driver keeps the finalizer of what is not being deleted".to_owned());
        }
        let removed = self.model.remove_finalizer(slot, number);
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": self.uid(number)},
            {"op": "test", "path": "/metadata/finalizers", "value": [FINALIZER]},
            {"op": "add", "path": "/metadata/finalizers", "value": []},
        ]);
        let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
        let answer = self.instances.patch(&self.instance_name(slot), &PatchParams::default(), &patch).await;
        ensure!(accepted(answer)? == removed, "finalizer of {slot} {number}: the model has {removed}");
        Ok(format!("remove finalizer {slot} {number}"))
    }
}

impl Pair for Server {
    async fn step(&mut self, random: &mut Random) -> Result<String> {
        let slot = below(random, 2);
        let newest = self.uids.len() - 1;
        let number = u8::try_from(newest).unwrap().saturating_sub(below(random, 3));
        let value = below(random, 4);
        Ok(match below(random, 11) {
            0 => self.change_group(value).await?,
            1 => self.delete_group().await?,
            2 => self.set_group_finalizer(value.is_multiple_of(2)).await?,
            3 => self.apply_group_status(value).await?,
            4 | 5 => self.create(slot).await?,
            6 => self.delete(slot, number).await?,
            7 => self.apply_status(slot, value).await?,
            8 | 9 => self.read(slot).await?,
            _ => self.remove_finalizer(slot, number).await?,
        })
    }

    /// Compares the objects of the server with those of the model.
    async fn compare(&mut self) -> Result<()> {
        let group = self.groups.get_opt(&self.name).await?;
        let real = group.map(|group| {
            let status = group.status.as_ref().and_then(|status| status.last_message.clone());
            let deleting = group.metadata.deletion_timestamp.is_some();
            let generation = group.metadata.generation.unwrap_or_default();
            (group.spec.replicas, deleting, !group.finalizers().is_empty(), generation, status)
        });
        let model = self.model.objects.group.map(|group| {
            let status = text(group.status);
            (group.replicas.into(), group.deleting, group.finalizer, group.generation.into(), status)
        });
        ensure!(real == model, "group: real {real:?}, model {model:?}");
        for slot in (0u8..).take(SLOTS) {
            let instance = self.instances.get_opt(&self.instance_name(slot)).await?;
            let real = instance.map(|instance| {
                let status = instance.status.as_ref().and_then(|status| status.vm_ref.clone());
                let deleting = instance.metadata.deletion_timestamp.is_some();
                (instance.uid().unwrap_or_default(), deleting, instance.metadata.generation, status)
            });
            let model = self.model.objects.instances[usize::from(slot)].map(|instance| {
                let generation = Some(if instance.deleting { 2 } else { 1 });
                (self.uid(instance.number), instance.deleting, generation, text(instance.status))
            });
            ensure!(real == model, "slot {slot}: real {real:?}, model {model:?}");
        }
        Ok(())
    }
}

fn text(status: StatusId) -> Option<String> {
    (status != StatusId::NONE).then(|| (status.0 - 1).to_string())
}

async fn sequence(client: Client, seed: u64) -> Result<()> {
    let server = Server {
        groups: Api::default_namespaced(client.clone()),
        instances: Api::default_namespaced(client),
        name: format!("g{seed}"),
        // Numbers begin with 1.
        uids: vec![String::new()],
        groups_made: 0,
        read_group: None,
        read: [const { None }; SLOTS],
        model: Kubernetes { used: 1, ..Kubernetes::default() },
    };
    walk(server, seed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_does_what_the_model_does() {
    let plane = ControlPlane::start().await.unwrap();
    for crd in [VmGroup::crd(), VmInstance::crd()] {
        let crd = serde_json::to_string(&crd).unwrap();
        plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &crd).await.unwrap();
    }
    plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]).await.unwrap();
    run_all(PARALLEL, |seed| sequence(plane.client(), seed)).await;
}
