//! What the watch has at vCenter: a view of the root folder, a property collector and its filter. Owns their creation
//! and removal and the poll; keeps nothing of what a poll says.

use std::time::Duration;

use crate::vsphere::session::Core;
use crate::vsphere::soap::Call;
use crate::vsphere::value::Data;
use crate::vsphere::vms::site::Site;
use crate::vsphere::vms::updates::watch_filter;
use crate::vsphere::{Error, MoRef};

/// The objects at vCenter that belong to one session.
#[derive(Debug, Default)]
pub(super) struct Resources {
    /// The session they belong to.
    epoch: u64,
    /// The view, and the root folder it shows.
    view: Option<(MoRef, MoRef)>,
    collector: Option<MoRef>,
}

impl Resources {
    /// Forgets what belonged to another session than this.
    pub(super) fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
    }

    /// Forgets the collector, and returns it to be removed.
    pub(super) fn take_collector(&mut self) -> Option<MoRef> {
        self.collector.take()
    }

    /// Records a collector, so that it is removed when another takes its place.
    pub(super) fn set_collector(&mut self, collector: &MoRef) {
        self.collector = Some(collector.clone());
    }

    /// Forgets the view: it must not be used again.
    pub(super) fn forget_view(&mut self) {
        self.view = None;
    }

    /// Creates a view of the root folder, unless there is one, and a filter in `collector`; returns the view. Whatever was reported by
    /// another collector is reported again by this one.
    pub(super) async fn create_filter(
        &mut self,
        core: &Core,
        site: &Site,
        collector: &MoRef,
    ) -> Result<MoRef, Error> {
        let roots = core.roots().await?;
        let view = match &self.view {
            Some((view, root)) if *root == site.root => view.clone(),
            _ => create_view(core, &roots.views, &site.root).await?,
        };
        let filter = &watch_filter(&view, &site.root, &roots.tasks);
        let call = Call::new("CreateFilter", collector).with("spec", filter).with("partialUpdates", &false);
        let created = core.send_for_moref(&call).await;
        // It may have failed because the view is gone.
        self.view = created.is_ok().then(|| (view.clone(), site.root.clone()));
        created.map(|_| view)
    }
}

async fn create_view(core: &Core, manager: &MoRef, root: &MoRef) -> Result<MoRef, Error> {
    let (container, types) = (root.to_vim(), ["VirtualMachine".to_owned(), "Folder".to_owned()].to_vec());
    let call = Call::new("CreateContainerView", manager)
        .with("container", &container)
        .with("type", &types)
        .with("recursive", &true);
    core.send_for_moref(&call).await
}

/// Creates a property collector.
pub(super) async fn create(core: &Core) -> Result<MoRef, Error> {
    let roots = core.roots().await?;
    core.send_for_moref(&Call::new("CreatePropertyCollector", &roots.collector)).await
}

/// Removes a property collector, if there is one, which also ends its poll should vCenter still wait with the answer.
/// What cannot be removed ends with the session.
pub(super) async fn remove(core: &Core, collector: Option<MoRef>) {
    let Some(collector) = collector else { return };
    if let Err(error) = core.send_for_nothing(&Call::new("DestroyPropertyCollector", &collector)).await {
        tracing::debug!(%error, "cannot remove a property collector");
    }
}

/// Sends one poll that waits at most so long for a change, in whole seconds; returns the answer, with changes of at most
/// `most` objects.
pub(super) async fn poll(
    core: &Core,
    collector: &MoRef,
    version: &str,
    wait: Duration,
    grace: Duration,
    most: i32,
) -> Result<String, Error> {
    let seconds = i32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
    let options = Data {
        type_name: "WaitOptions",
        fields: vec![("maxWaitSeconds", &seconds), ("maxObjectUpdates", &most)],
    };
    let call = Call::new("WaitForUpdatesEx", collector).with("version", &version).with("options", &options);
    core.send(&call, wait + grace).await
}

/// Has vCenter answer the poll in progress.
pub(super) async fn cancel(core: &Core, collector: &MoRef, deadline: Duration) -> Result<(), Error> {
    core.send(&Call::new("CancelWaitForUpdates", collector), deadline).await.map(drop)
}
