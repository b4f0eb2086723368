//! The calls that create, change and remove VMs and folders. Owns what their failures say about objects: one that
//! vCenter says does not exist is removed from the inventory, and the resource pool is found again.
//!
//! Each is made in the session that there is or not at all: [`Error::is_unsent`].

use std::time::Instant;

use super::updates::read_children;
use super::{Inventory, Shared, Vms, site};
use crate::vsphere::name::to_send;
use crate::vsphere::soap::Call;
use crate::vsphere::value::{AnyString, Data};
use crate::vsphere::{Error, Kind, MoRef};

/// A VM to be created from a template.
#[derive(Debug, Clone, Copy)]
pub struct CloneSpec<'a> {
    /// From [`Vms::template`].
    pub template: &'a MoRef,
    /// The folder for the VM.
    pub folder: &'a MoRef,
    /// Its name, not escaped. vCenter refuses a second object of that name in the folder.
    pub name: &'a str,
    /// Its `instanceUuid`. vCenter may give it another if this one is in use.
    pub instance_uuid: &'a str,
    /// Virtual CPUs.
    pub cpus: i32,
    /// Memory in MiB.
    pub memory_mb: i64,
    /// Whether to power it on at once. The simulator has an option to ignore this.
    pub power_on: bool,
    /// `extraConfig` entries: keys and values.
    pub extra_config: &'a [(&'a str, &'a str)],
    /// Shown in vCenter's logs and on the task.
    pub op_id: &'a str,
}

impl Vms {
    /// Submits the cloning of a VM into the site's resource pool; returns the task. If vCenter says that the template,
    /// the folder or the pool does not exist, here or as the fault of the task, the client finds them again, so that
    /// a later clone works.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] as said, and whatever a call can fail with.
    pub async fn clone_vm(&self, spec: &CloneSpec<'_>) -> Result<MoRef, Error> {
        let pool = self.in_one_session(self.shared.known_site()).await?.pool.to_vim();
        let folder = spec.folder.to_vim();
        let name = &*to_send(spec.name);
        let values: Vec<AnyString<'_>> =
            spec.extra_config.iter().map(|(_, value)| AnyString(value)).collect();
        let options = options(spec.extra_config, &values);
        let location = Data { type_name: "VirtualMachineRelocateSpec", fields: vec![("pool", &pool)] };
        let config = Data {
            type_name: "VirtualMachineConfigSpec",
            fields: vec![
                ("instanceUuid", &spec.instance_uuid),
                ("numCPUs", &spec.cpus),
                ("memoryMB", &spec.memory_mb),
                ("extraConfig", &options),
            ],
        };
        let clone = Data {
            type_name: "VirtualMachineCloneSpec",
            fields: vec![
                ("location", &location),
                ("template", &false),
                ("config", &config),
                ("powerOn", &spec.power_on),
            ],
        };
        let call = Call::new("CloneVM_Task", spec.template)
            .with("folder", &folder)
            .with("name", &name)
            .with("spec", &clone)
            .op_id(spec.op_id);
        self.submit(&call).await
    }

    /// Submits setting `extraConfig` entries: keys and values; returns the task. Other entries stay.
    pub async fn set_extra_config(&self, vm: &MoRef, entries: &[(&str, &str)]) -> Result<MoRef, Error> {
        let values: Vec<AnyString<'_>> = entries.iter().map(|(_, value)| AnyString(value)).collect();
        let options = options(entries, &values);
        let spec = Data { type_name: "VirtualMachineConfigSpec", fields: vec![("extraConfig", &options)] };
        self.submit(&Call::new("ReconfigVM_Task", vm).with("spec", &spec)).await
    }

    /// Submits the powering on of a VM; returns the task.
    pub async fn power_on(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.submit(&Call::new("PowerOnVM_Task", vm)).await
    }

    /// Submits the powering off of a VM, without asking the guest; returns the task.
    pub async fn power_off(&self, vm: &MoRef) -> Result<MoRef, Error> {
        let submitted = self.submit(&Call::new("PowerOffVM_Task", vm)).await;
        self.shared.update(|inventory| inventory.forget_confirmed(vm));
        submitted
    }

    /// Submits the destruction of a VM, disks included; returns the task. The VM has to be off. A folder is destroyed
    /// with everything in it: use [`Vms::remove_folder`].
    pub async fn destroy(&self, object: &MoRef) -> Result<MoRef, Error> {
        let submitted = self.submit_removal(&Call::new("Destroy_Task", object)).await;
        self.shared.update(|inventory| inventory.forget_confirmed(object));
        submitted
    }

    /// Creates a folder in the root folder. The inventory shows it when this returns.
    ///
    /// # Errors
    ///
    /// [`Kind::DuplicateName`] with [`Error::object`] if an object has the name.
    pub async fn create_folder(&self, name: &str) -> Result<MoRef, Error> {
        let shared = &self.shared;
        let root = &self.in_one_session(shared.known_site()).await?.root;
        match site::create_folder(&shared.core, root, name).await {
            Ok(folder) => {
                shared.update(|inventory| inventory.folder_created(&folder, name, root, Instant::now()));
                Ok(folder)
            }
            Err(error) => Err(shared.note_missing(error, root)),
        }
    }

    /// Submits the removal of a folder; returns the task. A VM that is in it, or comes into it meanwhile, is taken out
    /// of vCenter's inventory and keeps its files.
    ///
    /// # Errors
    ///
    /// [`Kind::Busy`] if the folder is not empty, whatever the inventory shows: it is read again then.
    pub async fn remove_folder(&self, folder: &MoRef) -> Result<MoRef, Error> {
        let children = self.in_one_session(read_children(&self.shared.core, folder)).await?;
        if children > 0 {
            self.shared.update(Inventory::set_incomplete);
            self.shared.newest.send_modify(|newest| newest.0 += 1);
            let message = format!("{folder} holds {children} objects that the inventory does not show yet");
            return Err(Error::new(Kind::Busy, message));
        }
        self.submit_removal(&Call::new("UnregisterAndDestroy_Task", folder)).await
    }

    /// Reads what a change needs; fails if a login came between.
    async fn in_one_session<T>(&self, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let epoch = *self.shared.core.epoch().borrow();
        let read = read.await?;
        if *self.shared.core.epoch().borrow() == epoch { Ok(read) } else { Err(Error::unsent()) }
    }

    async fn submit(&self, call: &Call<'_>) -> Result<MoRef, Error> {
        let task = self.call(call).await?;
        self.shared.update(|inventory| inventory.task_submitted(&task, Instant::now()));
        Ok(task)
    }

    async fn submit_removal(&self, call: &Call<'_>) -> Result<MoRef, Error> {
        let task = self.call(call).await?;
        self.shared.update(|inventory| inventory.removal_submitted(&task, call.this(), Instant::now()));
        Ok(task)
    }

    async fn call(&self, call: &Call<'_>) -> Result<MoRef, Error> {
        self.shared.check_open()?;
        let called = self.shared.core.change(call).await;
        called.map_err(|error| self.shared.note_missing(error, call.this()))
    }
}

/// Returns `OptionValue`s of these keys and values.
fn options<'a>(entries: &'a [(&str, &str)], values: &'a [AnyString<'a>]) -> Vec<Data<'a>> {
    let option = |((key, _), value): (&'a (&str, &str), &'a AnyString<'a>)| Data {
        type_name: "OptionValue",
        fields: vec![("key", key), ("value", value)],
    };
    entries.iter().zip(values).map(option).collect()
}

impl Shared {
    /// Takes note of an object that a call's error says does not exist: the one it names; if it names none, the call's
    /// own, and the pool of the site may be meant as well.
    fn note_missing(&self, error: Error, this: &MoRef) -> Error {
        if error.is_object_missing() {
            self.update(|inventory| {
                if error.object().is_none() {
                    self.object_missing(inventory, None);
                }
                self.object_missing(inventory, Some(error.object().unwrap_or(this)));
            });
        }
        error
    }
}
