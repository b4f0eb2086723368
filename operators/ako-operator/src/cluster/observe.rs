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
use super::{Clusters, STATUS_ANNOTATION};
use crate::api::condition::OWNED;
use crate::api::{
    AkoDeploymentConfig, FINALIZER, FORCE_ANNOTATION, HOOK_OWNER, LATER_FINALIZER, PRE_TERMINATE_HOOK,
    SYSTEM_NAMESPACE, reason,
};
use crate::delivery::{
    CONFIG_MAP, Install, MANAGED_BY, MANAGED_BY_LABEL, Problem, STATEFUL_SET, Target, objects, removal,
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

    pub(super) async fn look(&self, cluster: &Cluster) -> Result<Seen, Error> {
        let selection = select(cluster, &self.adcs.all(), false);
        let adc = self.adc(&selection);
        let ip_family = adc.as_ref().map(|adc| {
            let refused = refuse_ip_family(&cluster.ip_family(), adc.spec.ip_family(), false);
            refused.map_or(Ok(()), Err)
        });
        let ours = [FINALIZER, LATER_FINALIZER];
        let is_held = cluster.finalizers().iter().any(|held| ours.contains(&held.as_str()));
        let mut seen = Seen {
            is_deleting: cluster.is_deleting(),
            is_held,
            is_forced: cluster.annotation(FORCE_ANNOTATION) == Some("true"),
            want: want(&selection),
            hooks: self.hooks(cluster),
            workload: Workload::Unread,
            needs_watch: false,
            said: said(cluster),
            purge: match &adc {
                _ if self.memory.is_purged(cluster) => Purge::Done,
                Some(_) => Purge::Possible,
                None => Purge::Impossible,
            },
            ip_family,
        };
        if !is_held || matches!(seen.want, Want::Kept { .. }) && !seen.is_deleting {
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
        seen.workload = match read(&opened.client, install).await {
            Ok(state) => Workload::Open(Box::new(held_back(state, adc.as_deref()))),
            Err(error) => closed(&error),
        };
        Ok(seen)
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
            } else if !machine.is_deleting() {
                hooks.missing.push(name);
            }
        }
        hooks
    }

    /// Returns what is to be delivered, or why it cannot be said.
    async fn install(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
    ) -> Result<Result<Install, Problem>, Error> {
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
        let credentials = match admin(&self.client, &adc.spec).await? {
            Ok(admin) => admin.credentials,
            Err(message) => return refused(reason::CREDENTIALS_MISSING, message),
        };
        Ok(Ok(Install {
            spec,
            namespace: cluster.namespace().to_owned(),
            name: cluster.name().to_owned(),
            credentials,
            controller_version,
            kubernetes_version: None,
            ako: self.ako.clone(),
            is_management: cluster.namespace() == SYSTEM_NAMESPACE,
            delete_config: false,
        }))
    }
}

/// Holds the first delivery back until the AKODeploymentConfig is ready: an AKO that starts with wrong credentials would lock the account.
/// One that runs goes on.
fn held_back(mut state: State, adc: Option<&AkoDeploymentConfig>) -> State {
    if let Some(adc) = adc.filter(|adc| state.installed.set.is_none() && !is_ready(adc))
        && matches!(state.delivery, Delivery::Of { .. })
    {
        state.delivery = Delivery::Refused { reason: reason::ADC_NOT_READY, message: not_ready(adc) };
    }
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
fn said(cluster: &Cluster) -> Vec<Said> {
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
async fn read(client: &Client, install: Option<Result<Install, Problem>>) -> Result<State, capi::Error> {
    let mut installed = Installed::default();
    for target in removal() {
        let Some(live) = find(client, &target).await?.filter(is_ours) else { continue };
        if target.name == STATEFUL_SET && target.resource.kind == "StatefulSet" {
            let answer = Answer::of(live.annotations().get(STATUS_ANNOTATION).map(String::as_str));
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
