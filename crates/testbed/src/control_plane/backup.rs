//! Backups of a control plane: what etcd stores, at one moment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::ControlPlane;
use crate::Process;

/// What etcd had stored. It is valid as long as its [`ControlPlane`].
#[derive(Clone, Debug)]
pub struct Backup(PathBuf);

impl ControlPlane {
    /// Copies what etcd stores. Requests wait for a moment.
    ///
    /// # Errors
    /// If etcd has ended, or its files cannot be copied.
    pub async fn back_up(&mut self) -> Result<Backup> {
        self.backups += 1;
        let backup = self.workdir.path().join(format!("backup-{}", self.backups));
        self.etcd.suspend()?;
        let copied = copy(&self.etcd_data, &backup).await;
        self.etcd.resume()?;
        copied.map(|()| Backup(backup))
    }

    /// Stops the API server and etcd, and starts them with what the backup has: objects and versions of later are gone.
    ///
    /// # Errors
    /// If the files cannot be copied, or a server does not become ready.
    pub async fn restore(&mut self, backup: &Backup) -> Result<()> {
        self.stop_apiserver().await?;
        self.etcd.kill().await;
        copy(&backup.0, &self.etcd_data).await?;
        self.etcd = Process::spawn(self.etcd_spec.clone())?;
        self.start_apiserver().await
    }
}

async fn copy(from: &Path, to: &Path) -> Result<()> {
    // `from/.`: its content, also where `to` exists.
    let output = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).output().await.context("cp")?;
    ensure!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
