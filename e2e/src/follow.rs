//! Follows the objects of an operator's kinds. Watches the API server directly, so that it sees what the operator misses.

use futures::{StreamExt, future, stream};
use kube::api::DynamicObject;
use kube::runtime::watcher::{Config, Event, watcher};
use tokio::task::JoinSet;

use crate::install::Subject;
use crate::site::Site;

/// Calls a function with the kind and the event of each change in the site's part of the plane, until what is returned is dropped.
pub(crate) fn follow(
    site: &Site,
    subject: &Subject,
    mut note: impl FnMut(&str, Event<DynamicObject>) + Send + 'static,
) -> JoinSet<()> {
    let watches = subject.kinds.iter().map(|kind| {
        let kind = kind.kind;
        watcher(site.api(kind), Config::default()).map(move |event| (kind, event)).boxed()
    });
    let noting = stream::select_all(watches).for_each(move |(kind, event)| {
        // The watcher repeats what failed.
        if let Ok(event) = event {
            note(kind, event);
        }
        future::ready(())
    });
    let mut following = JoinSet::new();
    following.spawn(noting);
    following
}
