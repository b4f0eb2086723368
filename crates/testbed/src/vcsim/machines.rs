//! Changes of the simulated vCenter's machines and folders, as an administrator or another client makes them.
//!
//! No change is a call of the vSphere API: nothing is counted, and no session is needed.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::Vcsim;

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
        self.change("vms", json!({"folder": folder_path, "name": name})).await
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

    /// Destroys a machine whatever its power state.
    ///
    /// # Errors
    /// If there is no such machine.
    pub async fn remove_vm(&self, path: &str) -> Result<()> {
        self.change("vms/remove", json!({"path": path})).await
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

    /// Renames a machine.
    ///
    /// # Errors
    /// If there is no such machine, or the name is taken.
    pub async fn rename_vm(&self, path: &str, name: &str) -> Result<()> {
        self.change("vms/rename", json!({"path": path, "name": name})).await
    }
}
