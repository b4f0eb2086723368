//! Names with everything vCenter escapes, and more.

use anyhow::{Context, Result};
use testbed::Vcsim;

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn names_survive() -> Result<()> {
    let root = "ünï/100% \\ root";
    let rig =
        Rig::with(Vcsim::builder().root_folder(false), |config| root.clone_into(&mut config.root_folder))
            .await?;
    for name in ["a/b", "50%", "back\\slash", "ねこ & <tags>", "per%cent/and\\all"] {
        let folder = rig.vc.create_folder(name).await?;
        let vm = rig.make(&folder, &format!("vm {name}")).await?;
        rig.vc.fresh().await?;
        rig.vc.read(|inventory| {
            assert_eq!(inventory.folder_named(name).map(|found| &found.moref), Some(&folder), "{name}");
            assert_eq!(inventory.vm(&vm).map(|vm| vm.name.to_string()), Some(format!("vm {name}")));
            assert_eq!(
                inventory.vm_named(&folder, &format!("vm {name}")).map(|found| &found.moref),
                Some(&vm)
            );
        });
    }
    // The folder is found again, not made again.
    rig.vc.close().await;
    let mut config = crate::rig::config(&rig.sim);
    root.clone_into(&mut config.root_folder);
    let again = infra_clients::vsphere::VCenter::start(config)?;
    crate::rig::up(&again).await?;
    assert_eq!(again.read(|inventory| inventory.vms().count()), 5);
    let folders = rig.sim.folders().await?;
    assert_eq!(folders.len(), 7, "vm, the root folder and five: {folders:?}");
    let first = again.read(|inventory| inventory.root_folder().cloned());
    assert_eq!(first, rig.vc.read(|inventory| inventory.root_folder().cloned()));
    first.context("a root folder").map(drop)
}
