//! The controller of control planes' endpoints: a Service of type LoadBalancer in the management cluster for each Cluster whose control
//! plane AVI is to balance, which AKO of the management cluster serves.
//!
//! ```text
//!   observe: Cluster, AKODeploymentConfig, Machines, Service ──▶ plan: pure ──▶ apply: Service, EndpointSlice, endpoint of the Cluster
//! ```
//!
//! Owns the Service, its EndpointSlice and one condition. The address of a control plane never changes once it is known. A Service of a
//! deleted Cluster goes with the Cluster, after its last Machine. Next: [`plan`], which decides.

mod apply;
pub mod objects;
mod observe;
pub mod plan;
pub mod seen;
mod settings;

use std::hash::Hash;

use infra_clients::capi::{Cluster, Machine};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Client, Resource};
use operator_kit::conditions::Status;
use operator_kit::{
    Cache, Clock, Foreign, Guarded, Index, Key, NoStatus, Notice, Objects, Outcome, ReconcileError as _,
    Reconciler, Turn,
};

use self::plan::{Plan, decide};
use self::seen::Seen;
pub use self::settings::{APISERVER_PORT, Settings};
use crate::api::{AkoDeploymentConfig, ENDPOINT_ANNOTATION, MANAGEMENT_LABEL, condition};
use crate::conditions::{ConditionWriter, Said, said};
use crate::error::Error;

/// The controller.
pub struct Endpoints {
    /// Client of the management cluster.
    pub client: Client,
    /// Field manager of what is written.
    pub manager: String,
    /// Time.
    pub clock: Clock,
    /// Which control planes AVI balances, and how.
    pub settings: Settings,
    /// All Clusters.
    pub clusters: Objects<Foreign<Cluster>>,
    /// All AKODeploymentConfigs.
    pub adcs: Cache<AkoDeploymentConfig>,
    /// Machines by the key of their Cluster.
    pub by_cluster: Index<Foreign<Machine>, Key>,
    /// Services of type LoadBalancer.
    pub services: Objects<Service>,
    /// EndpointSlices of this controller, and those that Kubernetes mirrors.
    pub slices: Objects<EndpointSlice>,
    /// EndpointSlices by the key of their Service.
    pub by_service: Index<EndpointSlice, Key>,
}

impl Reconciler for Endpoints {
    type Object = Foreign<Cluster>;
    type Seen = Seen;
    type Plan = Plan;
    type Done = Option<Notice>;
    type Error = Error;

    const NAME: &'static str = "endpoint";
    /// The Service has an owner or a finalizer instead.
    const FINALIZER: Option<&'static str> = None;

    fn reads(cluster: &Self::Object) -> impl Hash {
        let annotation = cluster.annotation(ENDPOINT_ANNOTATION).map(str::to_owned);
        let is_management = cluster.label(MANAGEMENT_LABEL).is_some();
        // Labels select the AKODeploymentConfig.
        let labels = cluster.metadata.labels.clone();
        (annotation, is_management, labels, cluster.is_paused(), cluster.control_plane_initialized())
    }

    async fn observe(&self, cluster: &Self::Object) -> Result<Seen, Error> {
        self.look(cluster).await
    }

    fn plan(cluster: &Self::Object, seen: &Seen, _: Timestamp) -> Turn<Plan> {
        decide(cluster, seen)
    }

    async fn apply(&self, cluster: &Self::Object, plan: Plan) -> Result<Option<Notice>, Error> {
        self.carry_out(cluster, plan).await
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
        let failure = Said::new(condition::ENDPOINT_READY, Status::False, error.reason(), &error.to_string());
        if said(cluster, &[condition::ENDPOINT_READY]).contains(&failure) || cluster.is_paused() {
            return Ok(());
        }
        self.condition_writer().write(cluster, &[failure], &[]).await
    }

    fn conditions(status: &NoStatus) -> &[Condition] {
        status.conditions()
    }

    fn event(done: &Option<Notice>) -> Option<Notice> {
        done.clone()
    }
}

impl Endpoints {
    fn condition_writer(&self) -> ConditionWriter<'_> {
        ConditionWriter { clusters: &self.clusters, manager: &self.manager, clock: &self.clock }
    }
}

/// Returns what of a Machine the endpoint of its Cluster depends on.
#[must_use]
pub fn share_of(machine: &Guarded<Foreign<Machine>>) -> impl PartialEq + use<> {
    let valid = machine.valid();
    let addresses = valid.map(|machine| machine.status.addresses.clone());
    let is_control_plane = valid.is_some_and(|machine| machine.is_control_plane());
    let is_ready = valid.is_some_and(|machine| machine.conditions.is_true(seen::READY));
    (is_control_plane, addresses, is_ready, machine.meta().deletion_timestamp.is_some())
}
