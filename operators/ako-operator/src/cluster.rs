//! The Cluster controller: AKO in the workload clusters of selected Clusters, and its cleanup before a Cluster is let go.
//!
//! ```text
//!   observe: selection, Machines, workload cluster ──▶ plan: pure ──▶ apply: objects, deleteConfig, hooks
//! ```
//!
//! Owns no state but which workload clusters are watched: everything else is in the objects.

mod account;
pub(crate) mod addon;
mod apply;
mod arrival;
pub mod definitions;
pub(crate) mod glance;
pub(crate) mod live;
mod memory;
pub(crate) mod moves;
mod observe;
pub mod patience;
pub mod plan;
pub mod report;
mod room;
pub mod seen;
pub(crate) mod stored;
pub(crate) mod works;
mod writes;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use infra_clients::capi::{Cluster, ConditionStatus, Machine, WorkloadClients};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use operator_kit::{
    Cache, Clock, Foreign, Index, Key, NoStatus, Notice, Objects, Outcome, Reconciler, Remotes, Triggers,
    Turn,
};

pub use self::memory::Memory;
use self::plan::{Plan, decide};
use self::report::{Report, failed};
use self::seen::{Seen, Want};
use crate::api::{
    AkoDeploymentConfig, FINALIZER, FORCE_ANNOTATION, LATER_FINALIZER, MOVE_ANNOTATION, ROTATE_ANNOTATION,
};
use crate::bundle::files::BundleFiles;
use crate::connections::Connections;
use crate::delivery::Ways;
use crate::endpoint::Settings;
use crate::error::Error;
use crate::secrets::Secrets;
use crate::selection::readiness;

/// Where AKO says on its StatefulSet how far the removal of its objects is.
pub(crate) const STATUS_ANNOTATION: &str = "AviObjectDeletionStatus";
/// Where AKO's gateway says it.
const GATEWAY_STATUS_ANNOTATION: &str = "AviGatewayObjectDeletionStatus";

/// The controller.
pub struct Clusters {
    /// Client of the management cluster.
    pub client: Client,
    /// Id of this management cluster, in the marks of the users on AVI.
    pub id: String,
    /// Field manager of what is applied.
    pub manager: String,
    /// Time.
    pub clock: Clock,
    /// All Clusters.
    pub clusters: Objects<Foreign<Cluster>>,
    /// All AKODeploymentConfigs.
    pub adcs: Cache<AkoDeploymentConfig>,
    /// All Machines.
    pub machines: Objects<Foreign<Machine>>,
    /// Machines by the key of their Cluster.
    pub by_cluster: Index<Foreign<Machine>, Key>,
    /// Clients of the workload clusters.
    pub clients: WorkloadClients,
    /// Watches of AKO's StatefulSets, which only wake their Clusters.
    pub sets: Remotes<PartialObjectMeta<StatefulSet>>,
    /// What AVI had when the controller of AKODeploymentConfigs asked last.
    pub answers: Arc<crate::adc::Memory>,
    /// Reads Secrets.
    pub secrets: Arc<Secrets>,
    /// Clients of the AVI controllers.
    pub connections: Arc<Connections>,
    /// Wakes Clusters.
    pub triggers: Triggers<Foreign<Cluster>>,
    /// Wakes AKODeploymentConfigs.
    pub adc_triggers: Triggers<AkoDeploymentConfig>,
    /// How AKO is installed.
    pub ways: Ways,
    /// The definitions of AKO's kinds, if the user gives them.
    pub bundle: Option<Arc<BundleFiles>>,
    /// Which control planes AVI balances.
    pub endpoints: Settings,
    /// How long a cleanup waits for AKO; `None`: until a person ends it.
    pub deadline: Option<Duration>,
    /// Services of type LoadBalancer.
    pub services: Cache<Service>,
    /// What this process remembers.
    pub memory: Memory,
    /// API version of the Clusters.
    pub version: String,
}

impl Reconciler for Clusters {
    type Object = Foreign<Cluster>;
    type Seen = Seen;
    type Plan = Plan;
    type Done = Option<Notice>;
    type Error = Error;

    const NAME: &'static str = "cluster";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    const FORMER_FINALIZERS: &'static [&'static str] = &[LATER_FINALIZER];

    fn reads(cluster: &Self::Object) -> impl Hash {
        let annotations = [FORCE_ANNOTATION, MOVE_ANNOTATION, ROTATE_ANNOTATION]
            .map(|name| cluster.annotation(name).map(str::to_owned));
        let ready = readiness(cluster).map(ConditionStatus::as_str);
        let ready = (ready, cluster.control_plane_initialized(), cluster.is_paused());
        (cluster.labels().clone(), annotations, ready)
    }

    /// A paused Cluster may be on its way to another management cluster, which a finalizer would keep here. One that has the finalizer and is in
    /// no record has lost that: its AKO may work anywhere.
    fn holds(cluster: &Self::Object, seen: Option<&Seen>) -> bool {
        let is_due =
            |seen: &Seen| seen.is_stripped || seen.want == Want::Ako && (seen.is_held || seen.is_awaited);
        !cluster.is_paused() && seen.is_some_and(is_due)
    }

    async fn observe(&self, cluster: &Self::Object) -> Result<Seen, Error> {
        self.look(cluster).await
    }

    fn plan(_: &Self::Object, seen: &Seen, now: Timestamp) -> Turn<Plan> {
        decide(seen, now)
    }

    /// Remembers that the operator lets it go: what is left of one that goes otherwise is looked for.
    async fn confirm_gone(&self, cluster: &Self::Object) -> Result<bool, Error> {
        if cluster.is_deleting() && self.recorded(cluster).is_some() {
            self.answers.leaves(&Key::of(&**cluster));
        }
        Ok(true)
    }

    async fn apply(&self, cluster: &Self::Object, plan: Plan) -> Result<Option<Notice>, Error> {
        self.carry_out(cluster, plan).await.map_err(|error| {
            let known = self.known(cluster);
            match known.recorded().or(known.adc()) {
                Some(adc) => error.naming(&adc.spec),
                None => error,
            }
        })
    }

    fn status(
        _: Option<&NoStatus>,
        _: &Self::Object,
        _: Option<&Seen>,
        _: &Outcome<Option<Notice>, Error>,
        _: Timestamp,
    ) -> Option<NoStatus> {
        None
    }

    async fn report_failure(&self, cluster: &Self::Object, error: &Error) -> Result<(), Error> {
        let set = failed(&self.known(cluster).glance(), error);
        if !set.is_empty() {
            self.report(cluster, Report { set, remove: Vec::new(), notice: None }).await?;
        }
        Ok(())
    }

    fn conditions(status: &NoStatus) -> &[Condition] {
        status.conditions()
    }

    fn event(done: &Option<Notice>) -> Option<Notice> {
        done.clone()
    }

    fn forget(&self, uid: &str) {
        self.answers.forget_works(uid);
        if let Some(key) = self.memory.forget(uid) {
            self.sets.stop(&key);
            self.clients.forget(key.namespace(), key.name());
        }
    }
}
