//! The instructions that `--keep` prints for the running control plane and vCenter.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::{OperatorProcess, VmRig};

/// Prints the instructions. Writes the vCenter's password to a file that only the user can read.
pub(crate) fn tell(rig: &VmRig, operator: &OperatorProcess) -> Result<()> {
    let govc = govc(rig)?;
    println!("\n== Left running, until Ctrl-C (or kill {})\n", std::process::id());
    println!("export KUBECONFIG={}", rig.control_plane().kubeconfig().display());
    if !on_path("kubectl") {
        let kubectl = rig.control_plane().kubectl_path();
        let folder = kubectl.parent().context("kubectl has no folder")?;
        println!("export PATH=\"$PATH:{}\"   # kubectl", folder.display());
    }
    println!("\n   vCenter       https://{}/sdk, user {}", rig.vcenter.host(), rig.vcenter.user());
    println!("   for govc      source {}", govc.display());
    println!("   operator      process {}, log {}", operator.process.pid(), rig.log_path().display());
    println!(
        "   to try        kubectl get vg,vgi; kubectl describe vg; kubectl scale vg/vmgroup-sample --replicas 2"
    );
    println!("                 kubectl apply -f deploy/vm-operator/samples/wrong-template.yaml");
    Ok(())
}

/// Writes a file that sets govc's environment.
fn govc(rig: &VmRig) -> Result<PathBuf> {
    let path = rig.directory().join("govc.env");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let vcenter = &rig.vcenter;
    writeln!(file, "export GOVC_URL=https://{}/sdk", vcenter.host())?;
    writeln!(file, "export GOVC_USERNAME='{}'", vcenter.user())?;
    writeln!(file, "export GOVC_PASSWORD='{}'", vcenter.password())?;
    writeln!(file, "export GOVC_TLS_CA_CERTS={}", vcenter.ca_file().display())?;
    Ok(path)
}

/// Whether a program is in the PATH.
fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
