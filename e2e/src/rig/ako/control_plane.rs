//! The Service of a control plane that AVI balances, and what others do to it.

use anyhow::{Context, Result};
use serde_json::json;
use testbed::eventually;

use super::{AkoRig, Guest};
use crate::site::PATIENCE;

impl AkoRig {
    /// Gives the Service of a control plane an address, as AKO of the management cluster would.
    ///
    /// # Errors
    /// If there is no such Service, in time.
    pub async fn give_address(&self, service: &str, address: &str) -> Result<()> {
        let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } }).to_string();
        eventually(&format!("the Service {service} exists"), PATIENCE, async || {
            let patch = ["patch", "service", service, "--subresource=status", "--type=merge", "-p", &status];
            Ok(self.management.kubectl(&patch).await.ok().map(drop))
        })
        .await
    }

    /// Creates Endpoints of a Service, as the original operator did, and waits until the operator has removed them.
    ///
    /// # Errors
    /// If it does not, in time.
    pub async fn replace_endpoints(&self, service: &str) -> Result<()> {
        let endpoints = json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": service, "namespace": "default" },
            "subsets": [{ "addresses": [{ "ip": "10.20.9.9" }], "ports": [{ "port": 6443 }] }] });
        self.site.control_plane().kubectl_stdin(&["create", "-f", "-"], &endpoints.to_string()).await?;
        self.gone(&format!("endpoints/{service}")).await
    }

    /// Changes what the operator made, and waits until it is as it was: what no step of the main job brings about.
    pub(super) async fn disturb(&self) -> Result<()> {
        let service = {
            let guest = self.guest.lock().await;
            service_of(guest.as_ref().context("no workload cluster")?)
        };
        let of_service = format!("service/{service}");
        let key = "tkg.tanzu.vmware.com/cluster-name";
        self.management.kubectl(&["annotate", &of_service, &format!("{key}-")]).await?;
        self.restored(&of_service, r"{.metadata.annotations.tkg\.tanzu\.vmware\.com/cluster-name}").await?;
        let of_slice = format!("endpointslice/{service}");
        self.management.kubectl(&["patch", &of_slice, "--type=merge", "-p", r#"{"endpoints":[]}"#]).await?;
        self.restored(&of_slice, "{.endpoints[0].addresses[0]}").await?;
        self.give_address(&service, "127.0.0.1").await?;
        self.replace_endpoints(&service).await?;
        let other = r#"{"spec":{"seGroup":null}}"#;
        self.management.kubectl(&["patch", "aviinfrasetting/adc-ais", "--type=merge", "-p", other]).await?;
        self.site.apply(None, &self.config_with(70)).await?;
        self.restored("aviinfrasetting/adc-ais", "{.spec.seGroup.name}").await
    }

    async fn restored(&self, object: &str, path: &str) -> Result<()> {
        let path = format!("jsonpath={path}");
        eventually(&format!("{object} is as it was"), PATIENCE, async || {
            let value = self.management.kubectl(&["get", object, "-o", &path]).await?;
            Ok((!value.is_empty()).then_some(()))
        })
        .await
    }
}

/// Returns the name of the Service of a guest's control plane.
pub(super) fn service_of(guest: &Guest) -> String {
    format!("default-{}-control-plane", guest.workload.name())
}
