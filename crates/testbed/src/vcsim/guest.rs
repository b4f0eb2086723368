//! What VMware Tools report of the simulated vCenter's machines.

use anyhow::Result;
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::Vcsim;

/// The port group of a machine's adapters, unless another one is named.
const NETWORK: &str = "VM Network";

/// A machine's operating system as VMware Tools report it, and the UUID that its BIOS shows it, for [`Vcsim::set_guest`].
///
/// ```
/// use testbed::Guest;
///
/// let guest = Guest::named("node-1").uuid("4230c6a1-0000-4000-8000-00000000000a").addresses(&["10.0.0.1", "fd00::1"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Guest {
    host_name: String,
    uuid: String,
    nics: Vec<Nic>,
    tools_stopped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Nic {
    network: String,
    mac: String,
    addresses: Vec<String>,
    #[serde(rename = "virtual")]
    is_virtual: bool,
}

impl Guest {
    /// Describes a guest with this host name, without network adapters.
    pub fn named(host_name: &str) -> Self {
        Self { host_name: host_name.to_owned(), uuid: String::new(), nics: Vec::new(), tools_stopped: false }
    }

    /// Sets `config.uuid` of the machine, which is the Node's `systemUUID`. Default: it stays.
    pub fn uuid(mut self, uuid: &str) -> Self {
        uuid.clone_into(&mut self.uuid);
        self
    }

    /// Adds a network adapter of the machine. The first address of a guest is its primary one.
    pub fn addresses(self, addresses: &[&str]) -> Self {
        self.nic(NETWORK, addresses, false)
    }

    /// Adds a network adapter in a port group.
    pub fn addresses_in(self, network: &str, addresses: &[&str]) -> Self {
        self.nic(network, addresses, false)
    }

    /// Adds a network adapter that the guest has made itself, as container networks do.
    pub fn container_addresses(self, addresses: &[&str]) -> Self {
        self.nic("", addresses, true)
    }

    /// Stops VMware Tools: the vCenter shows no addresses.
    pub fn tools_stopped(mut self) -> Self {
        self.tools_stopped = true;
        self
    }

    fn nic(mut self, network: &str, addresses: &[&str], is_virtual: bool) -> Self {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        self.nics.push(Nic { network: network.to_owned(), mac: String::new(), addresses, is_virtual });
        self
    }
}

impl Vcsim {
    /// Sets what VMware Tools report of a machine.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn set_guest(&self, path: &str, guest: &Guest) -> Result<()> {
        let mut body = serde_json::to_value(guest)?;
        body["path"] = path.into();
        self.control.send(Method::POST, "vms/guest", Some(body)).await
    }

    /// Attaches a tag to what is at an inventory path. The tag and its category are created if they do not exist.
    ///
    /// # Errors
    /// If there is nothing at the path, or during an outage.
    pub async fn attach_tag(&self, category: &str, tag: &str, path: &str) -> Result<()> {
        let body = json!({"category": category, "tag": tag, "path": path});
        self.control.send(Method::POST, "tags", Some(body)).await
    }

    /// Sets the password of the account, as an administrator rotates it. Sessions stay.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn set_password(&mut self, password: &str) -> Result<()> {
        self.control.send(Method::PUT, "password", Some(json!({"password": password}))).await?;
        password.clone_into(&mut self.password);
        Ok(())
    }

    /// Becomes another release, as after an upgrade: see [`VcsimBuilder::release`](super::VcsimBuilder::release).
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn set_release(&self, version: &str, api_version: &str, build: &str) -> Result<()> {
        let body = json!({"version": version, "apiVersion": api_version, "build": build});
        self.control.send(Method::PUT, "about", Some(body)).await
    }
}
