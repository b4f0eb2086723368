//! What the simulated vCenter's machines, hosts and datastores are made of.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::Vcsim;

impl Vcsim {
    /// Sets a machine's version of the virtual hardware, such as `vmx-15`, and whether changed blocks of its disks are tracked.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn set_hardware(&self, path: &str, version: &str, change_tracking: bool) -> Result<()> {
        let body = json!({"path": path, "version": version, "changeTracking": change_tracking});
        self.control.send(Method::POST, "vms/hardware", Some(body)).await
    }

    /// Sets version and build of ESXi of the host at an inventory path.
    ///
    /// # Errors
    /// If there is no such host.
    pub async fn set_host_release(&self, path: &str, version: &str, build: &str) -> Result<()> {
        let body = json!({"path": path, "version": version, "build": build});
        self.control.send(Method::POST, "hosts/release", Some(body)).await
    }

    /// Takes the datastore away from the host, both given by their inventory paths.
    ///
    /// # Errors
    /// If one of them does not exist.
    pub async fn unmount_datastore(&self, path: &str, host: &str) -> Result<()> {
        self.control.send(Method::POST, "datastores/unmount", Some(json!({"path": path, "host": host}))).await
    }

    /// Moves the datastore at an inventory path into a new storage cluster of that name; `automatic`: a vCenter moves the disks in it by itself.
    ///
    /// # Errors
    /// If there is no such datastore, or it is in a storage cluster.
    pub async fn balance_datastore(&self, path: &str, cluster: &str, automatic: bool) -> Result<()> {
        let body = json!({"path": path, "name": cluster, "on": automatic});
        self.control.send(Method::POST, "datastores/balance", Some(body)).await
    }
}
