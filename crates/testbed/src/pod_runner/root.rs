//! The directory that the processes of a Pod see as `/`.
//!
//! Its volumes are in `/volumes`; the path at which a container mounts one is a link to it. So containers of a Pod that mount different
//! volumes at the same path are refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};

use super::volumes::{Files, lay_out};

/// The root directory of a Pod.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// The files that each volume has now.
    laid_out: BTreeMap<String, Option<Files>>,
}

impl Root {
    /// Creates the directory, with what programs expect of any machine.
    pub(super) fn create(path: PathBuf, machine_files: &BTreeMap<String, String>) -> Result<Self> {
        for (directory, mode) in [("", 0o755), ("volumes", 0o755), ("etc", 0o755), ("tmp", 0o1777)] {
            let directory = path.join(directory);
            fs::create_dir_all(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        }
        fs::write(path.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        for (file, content) in machine_files {
            let file = inside(&path, file);
            fs::create_dir_all(file.parent().context("a file has a directory")?)?;
            fs::write(file, content)?;
        }
        Ok(Self { path, laid_out: BTreeMap::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a path of a container is on this machine.
    pub(super) fn inside(&self, spec: &PodSpec, container: &str, path: &str) -> PathBuf {
        let mounts = spec.containers.iter().filter(|one| one.name == container);
        let mut mounts = mounts.flat_map(|one| one.volume_mounts.iter().flatten());
        let below = |mount: &VolumeMount| {
            let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
            rest.starts_with('/').then(|| inside(&self.volume(&mount.name), rest))
        };
        mounts.find_map(below).unwrap_or_else(|| inside(&self.path, path))
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.path.join("volumes").join(name)
    }

    /// Brings the files of a volume up to date; `None` is a directory that the containers write to.
    pub(super) fn update(&mut self, name: &str, files: Option<Files>) -> Result<()> {
        let before = self.laid_out.get(name);
        if before == Some(&files) {
            return Ok(());
        }
        let directory = self.volume(name);
        if before.is_none() {
            fs::create_dir_all(&directory)?;
            // As an emptyDir: a container's user may write to it.
            let mode = if files.is_none() { 0o777 } else { 0o755 };
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        }
        if let Some(files) = &files {
            lay_out(&directory, files)?;
        }
        self.laid_out.insert(name.to_owned(), files);
        Ok(())
    }

    /// Links the volumes of a container to where it mounts them. Repeatable.
    pub(super) fn mount(&self, container: &Container) -> Result<()> {
        let mut mounts: Vec<_> = container.volume_mounts.iter().flatten().collect();
        // One below another comes after it.
        mounts.sort_by_key(|mount| mount.mount_path.len());
        for mount in mounts {
            ensure!(mount.sub_path_expr.is_none(), "subPathExpr is not known");
            let target =
                Path::new("/volumes").join(&mount.name).join(mount.sub_path.as_deref().unwrap_or_default());
            let link = inside(&self.path, &mount.mount_path);
            match fs::read_link(&link) {
                Ok(present) => {
                    ensure!(present == target, "two volumes are mounted at {} in one Pod", mount.mount_path);
                }
                // A volume below a directory that another one has, such as the kubelet's in the machine's: it is in there.
                Err(_) if link.is_dir() => {}
                Err(_) => {
                    fs::create_dir_all(link.parent().context("a mount is below a directory")?)?;
                    symlink(&target, &link).with_context(|| format!("cannot mount {}", mount.mount_path))?;
                }
            }
        }
        Ok(())
    }

    /// Puts a program into the directory, and returns its path there.
    pub(super) fn install(&self, binary: &Path) -> Result<String> {
        let name = binary.file_name().context("a program has a name")?;
        let target = self.path.join(name);
        let shown = format!("/{}", name.to_string_lossy());
        if target.exists() {
            return Ok(shown);
        }
        // A link needs no space, but cannot lead to another file system.
        if fs::hard_link(binary, &target).is_err() {
            fs::copy(binary, &target).with_context(|| format!("cannot copy {}", binary.display()))?;
        }
        Ok(shown)
    }
}

/// Joins a path that may be absolute.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(mounts: &Value) -> Container {
        serde_json::from_value(json!({"name": "c", "volumeMounts": mounts})).unwrap()
    }

    #[test]
    fn mounts_are_links_to_the_volumes() {
        let home = tempfile::tempdir().unwrap();
        let machine = [("/sys/class/dmi/id/product_serial".to_owned(), "VMware-42".to_owned())].into();
        let mut root = Root::create(home.path().join("0"), &machine).unwrap();
        root.update("sockets", None).unwrap();
        root.update("config", Some(Files::new())).unwrap();
        let first = container(&json!([
            {"name": "sockets", "mountPath": "/csi"}, {"name": "config", "mountPath": "/etc/cloud", "subPath": "a"},
        ]));
        root.mount(&first).unwrap();
        root.mount(&first).unwrap();
        let at = |path: &str| inside(root.path(), path);
        assert_eq!(fs::read_link(at("/csi")).unwrap(), Path::new("/volumes/sockets"));
        assert_eq!(fs::read_link(at("/etc/cloud")).unwrap(), Path::new("/volumes/config/a"));
        assert_eq!(fs::read_to_string(at("/sys/class/dmi/id/product_serial")).unwrap(), "VMware-42");
        let spec = PodSpec { containers: vec![first], ..PodSpec::default() };
        assert_eq!(root.inside(&spec, "c", "/csi/csi.sock"), at("/volumes/sockets/csi.sock"));
        assert_eq!(root.inside(&spec, "c", "/csix"), at("/csix"));

        let other = container(&json!([{"name": "config", "mountPath": "/csi"}]));
        let error = root.mount(&other).unwrap_err().to_string();
        assert_eq!(error, "two volumes are mounted at /csi in one Pod");
    }
}
