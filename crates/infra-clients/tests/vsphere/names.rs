//! Names with everything that vCenter escapes, and more.

use anyhow::{Context, Result};
use infra_clients::vsphere::{Config, vms};
use testbed::Vcsim;

use crate::rig::{Rig, start, up};

#[tokio::test(flavor = "multi_thread")]
async fn names_survive() -> Result<()> {
    // Two levels, neither of which exists.
    let root = "ünï%2f100% \\ root/二";
    let at_root = |_: &mut Config, vms: &mut vms::Config| root.clone_into(&mut vms.root_folder);
    let rig = Rig::with(Vcsim::builder().root_folder(false), at_root).await?;
    for name in ["a/b", "50%", "back\\slash", "ねこ & <tags>", "per%cent/and\\all"] {
        let folder = rig.vms.create_folder(name).await?;
        let vm = rig.make(&folder, &format!("vm {name}")).await?;
        rig.vms.fresh().await?;
        rig.vms.read(|inventory| {
            assert_eq!(inventory.folder_named(name).map(|found| &found.moref), Some(&folder), "{name}");
            assert_eq!(inventory.vm(&vm).map(|vm| vm.name.to_string()), Some(format!("vm {name}")));
            assert_eq!(
                inventory.vm_named(&folder, &format!("vm {name}")).map(|found| &found.moref),
                Some(&vm)
            );
        });
    }
    // The folder is found again, not created again.
    rig.session.close().await;
    let (_, again) = start(&rig.sim, at_root)?;
    up(&again).await?;
    assert_eq!(again.read(|inventory| inventory.vms().count()), 5);
    let folders = rig.sim.folders().await?;
    assert_eq!(folders.len(), 8, "vm, the root folder's two levels and five: {folders:?}");
    let first = again.read(|inventory| inventory.root_folder().cloned());
    assert_eq!(first, rig.vms.read(|inventory| inventory.root_folder().cloned()));
    first.context("a root folder").map(drop)
}
