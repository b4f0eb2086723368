//! The reconcile of a Pod, in place of scheduler and kubelet: bind, run, remove. Containers start, become ready and stop
//! immediately. Containers of a Pod with a restart policy other than Always succeed immediately.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, Node, Pod,
    PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::schedule::choose;
use crate::controllers::RETRY;

/// The next step; a reconcile carries out one.
#[derive(Debug, PartialEq)]
enum Step {
    /// Binds the Pod to a Node.
    Schedule,
    /// Writes the status.
    Report(Box<PodStatus>),
    /// Removes the Pod.
    Remove,
    Nothing,
}

/// Chooses the next step. `running`: the Nodes whose kubelet runs. `ip`: the address of a new Pod.
fn plan(pod: &Pod, running: &BTreeSet<String>, ip: Ipv4Addr, now: Timestamp) -> Step {
    let Some(spec) = &pod.spec else {
        return Step::Nothing;
    };
    let Some(node) = &spec.node_name else {
        let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == "default-scheduler");
        let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        // The API server itself removes a Pod without a Node.
        let schedulable = ours && !gated && pod.metadata.deletion_timestamp.is_none();
        return if schedulable { Step::Schedule } else { Step::Nothing };
    };
    if !running.contains(node) {
        return Step::Nothing;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Step::Remove;
    }
    let old = pod.status.clone().unwrap_or_default();
    if matches!(old.phase.as_deref(), Some("Succeeded" | "Failed")) || is_reported(spec, &old) {
        return Step::Nothing;
    }
    Step::Report(Box::new(pod_status(spec, old, ip, now)))
}

/// Returns whether the status is that of a running Pod with these containers.
fn is_reported(spec: &PodSpec, status: &PodStatus) -> bool {
    let statuses = status.container_statuses.as_deref().unwrap_or_default();
    let is_ready = |container: &Container| {
        let image = container.image.as_deref().unwrap_or_default();
        statuses.iter().any(|is| is.name == container.name && is.ready && is.image == image)
    };
    status.phase.as_deref() == Some("Running") && spec.containers.iter().all(is_ready)
}

/// Returns the status of a running or succeeded Pod.
fn pod_status(spec: &PodSpec, old: PodStatus, ip: Ipv4Addr, now: Timestamp) -> PodStatus {
    // Otherwise Jobs would never complete.
    let ends = spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always");
    let start = old.start_time.unwrap_or(Time(now));
    let ended = ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 0,
            reason: Some("Completed".to_owned()),
            started_at: Some(start.clone()),
            finished_at: Some(Time(now)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
    let running = ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(start.clone()) }),
        ..ContainerState::default()
    };
    let containers = |all: &[Container], ended_as: Option<&ContainerState>| {
        let one = |container: &Container| ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            container_id: Some(format!("testbed://{}", container.name)),
            ready: ended_as.is_none(),
            started: Some(ended_as.is_none()),
            state: Some(ended_as.unwrap_or(&running).clone()),
            ..ContainerStatus::default()
        };
        all.iter().map(one).collect::<Vec<_>>()
    };
    let is_true = |kind: &str, yes: bool| PodCondition {
        type_: kind.to_owned(),
        status: if yes { "True" } else { "False" }.to_owned(),
        reason: (!yes).then(|| "PodCompleted".to_owned()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    };
    let ip = old.pod_ip.unwrap_or_else(|| ip.to_string());
    PodStatus {
        phase: Some(if ends { "Succeeded" } else { "Running" }.to_owned()),
        conditions: Some(vec![
            is_true("PodScheduled", true),
            is_true("Initialized", true),
            is_true("ContainersReady", !ends),
            is_true("Ready", !ends),
        ]),
        container_statuses: Some(containers(&spec.containers, ends.then_some(&ended))),
        init_container_statuses: Some(containers(
            spec.init_containers.as_deref().unwrap_or_default(),
            Some(&ended),
        )),
        pod_ips: Some(vec![PodIP { ip: ip.clone() }]),
        pod_ip: Some(ip),
        start_time: Some(start),
        ..PodStatus::default()
    }
}

/// The context of every reconcile.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) pods: Store<Pod>,
    pub(super) members: super::Members,
    /// Those whose bound Pods are run elsewhere.
    pub(super) images: super::Images,
    /// The number of addresses assigned so far.
    pub(super) addresses: AtomicU32,
}

/// Reconciles a Pod.
pub(super) async fn reconcile(pod: Arc<Pod>, context: Arc<Context>) -> kube::Result<Action> {
    let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if is_bound && context.images.runs(&pod) {
        return Ok(Action::await_change());
    }
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let name = pod.name_any();
    let number = context.addresses.fetch_add(1, Ordering::Relaxed) + 1;
    let ip = Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 0, 0).to_bits() + number);
    let running = context.members.names();
    match plan(&pod, &running, ip, Timestamp::now()) {
        Step::Schedule => {
            let Some(node) = choose_node(&pod, &context, &running).await? else {
                return Ok(Action::requeue(RETRY));
            };
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": node});
            let binding =
                json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
            let _: Value = api.create_subresource("binding", &name, &PostParams::default(), &binding).await?;
        }
        Step::Report(status) => {
            let patch = Patch::Merge(json!({"status": status}));
            api.patch_status(&name, &PatchParams::default(), &patch).await?;
        }
        Step::Remove => {
            // The precondition protects a later Pod with the same name.
            let this = Preconditions { uid: pod.uid(), ..Preconditions::default() };
            let at_once =
                DeleteParams { preconditions: Some(this), ..DeleteParams::default().grace_period(0) };
            match api.delete(&name, &at_once).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(other?),
            }
        }
        Step::Nothing if waits_for_kubelet(&pod, &running) => return Ok(Action::requeue(RETRY)),
        Step::Nothing => {}
    }
    Ok(Action::await_change())
}

/// Whether the Pod is bound to a Node without a running kubelet, which may join later.
fn waits_for_kubelet(pod: &Pod, running: &BTreeSet<String>) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    node.is_some_and(|node| !running.contains(node))
}

/// Chooses a Node for a Pod; `None` if none fits.
async fn choose_node(
    pod: &Pod,
    context: &Context,
    running: &BTreeSet<String>,
) -> kube::Result<Option<String>> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let nodes = nodes.list(&ListParams::default()).await?.items;
    let mut pods = BTreeMap::new();
    for node in context.pods.state().iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()) {
        *pods.entry(node).or_default() += 1;
    }
    let open = nodes.iter().filter(|node| running.contains(&node.name_any()));
    Ok(choose(pod, open, &pods).map(ResourceExt::name_any))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

    fn pod(spec: &Value, metadata: &Value) -> Pod {
        let mut pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(pod).unwrap()
    }

    fn step(pod: &Pod) -> Step {
        plan(pod, &BTreeSet::from(["n".to_owned()]), IP, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_pod_is_bound_run_and_removed() {
        assert_eq!(step(&pod(&json!({}), &json!({}))), Step::Schedule);
        let mut bound = pod(&json!({"nodeName": "n"}), &json!({}));
        let Step::Report(status) = step(&bound) else { panic!("not reported") };
        assert_eq!(
            (status.phase.as_deref(), status.pod_ip.as_deref()),
            (Some("Running"), Some("192.168.0.1"))
        );
        bound.status = Some(*status);
        assert_eq!(step(&bound), Step::Nothing, "a second reconcile changes nothing");

        bound.spec.as_mut().unwrap().containers[0].image = Some("i:2".to_owned());
        assert!(matches!(step(&bound), Step::Report(_)), "an image changed in place");
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(step(&pod(&json!({"nodeName": "n"}), &gone)), Step::Remove);
        assert_eq!(step(&pod(&json!({}), &gone)), Step::Nothing);
    }

    #[test]
    fn pods_of_other_schedulers_and_nodes_are_ignored() {
        for spec in [
            json!({"schedulerName": "other"}),
            json!({"schedulingGates": [{"name": "later"}]}),
            json!({"nodeName": "powered-off"}),
        ] {
            assert_eq!(step(&pod(&spec, &json!({}))), Step::Nothing);
        }
    }

    #[test]
    fn a_pod_of_a_job_succeeds() {
        let Step::Report(status) =
            step(&pod(&json!({"nodeName": "n", "restartPolicy": "Never"}), &json!({})))
        else {
            panic!("not reported")
        };
        assert_eq!(status.phase.as_deref(), Some("Succeeded"));
        let containers = status.container_statuses.unwrap();
        assert!(!containers[0].ready && containers[0].state.as_ref().unwrap().terminated.is_some());
    }
}
