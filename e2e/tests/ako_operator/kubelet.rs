//! A kubelet for AKO's container: while the Pod `avi-system/ako-0` of a workload cluster is Running, the program runs as a process of this
//! machine, with the environment that the Pod's spec says and the rights of its ServiceAccount, and nothing else.
//!
//! A Pod that is replaced, a process that ends, and one that fails its liveness probe, start it again; the end of the Pod ends it. Hooks,
//! volumes, images and resources are left out; so are further containers.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt};
use testbed::{ControlPlane, Process, ProcessSpec, Workdir};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::WorkloadCluster;

const NAMESPACE: &str = "avi-system";
const POD: &str = "ako-0";
/// How long a container may take to end, as by default.
const GRACE: Duration = Duration::from_secs(30);
/// The pause before the next try to start one.
const RETRY: Duration = Duration::from_secs(1);

/// A running kubelet. Dropping it ends the process.
pub(crate) struct Kubelet {
    seen: Arc<Seen>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    log: PathBuf,
    starts: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

impl Kubelet {
    /// Starts the kubelet of a workload cluster, which runs `program` as the Pod's container.
    pub(crate) fn start(workload: &Arc<WorkloadCluster>, program: PathBuf) -> Result<Self> {
        let home = Workdir::new("ako")?;
        let seen = Arc::new(Seen { log: home.path().join("ako.log"), ..Seen::default() });
        let node =
            Node { workload: Arc::clone(workload), program, home, seen: Arc::clone(&seen), running: None };
        let mut task = JoinSet::new();
        task.spawn(node.run());
        Ok(Self { seen, _task: task })
    }

    /// Returns how often the program was started.
    pub(crate) fn starts(&self) -> usize {
        self.seen.starts.load(Ordering::Relaxed)
    }

    /// Returns all that the program has written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.seen.log).unwrap_or_default()).into_owned()
    }

    /// Returns why the program cannot be started.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.seen.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Node {
    // The process before its cluster and its files.
    running: Option<Running>,
    workload: Arc<WorkloadCluster>,
    program: PathBuf,
    home: Workdir,
    seen: Arc<Seen>,
}

/// The container of a Pod.
struct Running {
    /// UID of the Pod.
    pod: String,
    process: Process,
    probe: Probe,
}

/// The liveness probe of a container.
struct Probe {
    http: reqwest::Client,
    url: String,
    ticks: Interval,
    threshold: i32,
    /// How often it has failed since it succeeded.
    failures: i32,
}

impl Node {
    async fn run(mut self) {
        let pods: Api<Pod> = Api::namespaced(self.workload.plane().client(), NAMESPACE);
        let mut changes = pin!(watch_object(pods, POD).default_backoff());
        let mut pod = None;
        loop {
            let kept = self.keep(pod.as_ref()).await;
            let is_refused = kept.is_err();
            *self.seen.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                kept.err().map(|error| format!("{error:#}"));
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(now)) => pod = now,
                    Some(Err(_)) => {}
                    None => return,
                },
                () = ended(self.running.as_mut()) => self.running = None,
                () = tokio::time::sleep(RETRY), if is_refused => {}
            }
        }
    }

    /// Starts the container of a Pod that is Running, and ends that of any other one.
    async fn keep(&mut self, pod: Option<&Pod>) -> Result<()> {
        let pod = pod.filter(|pod| is_running(pod));
        let uid = pod.and_then(ResourceExt::uid);
        if let Some(running) = self.running.take_if(|running| uid.as_ref() != Some(&running.pod)) {
            let mut process = running.process;
            // It has ended by itself, or is killed after the time.
            let _ = process.terminate(GRACE).await;
        }
        if let (Some(pod), Some(uid), None) = (pod, uid, &self.running) {
            self.running = Some(self.start(pod, uid).await.context("cannot start the container")?);
        }
        Ok(())
    }

    async fn start(&self, pod: &Pod, uid: String) -> Result<Running> {
        let plane = self.workload.plane();
        let spec = pod.spec.as_ref().context("no spec")?;
        let [container] = spec.containers.as_slice() else { bail!("not one container") };
        ensure!(container.env_from.is_none(), "envFrom is not known");
        let mut env = Vec::new();
        for variable in container.env.iter().flatten() {
            if let Some(value) = value(plane, pod, variable).await? {
                env.push((variable.name.clone(), OsString::from(value)));
            }
        }
        let account = spec.service_account_name.as_deref().context("no ServiceAccount")?;
        // Outside of a cluster AKO looks for `~/.kube/config` and nowhere else.
        write_kubeconfig(plane, account, self.home.path()).await?;
        env.push(("HOME".to_owned(), self.home.path().into()));
        let mut process = ProcessSpec::new("ako", &self.program, [""; 0], &self.seen.log);
        (process.env, process.clear_env) = (env, true);
        let running = Running { pod: uid, process: Process::spawn(process)?, probe: Probe::of(container)? };
        self.seen.starts.fetch_add(1, Ordering::Relaxed);
        Ok(running)
    }
}

impl Probe {
    fn of(container: &Container) -> Result<Self> {
        let probe = container.liveness_probe.as_ref().context("no liveness probe")?;
        let get = probe.http_get.as_ref().context("no probe by HTTP")?;
        let IntOrString::Int(port) = get.port else { bail!("a port without a number") };
        let seconds = |value: Option<i32>, default: i32| -> Result<Duration> {
            Ok(Duration::from_secs(value.unwrap_or(default).try_into()?))
        };
        let first = Instant::now() + seconds(probe.initial_delay_seconds, 0)?;
        let mut ticks = interval_at(first, seconds(probe.period_seconds, 10)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let timeout = seconds(probe.timeout_seconds, 1)?;
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().timeout(timeout).build()?,
            url: format!("http://127.0.0.1:{port}{}", get.path.as_deref().unwrap_or("/")),
            ticks,
            threshold: probe.failure_threshold.unwrap_or(3),
            failures: 0,
        })
    }

    /// Waits until the probe has failed as often as it may.
    async fn failed(&mut self) {
        while self.failures < self.threshold {
            self.ticks.tick().await;
            let answer = self.http.get(&self.url).send().await;
            let is_alive = answer.is_ok_and(|answer| answer.status().is_success());
            self.failures = if is_alive { 0 } else { self.failures + 1 };
        }
    }
}

/// Waits until the process has ended, by itself or because it failed its probe; forever if there is none.
async fn ended(running: Option<&mut Running>) {
    let Some(Running { process, probe, .. }) = running else { return std::future::pending().await };
    tokio::select! {
        _ = process.wait() => {}
        () = probe.failed() => drop(process.terminate(GRACE).await),
    }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Returns the value of a variable; `None` if it is one that may be missing.
async fn value(plane: &ControlPlane, pod: &Pod, variable: &EnvVar) -> Result<Option<String>> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(variable.value.clone().unwrap_or_default()));
    };
    let name = &variable.name;
    if let Some(reference) = &source.config_map_key_ref {
        let maps: Api<ConfigMap> = Api::namespaced(plane.client(), NAMESPACE);
        let map = maps.get_opt(&reference.name).await?;
        let value = map.and_then(|map| map.data?.remove(&reference.key));
        let is_missing = value.is_none() && reference.optional != Some(true);
        ensure!(!is_missing, "{name}: {} has no key {}", reference.name, reference.key);
        return Ok(value);
    }
    let field = source.field_ref.as_ref().with_context(|| format!("{name}: a source that is not known"))?;
    match field.field_path.as_str() {
        "metadata.name" => Ok(pod.metadata.name.clone()),
        "metadata.namespace" => Ok(pod.metadata.namespace.clone()),
        other => bail!("{name}: the field {other} is not known"),
    }
}

async fn write_kubeconfig(plane: &ControlPlane, account: &str, home: &Path) -> Result<()> {
    let file = plane.service_account_kubeconfig(NAMESPACE, account).await?;
    let kube = home.join(".kube");
    fs::create_dir_all(&kube)?;
    fs::copy(file, kube.join("config"))?;
    Ok(())
}
