//! TestbedControlPlane: keeps the number of control-plane Machines, replaces those of another version one by one, and
//! reports the API server as initialized. The API server always runs and does not change with the version.
//!
//! When it is deleted, it deletes its Machines and keeps its finalizer until the last one is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CLUSTER_LABEL, CONTROL_PLANE_LABEL, Context, RETRY, cluster_of, is_deleting, is_held};
use crate::management::api::{Initialized, TestbedControlPlane, TestbedControlPlaneStatus, TestbedMachine};
use crate::management::machines;

/// The label with the name of a Machine's control plane.
const NAME_LABEL: &str = "cluster.x-k8s.io/control-plane-name";

/// The next step; a reconcile carries out one.
#[derive(Debug, PartialEq)]
enum Step {
    /// Removes the finalizer.
    Release,
    /// Adds the finalizer.
    Hold,
    /// Deletes these Machines.
    Delete(Vec<String>),
    /// Creates Machines with these names.
    Create(Vec<String>),
    /// Writes the status.
    Report(Box<TestbedControlPlaneStatus>),
    /// Waits until the workload cluster is registered.
    Wait,
    Nothing,
}

/// A Machine of the control plane, with the fields that `plan` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    deleting: bool,
    version: String,
    ready: bool,
    available: bool,
}

/// Chooses the next step. `cluster` is the name of the registered workload cluster.
fn plan(plane: &TestbedControlPlane, members: &[Member], cluster: Option<&str>, now: Timestamp) -> Step {
    let staying: Vec<_> = members.iter().filter(|member| !member.deleting).collect();
    let name = |member: &&Member| member.name.clone();
    if is_deleting(plane) {
        return match (is_held(plane), members.is_empty()) {
            (true, true) => Step::Release,
            (true, false) if !staying.is_empty() => Step::Delete(staying.iter().map(name).collect()),
            _ => Step::Nothing,
        };
    }
    let Some(cluster) = cluster else {
        return Step::Wait;
    };
    if !is_held(plane) {
        return Step::Hold;
    }
    let wanted = usize::try_from(plane.spec.replicas.unwrap_or(1)).unwrap_or_default();
    let (current, outdated): (Vec<&Member>, Vec<&Member>) =
        staying.iter().partition(|member| member.version == plane.spec.version);
    // A new Machine must be available before an outdated one is deleted.
    if staying.len() > wanted && (outdated.is_empty() || current.iter().all(|member| member.available)) {
        let going = outdated.iter().chain(current.iter().rev()).take(staying.len() - wanted);
        return Step::Delete(going.map(name).collect());
    }
    // A deleted Machine is replaced after it is gone, as KubeadmControlPlane does; an outdated one before it is deleted.
    let settled =
        members.len() == wanted && members.iter().all(|member| !member.deleting && member.available);
    let missing = wanted.saturating_sub(members.len()) + usize::from(settled && !outdated.is_empty());
    if missing > 0 {
        let free = (0..).map(|index| format!("{cluster}-control-plane-{index}"));
        let free = free.filter(|name| members.iter().all(|member| member.name != *name));
        return Step::Create(free.take(missing).collect());
    }
    let status = status(plane, members, cluster, now);
    if plane.status.as_ref() == Some(&status) { Step::Nothing } else { Step::Report(Box::new(status)) }
}

fn status(
    plane: &TestbedControlPlane,
    members: &[Member],
    cluster: &str,
    now: Timestamp,
) -> TestbedControlPlaneStatus {
    let count = |which: &dyn Fn(&Member) -> bool| {
        i32::try_from(members.iter().filter(|member| which(member)).count()).unwrap_or(i32::MAX)
    };
    let replicas = count(&|_| true);
    let available = count(&|member| member.available);
    // The API server is a separate process and serves without Machines.
    let (yes, reason) =
        if available > 0 || replicas == 0 { ("True", "Available") } else { ("False", "NoMachineAvailable") };
    let old = plane.status.iter().flat_map(|status| &status.conditions).find(|old| old.type_ == "Available");
    let unchanged = old.filter(|old| old.status == yes).map(|old| old.last_transition_time.clone());
    let versions = members.iter().map(|member| member.version.clone());
    TestbedControlPlaneStatus {
        initialization: Initialized { control_plane_initialized: true },
        selector: format!("{CLUSTER_LABEL}={cluster},{CONTROL_PLANE_LABEL}"),
        replicas,
        ready_replicas: count(&|member| member.ready),
        available_replicas: available,
        up_to_date_replicas: count(&|member| member.version == plane.spec.version),
        version: versions
            .min_by_key(|version| version_numbers(version))
            .unwrap_or_else(|| plane.spec.version.clone()),
        conditions: vec![Condition {
            type_: "Available".to_owned(),
            status: yes.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: plane.metadata.generation,
            last_transition_time: unchanged.unwrap_or(Time(now)),
        }],
    }
}

/// Returns the numbers of a version, for comparison.
fn version_numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Lets changes of Machines trigger their control plane.
pub(super) fn watch_machines(
    planes: Controller<TestbedControlPlane>,
    client: &Client,
) -> Controller<TestbedControlPlane> {
    let machines: Api<DynamicObject> = Api::all_with(client.clone(), &machines());
    planes.owns_with(
        machines,
        super::super::machines(),
        watcher::Config::default().labels(CONTROL_PLANE_LABEL),
    )
}

/// Reconciles a TestbedControlPlane.
pub(super) async fn reconcile(
    plane: Arc<TestbedControlPlane>,
    context: Arc<Context>,
) -> kube::Result<Action> {
    let cluster = cluster_of(plane.as_ref());
    let site = cluster.as_ref().and_then(|key| context.sites.get(key));
    let namespace = plane.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &machines());
    let members = list_members(&api, &plane).await?;
    let known = cluster.as_ref().filter(|_| site.is_some()).map(|(_, name)| name.as_str());
    match plan(&plane, &members, known, Timestamp::now()) {
        Step::Release => context.patch(plane.as_ref(), false, json!({})).await?,
        Step::Hold => context.patch(plane.as_ref(), true, json!({})).await?,
        Step::Delete(names) => {
            for name in names {
                match api.delete(&name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    other => drop(other?),
                }
            }
        }
        Step::Create(names) => {
            for name in names {
                create_machine(&context, &plane, &api, known.unwrap_or_default(), &name).await?;
            }
        }
        Step::Report(status) => {
            let status = serde_json::to_value(*status).map_err(kube::Error::SerdeError)?;
            context.patch_status(plane.as_ref(), status).await?;
        }
        Step::Wait => return Ok(Action::requeue(RETRY)),
        Step::Nothing => {}
    }
    Ok(Action::await_change())
}

/// Returns the Machines of a control plane, by name.
async fn list_members(api: &Api<DynamicObject>, plane: &TestbedControlPlane) -> kube::Result<Vec<Member>> {
    let all = api.list(&ListParams::default().labels(CONTROL_PLANE_LABEL)).await?;
    let ours = all.items.into_iter().filter(|machine| {
        machine.owner_references().iter().any(|owner| Some(&owner.uid) == plane.meta().uid.as_ref())
    });
    let is_true = |machine: &DynamicObject, kind: &str| {
        let conditions = machine.data["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|is| is["type"] == kind && is["status"] == "True")
    };
    let mut members: Vec<_> = ours
        .map(|machine| Member {
            name: machine.name_any(),
            deleting: is_deleting(&machine),
            version: machine.data["spec"]["version"].as_str().unwrap_or_default().to_owned(),
            ready: is_true(&machine, "Ready"),
            available: is_true(&machine, "Available"),
        })
        .collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(members)
}

/// Creates a Machine and its TestbedMachine.
async fn create_machine(
    context: &Context,
    plane: &TestbedControlPlane,
    api: &Api<DynamicObject>,
    cluster: &str,
    name: &str,
) -> kube::Result<()> {
    let template = &plane.spec.machine_template.metadata;
    let mut labels: BTreeMap<&str, &str> =
        template.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let plane_name = plane.name_any();
    labels.extend([(CLUSTER_LABEL, cluster), (CONTROL_PLANE_LABEL, ""), (NAME_LABEL, &plane_name)]);
    let infrastructure: TestbedMachine = parse(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {},
    }))?;
    accept_existing(context.api(plane).create(&PostParams::default(), &infrastructure).await)?;
    let machine: DynamicObject = parse(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Machine",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": template.annotations,
            "ownerReferences": plane.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            "clusterName": cluster,
            "version": plane.spec.version,
            "bootstrap": {"dataSecretName": format!("{name}-bootstrap")},
            "infrastructureRef": {
                "apiGroup": TestbedMachine::group(&()),
                "kind": TestbedMachine::kind(&()),
                "name": name,
            },
        },
    }))?;
    accept_existing(api.create(&PostParams::default(), &machine).await)
}

/// Accepts that an object exists, because an interrupted reconcile has created it.
fn accept_existing<T>(created: kube::Result<T>) -> kube::Result<()> {
    match created {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(|_| ()),
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> kube::Result<T> {
    serde_json::from_value(value).map_err(kube::Error::SerdeError)
}

#[cfg(test)]
mod tests {
    use super::super::FINALIZER;
    use super::*;

    fn plane(
        replicas: i32,
        deleting: bool,
        status: Option<&TestbedControlPlaneStatus>,
    ) -> TestbedControlPlane {
        let mut metadata = json!({"name": "c", "finalizers": [FINALIZER]});
        if deleting {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        serde_json::from_value(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1",
            "kind": "TestbedControlPlane",
            "metadata": metadata,
            "spec": {"replicas": replicas, "version": "v1.36.1"},
            "status": status,
        }))
        .unwrap()
    }

    fn member(index: usize, deleting: bool) -> Member {
        let name = format!("c-control-plane-{index}");
        Member { name, deleting, version: "v1.36.1".to_owned(), ready: true, available: true }
    }

    fn step(plane: &TestbedControlPlane, members: &[Member]) -> Step {
        plan(plane, members, Some("c"), Timestamp::UNIX_EPOCH)
    }

    fn names(indices: &[usize]) -> Vec<String> {
        indices.iter().map(|index| format!("c-control-plane-{index}")).collect()
    }

    #[test]
    fn the_number_of_machines_is_kept() {
        let (a, b, c) = (member(0, false), member(1, false), member(2, false));
        assert_eq!(step(&plane(3, false, None), &[]), Step::Create(names(&[0, 1, 2])));
        assert_eq!(step(&plane(3, false, None), &[a.clone(), c.clone()]), Step::Create(names(&[1])));
        assert_eq!(step(&plane(1, false, None), &[a.clone(), b.clone(), c]), Step::Delete(names(&[2, 1])));
        let going = [a, member(1, true)];
        assert!(
            matches!(step(&plane(2, false, None), &going), Step::Report(_)),
            "no replacement before the deleted one is gone"
        );
        assert_eq!(plan(&plane(1, false, None), &[], None, Timestamp::UNIX_EPOCH), Step::Wait);
    }

    #[test]
    fn another_version_is_rolled_out_one_by_one() {
        let old = |index| Member { version: "v1.35.9".to_owned(), ..member(index, false) };
        let starting = |index| Member { ready: false, available: false, ..member(index, false) };
        let plane = plane(2, false, None);
        assert_eq!(step(&plane, &[old(0), old(1)]), Step::Create(names(&[2])));
        let waits = step(&plane, &[old(0), old(1), starting(2)]);
        let Step::Report(status) = waits else { panic!("{waits:?} before the new one is available") };
        assert_eq!((status.version.as_str(), status.up_to_date_replicas), ("v1.35.9", 1));
        assert_eq!(step(&plane, &[old(0), old(1), member(2, false)]), Step::Delete(names(&[0])));
        let going = Member { deleting: true, ..old(0) };
        let waits = step(&plane, &[going, old(1), member(2, false)]);
        assert!(matches!(waits, Step::Report(_)), "{waits:?} while one is being deleted");
        assert_eq!(step(&plane, &[old(1), member(2, false)]), Step::Create(names(&[0])));
        assert_eq!(step(&plane, &[member(0, false), old(1), member(2, false)]), Step::Delete(names(&[1])));
        assert!(matches!(step(&plane, &[member(0, false), member(2, false)]), Step::Report(_)));
        assert!(version_numbers("v1.9.10") < version_numbers("v1.10.2"));
    }

    #[test]
    fn an_unchanged_status_is_not_written() {
        let members = [member(0, false)];
        let Step::Report(status) = step(&plane(1, false, None), &members) else { panic!("no status") };
        assert!(status.initialization.control_plane_initialized);
        assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (1, 1, 1));
        assert_eq!((status.version.as_str(), status.conditions[0].status.as_str()), ("v1.36.1", "True"));
        let later = plan(&plane(1, false, Some(&status)), &members, Some("c"), Timestamp::now());
        assert_eq!(later, Step::Nothing, "a second reconcile changes nothing, also at another time");
    }

    #[test]
    fn the_finalizer_stays_until_the_machines_are_gone() {
        let going = plane(1, true, None);
        assert_eq!(step(&going, &[member(0, false), member(1, true)]), Step::Delete(names(&[0])));
        assert_eq!(step(&going, &[member(0, true)]), Step::Nothing);
        assert_eq!(step(&going, &[]), Step::Release);
    }
}
