//! The real drivers of vSphere, from their released manifests, against a real API server and the simulated vCenter.
//!
//! `cargo xtask test drivers` runs these tests: they need root and programs whose builds take minutes.
#![allow(clippy::unwrap_used, reason = "the functions here are part of the tests")]

mod cpi;
mod csi;

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use testbed::{ControlPlane, Guest, NewVm, Node, Nodes, Tools, Vcsim, VcsimBuilder, eventually};

/// Bounds each wait. The drivers need a second on an idle machine, and 15 for a lease that a predecessor has left.
const SOON: Duration = Duration::from_mins(5);
/// The simulated machines' folder.
const FOLDER: &str = "/DC0/vm";
/// A password with all that the drivers' formats have to escape.
const PASSWORD: &str = r#" p"a\ss#;wörd"#;

/// A cluster whose Nodes are machines of a vCenter.
struct Site {
    // The control plane after what runs in it.
    nodes: Nodes,
    plane: ControlPlane,
    vcsim: Vcsim,
    api: Api<NodeObject>,
    external_cloud: bool,
}

/// Returns the settings of a vCenter with three hosts that share a datastore.
fn vcenter() -> VcsimBuilder {
    Vcsim::builder().hosts(3).release("8.0.3", "8.0.3.0", "24022515").password(PASSWORD)
}

impl Site {
    /// Starts a cluster of one control-plane Node and two workers, `node-1` to `node-3`. Where `external_cloud`, they wait
    /// for a cloud controller manager.
    async fn start(external_cloud: bool) -> Self {
        let plane = ControlPlane::builder().audit(true).all_controllers(true);
        let (vcsim, plane) = tokio::join!(vcenter().start(), plane.start());
        let (vcsim, plane) = (vcsim.unwrap(), plane.unwrap());
        let nodes = Nodes::start(plane.client()).await.unwrap();
        let api = Api::all(plane.client());
        let site = Self { nodes, plane, vcsim, api, external_cloud };
        for number in 1..=3 {
            site.join(&site.vcsim, number).await;
        }
        site
    }

    /// Adds a Node whose machine is in this vCenter.
    async fn join(&self, vcsim: &Vcsim, number: u8) {
        let (name, uuid) = (format!("node-{number}"), uuid(number));
        vcsim.add_vms(FOLDER, &[NewVm::new(&name)]).await.unwrap();
        let guest = Guest::named(&name).uuid(&uuid).container_addresses(&["172.16.0.1"]);
        let guest = guest.addresses(&[&address(number)]);
        vcsim.set_guest(&format!("{FOLDER}/{name}"), &guest).await.unwrap();
        let node = Node {
            control_plane: number == 1,
            system_uuid: Some(uuid),
            external_cloud: self.external_cloud,
            ..Node::named(&name)
        };
        self.nodes.join(node).await.unwrap();
    }

    /// Applies the objects of a released manifest, except its examples of configuration.
    async fn apply_release(&self, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap();
        let is_example = |document: &&str| {
            document.contains("\nkind: Secret\n") || document.contains("\nkind: ConfigMap\n")
        };
        let kept: Vec<_> = text.split("\n---\n").filter(|document| !is_example(document)).collect();
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &kept.join("\n---\n")).await.unwrap();
    }

    /// Waits until the cloud controller manager has initialised the first three Nodes.
    async fn initialised(&self) {
        for number in 1..=3 {
            self.is_initialised(number).await;
        }
    }

    /// Waits until the cloud controller manager has initialised a Node.
    async fn is_initialised(&self, number: u8) {
        let expected = [("InternalIP", address(number)), ("ExternalIP", address(number))];
        let look = async || {
            let node = self.api.get(&format!("node-{number}")).await?;
            let (spec, status) = (node.spec.unwrap_or_default(), node.status.unwrap_or_default());
            let mut taints = spec.taints.into_iter().flatten();
            let waits = taints.any(|taint| taint.key.starts_with("node.cloudprovider.kubernetes.io"));
            let addresses = status.addresses.unwrap_or_default();
            let has = |(kind, address): &(&str, String)| {
                addresses.iter().any(|is| is.type_ == *kind && is.address == *address)
            };
            anyhow::ensure!(!waits && expected.iter().all(has), "taint {waits}, {addresses:?}");
            Ok(Some(spec.provider_id))
        };
        let id = eventually("the Node is initialised", SOON, look).await.unwrap();
        assert_eq!(id, Some(format!("vsphere://{}", uuid(number))));
    }
}

fn uuid(number: u8) -> String {
    format!("4230{number:04x}-aaaa-4bbb-8ccc-00000000000{number}")
}

fn address(number: u8) -> String {
    format!("10.0.0.{number}")
}

/// Builds the programs of a module, which takes minutes the first time.
async fn tools(names: &'static [&'static str]) -> Tools {
    tokio::task::spawn_blocking(move || Tools::of(names)).await.unwrap().unwrap()
}
