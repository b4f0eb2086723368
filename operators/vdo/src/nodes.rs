//! How far the Nodes are with CPI and CSI.
//!
//! Pure: from what a Node and its CSINode say to a state, and to a summary that stays small however many Nodes there are.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::CSINode;
use kube::ResourceExt;

/// Taint of a Node that its cloud provider has not set up.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
pub(crate) const CSI_DRIVER: &str = "csi.vsphere.vmware.com";
pub(crate) const PROVIDER: &str = "vsphere://";
/// How long a driver may take to set a Node up.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Nodes that a summary names.
const NAMED: usize = 20;

/// What a Node and its CSINode say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Which machine it is, by its cloud provider.
    pub provider_id: Option<String>,
    /// Whether it has the taint of a cloud provider that has not set it up.
    pub is_uninitialized: bool,
    /// Labels of topology that CSI has given it, where CSI has registered there.
    pub topology: Option<Vec<String>>,
}

impl NodeSeen {
    /// Reads a Node.
    #[must_use]
    pub fn read(node: &Node, csi_node: Option<&CSINode>) -> Self {
        let spec = node.spec.as_ref();
        let mut taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
        let drivers = csi_node.map(|node| node.spec.drivers.as_slice()).unwrap_or_default();
        let driver = drivers.iter().find(|driver| driver.name == CSI_DRIVER);
        Self {
            name: node.name_any(),
            created: node.metadata.creation_timestamp.as_ref().map(|time| time.0),
            provider_id: spec.and_then(|spec| spec.provider_id.clone()).filter(|id| !id.is_empty()),
            is_uninitialized: taints.any(|taint| taint.key == UNINITIALIZED),
            topology: driver.map(|driver| driver.topology_keys.clone().unwrap_or_default()),
        }
    }

    /// Returns whether a driver that runs since `installed` has had its time.
    fn is_late(&self, installed: Timestamp, now: Timestamp) -> bool {
        let since = self.created.map_or(installed, |created| created.max(installed));
        now.duration_since(since) >= PATIENCE
    }

    /// Returns how far the Node is with CPI, which runs since `installed`.
    #[must_use]
    pub fn cpi(&self, installed: Timestamp, now: Timestamp) -> State {
        match &self.provider_id {
            Some(id) if !id.starts_with(PROVIDER) => {
                State::Failed(format!("its provider ID {id} is not of vSphere: another cloud provider has set it up"))
            }
            Some(_) if !self.is_uninitialized => State::Ready,
            _ if self.is_late(installed, now) => State::Failed(
                "CPI has not set it up: its name must be the host name of its machine, whose VMware Tools run, in a datacenter that is named"
                    .to_owned(),
            ),
            _ => State::Pending("CPI has not set it up yet".to_owned()),
        }
    }

    /// Returns how far the Node is with CSI, which runs since `installed`.
    #[must_use]
    pub fn csi(&self, has_topology: bool, installed: Timestamp, now: Timestamp) -> State {
        let (pending, failed) = match &self.topology {
            None => (
                "CSI has not registered yet",
                "CSI has not registered: look at the log of the Pod vsphere-csi-node on it",
            ),
            Some(labels) if has_topology && labels.is_empty() => (
                "CSI has found no topology yet",
                "CSI has found no topology: its host, cluster or datacenter needs a tag of each category",
            ),
            Some(_) => return State::Ready,
        };
        if self.is_late(installed, now) {
            State::Failed(failed.to_owned())
        } else {
            State::Pending(pending.to_owned())
        }
    }
}

/// How far a Node is with a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The driver serves it.
    Ready,
    /// The driver has time to set it up: what is missing.
    Pending(String),
    /// A person has to look: at what.
    Failed(String),
}

impl State {
    /// Returns the word of the original's status.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Pending(_) => "pending",
            Self::Failed(_) => "failed",
        }
    }
}

/// How far all Nodes are with a driver. Formats as a count, and the first Nodes that are not served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All Nodes.
    pub total: usize,
    /// Nodes that the driver serves.
    pub ready: usize,
    /// The first 20 that it does not serve, those that failed before the others, by name: `name: why`.
    pub failing: Vec<String>,
    /// Whether a person has to look at one of them.
    pub has_failed: bool,
}

impl Summary {
    /// Counts the states of the Nodes.
    #[must_use]
    pub fn of<'a>(states: impl IntoIterator<Item = (&'a str, &'a State)>) -> Self {
        let mut summary = Self::default();
        let mut failing = Vec::new();
        for (name, state) in states {
            summary.total += 1;
            match state {
                State::Ready => summary.ready += 1,
                State::Pending(why) => failing.push((true, name, why)),
                State::Failed(why) => failing.push((false, name, why)),
            }
        }
        failing.sort_unstable();
        summary.has_failed = failing.first().is_some_and(|(is_pending, ..)| !is_pending);
        summary.failing =
            failing.into_iter().take(NAMED).map(|(_, name, why)| format!("{name}: {why}")).collect();
        summary
    }

    /// Returns whether the driver serves every Node.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ready == self.total
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} Nodes are ready", self.ready, self.total)?;
        if let Some(first) = self.failing.first() {
            write!(f, "; {first}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn node(spec: &Value, csi: Option<Value>) -> NodeSeen {
        let node =
            json!({"metadata": {"name": "n", "creationTimestamp": "1970-01-01T00:10:00Z"}, "spec": spec});
        let csi = csi.map(|drivers| json!({"metadata": {"name": "n"}, "spec": {"drivers": drivers}}));
        let csi: Option<CSINode> = csi.map(|csi| serde_json::from_value(csi).unwrap());
        NodeSeen::read(&serde_json::from_value(node).unwrap(), csi.as_ref())
    }

    #[test]
    fn cpi_has_set_a_node_up_when_it_has_an_id_and_no_taint() {
        let taint = json!([{"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}]);
        let id = "vsphere://4230";
        let rows = [
            (json!({"providerID": id}), 0, 11, "ready"),
            (json!({"providerID": id, "taints": [{"key": "other", "effect": "NoSchedule"}]}), 0, 11, "ready"),
            (json!({"providerID": id, "taints": taint}), 0, 14, "pending"),
            (json!({"taints": taint}), 0, 14, "pending"),
            (json!({"taints": taint}), 0, 15, "failed"),
            // A driver that was just installed has its time on old Nodes as well.
            (json!({"taints": taint}), 100, 104, "pending"),
            (json!({"taints": taint}), 100, 105, "failed"),
            (json!({"providerID": "aws://x"}), 0, 11, "failed"),
            (json!({}), 0, 14, "pending"),
        ];
        for (spec, installed, now, wanted) in rows {
            assert_eq!(
                node(&spec, None).cpi(at(installed), at(now)).word(),
                wanted,
                "{spec} {installed} {now}"
            );
        }
    }

    #[test]
    fn csi_serves_a_node_where_it_has_registered() {
        let ours = |keys: Value| Some(json!([{"name": CSI_DRIVER, "nodeID": "x", "topologyKeys": keys}]));
        let other = Some(json!([{"name": "other", "nodeID": "x", "topologyKeys": ["a"]}]));
        let rows = [
            (ours(json!([])), false, 20, "ready"),
            (ours(json!(["topology.csi.vmware.com/zone"])), true, 20, "ready"),
            (ours(json!([])), true, 14, "pending"),
            (ours(json!([])), true, 20, "failed"),
            (other, false, 20, "failed"),
            (None, false, 14, "pending"),
        ];
        for (csi, has_topology, now, wanted) in rows {
            assert_eq!(
                node(&json!({}), csi.clone()).csi(has_topology, at(0), at(now)).word(),
                wanted,
                "{csi:?}"
            );
        }
    }

    #[test]
    fn a_summary_stays_small() {
        let names: Vec<_> = (0..1000).map(|at| format!("node-{at:04}")).collect();
        let states: Vec<_> = (0..1000)
            .map(|at| match at % 4 {
                0 => State::Pending("wait".to_owned()),
                1 if at > 900 => State::Failed("look".to_owned()),
                _ => State::Ready,
            })
            .collect();
        let summary = Summary::of(names.iter().map(String::as_str).zip(&states));
        assert_eq!((summary.total, summary.ready, summary.failing.len()), (1000, 725, 20));
        assert!(summary.has_failed && !summary.is_complete());
        assert_eq!(summary.failing[0], "node-0901: look", "those that failed come first");
        assert_eq!(summary.to_string(), "725 of 1000 Nodes are ready; node-0901: look");
        assert!(Summary::default().is_complete());
    }
}
