//! The status of a Pod from what its containers do. Pure functions.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It does not run, for a reason such as `CrashLoopBackOff`.
    Waiting { reason: &'static str, message: String },
    /// It runs since then.
    Running { since: Timestamp, is_ready: bool },
    /// It has ended and is not started again.
    Ended(End),
}

/// The end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: i32,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
}

/// A container as its status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: State,
    /// The end of the process before.
    pub(super) last: Option<End>,
    pub(super) restarts: i32,
}

impl View {
    /// Returns the view of a container that has no program: it runs and is ready.
    pub(super) fn simulated(since: Timestamp) -> Self {
        Self { state: State::Running { since, is_ready: true }, last: None, restarts: 0 }
    }

    fn is_ready(&self) -> bool {
        matches!(self.state, State::Running { is_ready: true, .. })
    }

    /// Returns whether the container has started once.
    fn has_started(&self) -> bool {
        self.last.is_some() || !matches!(self.state, State::Waiting { .. })
    }
}

/// Returns the status of a Pod whose containers have these views, in the order of its spec.
pub(super) fn status(pod: &Pod, views: &[View], now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let is_ready = views.iter().all(View::is_ready);
    let phase = phase(views);
    let has_ended = matches!(phase, "Succeeded" | "Failed");
    let conditions = old.conditions.unwrap_or_default();
    let is_true = |kind: &str, is: bool| condition(&conditions, kind, is, has_ended, now);
    let start = old.start_time.unwrap_or(Time(now));
    // Every process listens on this machine's addresses.
    let ip = "127.0.0.1".to_owned();
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(vec![
            is_true("PodScheduled", true),
            is_true("Initialized", true),
            is_true("ContainersReady", is_ready),
            is_true("Ready", is_ready),
        ]),
        container_statuses: Some(
            spec.containers.iter().zip(views).map(|(of, view)| shown(of, view)).collect(),
        ),
        init_container_statuses: Some(completed(&spec, &start)),
        host_ip: Some(ip.clone()),
        pod_ips: Some(vec![PodIP { ip: ip.clone() }]),
        pod_ip: Some(ip),
        start_time: Some(start),
        ..PodStatus::default()
    }
}

fn phase(views: &[View]) -> &'static str {
    let ends: Vec<_> = views
        .iter()
        .filter_map(|view| match &view.state {
            State::Ended(end) => Some(end.code),
            _ => None,
        })
        .collect();
    if !views.is_empty() && ends.len() == views.len() {
        return if ends.iter().all(|code| *code == 0) { "Succeeded" } else { "Failed" };
    }
    if views.iter().all(View::has_started) { "Running" } else { "Pending" }
}

/// Returns a condition; its time is that of the last change.
fn condition(old: &[PodCondition], kind: &str, is: bool, has_ended: bool, now: Timestamp) -> PodCondition {
    let status = if is { "True" } else { "False" };
    let same = old.iter().find(|condition| condition.type_ == kind && condition.status == status);
    let reason = if has_ended { "PodCompleted" } else { "ContainersNotReady" };
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: (!is).then(|| reason.to_owned()),
        last_transition_time: same.and_then(|same| same.last_transition_time.clone()).or(Some(Time(now))),
        ..PodCondition::default()
    }
}

fn shown(container: &Container, view: &View) -> ContainerStatus {
    let state = match &view.state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: Some(message.clone()).filter(|message| !message.is_empty()),
            }),
            ..ContainerState::default()
        },
        State::Running { since, .. } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
        State::Ended(end) => terminated(end),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        container_id: Some(format!("testbed://{}", container.name)).filter(|_| view.has_started()),
        ready: view.is_ready(),
        started: Some(matches!(view.state, State::Running { .. })),
        restart_count: view.restarts,
        last_state: view.last.as_ref().map(terminated),
        state: Some(state),
        ..ContainerStatus::default()
    }
}

fn terminated(end: &End) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: end.code,
            reason: Some(if end.code == 0 { "Completed" } else { "Error" }.to_owned()),
            started_at: Some(Time(end.started)),
            finished_at: Some(Time(end.ended)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

/// Returns the statuses of the init containers, which are reported as completed.
fn completed(spec: &PodSpec, at: &Time) -> Vec<ContainerStatus> {
    let end = terminated(&End { code: 0, started: at.0, ended: at.0 });
    let one = |container: &Container| ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        container_id: Some(format!("testbed://{}", container.name)),
        ready: true,
        state: Some(end.clone()),
        ..ContainerStatus::default()
    };
    spec.init_containers.iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn pod() -> Pod {
        let containers = json!([{"name": "real", "image": "i:1"}, {"name": "other", "image": "j:1"}]);
        serde_json::from_value(
            json!({"metadata": {}, "spec": {"containers": containers, "initContainers": [{"name": "i"}]}}),
        )
        .unwrap()
    }

    fn of(state: State, last: Option<End>) -> PodStatus {
        status(&pod(), &[View { state, last, restarts: 0 }, View::simulated(NOW)], NOW)
    }

    fn ready(status: &PodStatus) -> String {
        let conditions = status.conditions.clone().unwrap_or_default();
        conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap().status
    }

    fn end(code: i32) -> End {
        End { code, started: NOW, ended: NOW }
    }

    #[test]
    fn the_status_says_what_the_containers_do() {
        let waiting = |reason| State::Waiting { reason, message: "because".to_owned() };
        let running = |is_ready| State::Running { since: NOW, is_ready };
        for (state, last, phase, is_ready) in [
            (waiting("ContainerCreating"), None, "Pending", "False"),
            (waiting("CrashLoopBackOff"), Some(end(1)), "Running", "False"),
            (running(false), None, "Running", "False"),
            (running(true), Some(end(1)), "Running", "True"),
            (State::Ended(end(0)), None, "Running", "False"),
        ] {
            let name = format!("{state:?}");
            let status = of(state, last);
            assert_eq!((status.phase.as_deref(), ready(&status).as_str()), (Some(phase), is_ready), "{name}");
            assert_eq!(status.init_container_statuses.unwrap().len(), 1);
        }
        for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
            let view = View { state: State::Ended(end(code)), last: None, restarts: 0 };
            let ended = status(&pod(), &[view.clone(), view], NOW);
            assert_eq!(ended.phase.as_deref(), Some(phase));
        }
    }

    #[test]
    fn a_condition_keeps_its_time_while_it_does_not_change() {
        let mut pod = pod();
        let views = [View::simulated(NOW), View::simulated(NOW)];
        pod.status = Some(status(&pod, &views, NOW));
        let later = Timestamp::from_second(60).unwrap();
        assert_eq!(status(&pod, &views, later), pod.status.clone().unwrap());
        let waiting =
            View { state: State::Waiting { reason: "x", message: String::new() }, last: None, restarts: 0 };
        let times = |status: PodStatus| -> Vec<i64> {
            status
                .conditions
                .unwrap()
                .iter()
                .map(|condition| condition.last_transition_time.as_ref().unwrap().0.as_second())
                .collect()
        };
        assert_eq!(times(status(&pod, &[waiting, View::simulated(NOW)], later)), [0, 0, 60, 60]);
    }
}
