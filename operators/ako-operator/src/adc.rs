//! The controller of AKODeploymentConfigs: sets AVI up as each asks, and says what is wrong with it.
//!
//! ```text
//!   observe: spec, Secrets, Clusters, what is remembered of AVI ──▶ plan: pure ──▶ apply: ask AVI, record, configure ──▶ status
//! ```
//!
//! What is added to AVI is written into the status before. Only that is removed again: when the spec does not ask for it any more, or
//! the AKODeploymentConfig is deleted. Next: [`record`], which decides what is added and removed.

mod apply;
pub(crate) mod deliveries;
mod lost;
mod memory;
mod observe;
pub mod plan;
pub mod port_groups;
pub mod record;
pub mod seen;
mod status;
pub mod tenants;

use std::sync::Arc;

use infra_clients::capi::Cluster;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::{Cache, Foreign, Kit, Notice, Objects, Outcome, Reconciler, Triggers, Turn};

pub use self::memory::Memory;
use self::plan::{Plan, decide};
use self::seen::Seen;
use crate::api::{
    AkoDeploymentConfig, AkoDeploymentConfigStatus, FINALIZER, FORCE_ANNOTATION, LATER_FINALIZER,
};
use crate::bundle::files::BundleFiles;
use crate::connections::Connections;
use crate::delivery::Ways;
use crate::error::Error;
use crate::secrets::Secrets;
use crate::vcenters::Vcenters;

/// The controller.
pub struct Adcs {
    /// What every controller has.
    pub kit: Kit,
    /// Id of this management cluster, in the marks of the users on AVI.
    pub id: String,
    /// Field manager of the record.
    pub manager: String,
    /// All AKODeploymentConfigs.
    pub adcs: Objects<AkoDeploymentConfig>,
    /// Wakes AKODeploymentConfigs.
    pub triggers: Triggers<AkoDeploymentConfig>,
    /// All Clusters.
    pub clusters: Objects<Foreign<Cluster>>,
    /// Wakes Clusters.
    pub cluster_triggers: Triggers<Foreign<Cluster>>,
    /// Services of type LoadBalancer.
    pub services: Cache<Service>,
    /// Reads Secrets.
    pub secrets: Arc<Secrets>,
    /// Clients of the controllers.
    pub connections: Arc<Connections>,
    /// Clients of the vCenters.
    pub vcenters: Arc<Vcenters>,
    /// How AKO is installed.
    pub ways: Ways,
    /// The definitions of AKO's kinds, if the user gives them.
    pub bundle: Option<Arc<BundleFiles>>,
    /// What AVI and the vCenters had when they were asked last.
    pub memory: Arc<Memory>,
}

impl Reconciler for Adcs {
    type Object = AkoDeploymentConfig;
    type Seen = Seen;
    type Plan = Plan;
    type Done = Option<Notice>;
    type Error = Error;

    const NAME: &'static str = "akodeploymentconfig";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    const FORMER_FINALIZERS: &'static [&'static str] = &[LATER_FINALIZER];

    fn reads(adc: &AkoDeploymentConfig) -> impl std::hash::Hash {
        adc.metadata.annotations.as_ref().and_then(|annotations| annotations.get(FORCE_ANNOTATION)).cloned()
    }

    async fn observe(&self, adc: &AkoDeploymentConfig) -> Result<Seen, Error> {
        self.look(adc).await
    }

    fn plan(adc: &AkoDeploymentConfig, seen: &Seen, now: Timestamp) -> Turn<Plan> {
        decide(adc, seen, now)
    }

    async fn apply(&self, adc: &AkoDeploymentConfig, plan: Plan) -> Result<Option<Notice>, Error> {
        self.carry_out(adc, plan).await.map_err(|error| error.naming(&adc.spec))
    }

    fn status(
        old: Option<&AkoDeploymentConfigStatus>,
        adc: &AkoDeploymentConfig,
        seen: Option<&Seen>,
        outcome: &Outcome<Option<Notice>, Error>,
        now: Timestamp,
    ) -> Option<AkoDeploymentConfigStatus> {
        Some(status::status(old, adc, seen, outcome, now))
    }

    fn conditions(status: &AkoDeploymentConfigStatus) -> &[Condition] {
        &status.conditions
    }

    fn event(done: &Option<Notice>) -> Option<Notice> {
        done.clone()
    }

    fn news(
        _: &AkoDeploymentConfig,
        old: Option<&AkoDeploymentConfigStatus>,
        new: &AkoDeploymentConfigStatus,
    ) -> Vec<Notice> {
        tenants::news(old, new).into_iter().collect()
    }

    fn forget(&self, uid: &str) {
        self.memory.forget(uid);
        self.connections.forget(uid);
        self.vcenters.forget(uid);
    }
}
