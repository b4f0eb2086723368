//! Carries a plan out: downloads files, applies and deletes sets of objects.

use std::time::Duration;

use kube::ResourceExt as _;
use operator_kit::apply_set::Progress;
use operator_kit::names::first_few;
use operator_kit::{Key, ReconcileError as _};

use super::decide::{Action, Plan};
use super::files::fetcher;
use super::memory::Rollout;
use super::record::Record;
use super::seen::File;
use super::{Asks, Shared, set};
use crate::checkup::{self, Ran};
use crate::error::Error;
use crate::matrix::Driver;
use crate::plan::Change;
use crate::render::Rendered;

/// Kinds of members of which a watch tells that they have changed.
const WATCHED: [&str; 2] = ["DaemonSet", "Deployment"];

/// What was done, for the event.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Such as `installing CPI 1.36.0`.
    pub(super) changes: Vec<String>,
}

/// Carries a plan out, and has the object looked at again: nothing else tells that a step has ended.
pub(super) async fn apply<K: Asks>(shared: &Shared, object: &K, plan: Plan) -> Result<Done, Error> {
    let mut done = Done::default();
    match plan {
        Plan::Fetch(files) => {
            for file in &files {
                fetch(shared, file).await?;
            }
            shared.wakes.matrices.wake_all(&shared.caches.matrices.keys());
        }
        Plan::Check(order) => {
            let Ran { again, silent } = checkup::run(shared, &order).await?;
            wake_after(shared, object, again);
            let namespace = object.namespace().unwrap_or_default();
            for name in &silent {
                shared.wakes.connection::<K::Connection>(&Key::new(&namespace, name));
            }
        }
        Plan::Change(actions, outdated) => {
            let namespace = object.namespace().unwrap_or_default();
            for (uid, name) in outdated {
                shared.answers.outdate(&uid);
                shared.wakes.connection::<K::Connection>(&Key::new(&namespace, &name));
            }
            // What fails for one driver delays no other.
            let mut result = Ok(());
            for action in actions {
                match act(shared, action).await {
                    Ok(change) => done.changes.extend(change),
                    Err(error) => result = result.and(Err(error)),
                }
            }
            if let Some(again) = shared.memory.again() {
                wake_after(shared, object, again.unsigned_abs());
            }
            result?;
        }
    }
    K::triggers(&shared.wakes).wake(&Key::of(object));
    Ok(done)
}

/// Has the object looked at again after this time.
fn wake_after<K: Asks>(shared: &Shared, object: &K, time: Duration) {
    let (triggers, key) = (K::triggers(&shared.wakes).clone(), Key::of(object));
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        triggers.wake(&key);
    });
}

/// Downloads a file. One that cannot be had is remembered: the driver that needs it waits, and no other.
pub(crate) async fn fetch(shared: &Shared, file: &File) -> Result<(), Error> {
    let now = shared.clock.now();
    let fetched = match fetcher(shared, file).refresh(&file.source).await {
        Ok(_) => None,
        Err(crate::fetch::Error::Kube { error, .. }) => return Err((*error).into()),
        Err(error) => {
            tracing::warn!(source = %file.source, %error, "a file cannot be fetched");
            Some(error.hold())
        }
    };
    shared.memory.fetched(file.source.identity(), fetched, now);
    Ok(())
}

/// Carries an action out; returns what it changes.
async fn act(shared: &Shared, action: Action) -> Result<Option<String>, Error> {
    match action {
        Action::Apply { driver, change, record, rendered } => {
            let applied = apply_driver(shared, driver, change, &record, &rendered).await;
            if let Err(error) = &applied {
                shared.memory.forget(driver);
                shared.meters.fails(driver, error.classify().0);
            }
            applied?;
            Ok(verb(change).map(|verb| format!("{verb} {driver} {}", record.version)))
        }
        Action::Remove(driver, record) => {
            let is_begun = record.is_removing;
            shared.memory.removing(driver, shared.clock.now());
            let set = shared.sets.get(driver);
            if !is_begun {
                set.write_notes(&Record { is_removing: true, ..record }.notes()).await?;
                shared.meters.removes(driver);
            }
            let left =
                set.delete().await.inspect_err(|error| shared.meters.fails(driver, error.classify().0))?;
            tracing::debug!(%driver, ?left, "removing");
            Ok((!is_begun).then(|| format!("removing {driver}")))
        }
        Action::Release(driver) => {
            shared.sets.get(driver).release().await?;
            shared.memory.forget(driver);
            shared.meters.releases(driver);
            Ok(Some(format!("leaving {driver} as it is")))
        }
    }
}

async fn apply_driver(
    shared: &Shared,
    driver: Driver,
    change: Change,
    record: &Record,
    rendered: &Rendered,
) -> Result<(), Error> {
    let own = shared.sets.get(driver);
    // What is applied during a roll-out is not put back.
    let is_complete = shared.memory.rollout(driver, &record.digest) == Rollout::Complete;
    let changes = own.changes();
    // Events that follow belong to objects that may have changed since.
    shared.memory.applying(driver, &record.digest, shared.clock.now());
    if change != Change::Maintain {
        own.write_notes(&record.notes()).await?;
        shared.meters.begins(driver, change);
    }
    let progress = if change == Change::Adopt {
        set(&shared.client, &shared.manager, driver).taking_over().apply(&rendered.waves).await?
    } else {
        own.apply(&rendered.waves).await?
    };
    if change == Change::Maintain && is_complete {
        shared.meters.puts_back(driver, own.changes() - changes);
    }
    let (waits_for, is_watched) = match progress {
        Progress::Complete(_) => (None, true),
        Progress::Waiting(members) => {
            let is_watched = members.iter().all(|(member, _)| WATCHED.contains(&member.kind.as_str()));
            let members: Vec<_> = members.iter().map(|(member, why)| format!("{member}: {why}")).collect();
            (Some(first_few(&members)), is_watched)
        }
    };
    shared.memory.applied(driver, waits_for, is_watched);
    Ok(())
}

fn verb(change: Change) -> Option<&'static str> {
    match change {
        Change::Install => Some("installing"),
        Change::Adopt => Some("taking over"),
        Change::Upgrade => Some("upgrading to"),
        Change::Downgrade => Some("going back to"),
        Change::Configure => Some("configuring"),
        Change::Maintain => None,
    }
}
