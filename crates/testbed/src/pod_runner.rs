//! Pods as processes of this machine: what a kubelet does, for containers whose program is known here.
//!
//! [`Nodes`] binds Pods to simulated Nodes and reports them as Ready. [`PodRunner`] takes over the Pods with a container whose image
//! one of its [`Program`]s stands for: it lays out their volumes as a kubelet does, runs the programs in them with the Pod's
//! environment, arguments, user and ServiceAccount token, starts them again when they end, and reports what really happened. Other
//! containers of such a Pod are reported as Ready, and init containers as completed.
//!
//! Each Pod has a directory, the root of its processes (`chroot`), so it needs root: [`PodRunner::lacks`]. A program must be linked
//! statically. All Pods share the network of the machine: two with the same port cannot run at the same time. A `hostPath` is an empty
//! directory of the Pod, with [`PodRunner::machine_file`]s in it. Probes, hooks, resources and `subPathExpr` are ignored.

mod environment;
mod pod;
mod root;
mod sources;
mod status;
mod volumes;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch as latest;
use tokio::task::JoinSet;

use crate::controllers::Steady;
use crate::nodes::{Images, Members};
use crate::{ControlPlane, Nodes, Workdir};

/// A program that runs in place of the containers of an image.
#[derive(Debug, Clone)]
#[must_use]
pub struct Program {
    image: String,
    binary: PathBuf,
    ready: Ready,
}

/// When a container is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ready {
    Started,
    Socket(String),
    Port(u16),
}

impl Program {
    /// Runs `binary` for the containers of an image, in any registry and of any version: `driver` is also
    /// `registry.example/csi/driver:v3.3.1`. They are ready when they have started.
    pub fn new(image: &str, binary: impl Into<PathBuf>) -> Self {
        Self { image: image.to_owned(), binary: binary.into(), ready: Ready::Started }
    }

    /// Makes a container ready when the program listens on a Unix socket at this path in the container.
    pub fn ready_at_socket(mut self, path: &str) -> Self {
        self.ready = Ready::Socket(path.to_owned());
        self
    }

    /// Makes a container ready when the program listens on this port of 127.0.0.1.
    pub fn ready_at_port(mut self, port: u16) -> Self {
        self.ready = Ready::Port(port);
        self
    }
}

/// A running container's view from outside, for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningContainer {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// The Node that the Pod is bound to.
    pub node: String,
    /// The process, if it runs now.
    pub pid: Option<u32>,
    /// The log of all its processes.
    pub log: PathBuf,
    /// The directory that the process sees as `/`.
    pub root: PathBuf,
}

impl RunningContainer {
    /// Returns everything that the container's processes have written.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// The kubelets of the Pods with known programs. Dropping it ends all processes; the Pods' statuses stay.
pub struct PodRunner {
    shared: Arc<Shared>,
    images: Images,
    // The processes before the directory.
    _tasks: JoinSet<()>,
    _home: Workdir,
}

impl Drop for PodRunner {
    fn drop(&mut self) {
        // The Nodes remove its Pods from now on.
        self.images.clear();
    }
}

impl fmt::Debug for PodRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodRunner").field("containers", &self.containers()).finish_non_exhaustive()
    }
}

/// What the tasks of all Pods share.
struct Shared {
    client: Client,
    /// Host and port of the API server, as a Pod's environment has them.
    api_server: (String, String),
    programs: Vec<Program>,
    members: Members,
    home: PathBuf,
    chroot: PathBuf,
    /// The number of directories so far. Their names are numbers: the path of a Unix socket has 107 bytes at most.
    directories: AtomicUsize,
    /// Files of the Nodes' machines, by Node: path and content.
    machine_files: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    containers: Mutex<BTreeMap<(String, String), RunningContainer>>,
}

impl Shared {
    /// Returns the program of a container, if one is known.
    fn program(&self, container: &Container) -> Option<&Program> {
        let image = container.image.as_deref().unwrap_or_default();
        self.programs.iter().find(|program| is_of(image, &program.image))
    }

    fn machine_files(&self, node: &str) -> BTreeMap<String, String> {
        let files = self.machine_files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(node).cloned().unwrap_or_default()
    }

    /// Notes a container of the Pod with this UID, for [`PodRunner::containers`].
    fn show(&self, uid: &str, container: RunningContainer) {
        let key = (uid.to_owned(), container.container.clone());
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, container);
    }

    /// Removes all containers of the Pod with this UID from [`PodRunner::containers`].
    fn hide(&self, uid: &str) {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.retain(|(of, _), _| of != uid);
    }
}

/// Returns whether an image is of a repository, given its last parts, with or without a tag: `driver` is one of `registry/csi/driver:v1`.
pub(crate) fn is_of(image: &str, repository: &str) -> bool {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon after the last slash begins a tag; one before it, a port.
    let name = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    [image, name].into_iter().any(|name| {
        name == repository || name.strip_suffix(repository).is_some_and(|registry| registry.ends_with('/'))
    })
}

impl PodRunner {
    /// Returns why Pods cannot run on this machine; `None` if they can.
    #[must_use]
    pub fn lacks() -> Option<&'static str> {
        if !rustix::process::geteuid().is_root() {
            return Some("running Pods as processes needs root, for chroot");
        }
        chroot().is_none().then_some("there is no program chroot in /usr/sbin, /usr/bin or /sbin")
    }

    /// Runs the Pods of these programs on the Nodes of a control plane, from now on.
    ///
    /// # Errors
    /// If [`lacks`](Self::lacks) says why not, or the temporary directory cannot be written.
    pub fn start(plane: &ControlPlane, nodes: &Nodes, programs: Vec<Program>) -> Result<Self> {
        if let Some(why) = Self::lacks() {
            bail!(why);
        }
        let home = Workdir::new("pods")?;
        let url = plane.url().trim_start_matches("https://");
        let (host, port) = url.rsplit_once(':').context("the API server's URL has no port")?;
        nodes.images().add(programs.iter().map(|program| program.image.clone()));
        let shared = Arc::new(Shared {
            client: plane.client(),
            api_server: (host.to_owned(), port.to_owned()),
            programs,
            members: nodes.members(),
            home: home.path().to_owned(),
            chroot: chroot().context("no chroot")?.to_owned(),
            directories: AtomicUsize::new(0),
            machine_files: Mutex::default(),
            containers: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_pods(shared.clone(), nodes.images()));
        Ok(Self { shared, images: nodes.images(), _tasks: tasks, _home: home })
    }

    /// Adds a file of a Node's machine to the directories of all Pods that start there from now on, such as the serial number at
    /// `/sys/class/dmi/id/product_serial`.
    pub fn machine_file(&self, node: &str, path: &str, content: &str) {
        let mut files = self.shared.machine_files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(node.to_owned()).or_default().insert(path.to_owned(), content.to_owned());
    }

    /// Returns the containers with a program of the Pods that exist.
    #[must_use]
    pub fn containers(&self) -> Vec<RunningContainer> {
        let containers = self.shared.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.values().cloned().collect()
    }

    /// Returns the containers of this name, of all Pods.
    #[must_use]
    pub fn named(&self, container: &str) -> Vec<RunningContainer> {
        let mut found = self.containers();
        found.retain(|one| one.container == container);
        found
    }
}

/// Returns the path of the program chroot, which the PATH of some users does not have.
fn chroot() -> Option<&'static Path> {
    ["/usr/sbin/chroot", "/usr/bin/chroot", "/sbin/chroot"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.is_file())
}

/// Runs a task for each Pod with a known program that is bound to a Node with a running kubelet.
async fn watch_pods(shared: Arc<Shared>, images: Images) {
    let pods: Api<Pod> = Api::all(shared.client.clone());
    let mut events = pin!(watch(pods, watcher::Config::default()).backoff(Steady));
    let mut running: BTreeMap<String, latest::Sender<Pod>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut listed = Vec::new();
    // An error is an interruption of the watch, which goes on.
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod)) => take(&shared, &images, pod, &mut running, &mut tasks),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                take(&shared, &images, pod, &mut running, &mut tasks);
            }
            Ok(Event::Delete(pod)) => {
                // The task ends when its sender is gone.
                running.remove(&pod.uid().unwrap_or_default());
            }
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => running.retain(|uid, _| listed.contains(uid)),
            Err(_) => {}
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Gives a Pod to its task, and starts the task of a new one.
fn take(
    shared: &Arc<Shared>,
    images: &Images,
    pod: Pod,
    running: &mut BTreeMap<String, latest::Sender<Pod>>,
    tasks: &mut JoinSet<()>,
) {
    let Some(uid) = pod.uid() else { return };
    if let Some(sender) = running.get(&uid) {
        let _ = sender.send(pod);
        return;
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    if !images.runs(&pod) || node.is_none() {
        return;
    }
    let number = shared.directories.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = latest::channel(pod);
    tasks.spawn(pod::run(shared.clone(), receiver, shared.home.join(number.to_string())));
    running.insert(uid, sender);
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn an_image_is_found_in_any_registry_and_version() {
        for image in [
            "driver",
            "a/driver:v1",
            "host:5000/csi/driver",
            "host:5000/driver@sha256:0",
            "a/driver:v1@sha256:0",
        ] {
            assert!(is_of(image, "driver"), "{image}");
        }
        for image in ["csi-driver", "a/driver/x:v1", "host:5000/drivers", "driver/v1"] {
            assert!(!is_of(image, "driver"), "{image}");
        }
        assert!(is_of(
            "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0",
            "cloud-pv-vsphere/cloud-provider-vsphere"
        ));
    }
}
