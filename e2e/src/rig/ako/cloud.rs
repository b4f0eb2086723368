//! A cloud of the rig's AVI controller that reads the rig's vCenter.

use std::time::Duration;

use anyhow::Result;
use avi_simulator::Control;
use serde_json::{Value, json};
use testbed::Discovery;

use super::objects::reference;
use super::{AkoRig, VCENTER};
use crate::rig::Rig as _;

const UUID: &str = "cloud-7f8b0d7c-6a51-4d0e-9f43-0f3b1a0c2d11";
/// How long AVI takes to find a port group, by its clock, which [`VcenterCloud::discover`] puts forward.
const DELAY: Duration = Duration::from_mins(1);

/// The cloud. Dropping it ends the discovery.
pub struct VcenterCloud {
    discovery: Discovery,
    avi: Control,
}

impl VcenterCloud {
    /// The start of the UUIDs of its networks is the port group's reference; this is the end.
    pub const UUID: &'static str = UUID;

    /// Lets AVI find what is in the vCenter now.
    ///
    /// # Errors
    /// If the vCenter does not answer.
    pub async fn discover(&self) -> Result<()> {
        self.discovery.look().await?;
        self.avi.advance_clock(DELAY);
        Ok(())
    }
}

impl AkoRig {
    /// Makes the cloud on AVI, with the networks of the port groups that there are.
    ///
    /// # Errors
    /// If the vCenter does not answer.
    pub async fn vcenter_cloud(&self) -> Result<VcenterCloud> {
        let avi = self.simulator.control();
        avi.seed(&format!(
            "cloud: [{{uuid: {UUID}, name: vc, vtype: CLOUD_VCENTER, ipam_provider_ref: '/api/ipamdnsproviderprofile/?name=vc-ipam'}}]\n\
             serviceenginegroup: [{{name: vc-group, cloud_ref: '/api/cloud/?name=vc'}}]\n\
             ipamdnsproviderprofile: [{{name: vc-ipam, type: IPAMDNS_TYPE_INTERNAL, internal_profile: {{}}}}]"
        ))?;
        let discovery = self.vcenter.discovered_by(avi.clone(), UUID, DELAY).await?;
        avi.advance_clock(DELAY);
        Ok(VcenterCloud { discovery, avi })
    }

    /// Returns the AKODeploymentConfig of [`config`](Self::config) for this cloud, with these port groups and this data network.
    #[must_use]
    pub fn vcenter_config(&self, groups: &Value, network: &str) -> Value {
        let mut config = self.config();
        let spec = &mut config["spec"];
        spec["cloudName"] = "vc".into();
        spec["serviceEngineGroup"] = "vc-group".into();
        spec["vcenter"] = json!({ "server": VCENTER, "credentialRef": reference("vcenter-account"),
            "certificateAuthorityRef": reference("vcenter-ca") });
        spec["portGroups"] = groups.clone();
        spec["dataNetwork"]["name"] = network.into();
        // Its network is of the other cloud.
        spec["controlPlaneNetwork"] = Value::Null;
        self.localized(config)
    }
}
