//! Changes of the simulated vCenter's machines and folders, as an administrator or another client makes them.
//!
//! No change is a call of the vSphere API: nothing is counted, and no session is needed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Vcsim;
use super::start::ROOT_FOLDER;

/// A machine to add with [`Vcsim::add_vms`].
///
/// ```
/// use testbed::NewVm;
///
/// let vm = NewVm::new("web-0").instance_uuid("0d9bd1f2-0000-0000-0000-000000000001").marker("infra.owner", "x");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct NewVm {
    name: String,
    instance_uuid: String,
    extra_config: BTreeMap<String, String>,
    cpu: u32,
    memory_mb: u64,
    on: bool,
}

impl NewVm {
    /// Describes a powered-on machine with 1 CPU, 1 GB and no markers.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            instance_uuid: String::new(),
            extra_config: BTreeMap::new(),
            cpu: 1,
            memory_mb: 1024,
            on: true,
        }
    }

    /// Sets `config.instanceUuid`. Default: one that the simulator assigns.
    pub fn instance_uuid(mut self, uuid: &str) -> Self {
        uuid.clone_into(&mut self.instance_uuid);
        self
    }

    /// Adds an entry to `config.extraConfig`.
    pub fn marker(mut self, key: &str, value: &str) -> Self {
        self.extra_config.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the number of virtual CPUs and the memory in MB.
    pub fn size(mut self, cpu: u32, memory_mb: u64) -> Self {
        (self.cpu, self.memory_mb) = (cpu, memory_mb);
        self
    }

    /// Sets whether the machine is powered on. Default: yes.
    pub fn on(mut self, on: bool) -> Self {
        self.on = on;
        self
    }
}

/// What a vCenter knows of a machine's host and files: `runtime.connectionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Connection {
    /// The machine is accessible.
    Connected,
    /// Its host is not connected.
    Disconnected,
    /// Its files are not accessible.
    Inaccessible,
    /// Its host does not know it.
    Orphaned,
    /// Its configuration cannot be read.
    Invalid,
}

/// Answers of long polls since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct UpdateCounts {
    /// Those that left objects for the next one.
    pub truncated: u64,
    /// Those that were given twice.
    pub repeated: u64,
}

/// Something that was done to a machine, by a call or by a change behind the callers' backs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmEvent {
    /// What was done.
    pub what: Happened,
    /// The value of the machine's managed object.
    pub moref: String,
    /// The inventory path where the machine was made or removed; empty for other events.
    pub path: String,
    /// Its `config.extraConfig` at that time; the new one, if that is what was changed.
    pub extra_config: BTreeMap<String, String>,
}

/// What was done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Happened {
    /// It was cloned, copied or added.
    Made,
    /// It was powered on.
    PoweredOn,
    /// It was powered off.
    PoweredOff,
    /// It was destroyed with its files.
    Destroyed,
    /// It left the inventory: its files are still on the datastore.
    Unregistered,
    /// Its name was changed.
    Renamed,
    /// Its configuration was changed, such as an entry of `extraConfig`.
    Reconfigured,
}

impl VmEvent {
    /// Returns whether the machine left the inventory.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        matches!(self.what, Happened::Destroyed | Happened::Unregistered)
    }
}

impl Vcsim {
    /// Posts a change to the control port.
    async fn change(&self, route: &str, body: Value) -> Result<()> {
        self.control.send(Method::POST, route, Some(body)).await
    }

    /// Adds a folder.
    ///
    /// # Errors
    /// If there is no such parent, or the name is taken.
    pub async fn add_folder(&self, parent_path: &str, name: &str) -> Result<()> {
        self.change("folders", json!({"folder": parent_path, "name": name})).await
    }

    /// Adds a powered-off machine without markers: 1 CPU, 1 GB.
    ///
    /// # Errors
    /// If there is no such folder, or the name is taken.
    pub async fn add_vm(&self, folder_path: &str, name: &str) -> Result<()> {
        self.add_vms(folder_path, &[NewVm::new(name).on(false)]).await
    }

    /// Adds machines in one request. 10,000 take about 10 seconds.
    ///
    /// # Errors
    /// If there is no such folder, or a name is taken; the machines before that one exist then.
    pub async fn add_vms(&self, folder_path: &str, vms: &[NewVm]) -> Result<()> {
        self.change("vms", json!({"folder": folder_path, "machines": vms})).await
    }

    /// Adds what the original operator leaves of a group: the folder `/DC0/vm/vm-operator/<namespace>-<group>` with
    /// that many powered-on machines, named `<group>-replica-<8 random letters>` and without markers. Returns the
    /// machines' names.
    ///
    /// # Errors
    /// If the root folder does not exist, or the group's folder does.
    pub async fn add_original_group(
        &self,
        namespace: &str,
        group: &str,
        machines: usize,
        cpu: u32,
        memory_mb: u64,
    ) -> Result<Vec<String>> {
        let root = format!("/DC0/vm/{ROOT_FOLDER}");
        let folder = format!("{namespace}-{group}");
        self.add_folder(&root, &folder).await?;
        let names: Vec<_> = (0..machines).map(|_| format!("{group}-replica-{}", random_letters())).collect();
        let vms: Vec<_> = names.iter().map(|name| NewVm::new(name).size(cpu, memory_mb)).collect();
        self.add_vms(&format!("{root}/{folder}"), &vms).await?;
        Ok(names)
    }

    /// Starts a clone task of another user, such as `CORP\\alice`, that takes this long; the machine appears, powered
    /// off, at its end. The source may be a template or a machine.
    ///
    /// # Errors
    /// If there is no such template or folder. A name that is taken fails the task.
    pub async fn start_clone(
        &self,
        template_path: &str,
        folder_path: &str,
        name: &str,
        user: &str,
        time: Duration,
    ) -> Result<()> {
        let ms = u64::try_from(time.as_millis())?;
        let body =
            json!({"template": template_path, "folder": folder_path, "name": name, "user": user, "ms": ms});
        self.change("clones", body).await
    }

    /// Copies a machine, as an administrator clones it by hand: the copy is complete at once, powered off, has the
    /// `extraConfig` of the source, and a managed object, an instance UUID and a BIOS UUID of its own.
    ///
    /// # Errors
    /// If there is no such machine or folder, or the name is taken.
    pub async fn copy_vm(&self, path: &str, folder_path: &str, name: &str) -> Result<()> {
        self.change("vms/copy", json!({"path": path, "folder": folder_path, "name": name})).await
    }

    /// Moves a machine to another folder. It leaves a container view if that folder is outside of it, and enters it
    /// again when it is moved back.
    ///
    /// # Errors
    /// If there is no such machine or folder, or the folder has a child of that name.
    pub async fn move_vm(&self, path: &str, folder_path: &str) -> Result<()> {
        self.change("vms/move", json!({"path": path, "folder": folder_path})).await
    }

    /// Sets an entry of a machine's `extraConfig`; `None` or an empty value removes it.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn set_extra_config(&self, path: &str, key: &str, value: Option<&str>) -> Result<()> {
        self.change("vms/extra-config", json!({"path": path, "key": key, "value": value})).await
    }

    /// Sets `runtime.connectionState`. With `readable` false, the properties below `config` are unset for the
    /// collectors, as for a machine whose host or files are not accessible. Calls of tasks of a machine that is not
    /// connected fault with InvalidState.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn set_connection(&self, path: &str, state: Connection, readable: bool) -> Result<()> {
        self.change("vms/connection", json!({"path": path, "state": state, "readable": readable})).await
    }

    /// Makes the long polls of all collectors miss every change of this machine or folder, its removal included, as
    /// when a vCenter loses an event. Calls, RetrievePropertiesEx and the first report of a collector see the truth.
    ///
    /// # Errors
    /// If there is nothing at the path.
    pub async fn lose_updates(&self, path: &str) -> Result<()> {
        self.change("lost-updates", json!({"path": path})).await
    }

    /// Ends [`Vcsim::lose_updates`] for all objects; what was missed is reported.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn restore_updates(&self) -> Result<()> {
        self.control.send(Method::DELETE, "lost-updates", None).await
    }

    /// Gives clients at most so many objects in one answer of a long poll, from now on; the other objects follow in the next
    /// answers. 0: as many as they ask for.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn page_updates(&self, objects: u32) -> Result<()> {
        self.control.send(Method::PUT, "pace", Some(json!({"objects": objects}))).await
    }

    /// Gives the next so many answers of long polls twice, the second time with another version.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn repeat_updates(&self, answers: u32) -> Result<()> {
        self.control.send(Method::PUT, "pace", Some(json!({"repeats": answers}))).await
    }

    /// Returns how many answers were cut and repeated so far.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn update_counts(&self) -> Result<UpdateCounts> {
        self.control.get("pace").await
    }

    /// Removes a machine from the inventory, whatever its power state, and leaves its files on the datastore.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn unregister_vm(&self, path: &str) -> Result<()> {
        self.change("vms/unregister", json!({"path": path})).await
    }

    /// Returns what was done to machines since the start, templates included, in that order.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn history(&self) -> Result<Vec<VmEvent>> {
        self.control.get("vms/history").await
    }

    /// Returns the machines that clients and tests have removed from the inventory since the start, in that order.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn removed_vms(&self) -> Result<Vec<VmEvent>> {
        let mut history = self.history().await?;
        history.retain(VmEvent::is_removal);
        Ok(history)
    }

    /// Powers a machine on; it may be on already.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn power_on(&self, path: &str) -> Result<()> {
        self.change("vms/power", json!({"path": path, "on": true})).await
    }

    /// Powers a machine off; it may be off already.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn power_off(&self, path: &str) -> Result<()> {
        self.change("vms/power", json!({"path": path, "on": false})).await
    }

    /// Turns a machine that is powered off into a template, or a template into a machine.
    ///
    /// # Errors
    /// If there is no such machine, or it is not powered off.
    pub async fn set_template(&self, path: &str, on: bool) -> Result<()> {
        self.change("vms/template", json!({"path": path, "on": on})).await
    }

    /// Moves a folder, with all that is in it, to another folder.
    ///
    /// # Errors
    /// If there is no such folder, or the other one has a child of that name.
    pub async fn move_folder(&self, path: &str, folder_path: &str) -> Result<()> {
        self.change("folders/move", json!({"path": path, "folder": folder_path})).await
    }

    /// Renames a folder.
    ///
    /// # Errors
    /// If there is no such folder, or the name is taken.
    pub async fn rename_folder(&self, path: &str, name: &str) -> Result<()> {
        self.change("folders/rename", json!({"path": path, "name": name})).await
    }

    /// Renames a machine.
    ///
    /// # Errors
    /// If there is no such machine, or the name is taken.
    pub async fn rename_vm(&self, path: &str, name: &str) -> Result<()> {
        self.change("vms/rename", json!({"path": path, "name": name})).await
    }

    /// Adds a datacenter, without hosts.
    ///
    /// # Errors
    /// If the name is taken.
    pub async fn add_datacenter(&self, name: &str) -> Result<()> {
        self.change("datacenters", json!({"name": name})).await
    }

    /// Destroys the resource pool of that name in each cluster and creates another one, with another managed object,
    /// in its place. Its machines move to its parent.
    ///
    /// # Errors
    /// If [`VcsimBuilder::pools`](super::VcsimBuilder::pools) has added none of that name.
    pub async fn recreate_pool(&self, name: &str) -> Result<()> {
        self.change("pools/recreate", json!({"name": name})).await
    }
}

/// Returns 8 random letters from a to z.
fn random_letters() -> String {
    let mut bits = RandomState::new().hash_one(0);
    let mut letters = String::new();
    for _ in 0..8 {
        // Within a to z: the remainder is below 26.
        letters.push(char::from(b'a' + (bits % 26) as u8));
        bits /= 26;
    }
    letters
}
