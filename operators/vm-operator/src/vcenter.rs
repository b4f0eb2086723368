//! Waits for answers of the vCenter client.

use std::sync::Arc;

use infra_clients::vsphere::vms::{Changes, Link, Outside, Template, Vm, Vms};
use infra_clients::vsphere::{Error, Kind, MoRef};

/// Returns the template of that name, or at that path.
pub async fn template(vms: &Vms, name: &str) -> Result<MoRef, Error> {
    let mut changes = vms.changes();
    loop {
        match vms.template(name) {
            Template::Known(moref) => return Ok(moref),
            Template::Failed(error) => return Err(error),
            Template::Unknown => next(&mut changes).await?,
        }
    }
}

/// Returns a VM wherever it is; `None` if it does not exist.
pub async fn vm(vms: &Vms, moref: &MoRef) -> Result<Option<Arc<Vm>>, Error> {
    let (mut changes, mut link) = (vms.changes(), vms.link());
    vms.forget_lookup(moref);
    vms.look_up(moref);
    loop {
        let found = vms.read(|inventory| match inventory.outside(moref) {
            Some(Outside::Gone) => Some(None),
            Some(Outside::Elsewhere(vm)) => Some(Some(vm.clone())),
            None => inventory.vm(moref).map(|vm| Some(vm.clone())),
        });
        if let Some(vm) = found {
            return Ok(vm);
        }
        tokio::select! {
            change = next(&mut changes) => change?,
            down = link.wait_for(|link| matches!(link, Link::Down(_))) => {
                if let Ok(Link::Down(error)) = down.as_deref() {
                    return Err(Error::clone(error));
                }
            }
        }
    }
}

async fn next(changes: &mut Changes) -> Result<(), Error> {
    let closed = || Error::new(Kind::Canceled, "the vCenter client is closed");
    changes.next().await.map(drop).ok_or_else(closed)
}
