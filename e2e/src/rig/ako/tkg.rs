//! What makes the rig's management cluster one of TKG: the kinds of its add-on managers. The managers themselves are a test's.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{Ako, Tools, VirtualCluster, Workload, eventually};

use super::{AkoRig, OWN_NAMES};
use crate::site::PATIENCE;

impl AkoRig {
    /// Starts a workload cluster with the label, from a ClusterClass.
    ///
    /// # Errors
    /// If Cluster API does not make it.
    pub async fn class_based_cluster(&self, name: &str) -> Result<Workload<VirtualCluster>> {
        let builder = self.management.workload(name).label(Self::LABEL, "");
        builder.variable("kubeVipLoadBalancerProvider", false).start_in(&self.host, OWN_NAMES).await
    }

    /// Serves the kinds of TKG by which its add-on managers are known, with a release. An operator that starts then leaves AKO to them.
    ///
    /// # Errors
    /// If the API server refuses them.
    pub async fn serve_tkg(&self, release: &str, packages: &[&str]) -> Result<()> {
        let tools = tokio::task::spawn_blocking(|| Tools::of(&["tanzu"])).await??;
        let plane = self.site.control_plane();
        for kind in ["clusterbootstraps", "tanzukubernetesreleases"] {
            let file = format!("config/crd/bases/run.tanzu.vmware.com_{kind}.yaml");
            let file = tools.manifests("tanzu")?.join(file);
            let file = file.to_str().context("a path that is text")?;
            let json = plane.kubectl(&["create", "--dry-run=client", "--output=json", "-f", file]).await?;
            let mut definition: Value = serde_json::from_str(&json)?;
            definition["metadata"] = json!({ "name": format!("{kind}.run.tanzu.vmware.com") });
            // No conversion webhook runs: an older version that is stored would lose fields.
            for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
                let is_read = version["name"] == "v1alpha3";
                (version["served"], version["storage"]) = (is_read.into(), is_read.into());
            }
            plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &definition.to_string()).await?;
            let name = format!("crd/{kind}.run.tanzu.vmware.com");
            plane.kubectl(&["wait", "--for=condition=Established", &name]).await?;
        }
        // Those of AKO are in its package.
        let definitions = json!({ "apiVersion": "v1", "kind": "List", "items": Ako::definitions() });
        plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &definitions.to_string()).await?;
        let packages: Vec<_> = packages.iter().map(|name| json!({ "name": name })).collect();
        let release = json!({ "apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TanzuKubernetesRelease",
            "metadata": { "name": release },
            "spec": { "version": release, "kubernetes": { "version": "v1.33.1" }, "bootstrapPackages": packages } });
        eventually("a release is made", PATIENCE, async || {
            let made =
                plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &release.to_string()).await;
            made.map(|_| Some(()))
        })
        .await
    }
}
