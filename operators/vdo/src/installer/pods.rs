//! Why Pods of a driver that is being rolled out do not run: from their statuses, and from what the driver has written into its log.
//!
//! The text is for the status: without what changes from one look to the next, and without lines of a log, which may have secrets in them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{DynamicObject, ListParams, LogParams};
use kube::{Api, Client, ResourceExt as _};

use super::Shared;
use super::seen::DriverSeen;
use crate::failures;
use crate::matrix::Driver;
use crate::plan::{Drivers, Found, Health, Installed};
use crate::render::Rendered;

/// How long a driver may take before its Pods are looked at, and how long a look counts.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// Pods of one workload that are looked at.
const PODS: u32 = 100;
/// The end of a log that is read.
const LINES: i64 = 100;
const BYTES: i64 = 64 * 1024;
/// The longest part of a text of others, in bytes.
const LONGEST: usize = 300;

/// What the last looks have found.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<Drivers<Option<Look>>>);

#[derive(Clone, Debug)]
struct Look {
    digest: String,
    at: Timestamp,
    found: Option<String>,
}

impl Looks {
    fn get(&self, driver: Driver, digest: &str) -> Option<Look> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(driver).clone().filter(|look| look.digest == digest)
    }

    fn set(&self, driver: Driver, look: Look) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(driver) = Some(look);
    }
}

/// Adds to what is seen of a driver why its Pods do not run, if it is being rolled out for more than half a minute.
pub(super) async fn explain(shared: &Shared, driver: Driver, seen: &mut DriverSeen) {
    let (Some(record), Some(rendered)) = (&seen.record, &seen.rendered) else { return };
    let Found::Ours(Installed { health: Health::Progressing(why), digest, .. }) = &mut seen.found else {
        return;
    };
    let now = shared.clock.now();
    if now.duration_since(record.since) < PAUSE.min(shared.upgrade_timeout) {
        return;
    }
    let known = shared.looks.get(driver, digest).filter(|look| now.duration_since(look.at) < PAUSE);
    let found = if let Some(look) = known {
        look.found
    } else {
        let found = look(&shared.client, driver, rendered).await.unwrap_or_else(|error| {
            tracing::debug!(%driver, %error, "the Pods cannot be looked at");
            None
        });
        shared.looks.set(driver, Look { digest: digest.clone(), at: now, found: found.clone() });
        found
    };
    if let Some(found) = found {
        why.push_str("; ");
        why.push_str(&found);
        if let Some(failing) = &mut seen.failing {
            failing.why.clone_from(why);
            seen.choice.iter_mut().for_each(|choice| choice.found_out(failing));
        }
    }
}

/// Looks at the Pods of a driver's workloads; returns what is wrong with the first that does not run.
async fn look(client: &Client, driver: Driver, rendered: &Rendered) -> Result<Option<String>, kube::Error> {
    for (namespace, labels) in rendered.waves.iter().flatten().filter_map(pods_of) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let params = ListParams::default().labels(&labels).limit(PODS);
        let mut ailing: Vec<_> = pods.list(&params).await?.items.iter().filter_map(Ailment::of).collect();
        ailing.sort_by(|one, other| one.pod.cmp(&other.pod));
        let Some(ailment) = ailing.into_iter().next() else { continue };
        let said = match &ailment.log {
            Some(log) => read(&pods, driver, &ailment.pod, log).await,
            None => None,
        };
        return Ok(Some(ailment.describe(driver, &namespace, said)));
    }
    Ok(None)
}

/// Returns what the log of a container says is wrong. A log that cannot be read says nothing.
async fn read(pods: &Api<Pod>, driver: Driver, pod: &str, log: &Log) -> Option<failures::Failure> {
    let params = LogParams {
        container: Some(log.container.clone()),
        previous: log.is_previous,
        tail_lines: Some(LINES),
        limit_bytes: Some(BYTES),
        ..LogParams::default()
    };
    let text = pods.logs(pod, &params).await;
    let text = text.inspect_err(|error| tracing::debug!(pod, %error, "the log cannot be read")).ok()?;
    failures::explain(driver, &text)
}

/// Returns namespace and labels of the Pods that a workload has.
fn pods_of(object: &DynamicObject) -> Option<(String, String)> {
    let kind = &object.types.as_ref()?.kind;
    if !["DaemonSet", "Deployment"].contains(&&**kind) {
        return None;
    }
    let labels = object.data.pointer("/spec/selector/matchLabels")?;
    let labels: BTreeMap<String, String> = serde_json::from_value(labels.clone()).ok()?;
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some((object.namespace()?, labels.join(",")))
}

/// What is wrong with a Pod.
#[derive(Debug, PartialEq, Eq)]
struct Ailment {
    pod: String,
    /// Such as `no Node takes it`.
    what: String,
    /// The log that may say why.
    log: Option<Log>,
}

#[derive(Debug, PartialEq, Eq)]
struct Log {
    container: String,
    /// Whether it is that of the process before.
    is_previous: bool,
}

impl Ailment {
    /// Returns what is wrong with a Pod; `None` if it runs, or only takes its time.
    fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        let unscheduled = status.conditions.iter().flatten().find(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
        });
        if let Some(unscheduled) = unscheduled {
            let why = cut(unscheduled.message.as_deref().unwrap_or_default());
            return Some(Self { pod: pod.name_any(), what: format!("no Node takes it: {why}"), log: None });
        }
        let init = status.init_container_statuses.iter().flatten();
        let mut containers = init.chain(status.container_statuses.iter().flatten());
        let (what, log) = containers.find_map(wrong)?;
        Some(Self { pod: pod.name_any(), what, log })
    }

    fn describe(&self, driver: Driver, namespace: &str, said: Option<failures::Failure>) -> String {
        let Self { pod, what, log } = self;
        let why = match (said, log) {
            (Some(failure), _) => format!("; {driver} says that {}: {}", failure.cause, failure.remedy),
            (None, Some(Log { container, is_previous })) => {
                let previous = if *is_previous { " --previous" } else { "" };
                format!("; see kubectl -n {namespace} logs {pod} -c {container}{previous}")
            }
            (None, None) => String::new(),
        };
        format!("Pod {namespace}/{pod}: {what}{why}")
    }
}

/// Returns what is wrong with a container, and the log that may say why.
fn wrong(status: &ContainerStatus) -> Option<(String, Option<Log>)> {
    let name = &status.name;
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let ended = state.and_then(|state| state.terminated.as_ref());
    let ended_before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ImageInspectError" => {
            return Some((
                format!("the image {} of its container {name} cannot be pulled", status.image),
                None,
            ));
        }
        "" | "CrashLoopBackOff" | "ContainerCreating" | "PodInitializing" => {}
        reason => {
            let message = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
            return Some((format!("its container {name} cannot start: {reason}: {}", cut(message)), None));
        }
    }
    let last = ended.or(ended_before).filter(|last| last.exit_code != 0 && !status.ready)?;
    let log = Log { container: name.clone(), is_previous: ended.is_none() };
    let what = if last.reason.as_deref() == Some("OOMKilled") {
        format!("its container {name} ends again and again, as it needs more memory than its limit")
    } else {
        format!("its container {name} ends with exit code {}", last.exit_code)
    };
    Some((what, Some(log)))
}

/// Returns the beginning of a text of others.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": status })).unwrap()
    }

    fn container(state: &Value, last: &Value, is_ready: bool) -> Value {
        json!({ "containerStatuses": [{ "name": "c", "image": "r/i:v1", "imageID": "", "ready": is_ready, "restartCount": 1,
            "state": state, "lastState": last }] })
    }

    #[test]
    fn a_pod_that_does_not_run_says_why() {
        let failed = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
        let (none, running) = (json!({}), json!({ "running": {} }));
        let waiting = |reason: &str| json!({ "waiting": { "reason": reason, "message": "why" } });
        let log = |is_previous| Some(Log { container: "c".to_owned(), is_previous });
        let unscheduled = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" }] });
        let killed = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        for (what, status, wanted) in [
            ("runs", container(&running, &none, true), None),
            ("takes its time", container(&waiting("ContainerCreating"), &none, false), None),
            ("has ended once, and runs", container(&running, &failed, true), None),
            ("nothing is known", json!({}), None),
            ("is not scheduled", unscheduled, Some(("no Node takes it: 0/3 nodes", None))),
            (
                "no image",
                container(&waiting("ImagePullBackOff"), &none, false),
                Some(("the image r/i:v1 of its container c cannot be pulled", None)),
            ),
            (
                "no Secret",
                container(&waiting("CreateContainerConfigError"), &none, false),
                Some(("its container c cannot start: CreateContainerConfigError: why", None)),
            ),
            (
                "waits to start again",
                container(&waiting("CrashLoopBackOff"), &failed, false),
                Some(("its container c ends with exit code 1", log(true))),
            ),
            (
                "runs again",
                container(&running, &failed, false),
                Some(("its container c ends with exit code 1", log(true))),
            ),
            (
                "has ended now",
                container(&failed, &none, false),
                Some(("its container c ends with exit code 1", log(false))),
            ),
            (
                "too little memory",
                container(&waiting("CrashLoopBackOff"), &killed, false),
                Some((
                    "its container c ends again and again, as it needs more memory than its limit",
                    log(true),
                )),
            ),
        ] {
            let found = Ailment::of(&pod(&status)).map(|ailment| (ailment.what, ailment.log));
            assert_eq!(found, wanted.map(|(what, log)| (what.to_owned(), log)), "{what}");
        }
    }

    #[test]
    fn what_a_log_says_is_explained_and_else_named() {
        let log = Some(Log { container: "c".to_owned(), is_previous: true });
        let ailment = Ailment { pod: "p".to_owned(), what: "w".to_owned(), log };
        let failure = failures::explain(Driver::Cpi, "ServerFaultCode: Login failure");
        assert_eq!(
            ailment.describe(Driver::Cpi, "n", failure),
            "Pod n/p: w; CPI says that a vCenter refuses the account: correct user name and password in the Secret"
        );
        assert_eq!(
            ailment.describe(Driver::Cpi, "n", None),
            "Pod n/p: w; see kubectl -n n logs p -c c --previous"
        );
        let unscheduled = Ailment { log: None, ..ailment };
        assert_eq!(unscheduled.describe(Driver::Cpi, "n", None), "Pod n/p: w");
    }

    #[test]
    fn the_pods_of_a_workload_have_its_labels() {
        let object = |kind: &str| -> DynamicObject {
            serde_json::from_value(
                json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "x", "namespace": "n" },
                "spec": { "selector": { "matchLabels": { "a": "b", "c": "d" } } } }),
            )
            .unwrap()
        };
        assert_eq!(pods_of(&object("DaemonSet")), Some(("n".to_owned(), "a=b,c=d".to_owned())));
        assert_eq!(pods_of(&object("Secret")), None);
    }
}
