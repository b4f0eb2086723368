//! What is in a workload cluster: read at once, and compared with what is to be there by a pure function.

use std::future::Future;
use std::time::Duration;

use data_encoding::BASE64;
use futures::stream::{self, StreamExt, TryStreamExt};
use infra_clients::capi::{self, Kind};
use kube::api::Patch;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::room::Room;
use super::seen::{Cleanup, Delivery, Difference, Installed, ObjectWrite, Obstacle, Set, State};
use super::stored::Stored;
use super::{GATEWAY_STATUS_ANNOTATION, STATUS_ANNOTATION};
use crate::delivery::{
    self, CONFIG_MAP, GATEWAY_CONTAINER, MANAGED_BY, MANAGED_BY_LABEL, STATEFUL_SET, Support, Target, removal,
};

/// Group of the GatewayClass.
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// How long all reads of one workload cluster may take: a slow one must not keep the controller from the others.
const BUDGET: Duration = Duration::from_secs(10);
/// How many of them are sent at the same time.
const READS: usize = 4;

/// Objects of a workload cluster, and the add-on Secret of the management cluster.
#[derive(Debug, Default)]
pub(crate) struct Live(Vec<(Target, DynamicObject)>);

impl Live {
    /// Returns these objects.
    #[cfg(test)]
    pub(crate) fn of(objects: Vec<(Target, DynamicObject)>) -> Self {
        Self(objects)
    }

    /// Reads AKO's objects in the workload cluster, and others.
    pub(super) async fn read(client: &Client, others: Vec<Target>) -> Result<Self, capi::Error> {
        let mut targets = removal();
        for target in others {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Self::find(client, targets).await
    }

    /// Reads objects in the workload cluster.
    pub(super) async fn find(client: &Client, targets: Vec<Target>) -> Result<Self, capi::Error> {
        let room = &Room::default();
        let find = |target: Target| async move {
            let Some(object) = find(client, &target).await? else { return Ok(None) };
            Ok::<_, capi::Error>(Some((target, room.take(object)?)))
        };
        let found: Vec<Option<_>> =
            within(BUDGET, stream::iter(targets).map(find).buffered(READS).try_collect()).await?;
        Ok(Self(found.into_iter().flatten().collect()))
    }

    /// Adds an object that was read elsewhere.
    pub(super) fn add(&mut self, target: Target, object: DynamicObject) {
        self.0.push((target, object));
    }

    pub(super) fn get(&self, target: &Target) -> Option<&DynamicObject> {
        self.0.iter().find(|(of, _)| of == target).map(|(_, object)| object)
    }

    /// Returns AKO's StatefulSet, whichever program made it.
    pub(super) fn set(&self) -> Option<(Target, &DynamicObject)> {
        let target = removal().into_iter().find(is_set)?;
        let set = self.get(&target)?;
        Some((target, set))
    }

    /// Returns AKO's ConfigMap, whichever program made it.
    pub(super) fn config(&self) -> Option<(Target, &DynamicObject)> {
        let target = removal().into_iter().find(|target| target.name == CONFIG_MAP)?;
        let config = self.get(&target)?;
        Some((target, config))
    }

    /// Returns the password with which AKO logs in.
    pub(super) fn password(&self) -> Option<String> {
        let target = removal().into_iter().find(|target| target.name == delivery::SECRET)?;
        let encoded = self.get(&target)?.data["data"]["password"].as_str()?;
        String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()
    }

    /// Returns whether something of a direct delivery is there.
    pub(super) fn has_ours(&self) -> bool {
        self.0.iter().any(|(target, object)| target.resource.kind != "Namespace" && is_ours(object))
    }

    fn ours(&self, target: &Target) -> Option<&DynamicObject> {
        self.get(target).filter(|object| is_ours(object))
    }

    /// Returns AKO's ConfigMap if it is of another Cluster: a copy of a Cluster, or of its kubeconfig, leads to the same workload cluster.
    fn of_another(&self, name: &str) -> Option<Target> {
        let (target, config) = self.config().filter(|(_, config)| is_ours(config))?;
        let of = config.data["data"]["clusterName"].as_str()?;
        (of != name).then_some(target)
    }

    /// Compares with what is to be there. `name`: of the Cluster on AVI; `stored`: how the workload cluster answered the writes.
    pub(crate) fn state(
        &self,
        name: &str,
        wanted: Option<Result<delivery::Delivery, Obstacle>>,
        stored: &Stored,
    ) -> State {
        let mut installed = Installed::default();
        if let Some(config) = self.of_another(name) {
            let delivery = match wanted {
                None => Delivery::None,
                Some(_) => in_the_way(config),
            };
            return State { delivery, installed };
        }
        for target in removal() {
            let Some(live) = self.ours(&target) else { continue };
            if is_set(&target) {
                installed.set = Some(set(target, live, true));
                continue;
            }
            if target.name == CONFIG_MAP {
                (installed.delete_config, installed.untold) = read_delete_config(target.clone(), live);
            }
            let is_ending = live.metadata.deletion_timestamp.is_some();
            if is_ending { &mut installed.ending } else { &mut installed.rest }.push(target);
        }
        let delivery = match wanted {
            None => Delivery::None,
            Some(Err(obstacle)) => Delivery::Refused(obstacle),
            Some(Ok(wanted)) => self.difference(wanted, &installed, stored),
        };
        State { delivery, installed }
    }

    fn difference(&self, wanted: delivery::Delivery, installed: &Installed, stored: &Stored) -> Delivery {
        let (mut differing, mut altered, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        for object in wanted.objects {
            let target = object.target();
            match self.get(&target) {
                // A Namespace may have been made by others: it holds their objects as well.
                Some(_) if target.resource.kind == "Namespace" => {}
                Some(live) if !is_ours(live) => foreign.push(target),
                Some(live) => {
                    let (live, wanted) = (value(live), value(&object.object));
                    if contains(&live, &wanted) {
                        continue;
                    }
                    if stored.is_answer(&target, &wanted, &live) {
                        altered.push(target);
                    } else {
                        differing.push(object.into());
                    }
                }
                None => differing.push(object.into()),
            }
        }
        let is_left = |target: &Target| installed.rest.contains(target);
        let obsolete = wanted.obsolete.into_iter().filter(is_left).collect();
        let undocumented = match wanted.support {
            Support::Documented => None,
            Support::Undocumented(what) => Some(what),
        };
        Delivery::Of(Difference {
            differing,
            altered,
            undocumented,
            obsolete,
            foreign,
            ..Difference::default()
        })
    }
}

/// Returns a delivery that cannot be, as something of others is in its way.
pub(super) fn in_the_way(target: Target) -> Delivery {
    Delivery::Of(Difference { foreign: vec![target], ..Difference::default() })
}

/// Returns what AKO's StatefulSet says.
pub(super) fn set(target: Target, live: &DynamicObject, is_ours: bool) -> Set {
    Set {
        is_ours,
        target,
        answer: answer(live),
        ending_since: live.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        is_ready: live.data["status"]["readyReplicas"].as_i64().is_some_and(|ready| ready > 0),
    }
}

/// Returns what AKO reads of `deleteConfig` in its ConfigMap, and the write that makes it true.
pub(super) fn read_delete_config(target: Target, config: &DynamicObject) -> (Option<bool>, Vec<ObjectWrite>) {
    let change = ObjectWrite { target, patch: Patch::Merge(json!({"data": {"deleteConfig": "true"}})) };
    (Some(config.data["data"]["deleteConfig"] == "true"), vec![change])
}

fn is_set(target: &Target) -> bool {
    target.name == STATEFUL_SET && target.resource.kind == "StatefulSet"
}

/// Ends reads that take too long.
async fn within<T>(
    budget: Duration,
    reads: impl Future<Output = Result<T, capi::Error>>,
) -> Result<T, capi::Error> {
    tokio::time::timeout(budget, reads).await.unwrap_or_else(|_| {
        let message = format!("the API server has not answered all reads within {} s", budget.as_secs());
        Err(capi::Error::new(Kind::Timeout, message))
    })
}

/// Returns what AKO says of its removal, with its gateway if it has one.
fn answer(set: &DynamicObject) -> Cleanup {
    let said = |annotation: &str| Cleanup::of(set.annotations().get(annotation).map(String::as_str));
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

pub(super) fn is_ours(object: &DynamicObject) -> bool {
    object.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGED_BY)
}

pub(super) fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Returns whether a value has all of another one. The API server adds defaults to objects, and never to lists.
pub(super) fn contains(live: &Value, wanted: &Value) -> bool {
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
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// An annotation of a gateway that is not delivered any more, or that another program wrote, counts for nothing.
    #[test]
    fn a_gateway_counts_where_the_stateful_set_has_one() {
        use Cleanup::{Done, Silent, Started, Timeout};
        for (ako, gateway, without, with) in [
            (None, None, Silent, Silent),
            (Some("Started"), None, Started, Started),
            (Some("Done"), None, Done, Started),
            (Some("Done"), Some("Started"), Done, Started),
            (Some("Done"), Some("Done"), Done, Done),
            (Some("Done"), Some("Timeout"), Done, Timeout),
            (Some("Timeout"), Some("Done"), Timeout, Timeout),
            (None, Some("Done"), Silent, Started),
            (None, Some("Timeout"), Silent, Timeout),
        ] {
            for (containers, wanted) in [
                (json!([{"name": "ako"}]), without),
                (json!([{"name": "ako"}, {"name": GATEWAY_CONTAINER}]), with),
            ] {
                let said = [(STATUS_ANNOTATION, ako), (GATEWAY_STATUS_ANNOTATION, gateway)];
                let said: BTreeMap<_, _> = said.into_iter().filter(|(_, said)| said.is_some()).collect();
                let live: DynamicObject = serde_json::from_value(json!({
                    "metadata": { "name": STATEFUL_SET, "annotations": said },
                    "spec": { "template": { "spec": { "containers": containers } } },
                }))
                .unwrap();
                let target = removal().into_iter().find(is_set).unwrap();
                assert_eq!(set(target, &live, true).answer, wanted, "{ako:?} {gateway:?} {containers}");
            }
        }
    }

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
