//! The kubelet of one Pod: a task that lays out its volumes, runs its programs, and writes its status.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::watch as latest;

use super::root::Root;
use super::sources::{self, Objects, Reference};
use super::status::{End, State, View, status};
use super::volumes::{self, Known};
use super::{Program, Ready, RunningContainer, Shared, environment};
use crate::controllers::RETRY;
use crate::{Process, ProcessSpec};

/// The interval in which processes are looked at.
const TICK: Duration = Duration::from_millis(100);
/// The limit of one try to connect to a port of this machine.
const CONNECT: Duration = Duration::from_millis(50);
/// The longest time between two starts of a program. A kubelet waits for up to five minutes.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A program that ran for this long has not failed to start.
const STABLE: Duration = Duration::from_mins(1);
/// How long a Pod may take to end, as by default.
const GRACE: Duration = Duration::from_secs(30);

/// Runs a Pod in a directory until it is removed. Dropping the future kills its processes.
pub(super) async fn run(shared: Arc<Shared>, mut pod: latest::Receiver<Pod>, directory: PathBuf) {
    let first = pod.borrow().clone();
    let references = sources::references(&first);
    let namespace = first.namespace().unwrap_or_default();
    let mut changes = sources::watch(&shared.client, &namespace, references.clone());
    let mut kubelet = Kubelet::new(shared, &first, references, directory);
    loop {
        let now = pod.borrow_and_update().clone();
        let node = now.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        if !kubelet.shared.members.has(&node) {
            // Its machine has failed: what ran there is gone, and the status stays.
            kubelet.slots.clear();
        } else if now.metadata.deletion_timestamp.is_some() {
            kubelet.end(&now).await;
            break;
        } else {
            kubelet.step(&now).await;
        }
        tokio::select! {
            update = pod.changed() => if update.is_err() { break },
            Some((reference, data)) = changes.next() => {
                kubelet.objects.insert(reference, data);
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }
    kubelet.clear();
}

struct Kubelet {
    // The processes before their files.
    slots: BTreeMap<String, Slot>,
    shared: Arc<Shared>,
    uid: String,
    directory: PathBuf,
    root: Option<Root>,
    references: BTreeSet<Reference>,
    objects: Objects,
    tokens: BTreeMap<String, String>,
    began: Timestamp,
    reported: Option<Vec<View>>,
}

/// A container with a program.
#[derive(Default)]
struct Slot {
    process: Option<Process>,
    started: Timestamp,
    is_ready: bool,
    restarts: i32,
    last: Option<End>,
    /// The end of a container that is not started again.
    ended: Option<End>,
    /// Ends in a row.
    failures: u32,
    /// When it may be started.
    due: Option<Instant>,
    /// Why it does not start.
    trouble: Option<(&'static str, String)>,
}

impl Kubelet {
    fn new(shared: Arc<Shared>, pod: &Pod, references: BTreeSet<Reference>, directory: PathBuf) -> Self {
        Self {
            slots: BTreeMap::new(),
            shared,
            uid: pod.uid().unwrap_or_default(),
            directory,
            root: None,
            references,
            objects: Objects::new(),
            tokens: BTreeMap::new(),
            began: Timestamp::now(),
            reported: None,
        }
    }

    /// Brings volumes, processes and the status up to date.
    async fn step(&mut self, pod: &Pod) {
        // Else each object would be reported as missing before it is read.
        if self.references.iter().any(|reference| !self.objects.contains_key(reference)) {
            return;
        }
        let Some(spec) = &pod.spec else { return };
        for slot in self.slots.values_mut() {
            slot.reap(spec.restart_policy.as_deref().unwrap_or("Always"));
        }
        let prepared = self.prepare(pod, spec).await.map_err(|error| format!("{error:#}"));
        for container in &spec.containers {
            let Some(program) = self.shared.program(container).cloned() else { continue };
            let mut slot = self.slots.remove(&container.name).unwrap_or_default();
            match &prepared {
                Ok(()) => self.keep(pod, container, &program, &mut slot),
                Err(why) => slot.trouble = Some(("ContainerCreating", why.clone())),
            }
            if !slot.is_ready && slot.process.is_some() {
                slot.is_ready = self.is_ready(spec, container, &program);
            }
            self.show(pod, container, &slot);
            self.slots.insert(container.name.clone(), slot);
        }
        self.report(pod, spec).await;
    }

    /// Lays out the volumes of the containers with a program.
    async fn prepare(&mut self, pod: &Pod, spec: &PodSpec) -> Result<()> {
        let Self { shared, root, tokens, objects, .. } = self;
        for audience in sources::audiences(pod) {
            if let Entry::Vacant(place) = tokens.entry(audience) {
                let token = sources::token(&shared.client, pod, place.key()).await?;
                place.insert(token);
            }
        }
        let root = if let Some(root) = root {
            root
        } else {
            let files = shared.machine_files(spec.node_name.as_deref().unwrap_or_default());
            root.insert(Root::create(self.directory.clone(), &files)?)
        };
        let known = Known { pod, objects, tokens };
        let ours: Vec<_> = spec.containers.iter().filter(|one| shared.program(one).is_some()).collect();
        let mounts = ours.iter().flat_map(|one| one.volume_mounts.iter().flatten());
        let mounted: BTreeSet<_> = mounts.map(|mount| mount.name.as_str()).collect();
        for volume in spec.volumes.iter().flatten().filter(|volume| mounted.contains(volume.name.as_str())) {
            let files = volumes::files(volume, &known).map_err(|why| anyhow!(why))?;
            root.update(&volume.name, files)?;
        }
        ours.into_iter().try_for_each(|container| root.mount(container))
    }

    /// Starts the program of a container that does not run and may.
    fn keep(&self, pod: &Pod, container: &Container, program: &Program, slot: &mut Slot) {
        let is_due = slot.due.is_none_or(|due| due <= Instant::now());
        if slot.process.is_some() || slot.ended.is_some() || !is_due {
            return;
        }
        match self.spawn(pod, container, program) {
            Ok(process) => {
                slot.restarts += i32::from(slot.last.is_some());
                slot.process = Some(process);
                (slot.started, slot.trouble) = (Timestamp::now(), None);
            }
            Err(error) => {
                slot.trouble = Some(("CreateContainerConfigError", format!("{error:#}")));
                slot.due = Some(Instant::now() + RETRY);
            }
        }
    }

    fn spawn(&self, pod: &Pod, container: &Container, program: &Program) -> Result<Process> {
        let root = self.root.as_ref().context("the Pod has no directory")?;
        let given = self.given(pod);
        let variables =
            environment::variables(pod, container, &self.objects, given).map_err(|why| anyhow!(why))?;
        let spec = pod.spec.as_ref().context("the Pod has no spec")?;
        let (user, group) = user(spec, container);
        let mut args = vec![format!("--userspec=+{user}:+{group}"), format!("--groups=+{group}")];
        args.push(root.path().to_string_lossy().into_owned());
        args.push(root.install(&program.binary)?);
        args.extend(environment::arguments(container, &variables));
        let mut process =
            ProcessSpec::new(&container.name, &self.shared.chroot, args, self.log(pod, container));
        process.env = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        process.clear_env = true;
        Process::spawn(process)
    }

    /// The variables that every container has.
    fn given(&self, pod: &Pod) -> BTreeMap<String, String> {
        let (host, port) = &self.shared.api_server;
        let name = pod.name_any();
        let given = [
            ("KUBERNETES_SERVICE_HOST", host.as_str()),
            ("KUBERNETES_SERVICE_PORT", port.as_str()),
            ("KUBERNETES_SERVICE_PORT_HTTPS", port.as_str()),
            ("HOSTNAME", name.as_str()),
            ("HOME", "/"),
            ("PATH", "/"),
        ];
        given.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn log(&self, pod: &Pod, container: &Container) -> PathBuf {
        let name =
            format!("{}.{}.{}.log", pod.namespace().unwrap_or_default(), pod.name_any(), container.name);
        self.shared.home.join(name)
    }

    fn is_ready(&self, spec: &PodSpec, container: &Container, program: &Program) -> bool {
        match (&program.ready, &self.root) {
            (Ready::Started, _) => true,
            (Ready::Port(port), _) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
                TcpStream::connect_timeout(&address, CONNECT).is_ok()
            }
            (Ready::Socket(path), Some(root)) => {
                UnixStream::connect(root.inside(spec, &container.name, path)).is_ok()
            }
            (Ready::Socket(_), None) => false,
        }
    }

    fn show(&self, pod: &Pod, container: &Container, slot: &Slot) {
        self.shared.show(
            &self.uid,
            RunningContainer {
                namespace: pod.namespace().unwrap_or_default(),
                pod: pod.name_any(),
                container: container.name.clone(),
                node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
                pid: slot.process.as_ref().map(Process::pid),
                log: self.log(pod, container),
                root: self.root.as_ref().map_or_else(PathBuf::new, |root| root.path().to_owned()),
            },
        );
    }

    /// Writes the status if it says something new.
    async fn report(&mut self, pod: &Pod, spec: &PodSpec) {
        let view = |container: &Container| {
            self.slots.get(&container.name).map_or_else(|| View::simulated(self.began), Slot::view)
        };
        let views: Vec<_> = spec.containers.iter().map(view).collect();
        if self.reported.as_ref() == Some(&views) {
            return;
        }
        let status = status(pod, &views, Timestamp::now());
        let patch = Patch::Merge(json!({"metadata": {"uid": self.uid}, "status": status}));
        let written = self.api(pod).patch_status(&pod.name_any(), &PatchParams::default(), &patch).await;
        // After an error, the next step writes it.
        self.reported = written.is_ok().then_some(views);
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.shared.client.clone(), &pod.namespace().unwrap_or_default())
    }

    /// Ends the processes, then removes the Pod.
    async fn end(&mut self, pod: &Pod) {
        let seconds =
            pod.metadata.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let grace = seconds.map_or(GRACE, Duration::from_secs);
        let processes = self.slots.values_mut().filter_map(|slot| slot.process.as_mut());
        // One that has ended by itself is an error, and is no matter here.
        join_all(processes.map(|process| process.terminate(grace))).await;
        let this = Preconditions { uid: Some(self.uid.clone()), ..Preconditions::default() };
        let at_once = DeleteParams { preconditions: Some(this), ..DeleteParams::default().grace_period(0) };
        let api = self.api(pod);
        loop {
            match api.delete(&pod.name_any(), &at_once).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Kills the processes and removes the files, but not the logs.
    fn clear(&mut self) {
        self.slots.clear();
        self.shared.hide(&self.uid);
        remove(&self.directory);
    }
}

/// Removes a directory; what cannot be removed goes with the directory of the runner.
fn remove(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}

impl Slot {
    /// Notes the end of the process.
    fn reap(&mut self, restart_policy: &str) {
        let Some(status) = self.process.as_mut().and_then(Process::try_wait) else { return };
        self.process = None;
        self.is_ready = false;
        let end = End { code: status.code().unwrap_or(-1), started: self.started, ended: Timestamp::now() };
        let is_final = restart_policy == "Never" || restart_policy == "OnFailure" && end.code == 0;
        if is_final {
            self.ended = Some(end);
            return;
        }
        let ran = end.ended.duration_since(end.started);
        let was_stable = Duration::try_from(ran).is_ok_and(|ran| ran >= STABLE);
        self.failures = if was_stable { 1 } else { self.failures + 1 };
        self.due = Some(Instant::now() + back_off(self.failures));
        self.last = Some(end);
    }

    fn view(&self) -> View {
        let state = match (&self.process, &self.ended, &self.trouble) {
            (Some(_), ..) => State::Running { since: self.started, is_ready: self.is_ready },
            (None, Some(end), _) => State::Ended(end.clone()),
            (None, None, Some((reason, message))) => State::Waiting { reason, message: message.clone() },
            (None, None, None) => State::Waiting {
                reason: if self.last.is_some() { "CrashLoopBackOff" } else { "ContainerCreating" },
                message: String::new(),
            },
        };
        View { state, last: self.last.clone(), restarts: self.restarts }
    }
}

/// Returns how long a program waits after that many ends in a row: not at all after the first one.
fn back_off(failures: u32) -> Duration {
    match failures.checked_sub(2) {
        None => Duration::ZERO,
        Some(further) => {
            Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(further)).min(MAX_BACKOFF)
        }
    }
}

/// Returns the user and the group of a container: root, unless it names others.
fn user(spec: &PodSpec, container: &Container) -> (i64, i64) {
    let own = container.security_context.as_ref();
    let of_pod = spec.security_context.as_ref();
    let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user)).unwrap_or(0);
    let group = own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
    (user, group.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_further_and_further_apart() {
        let seconds: Vec<_> = (1..=7).map(|failures| back_off(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(back_off(u32::MAX), MAX_BACKOFF);
    }

    #[test]
    fn a_container_names_a_user_or_its_pod_does() {
        let spec = |value| -> PodSpec { serde_json::from_value(value).unwrap() };
        let of = |value| {
            let spec = spec(value);
            user(&spec, &spec.containers[0])
        };
        assert_eq!(of(json!({"containers": [{"name": "c"}]})), (0, 0));
        let both = json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2},
            "containers": [{"name": "c", "securityContext": {"runAsUser": 3}}]});
        assert_eq!(of(both), (3, 2));
    }
}
