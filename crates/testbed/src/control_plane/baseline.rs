//! The way back to what a control plane had at one moment, without a restart: tests can use it one after the other.
//!
//! Everything that was made later is deleted, whatever finalizers it has. What the control plane makes by itself is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams};
use kube::discovery::{ApiGroup, Discovery, verbs};
use kube::{Api, Client, Resource};
use serde_json::json;

use super::ControlPlane;
use crate::eventually;
use crate::virtual_cluster::OWN;

/// The time limit of the way back, which takes two seconds on an idle machine.
const BACK: Duration = Duration::from_mins(1);
/// Requests at a time.
const REQUESTS: usize = 8;
/// Groups whose objects the control plane makes, or that show objects of other groups.
const GROUPS: &[&str] =
    &["apiregistration.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io"];
/// Kinds whose objects come and go with others.
const DERIVED: &[&str] = &["componentstatuses", "ipaddresses", "servicecidrs"];
/// Kinds whose objects controllers make for an object that is their owner.
const OWNED: &[&str] = &["controllerrevisions", "endpointslices", "pods", "replicasets"];
/// Kind and name of objects that the control plane makes.
const MADE: &[(&str, &str)] = &[
    ("configmaps", "kube-root-ca.crt"),
    ("endpoints", "kubernetes"),
    ("endpointslices", "kubernetes"),
    ("serviceaccounts", "default"),
    ("services", "kubernetes"),
];

/// What a control plane had.
#[derive(Debug)]
pub struct Baseline(BTreeMap<Key, Mark>);

/// Group, plural, namespace and name of an object.
type Key = [String; 4];

/// What shows that an object is the same, with the same content.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    uid: Option<String>,
    /// Its generation; of rights and data, which have none, the resource version.
    version: Option<String>,
}

/// An object that was found.
struct Found {
    resource: ApiResource,
    metadata: ObjectMeta,
}

impl ControlPlane {
    /// Notes what the control plane has now.
    ///
    /// # Errors
    /// If an object cannot be read.
    pub async fn baseline(&self) -> Result<Baseline> {
        let client = self.client();
        let mut found = list_all(&client, resources(&client).await?).await?;
        found.retain(|found| !found.is_a::<Event>());
        Ok(Baseline(found.iter().map(|found| (found.key(), found.mark())).collect()))
    }

    /// Deletes what was made since, and forgets the requests of the audit log.
    ///
    /// # Errors
    /// If an object of the baseline is missing or has another content, or one that was made since stays.
    pub async fn go_back(&self, baseline: &Baseline) -> Result<()> {
        let client = self.client();
        loop {
            let found = list_all(&client, resources(&client).await?).await?;
            baseline.check(&found)?;
            let later = baseline.later(found);
            if later.is_empty() {
                break;
            }
            // First what refuses or changes requests; definitions and namespaces once they are empty.
            let mut ranks: [Vec<Found>; 3] = Default::default();
            for found in later {
                let rank = found.rank();
                ranks.get_mut(rank).context("a rank")?.push(found);
            }
            for rank in ranks {
                baseline.remove(&client, rank).await?;
            }
        }
        self.forget_requests()
    }
}

impl Baseline {
    /// Checks that all that there was is there, as it was.
    fn check(&self, found: &[Found]) -> Result<()> {
        let found: BTreeMap<_, _> = found.iter().map(|found| (found.key(), found.mark())).collect();
        for (key, mark) in &self.0 {
            let is_owned = OWNED.contains(&&*key[1]);
            ensure!(is_owned || found.get(key) == Some(mark), "{} has changed", key.join("/"));
        }
        Ok(())
    }

    /// Returns what was made later, without what controllers have made of what was there.
    fn later(&self, found: Vec<Found>) -> Vec<Found> {
        let mut uids: BTreeSet<_> = self.0.values().filter_map(|mark| mark.uid.clone()).collect();
        let mut later: Vec<_> =
            found.into_iter().filter(|found| self.0.get(&found.key()) != Some(&found.mark())).collect();
        loop {
            let before = later.len();
            later.retain(|found| {
                let mut owners = found.metadata.owner_references.iter().flatten();
                let is_made =
                    OWNED.contains(&&*found.resource.plural) && owners.any(|owner| uids.contains(&owner.uid));
                if is_made {
                    uids.extend(found.metadata.uid.clone());
                }
                !is_made
            });
            if later.len() == before {
                return later;
            }
        }
    }

    /// Deletes objects, and waits until their kinds have none that was made later.
    async fn remove(&self, client: &Client, objects: Vec<Found>) -> Result<()> {
        // There are many.
        let events = objects.iter().filter(|found| found.is_a::<Event>());
        let spaces: BTreeSet<_> = events.filter_map(|found| found.metadata.namespace.clone()).collect();
        for space in spaces {
            let events: Api<Event> = Api::namespaced(client.clone(), &space);
            events.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        }
        let resources: BTreeMap<_, _> = objects
            .iter()
            .map(|found| {
                ([found.resource.group.clone(), found.resource.plural.clone()], found.resource.clone())
            })
            .collect();
        let mut left = objects;
        left.retain(|found| !found.is_a::<Event>());
        eventually("what was made later is gone", BACK, async || {
            let refused = stream::iter(&left).map(|found| found.delete(client)).buffer_unordered(REQUESTS);
            let refused: Vec<_> = refused.filter_map(|result| async { result.err() }).collect().await;
            left = self.later(list_all(client, resources.values().cloned().collect()).await?);
            let Some(first) = left.first() else { return Ok(Some(())) };
            bail!("{} is left, and {} more: {refused:?}", first.key().join("/"), left.len() - 1)
        })
        .await
    }
}

impl Found {
    fn key(&self) -> Key {
        let ApiResource { group, plural, .. } = &self.resource;
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        [
            group.clone(),
            plural.clone(),
            namespace.clone().unwrap_or_default(),
            name.clone().unwrap_or_default(),
        ]
    }

    fn mark(&self) -> Mark {
        let ObjectMeta { uid, generation, resource_version, .. } = &self.metadata;
        let is_content = self.resource.group == "rbac.authorization.k8s.io"
            || matches!(&*self.resource.plural, "configmaps" | "secrets");
        let of_content = resource_version.clone().filter(|_| is_content);
        Mark { uid: uid.clone(), version: generation.map(|generation| generation.to_string()).or(of_content) }
    }

    /// Returns whether the control plane has made it, or it is a namespace of a virtual cluster: no other one has its name, and to remove it
    /// takes hundreds of requests.
    fn is_made(&self) -> bool {
        let [_, plural, namespace, name] = &self.key();
        MADE.iter().any(|made| *made == (&**plural, &**name))
            || matches!(&**namespace, "kube-system" | "kube-public")
            || self.is_a::<Namespace>() && (name.starts_with("kube-") || name.ends_with(OWN))
    }

    fn is_a<K: Resource<DynamicType = ()>>(&self) -> bool {
        self.resource.group == K::group(&()) && self.resource.plural == K::plural(&())
    }

    /// Returns when it is deleted.
    fn rank(&self) -> usize {
        match () {
            () if self.resource.group == "admissionregistration.k8s.io" => 0,
            () if self.is_container() => 2,
            () => 1,
        }
    }

    /// Returns whether the API server empties it before it is gone.
    fn is_container(&self) -> bool {
        self.is_a::<Namespace>() || self.is_a::<CustomResourceDefinition>()
    }

    /// Deletes it, whatever finalizers it has.
    async fn delete(&self, client: &Client) -> kube::Result<()> {
        let api: Api<DynamicObject> = match &self.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        };
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if self.metadata.deletion_timestamp.is_none() {
            let params = DeleteParams::background();
            let params = if self.is_a::<Pod>() { params.grace_period(0) } else { params };
            accept_missing(api.delete(name, &params).await.map(drop))?;
        }
        if self.is_container() || self.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        accept_missing(api.patch_metadata(name, &PatchParams::default(), &free).await.map(drop))
    }
}

fn accept_missing(done: kube::Result<()>) -> kube::Result<()> {
    match done {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other,
    }
}

/// Returns the kinds whose objects clients make.
async fn resources(client: &Client) -> Result<Vec<ApiResource>> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let all = discovery.groups().flat_map(ApiGroup::resources_by_stability);
    let all = all.filter(|(resource, can)| {
        let is_made = GROUPS.contains(&&*resource.group) || DERIVED.contains(&&*resource.plural);
        !is_made && can.supports_operation(verbs::LIST) && can.supports_operation(verbs::DELETE)
    });
    Ok(all.map(|(resource, _)| resource).collect())
}

/// Returns all objects of these kinds, without those that the control plane has made.
async fn list_all(client: &Client, resources: Vec<ApiResource>) -> Result<Vec<Found>> {
    let lists = stream::iter(resources).map(async |resource| {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let items = match api.list_metadata(&ListParams::default()).await {
            Ok(list) => list.items,
            // Its definition is gone.
            Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", resource.plural)),
        };
        let found =
            items.into_iter().map(|item| Found { resource: resource.clone(), metadata: item.metadata });
        Ok(found.filter(|found| !found.is_made()).collect::<Vec<_>>())
    });
    lists.buffer_unordered(REQUESTS).try_concat().await
}
