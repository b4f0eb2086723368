//! Control planes with operators installed in them, shared by the tests of a program.
//!
//! Owns what is installed where, which rigs share a plane, and the names of the namespaces that they take there. Next:
//! [`Site`](crate::Site), one rig's part of a plane.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::{Baseline, ClusterApi, ControlPlane, ControlPlaneBuilder, project_root};
use tokio::sync::{Mutex, OnceCell};

use crate::objects;
use crate::operator::binary;

/// What an operator is, for installing and starting it.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Name of its binary, ServiceAccount and ClusterRole.
    pub name: &'static str,
    /// The API group of its kinds.
    pub group: &'static str,
    /// Its kinds; the first is one that users create.
    pub kinds: &'static [Kind],
    /// Where it is installed, and where its Lease is.
    pub namespace: &'static str,
    /// Where its manifests come from.
    pub manifests: Manifests,
    /// Whether its planes need the controllers of StatefulSets and so on.
    pub all_controllers: bool,
    /// Whether it makes objects of fixed names, so that only one of its rigs can be in a plane.
    pub has_fixed_names: bool,
    /// Its pages, relative to the project; they list its reasons, settings and metrics.
    pub docs: &'static [&'static str],
}

impl Subject {
    /// Returns its name in the commands of `cargo xtask`.
    #[must_use]
    pub fn short(&self) -> &'static str {
        self.name.trim_end_matches("-operator")
    }

    /// Returns its kind of this name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.kind == name)
    }

    /// Returns whether each of its rigs needs a plane for itself: it has a kind of cluster scope, whose objects all of its processes see,
    /// or makes objects of fixed names.
    #[must_use]
    pub fn needs_own_plane(&self) -> bool {
        self.has_fixed_names || self.kinds.iter().any(|kind| kind.scope == Scope::Cluster)
    }

    /// Returns how many of its rigs run beside each other by default: fewer where each needs a plane.
    #[must_use]
    pub fn lanes(&self) -> usize {
        if self.needs_own_plane() { 2 } else { 4 }
    }
}

/// A kind of an operator's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name, such as `VmGroup`.
    pub kind: &'static str,
    /// Its plural, such as `vmgroups`.
    pub plural: &'static str,
    /// Its version, such as `v1alpha1`.
    pub version: &'static str,
    /// Whether users create objects of it.
    pub by_users: bool,
    /// Where its objects are.
    pub scope: Scope,
}

/// Where the objects of a kind are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In namespaces.
    Namespaced,
    /// In no namespace.
    Cluster,
}

/// Where an operator's manifests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifests {
    /// A directory under `deploy/` with kustomizations in `crds` and `base`, and others in `overlays`.
    Deploy(&'static str),
    /// The operator prints its CRDs and roles: `<binary> manifests`.
    Printed,
}

/// An operator that is installed in a plane.
#[derive(Clone, Debug)]
pub struct Installed {
    /// A kubeconfig with the token of its ServiceAccount.
    pub kubeconfig: PathBuf,
    /// What `kubectl apply` printed.
    pub output: String,
}

/// A control plane in which operators are installed once. Either several rigs share it, each with a namespace, or one has it.
#[derive(Debug)]
pub struct Plane {
    /// The servers.
    pub control_plane: Arc<ControlPlane>,
    is_shared: bool,
    installed: Mutex<BTreeMap<&'static str, Installed>>,
    namespaces: AtomicUsize,
    is_littered: AtomicBool,
    cluster_api: OnceCell<Arc<ClusterApi>>,
    baseline: OnceCell<Baseline>,
}

/// The plane of this process's tests, while one of them uses it.
static SHARED: Mutex<Weak<Plane>> = Mutex::const_new(Weak::new());

impl Plane {
    /// Starts a plane for one rig.
    ///
    /// # Errors
    /// Those of [`ControlPlaneBuilder::start`].
    pub async fn start(builder: ControlPlaneBuilder) -> Result<Self> {
        let control_plane = Arc::new(builder.start().await?);
        Ok(Self {
            control_plane,
            is_shared: false,
            installed: Mutex::default(),
            namespaces: AtomicUsize::new(0),
            is_littered: AtomicBool::new(false),
            cluster_api: OnceCell::new(),
            baseline: OnceCell::new(),
        })
    }

    /// Starts a plane for one rig of this operator, with an audit log.
    ///
    /// # Errors
    /// Those of [`ControlPlaneBuilder::start`].
    pub async fn alone(subject: &Subject) -> Result<Arc<Self>> {
        let builder = ControlPlane::builder().audit(true).all_controllers(subject.all_controllers);
        Ok(Arc::new(Self::start(builder).await?))
    }

    /// Returns a plane for a rig of this operator: the one that the tests of this process share, or a new one, if each of its rigs needs
    /// one.
    ///
    /// # Errors
    /// Those of [`Plane::start`].
    pub async fn of(subject: &Subject) -> Result<Arc<Self>> {
        if subject.needs_own_plane() { Self::alone(subject).await } else { Self::shared().await }
    }

    /// Returns the plane that the tests of this process share, with an audit log. It stops when the last of them drops it.
    ///
    /// # Errors
    /// Those of [`Plane::start`].
    pub async fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().await;
        if let Some(plane) = shared.upgrade() {
            return Ok(plane);
        }
        let plane = Self::start(ControlPlane::builder().audit(true)).await?;
        let plane = Arc::new(Self { is_shared: true, ..plane });
        *shared = Arc::downgrade(&plane);
        Ok(plane)
    }

    /// Installs an operator as a user would, unless it is installed.
    ///
    /// # Errors
    /// If `kubectl` refuses the manifests, or the CRDs do not become established.
    pub async fn install(&self, subject: &Subject) -> Result<Installed> {
        let mut installed = self.installed.lock().await;
        if let Some(installed) = installed.get(subject.name) {
            return Ok(installed.clone());
        }
        let output = match subject.manifests {
            Manifests::Deploy(directory) => {
                let mut output = String::new();
                for part in ["crds", "base"] {
                    let part = project_root()?.join(directory).join(part);
                    let part = part.to_str().context("the project's path is not UTF-8")?;
                    output += &self.control_plane.kubectl(&["apply", "--server-side", "-k", part]).await?;
                }
                output
            }
            Manifests::Printed => self.apply_printed(subject).await?,
        };
        self.control_plane
            .kubectl(&["wait", "--for=condition=Established", "--timeout=180s", "crd", "--all"])
            .await?;
        let kubeconfig =
            self.control_plane.service_account_kubeconfig(subject.namespace, subject.name).await?;
        let new = Installed { kubeconfig, output };
        installed.insert(subject.name, new.clone());
        Ok(new)
    }

    /// Applies what the operator prints, and creates its namespace and ServiceAccount.
    async fn apply_printed(&self, subject: &Subject) -> Result<String> {
        let printed = Command::new(binary(subject.name)?).arg("manifests").output()?;
        let stderr = String::from_utf8_lossy(&printed.stderr);
        ensure!(printed.status.success(), "{} manifests: {stderr}", subject.name);
        let namespace = objects::namespace(subject.namespace).to_string();
        let mut output = self.apply(subject, &namespace).await?;
        output += &self.apply(subject, &String::from_utf8(printed.stdout)?).await?;
        Ok(output + &self.create_account(subject, subject.name).await?)
    }

    /// Creates a ServiceAccount with the operator's rights.
    ///
    /// # Errors
    /// If the API server refuses.
    pub(crate) async fn create_account(&self, subject: &Subject, name: &str) -> Result<String> {
        let namespace = subject.namespace;
        let subjects = json!([{ "kind": "ServiceAccount", "name": name, "namespace": namespace }]);
        let role = |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        let rbac = "rbac.authorization.k8s.io/v1";
        let account = json!({ "name": name, "namespace": namespace });
        let items = json!([
            { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": account },
            { "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": { "name": name },
              "roleRef": role("ClusterRole", subject.name), "subjects": subjects },
            { "apiVersion": rbac, "kind": "RoleBinding", "metadata": account,
              "roleRef": role("Role", &format!("{}-leader-election", subject.name)), "subjects": subjects },
        ]);
        self.apply(subject, &json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).await
    }

    async fn apply(&self, subject: &Subject, manifests: &str) -> Result<String> {
        let apply = ["-n", subject.namespace, "apply", "--server-side", "-f", "-"];
        self.control_plane.kubectl_stdin(&apply, manifests).await
    }

    /// Returns the plane's Cluster API, which is started once.
    ///
    /// # Errors
    /// Those of [`ClusterApi::start`].
    pub(crate) async fn cluster_api(&self) -> Result<Arc<ClusterApi>> {
        let start = async || Ok(Arc::new(ClusterApi::start(Arc::clone(&self.control_plane)).await?));
        self.cluster_api.get_or_try_init(start).await.cloned()
    }

    /// Notes what the plane has, unless that is known: [`Planes`] bring it back to that for the next rig.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub(crate) async fn note_baseline(&self) -> Result<()> {
        self.baseline.get_or_try_init(async || self.control_plane.baseline().await).await?;
        Ok(())
    }

    /// Makes the plane as it was when its [baseline](Self::note_baseline) was noted, if it was, for a test with another runtime.
    pub(crate) async fn go_back(&self) -> Result<()> {
        self.control_plane.renew_client().await?;
        match self.baseline.get() {
            Some(baseline) => self.control_plane.go_back(baseline).await,
            None => Ok(()),
        }
    }

    /// Notes that a run has failed, and has left objects whose names the next run uses: a plane that is not shared is not taken
    /// again.
    pub fn litter(&self) {
        self.is_littered.store(true, Ordering::Relaxed);
    }

    /// Returns whether a rig may take the plane for itself: no other one uses it, and none has failed there.
    pub(crate) fn is_free(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && !self.is_littered.load(Ordering::Relaxed)
    }

    /// Returns whether rigs share the plane.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns the namespace of a rig: one that no other rig has, or `default` if the plane is the rig's own.
    pub(crate) fn take_namespace(&self) -> String {
        if !self.is_shared {
            return "default".to_owned();
        }
        format!("rig-{}", self.namespaces.fetch_add(1, Ordering::Relaxed))
    }
}
