//! Reads what is known of a Cluster. Writes nothing.

use std::sync::Arc;

use infra_clients::Failure as _;
use infra_clients::capi::{self, Cluster, ConditionStatus, Kind, secret_name};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use operator_kit::conditions::Status;
use operator_kit::{Key, conditions};
use serde_json::Value;

use super::report::Said;
use super::seen::{Answer, Delivery, Hooks, Installed, Purge, Seen, Set, State, Want, Workload};
use super::{Clusters, GATEWAY_STATUS_ANNOTATION, STATUS_ANNOTATION};
use crate::api::condition::OWNED;
use crate::api::{
    AkoDeploymentConfig, FINALIZER, FORCE_ANNOTATION, HOOK_OWNER, PRE_TERMINATE_HOOK, SYSTEM_NAMESPACE,
    is_held, reason,
};
use crate::delivery::{
    CONFIG_MAP, GATEWAY_CONTAINER, Install, MANAGED_BY, MANAGED_BY_LABEL, Problem, STATEFUL_SET, Target,
    cluster_name, objects, removal,
};
use crate::error::Error;
use crate::secrets::admin;
use crate::selection::{Selection, Skip, refuse_ip_family, select};
use crate::validation::validate;

/// Group of the GatewayClass.
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// A client of a workload cluster, and the version of the kubeconfig that it was made of.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) version: String,
}

impl Clusters {
    /// Returns the AKODeploymentConfig that a Cluster takes AKO from, if there is one.
    pub(super) fn adc(&self, selection: &Selection) -> Option<Arc<AkoDeploymentConfig>> {
        match selection {
            Selection::From(name) => self.adcs.valid(&Key::new("", name)),
            Selection::None | Selection::Skipped(_) => None,
        }
    }

    /// Returns whether a Cluster is to have AKO.
    pub(super) fn want(&self, cluster: &Cluster) -> Want {
        want(&select(cluster, &self.adcs.all(), false))
    }

    pub(super) async fn look(&self, cluster: &Cluster) -> Result<Seen, Error> {
        let selection = select(cluster, &self.adcs.all(), false);
        let adc = self.adc(&selection);
        let ip_family = adc.as_ref().map(|adc| {
            let refused = refuse_ip_family(&cluster.ip_family(), adc.spec.ip_family(), false);
            refused.map_or(Ok(()), Err)
        });
        let (is_held, recorded) = (is_held(&cluster.metadata), self.recorded(cluster));
        let namesake = self.namesake(cluster);
        let mut seen = Seen {
            is_deleting: cluster.is_deleting(),
            is_held,
            is_forced: cluster.annotation(FORCE_ANNOTATION) == Some("true"),
            is_paused: cluster.is_paused(),
            is_recorded: recorded.is_some(),
            want: want(&selection),
            hooks: self.hooks(cluster),
            workload: Workload::Unread,
            needs_watch: false,
            said: said(cluster),
            purge: match &recorded {
                _ if self.memory.is_purged(cluster) => Purge::Done,
                Some(_) if namesake.is_none() => Purge::Possible,
                _ => Purge::Impossible,
            },
            ip_family,
        };
        let is_kept = matches!(seen.want, Want::Kept { .. }) && !seen.is_deleting;
        if !is_held || is_kept || seen.is_paused {
            return Ok(seen);
        }
        if !cluster.control_plane_initialized() {
            seen.workload = Workload::NotInitialized;
            return Ok(seen);
        }
        let opened = match self.open(cluster).await {
            Ok(opened) => opened,
            Err(error) => {
                seen.workload = closed(&error);
                return Ok(seen);
            }
        };
        seen.needs_watch = !self.memory.is_watched(cluster, &opened.version);
        let adc = adc.filter(|_| !seen.is_deleting);
        let install = match (&adc, &seen.ip_family) {
            (None, _) => None,
            (Some(_), Some(Err(message))) => {
                Some(Err(Problem { reason: reason::IP_FAMILY_UNSUPPORTED, message: message.clone() }))
            }
            (Some(adc), _) => Some(self.install(cluster, adc).await?),
        };
        let offer = adc.as_ref().map(|adc| self.offer(cluster, adc, namesake, install.as_ref()));
        let install = install.map(|install| install.map(|(install, _)| install));
        seen.workload = match read(&opened.client, &avi_name(cluster), install).await {
            Ok(state) => Workload::Open(Box::new(held_back(state, offer))),
            Err(error) => closed(&error),
        };
        Ok(seen)
    }

    /// Returns the AKODeploymentConfig that has recorded that AKO is delivered to a Cluster.
    pub(super) fn recorded(&self, cluster: &Cluster) -> Option<Arc<AkoDeploymentConfig>> {
        let key = Key::of(cluster).to_string();
        self.adcs.all().into_iter().find(|adc| has_recorded(adc, &key))
    }

    /// Returns another Cluster with AKO whose name on AVI is the same.
    fn namesake(&self, cluster: &Cluster) -> Option<Key> {
        let (key, name) = (Key::of(cluster), avi_name(cluster));
        let others = self.clusters.cache().all();
        let other = others.iter().find(|other| {
            avi_name(other) == name
                && Key::of(&***other) != key
                && other.finalizers().iter().any(|held| held == FINALIZER)
        });
        other.map(|other| Key::of(&***other))
    }

    /// Decides whether an AKODeploymentConfig may be delivered as it is now; the error says why not.
    fn offer(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        namesake: Option<Key>,
        install: Option<&Result<(Install, String), Problem>>,
    ) -> Result<(), Problem> {
        if let Some(other) = namesake {
            let message = format!(
                "the Cluster {other} has the same name on AVI, {:?}: give one of them another name",
                avi_name(cluster)
            );
            return Err(Problem { reason: reason::NAME_TAKEN, message });
        }
        let is_recorded = has_recorded(adc, &Key::of(cluster).to_string());
        let answer = self.answers.answer(adc.metadata.uid.as_deref().unwrap_or_default());
        let is_accepted =
            install.and_then(|install| install.as_ref().ok()).is_some_and(|(_, credentials)| {
                answer.is_some_and(|answer| {
                    answer.basis.generation == adc.metadata.generation
                        && answer.basis.credentials == *credentials
                })
            });
        if is_recorded && is_accepted && is_ready(adc) {
            return Ok(());
        }
        Err(Problem { reason: reason::ADC_NOT_READY, message: not_ready(adc) })
    }

    /// Returns the client of a workload cluster. Sends nothing to it.
    pub(super) async fn open(&self, cluster: &Cluster) -> Result<Opened, capi::Error> {
        let (namespace, name) = (cluster.namespace(), secret_name(cluster.name()));
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let Some(secret) = secrets.get_opt(&name).await? else {
            self.clients.forget(namespace, cluster.name());
            let message = format!("Secret {namespace}/{name} does not exist");
            return Err(capi::Error::new(Kind::NoKubeconfig, message));
        };
        let version = format!("{:?}/{:?}", secret.uid(), secret.resource_version());
        Ok(Opened { client: self.clients.client_from(&secret)?, version })
    }

    fn hooks(&self, cluster: &Cluster) -> Hooks {
        let mut hooks = Hooks::default();
        for machine in self.by_cluster.get(&Key::of(cluster)) {
            let name = machine.name().to_owned();
            if machine.annotation(PRE_TERMINATE_HOOK) == Some(HOOK_OWNER) {
                if machine.is_deleting() && !cluster.is_deleting() {
                    hooks.unneeded.push(name.clone());
                }
                hooks.present.push(name);
            } else if !machine.is_deleting() && cluster.namespace() != SYSTEM_NAMESPACE {
                // Machines of management clusters have none, as with the original: nothing is left that would remove it.
                hooks.missing.push(name);
            }
        }
        hooks
    }

    /// Returns what is to be delivered, with the version of its credentials, or why it cannot be said.
    async fn install(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
    ) -> Result<Result<(Install, String), Problem>, Error> {
        let spec = adc.spec.clone();
        let refused = |reason, message| Ok(Err(Problem { reason, message }));
        let wrong = validate(&adc.name_any(), &spec, None);
        if !wrong.is_empty() {
            let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            return refused(reason::INVALID_SPEC, format!("AKODeploymentConfig: {}", wrong.join("; ")));
        }
        let status = adc.status.as_ref();
        let asked = spec.controller_version.clone().filter(|version| !version.is_empty());
        let known = status.and_then(|status| status.controller_version.clone());
        let Some(controller_version) = asked.or(known) else {
            return refused(reason::ADC_NOT_READY, not_ready(adc));
        };
        let admin = match admin(&self.client, &adc.spec).await? {
            Ok(admin) => admin,
            Err(message) => return refused(reason::CREDENTIALS_MISSING, message),
        };
        let install = Install {
            spec,
            namespace: cluster.namespace().to_owned(),
            name: cluster.name().to_owned(),
            credentials: admin.credentials,
            controller_version,
            kubernetes_version: None,
            ako: self.ako.clone(),
            is_management: cluster.namespace() == SYSTEM_NAMESPACE,
            delete_config: false,
        };
        Ok(Ok((install, admin.version)))
    }
}

/// Returns whether an AKODeploymentConfig has recorded that AKO is delivered to the Cluster of this key.
fn has_recorded(adc: &AkoDeploymentConfig, key: &String) -> bool {
    adc.status.as_ref().is_some_and(|status| status.delivered_to.contains(key))
}

/// Returns the name of a Cluster on AVI.
pub(super) fn avi_name(cluster: &Cluster) -> String {
    cluster_name(cluster.namespace(), cluster.name())
}

/// Holds a delivery back that the AKODeploymentConfig is not ready for: an AKO with wrong credentials would lock the account. An AKO that
/// runs goes on as it is.
fn held_back(mut state: State, offer: Option<Result<(), Problem>>) -> State {
    let Some(Err(Problem { reason, message })) = offer else { return state };
    let Delivery::Of { foreign, .. } = &state.delivery else { return state };
    let foreign = foreign.clone();
    state.delivery = if state.installed.set.is_none() && foreign.is_empty() {
        Delivery::Refused { reason, message }
    } else {
        Delivery::Of { differing: Vec::new(), obsolete: Vec::new(), foreign }
    };
    state
}

/// Returns whether an AKODeploymentConfig can be used: AVI has what it asks for.
fn is_ready(adc: &AkoDeploymentConfig) -> bool {
    ready(adc).is_some_and(|ready| ready.status == "True")
}

/// Returns the Ready condition, if it answers the present spec.
fn ready(adc: &AkoDeploymentConfig) -> Option<&Condition> {
    let status = adc.status.as_ref().filter(|status| status.observed_generation == adc.metadata.generation);
    conditions::get(&status?.conditions, conditions::READY)
}

/// Returns why an AKODeploymentConfig cannot be used yet.
fn not_ready(adc: &AkoDeploymentConfig) -> String {
    let why = ready(adc)
        .filter(|ready| ready.status != "True")
        .map_or_else(String::new, |ready| format!(" ({}: {})", ready.reason, ready.message));
    format!("the AKODeploymentConfig {:?} is not ready{why}: AKO is installed once it is", adc.name_any())
}

/// Returns the conditions of a Cluster that this operator owns.
pub(super) fn said(cluster: &Cluster) -> Vec<Said> {
    let known = |type_: &&'static str| {
        let condition = cluster.conditions.get(type_)?;
        let status = match condition.status {
            ConditionStatus::True => Status::True,
            ConditionStatus::False => Status::False,
            ConditionStatus::Unknown => Status::Unknown,
        };
        let (reason, message) = (condition.reason.clone(), condition.message.clone());
        Some(Said { type_, status, reason, message })
    };
    OWNED.iter().filter_map(known).collect()
}

fn want(selection: &Selection) -> Want {
    match selection {
        Selection::From(_) => Want::Ako,
        Selection::None => Want::Nothing,
        Selection::Skipped(skip) if skip.removes() => Want::Nothing,
        Selection::Skipped(skip) => {
            let message = match skip {
                Skip::NoSuchConfig(name) => format!(
                    "the label of the Cluster names the AKODeploymentConfig {name:?}, which does not exist or cannot select it: correct \
                     the label, or create it"
                ),
                Skip::NotReady | Skip::KubeVip => "Cluster API reports the Cluster as not ready".to_owned(),
            };
            Want::Kept { reason: skip.reason(), message }
        }
    }
}

fn closed(error: &capi::Error) -> Workload {
    Workload::Closed { reason: error.reason(), message: format!("{error}: {}", error.remedy()) }
}

/// Reads the workload cluster. `install`: what is to be there.
async fn read(
    client: &Client,
    name: &str,
    install: Option<Result<Install, Problem>>,
) -> Result<State, capi::Error> {
    let mut installed = Installed::default();
    if let Some(config) = of_another(client, name).await? {
        let delivery = match install {
            None => Delivery::None,
            Some(_) => Delivery::Of { differing: Vec::new(), obsolete: Vec::new(), foreign: vec![config] },
        };
        return Ok(State { delivery, installed });
    }
    for target in removal() {
        let Some(live) = find(client, &target).await?.filter(is_ours) else { continue };
        if target.name == STATEFUL_SET && target.resource.kind == "StatefulSet" {
            let answer = answer(&live);
            let is_ending = live.metadata.deletion_timestamp.is_some();
            installed.set = Some(Set { target, answer, is_ending });
            continue;
        }
        if target.name == CONFIG_MAP {
            installed.delete_config = Some(live.data["data"]["deleteConfig"] == "true");
        }
        installed.rest.push(target);
    }
    let delivery = match install.map(|install| install.and_then(|install| objects(&install))) {
        None => Delivery::None,
        Some(Err(Problem { reason, message })) => Delivery::Refused { reason, message },
        Some(Ok(wanted)) => {
            let (mut differing, mut foreign) = (Vec::new(), Vec::new());
            for object in wanted.objects {
                let target = object.target();
                match find(client, &target).await? {
                    // A Namespace may have been made by others: it holds their objects as well.
                    Some(_) if target.resource.kind == "Namespace" => {}
                    Some(live) if !is_ours(&live) => foreign.push(target),
                    Some(live) if has_all(&live, &object.object) => {}
                    Some(_) | None => differing.push(object),
                }
            }
            let is_left = |target: &Target| installed.rest.contains(target);
            let obsolete = wanted.obsolete.into_iter().filter(is_left).collect();
            Delivery::Of { differing, obsolete, foreign }
        }
    };
    Ok(State { delivery, installed })
}

/// Returns AKO's ConfigMap if it is of another Cluster: a copy of a Cluster, or of its kubeconfig, leads to the same workload cluster.
async fn of_another(client: &Client, name: &str) -> Result<Option<Target>, capi::Error> {
    let Some(target) = removal().into_iter().find(|target| target.name == CONFIG_MAP) else {
        return Ok(None);
    };
    let Some(live) = find(client, &target).await?.filter(is_ours) else { return Ok(None) };
    let is_other = live.data["data"]["clusterName"].as_str().is_some_and(|of| of != name);
    Ok(is_other.then_some(target))
}

/// Returns what AKO says of its removal, with its gateway if it has one.
fn answer(set: &DynamicObject) -> Answer {
    let said = |annotation: &str| Answer::of(set.annotations().get(annotation).map(String::as_str));
    let containers = set.data["spec"]["template"]["spec"]["containers"].as_array();
    let has_gateway =
        containers.into_iter().flatten().any(|container| container["name"] == GATEWAY_CONTAINER);
    let ako = said(STATUS_ANNOTATION);
    if has_gateway { ako.and(said(GATEWAY_STATUS_ANNOTATION)) } else { ako }
}

/// Only the Gateway API may be missing: where the API server seems to know nothing of its own kinds, something else answers in its place,
/// and nothing is known of what is there.
async fn find(client: &Client, target: &Target) -> Result<Option<DynamicObject>, capi::Error> {
    let found = api(client, target).get_opt(&target.name).await.map_err(capi::Error::from);
    match found {
        Err(error) if error.kind() == Kind::NotInstalled && target.resource.group == GATEWAY_GROUP => {
            Ok(None)
        }
        found => found,
    }
}

/// Returns the API for objects of the kind of a target.
pub(super) fn api(client: &Client, target: &Target) -> Api<DynamicObject> {
    match &target.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &target.resource),
        None => Api::all_with(client.clone(), &target.resource),
    }
}

fn is_ours(object: &DynamicObject) -> bool {
    object.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGED_BY)
}

fn has_all(live: &DynamicObject, wanted: &DynamicObject) -> bool {
    let value = |object| serde_json::to_value(object).unwrap_or_default();
    contains(&value(live), &value(wanted))
}

/// Returns whether a value has all of another one. The API server adds defaults to objects, and never to lists.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            wanted.is_null() || live.get(key).is_some_and(|live| contains(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_adds_is_no_difference() {
        let wanted = json!({"a": [{"b": 1}], "n": null});
        for (live, same) in [
            (json!({"a": [{"b": 1}]}), true),
            (json!({"a": [{"b": 1, "default": 2}], "status": {}}), true),
            (json!({"a": [{"b": 2}]}), false),
            (json!({"a": [{"b": 1}, {"b": 1}]}), false),
            (json!({}), false),
        ] {
            assert_eq!(contains(&live, &wanted), same, "{live}");
        }
    }
}
