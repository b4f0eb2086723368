//! What the two kinds of connections have in common.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::object::HasStatus;
use kube::{Resource, ResourceExt as _};
use operator_kit::{Key, Triggers};
use serde::Serialize;

use crate::api::{
    CREDENTIALS_NAMESPACE, VSphereConnection, VSphereConnectionStatus, Verification, VsphereCloudConfig,
    VsphereCloudConfigStatus,
};
use crate::config::{Account, Vcenter};
use crate::problem::Problem;
use crate::wakes::Wakes;

/// What is known of a vCenter.
pub(crate) struct Verdict {
    pub(crate) is_verified: bool,
    pub(crate) message: Option<String>,
    /// Version of the vCenter, where it has answered.
    pub(crate) release: Option<String>,
    pub(crate) conditions: Vec<Condition>,
}

/// An object that says how a vCenter is reached.
pub(crate) trait Connection:
    operator_kit::Kind
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Clone + PartialEq + Serialize + Send + Sync>
{
    /// Name of the kind.
    const KIND: &'static str;
    /// Name of the controller.
    const CONTROLLER: &'static str;

    /// Returns the key of the Secret with the account.
    fn account(&self) -> Key;

    /// Returns the key of the ConfigMap with authorities.
    fn authority(&self) -> Option<Key>;

    /// Reads it.
    fn vcenter(&self, account: Account, authority: Option<&str>) -> Result<Vcenter, Vec<Problem>>;

    /// Returns the status with what is known.
    fn status_with(old: Option<&Self::Status>, verdict: Verdict) -> Self::Status;

    /// Returns the conditions of a status.
    fn conditions_of(status: &Self::Status) -> &[Condition];

    /// Returns what wakes objects of the kind.
    fn triggers(wakes: &Wakes) -> &Triggers<Self>;
}

impl Connection for VsphereCloudConfig {
    const KIND: &'static str = "VsphereCloudConfig";
    const CONTROLLER: &'static str = "vspherecloudconfig";

    fn account(&self) -> Key {
        Key::new(CREDENTIALS_NAMESPACE, &self.spec.credentials)
    }

    fn authority(&self) -> Option<Key> {
        None
    }

    fn vcenter(&self, account: Account, authority: Option<&str>) -> Result<Vcenter, Vec<Problem>> {
        Vcenter::read(&self.spec, account, authority)
    }

    fn status_with(_: Option<&Self::Status>, verdict: Verdict) -> Self::Status {
        let Verdict { is_verified, message, release: _, conditions } = verdict;
        let config = if is_verified { Verification::Verified } else { Verification::Failed };
        VsphereCloudConfigStatus { config: Some(config), message, conditions }
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn triggers(wakes: &Wakes) -> &Triggers<Self> {
        &wakes.clouds
    }
}

impl Connection for VSphereConnection {
    const KIND: &'static str = "VSphereConnection";
    const CONTROLLER: &'static str = "vsphereconnection";

    fn account(&self) -> Key {
        Key::new(&self.namespace().unwrap_or_default(), &self.spec.credentials)
    }

    fn authority(&self) -> Option<Key> {
        let name = self.spec.certificate_authority.as_ref()?;
        Some(Key::new(&self.namespace().unwrap_or_default(), name))
    }

    fn vcenter(&self, account: Account, authority: Option<&str>) -> Result<Vcenter, Vec<Problem>> {
        Vcenter::read_connection(&self.spec, account, authority)
    }

    fn status_with(old: Option<&Self::Status>, verdict: Verdict) -> Self::Status {
        let known = || old.and_then(|old| old.version.clone());
        let version = verdict.release.or_else(known);
        VSphereConnectionStatus { version, conditions: verdict.conditions }
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn triggers(wakes: &Wakes) -> &Triggers<Self> {
        &wakes.connections
    }
}
