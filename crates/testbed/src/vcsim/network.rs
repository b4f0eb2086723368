//! The simulated vCenter's distributed port groups, and their discovery by a cloud of the AVI simulator.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use avi_simulator::Control;
use avi_simulator::store::PortGroup;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::Vcsim;
use super::control::ControlPort;

/// The interval at which a cloud reads its vCenter. The delay that a test sets comes on top.
const LOOK: Duration = Duration::from_millis(100);

/// A distributed port group in the simulator's inventory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SimPortGroup {
    /// Its managed object's value, such as `dvportgroup-81`.
    pub moref: String,
    /// Its name, unescaped.
    pub name: String,
    /// Its inventory path, escaped as a machine's is.
    pub path: String,
    /// Its switch's inventory path.
    pub switch: String,
    /// Its VLAN; 0 for untagged traffic and for a trunk.
    pub vlan: u16,
    /// The ranges of its trunk, such as `1-20`.
    pub trunk: Vec<String>,
    /// The number of its ports.
    pub ports: i32,
    /// How its ports are given: `earlyBinding` or `ephemeral`.
    pub binding: String,
    /// Whether it gets more ports when all are taken.
    pub auto_expand: bool,
    /// Its description.
    pub description: String,
    /// The managed objects' values of the hosts that have it.
    pub hosts: Vec<String>,
}

impl Vcsim {
    /// Returns all distributed port groups except the switches' uplink port groups, sorted by path.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn port_groups(&self) -> Result<Vec<SimPortGroup>> {
        self.control.get("port-groups").await
    }

    /// Adds a port group to a switch, such as `/DC0/network/DVS0`.
    ///
    /// # Errors
    /// If there is no such switch, or the name is taken.
    pub async fn add_port_group(&self, switch_path: &str, name: &str, vlan: u16) -> Result<()> {
        let body = json!({"switch": switch_path, "name": name, "vlan": vlan});
        self.control.send(Method::POST, "port-groups", Some(body)).await
    }

    /// Changes the description of a port group, as an administrator does.
    ///
    /// # Errors
    /// If there is no such port group.
    pub async fn describe_port_group(&self, path: &str, description: &str) -> Result<()> {
        let body = json!({"path": path, "name": description});
        self.control.send(Method::POST, "port-groups/describe", Some(body)).await
    }

    /// Attaches a machine to a port group, or detaches it.
    ///
    /// # Errors
    /// If there is no such port group or machine.
    pub async fn attach(&self, path: &str, vm_path: &str, on: bool) -> Result<()> {
        let body = json!({"path": path, "name": vm_path, "on": on});
        self.control.send(Method::POST, "port-groups/attach", Some(body)).await
    }

    /// Removes a port group.
    ///
    /// # Errors
    /// If there is no such port group, or a machine is attached to it.
    pub async fn remove_port_group(&self, path: &str) -> Result<()> {
        self.control.send(Method::POST, "port-groups/remove", Some(json!({"path": path}))).await
    }

    /// Lets a cloud of an AVI simulator, by uuid or name and of type `CLOUD_VCENTER`, find the port groups of this
    /// vCenter, each change `delay` of the simulator's clock after it was seen.
    ///
    /// # Errors
    /// If the simulator does not answer; and if there is no such cloud, where there is no delay.
    pub async fn discovered_by(&self, avi: Control, cloud: &str, delay: Duration) -> Result<Discovery> {
        let feed = Feed {
            vcenter: self.control.clone(),
            avi,
            cloud: cloud.to_owned(),
            delay,
            given: Mutex::new(None),
        };
        feed.look().await?;
        let feed = Arc::new(feed);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let feed = feed.clone();
            async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    // While the vCenter does not answer, the cloud keeps what it has found.
                    let _ = feed.look().await;
                }
            }
        });
        Ok(Discovery { feed, _tasks: tasks })
    }
}

/// A cloud that reads its vCenter. Dropping it stops that; the cloud keeps what it has found.
pub struct Discovery {
    feed: Arc<Feed>,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("cloud", &self.feed.cloud).finish_non_exhaustive()
    }
}

impl Discovery {
    /// Reads the vCenter now: the cloud finds what the vCenter has when this is called at most the delay after this
    /// returns.
    ///
    /// # Errors
    /// As [`Vcsim::discovered_by`].
    pub async fn look(&self) -> Result<()> {
        self.feed.look().await
    }
}

/// Reads a vCenter's port groups and gives them to a cloud.
struct Feed {
    vcenter: ControlPort,
    avi: Control,
    cloud: String,
    delay: Duration,
    /// What the cloud was given last. Locked for a whole reading: an older one must not overwrite a newer one.
    given: Mutex<Option<Vec<SimPortGroup>>>,
}

impl Feed {
    async fn look(&self) -> Result<()> {
        let mut given = self.given.lock().await;
        let groups: Vec<SimPortGroup> = self.vcenter.get("port-groups").await?;
        if given.as_ref() != Some(&groups) {
            let found = groups.iter().cloned().map(as_found).collect();
            self.avi.discover(&self.cloud, found, self.delay)?;
            *given = Some(groups);
        }
        Ok(())
    }
}

/// Converts a port group to what an AVI controller has of it.
fn as_found(group: SimPortGroup) -> PortGroup {
    PortGroup { moid: group.moref, name: group.name, dvs: true, hosts: group.hosts }
}
