//! What the two kinds that ask for drivers have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::object::HasStatus;
use kube::{Resource, ResourceExt as _};
use operator_kit::{Cache, Objects, Triggers};
use serde::Serialize;

use super::confirm::Asked;
use crate::api::{
    ADOPT, DriverSet, DriverSetStatus, RETRY_UPGRADE, SKIP_CHECKS, VSphereConnection, VdoConfig,
    VdoConfigStatus, VsphereCloudConfig,
};
use crate::connection::Connection;
use crate::desired::Desired;
use crate::matrix::Driver;
use crate::nodes::State;
use crate::plan::Drivers;
use crate::problem::Problem;
use crate::status::{self, Report};
use crate::wakes::{Caches, Wakes};

/// Where an object says which matrix is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixPlace<'a> {
    /// In a ConfigMap of its namespace.
    ConfigMap,
    /// In the CompatibilityMatrix of this name.
    Named(&'a str),
    /// Nowhere: the one that is built in.
    BuiltIn,
}

/// An object that asks for drivers.
pub(crate) trait Asks:
    operator_kit::Kind
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Clone + Default + PartialEq + Serialize + Send + Sync>
{
    /// Name of the kind.
    const KIND: &'static str;
    /// Name of the controller.
    const CONTROLLER: &'static str;
    /// The kind of its connections.
    type Connection: Connection;

    /// Reads what it asks for.
    fn desired(&self) -> Result<Desired, Vec<Problem>>;

    /// Returns what of its annotations is read.
    fn settings(&self) -> [Option<&str>; 3] {
        [None, None, self.annotations().get(RETRY_UPGRADE).map(String::as_str)]
    }

    /// Returns where it says which matrix is used.
    fn matrix(&self) -> MatrixPlace<'_>;

    /// Returns its status.
    fn report(
        &self,
        old: Option<&Self::Status>,
        reports: &Drivers<Report>,
        cpi_nodes: &BTreeMap<String, State>,
        now: Timestamp,
    ) -> Self::Status;

    /// Returns the conditions of a status.
    fn conditions_of(status: &Self::Status) -> &[Condition];

    /// Returns the conditions of a status, to be changed.
    fn conditions_mut(status: &mut Self::Status) -> &mut Vec<Condition>;

    /// Notes which generation a status answers, where it says that beside its conditions.
    fn answer(_: &mut Self::Status, _: Option<i64>) {}

    /// Returns the cache of its connections.
    fn connections(caches: &Caches) -> &Cache<Self::Connection>;

    /// Returns the objects of the kind.
    fn objects(asked: &Asked) -> &Objects<Self>;

    /// Returns what wakes objects of the kind.
    fn triggers(wakes: &Wakes) -> &Triggers<Self>;
}

/// Reads the names in an annotation.
fn named<T: FromStr<Err = String> + Ord>(
    annotation: &str,
    text: Option<&str>,
) -> Result<BTreeSet<T>, Vec<Problem>> {
    let names = text.unwrap_or_default().split(',').filter(|name| !name.trim().is_empty());
    let read: Result<_, String> = names.map(str::parse).collect();
    read.map_err(|message| vec![Problem::new(format!("metadata.annotations[{annotation}]"), message)])
}

impl Asks for VdoConfig {
    const KIND: &'static str = "VDOConfig";
    const CONTROLLER: &'static str = "vdoconfig";
    type Connection = VsphereCloudConfig;

    fn desired(&self) -> Result<Desired, Vec<Problem>> {
        let mut desired = Desired::of_vdo_config(&self.spec);
        // What is wrong with annotations keeps nothing from being removed.
        if self.metadata.deletion_timestamp.is_some() {
            return Ok(desired);
        }
        let [skipped, adopted, retry] = self.settings();
        retry.unwrap_or_default().clone_into(&mut desired.retry);
        desired.skipped = named(SKIP_CHECKS, skipped)?;
        for driver in named::<Driver>(ADOPT, adopted)? {
            desired.drivers.get_mut(driver).adopts = true;
        }
        Ok(desired)
    }

    fn settings(&self) -> [Option<&str>; 3] {
        [SKIP_CHECKS, ADOPT, RETRY_UPGRADE].map(|name| self.annotations().get(name).map(String::as_str))
    }

    fn matrix(&self) -> MatrixPlace<'_> {
        MatrixPlace::ConfigMap
    }

    fn report(
        &self,
        old: Option<&Self::Status>,
        reports: &Drivers<Report>,
        cpi_nodes: &BTreeMap<String, State>,
        now: Timestamp,
    ) -> VdoConfigStatus {
        status::vdo_config(old, self.metadata.generation, reports, cpi_nodes, now)
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn conditions_mut(status: &mut Self::Status) -> &mut Vec<Condition> {
        &mut status.conditions
    }

    fn connections(caches: &Caches) -> &Cache<VsphereCloudConfig> {
        &caches.clouds
    }

    fn objects(asked: &Asked) -> &Objects<Self> {
        &asked.vdo_configs
    }

    fn triggers(wakes: &Wakes) -> &Triggers<Self> {
        &wakes.vdo_configs
    }
}

impl Asks for DriverSet {
    const KIND: &'static str = "DriverSet";
    const CONTROLLER: &'static str = "driverset";
    type Connection = VSphereConnection;

    fn desired(&self) -> Result<Desired, Vec<Problem>> {
        if self.metadata.deletion_timestamp.is_none() {
            let [.., retry] = self.settings();
            let retry = retry.unwrap_or_default().to_owned();
            return Ok(Desired { retry, ..Desired::of_driver_set(&self.spec)? });
        }
        // A version that cannot be read keeps nothing from being removed.
        let mut spec = self.spec.clone();
        let drivers = [
            spec.cni.as_mut(),
            spec.cpi.as_mut().map(|cpi| &mut cpi.driver),
            spec.snapshot_controller.as_mut(),
            spec.csi.as_mut().map(|csi| &mut csi.driver),
        ];
        drivers.into_iter().flatten().for_each(|driver| driver.version_policy = None);
        Desired::of_driver_set(&spec)
    }

    fn matrix(&self) -> MatrixPlace<'_> {
        self.spec.matrix.as_deref().map_or(MatrixPlace::BuiltIn, MatrixPlace::Named)
    }

    fn report(
        &self,
        old: Option<&Self::Status>,
        reports: &Drivers<Report>,
        _: &BTreeMap<String, State>,
        now: Timestamp,
    ) -> DriverSetStatus {
        status::driver_set(old, self.metadata.generation, reports, now)
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn conditions_mut(status: &mut Self::Status) -> &mut Vec<Condition> {
        &mut status.conditions
    }

    fn answer(status: &mut Self::Status, generation: Option<i64>) {
        status.observed_generation = generation;
    }

    fn connections(caches: &Caches) -> &Cache<VSphereConnection> {
        &caches.connections
    }

    fn objects(asked: &Asked) -> &Objects<Self> {
        &asked.driver_sets
    }

    fn triggers(wakes: &Wakes) -> &Triggers<Self> {
        &wakes.driver_sets
    }
}
