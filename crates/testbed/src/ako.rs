//! A stand-in for AKO in a workload cluster: does what an operator that installs AKO sees of it, at a given pace.
//!
//! While the Pod `avi-system/ako-0` runs, the stand-in logs in to the controller with what the ConfigMap `avi-k8s-config` and
//! the Secret `avi-secret` say, gives each Service of type LoadBalancer a virtual service, marked as AKO marks its own, and its
//! address to the Service. As AKO, it does nothing before the API server serves AKO's kinds. Where `deleteConfig` is `true`, it removes what it made and says so in an annotation of the
//! StatefulSet. It ends, as AKO does, when the Secret changes or the ConfigMap goes, and starts again.
//!
//! Differs from AKO: no Ingresses, no Gateways, one login at a time, and it never gives up.

mod avi;
mod objects;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::stream::{BoxStream, select_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::avi::Session;
use crate::controllers::{RETRY, Steady};

const NAMESPACE: &str = "avi-system";
const STATEFUL_SET: &str = "ako";
const POD: &str = "ako-0";
const CONFIG_MAP: &str = "avi-k8s-config";
const SECRET: &str = "avi-secret";
/// The group of AKO's kinds.
const GROUP: &str = "ako.vmware.com";
/// The kinds that AKO waits for: the version in which it reads them, kind, and plural.
const KINDS: [(&str, &str, &str); 6] = [
    ("v1beta1", "AviInfraSetting", "aviinfrasettings"),
    ("v1beta1", "HostRule", "hostrules"),
    ("v1beta1", "HTTPRule", "httprules"),
    ("v1alpha2", "L4Rule", "l4rules"),
    ("v1alpha2", "L7Rule", "l7rules"),
    ("v1alpha2", "SSORule", "ssorules"),
];
/// Where AKO says how far the removal of its objects is: `Started`, then `Done` or `Timeout`.
const STATUS: &str = "AviObjectDeletionStatus";
/// The pause of a slow removal: long enough that an operator looks several times meanwhile.
const PAUSE: Duration = Duration::from_secs(3);

/// What the stand-in does where `deleteConfig` is `true`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// Removes them and says `Done`.
    #[default]
    Prompt,
    /// The same, with a pause before each step, as one that has much to remove.
    Slow,
    /// Says `Started`, and removes nothing.
    Hangs,
    /// Says `Timeout`, and leaves them.
    TimesOut,
    /// Says and does nothing.
    Silent,
}

/// A running stand-in. Dropping it stops it; what it made stays.
#[derive(Debug)]
pub struct Ako {
    cleanup: watch::Sender<Cleanup>,
    seen: Arc<Seen>,
    _task: JoinSet<()>,
}

/// What a test may ask about.
#[derive(Debug, Default)]
struct Seen {
    starts: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

impl Ako {
    /// Starts a stand-in in the cluster of `client`, which acts whenever AKO is installed there.
    #[must_use]
    pub fn start(client: Client) -> Self {
        Self::serving(client, None)
    }

    /// Starts a stand-in in a [`VirtualCluster`](crate::VirtualCluster), for the Services of a namespace that no other cluster uses.
    #[must_use]
    pub fn start_in(client: Client, namespace: &str) -> Self {
        Self::serving(client, Some(namespace.to_owned()))
    }

    fn serving(client: Client, namespace: Option<String>) -> Self {
        let (cleanup, chosen) = watch::channel(Cleanup::default());
        let seen = Arc::new(Seen::default());
        let services = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), &namespace),
            None => Api::all(client.clone()),
        };
        let worker = Worker { client, services, chosen, seen: Arc::clone(&seen), process: None };
        let mut task = JoinSet::new();
        task.spawn(worker.run());
        Self { cleanup, seen, _task: task }
    }

    /// Returns a CustomResourceDefinition for each kind that AKO waits for. They accept everything.
    #[must_use]
    pub fn definitions() -> Vec<Value> {
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let definition = |&(version, kind, plural): &(&str, &str, &str)| {
            let scope = if kind == "AviInfraSetting" { "Cluster" } else { "Namespaced" };
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{GROUP}")},
                "spec": {
                    "group": GROUP, "scope": scope,
                    "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                    "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
                },
            })
        };
        KINDS.iter().map(definition).collect()
    }

    /// Chooses what happens when the objects are to be removed, from now on.
    pub fn set_cleanup(&self, cleanup: Cleanup) {
        self.cleanup.send_replace(cleanup);
    }

    /// Returns how often AKO has logged in: once for each Pod, and once more for each change that ended it.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.seen.starts.load(Ordering::Relaxed)
    }

    /// Returns what went wrong in the last pass, such as a login that the controller refuses.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.seen.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Worker {
    client: Client,
    /// The Services that get virtual services.
    services: Api<Service>,
    chosen: watch::Receiver<Cleanup>,
    seen: Arc<Seen>,
    process: Option<Process>,
}

/// AKO in one Pod, from its start on.
struct Process {
    pod: String,
    /// Version of the Secret that it has read.
    secret: String,
    /// The name of the cluster, in the marks of all objects.
    cluster: String,
    settings: BTreeMap<String, String>,
    session: Session,
}

impl Worker {
    async fn run(mut self) {
        let mut changes = select_all([
            changes::<Pod>(Api::namespaced(self.client.clone(), NAMESPACE)),
            changes::<ConfigMap>(Api::namespaced(self.client.clone(), NAMESPACE)),
            changes::<Secret>(Api::namespaced(self.client.clone(), NAMESPACE)),
            changes::<StatefulSet>(Api::namespaced(self.client.clone(), NAMESPACE)),
            changes::<Service>(self.services.clone()),
        ]);
        loop {
            let result = self.pass().await;
            let trouble = result.as_ref().err().map(|error| format!("{error:#}"));
            *self.seen.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            let again = if result.is_err() { RETRY } else { Duration::from_mins(10) };
            tokio::select! {
                change = changes.next() => if change.is_none() { return },
                chosen = self.chosen.changed() => if chosen.is_err() { return },
                () = tokio::time::sleep(again) => {}
            }
            // One pass for all that has changed meanwhile.
            while changes.next().now_or_never().flatten().is_some() {}
        }
    }

    async fn pass(&mut self) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let configs: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pod = pods.get_opt(POD).await?.filter(is_running);
        let (config, secret) = (configs.get_opt(CONFIG_MAP).await?, secrets.get_opt(SECRET).await?);
        let (Some(pod), Some(config), Some(secret)) = (pod, config, secret) else {
            self.process = None;
            return Ok(());
        };
        let (pod, version) = (pod.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default());
        if self.process.as_ref().is_some_and(|process| process.pod != pod || process.secret != version) {
            self.process = None;
        }
        let settings = config.data.unwrap_or_default();
        let is_deleting = settings.get("deleteConfig").is_some_and(|value| value == "true");
        if self.process.is_none() {
            has_kinds(&self.client).await?;
            let session = Session::log_in(&settings, &secret).await?;
            let cluster = settings.get("clusterName").context("no clusterName")?.clone();
            self.seen.starts.fetch_add(1, Ordering::Relaxed);
            self.process = Some(Process { pod, secret: version, cluster, settings, session });
        }
        let cleanup = *self.chosen.borrow_and_update();
        let Some(process) = &mut self.process else { return Ok(()) };
        let synced = if is_deleting {
            remove_all(&self.client, process, cleanup).await
        } else {
            sync(&self.client, &self.services, process).await
        };
        if synced.is_err() {
            // The session may have ended.
            self.process = None;
        }
        synced
    }
}

/// Returns an error while a kind is not served that AKO waits for.
async fn has_kinds(client: &Client) -> Result<()> {
    for version in ["v1beta1", "v1alpha2"] {
        let served = client.list_api_group_resources(&format!("{GROUP}/{version}")).await;
        let served = served.with_context(|| format!("AKO waits for its kinds in {version}"))?;
        for (_, kind, plural) in KINDS.iter().filter(|(of, ..)| *of == version) {
            let is_served = served.resources.iter().any(|resource| resource.name == *plural);
            ensure!(is_served, "AKO waits for the kind {kind} in {version}");
        }
    }
    Ok(())
}

/// Returns a tick for each change of the objects.
fn changes<K>(api: Api<K>) -> BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, watcher::Config::default()).backoff(Steady).map(drop).boxed()
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Removes what AKO made, and says how far that is.
async fn remove_all(client: &Client, process: &Process, cleanup: Cleanup) -> Result<()> {
    let said = status(client).await?;
    if said.as_deref() == Some("Done") || said.as_deref() == Some("Timeout") || cleanup == Cleanup::Silent {
        return Ok(());
    }
    if said.is_none() {
        say(client, Some("Started")).await?;
    }
    match cleanup {
        Cleanup::Prompt | Cleanup::Slow => {
            let pause = if cleanup == Cleanup::Slow { PAUSE } else { Duration::ZERO };
            let made = process.session.services(&process.cluster).await?;
            for name in made {
                tokio::time::sleep(pause).await;
                process.session.remove(&name).await?;
            }
            tokio::time::sleep(pause).await;
            say(client, Some("Done")).await
        }
        Cleanup::TimesOut => say(client, Some("Timeout")).await,
        Cleanup::Hangs | Cleanup::Silent => Ok(()),
    }
}

/// Makes a virtual service for each Service of type LoadBalancer, and removes those of others.
async fn sync(client: &Client, services: &Api<Service>, process: &Process) -> Result<()> {
    if status(client).await?.is_some() {
        say(client, None).await?;
    }
    let listed = services.list(&ListParams::default()).await?;
    let is_balanced = |service: &&Service| {
        let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
        kind == Some("LoadBalancer") && service.metadata.deletion_timestamp.is_none()
    };
    let mut made = process.session.services(&process.cluster).await?;
    for service in listed.items.iter().filter(is_balanced) {
        let name = objects::name(&process.cluster, service);
        if let Some(at) = made.iter().position(|made| *made == name) {
            made.swap_remove(at);
        } else {
            process.session.make(&process.settings, &process.cluster, service).await?;
        }
        let address = process.session.address(&name).await?;
        report(client, service, &address).await?;
    }
    for name in made {
        process.session.remove(&name).await?;
    }
    Ok(())
}

/// Writes a Service's address into its status.
async fn report(client: &Client, service: &Service, address: &str) -> Result<()> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let known = status.and_then(|balancer| balancer.ingress.as_ref()?.first()?.ip.as_deref());
    if known == Some(address) {
        return Ok(());
    }
    let api: Api<Service> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
    api.patch_status(&service.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn status(client: &Client) -> Result<Option<String>> {
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), NAMESPACE);
    let set = api.get_opt(STATEFUL_SET).await?;
    Ok(set.and_then(|set| set.annotations().get(STATUS).cloned()))
}

async fn say(client: &Client, status: Option<&str>) -> Result<()> {
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), NAMESPACE);
    let annotation: Value = json!({"metadata": {"annotations": {STATUS: status}}});
    api.patch(STATEFUL_SET, &PatchParams::default(), &Patch::Merge(annotation)).await?;
    Ok(())
}
