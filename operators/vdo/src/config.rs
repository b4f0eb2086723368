//! The configuration of the drivers: what they read at their start, as text, from what users say of their vCenters.
//!
//! Pure: the same bytes for the same values. Refuses what a driver would misread or ignore, before it is written: all problems at
//! once, each with its field and what to write instead. Credentials are in a type that does not print.

mod cpi;
mod csi;
mod gcfg;
mod vcenter;
mod yaml;

use std::collections::BTreeMap;

use infra_clients::Secret;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use kube::core::ObjectMeta;

pub(crate) use cpi::{CONFIG_MAP as CPI_CONFIG_MAP, SECRET as CPI_SECRET};
pub use cpi::{Cpi, CpiFiles, Nodes};
pub use csi::{Category, ClusterId, Csi, FileShares, OLDEST_CSI, Permission, Zones};
pub(crate) use csi::{NAMESPACE as CSI_NAMESPACE, SECRET as CSI_SECRET};
pub use vcenter::{Account, Trust, Vcenter};

/// Directory in which the drivers find their configuration.
const DIRECTORY: &str = "/etc/cloud";

/// A Secret that is to exist. Formats without its values.
#[derive(Clone, Debug)]
pub struct SecretFiles {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its values, by key.
    pub data: BTreeMap<String, Secret>,
}

impl SecretFiles {
    /// Returns the object, for the one place that sends it: it formats with its values.
    #[must_use]
    pub fn object(&self) -> core::Secret {
        let data = self.data.iter().map(|(key, text)| (key.clone(), ByteString(text.expose().into())));
        core::Secret {
            metadata: ObjectMeta {
                name: Some(self.name.to_owned()),
                namespace: Some(self.namespace.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data.collect()),
            ..core::Secret::default()
        }
    }
}

#[cfg(test)]
mod tests;
