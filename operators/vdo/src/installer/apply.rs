//! Carries a plan out: downloads files, applies and deletes sets of objects.

use std::time::Duration;

use kube::ResourceExt as _;
use operator_kit::apply_set::{Member, Progress, described};
use operator_kit::names::first_few;
use operator_kit::{Key, ReconcileError as _};

use super::decide::{Action, Plan};
use super::files::fetcher;
use super::memory::Rollout;
use super::record::Record;
use super::seen::File;
use super::{Asks, Shared, confirm, set};
use crate::checkup::{self, Ran};
use crate::config::CSI_NAMESPACE;
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
        Plan::Change { actions, outdated, records } => {
            let namespace = object.namespace().unwrap_or_default();
            for (uid, name) in outdated {
                shared.answers.outdate(&uid);
                shared.wakes.connection::<K::Connection>(&Key::new(&namespace, &name));
            }
            // What another object begins is decided after what this one has noted.
            let begins = actions.iter().any(confirm::begins);
            let guard = match shared.asked.as_ref().filter(|_| begins) {
                Some(asked) => Some(asked.changing.lock().await),
                None => None,
            };
            let is_confirmed = begins && confirm::is_confirmed(shared, object, &actions, &records).await?;
            let is_upgraded =
                |action: &Action| matches!(action, Action::Apply { change: Change::Upgrade, .. });
            if is_confirmed && actions.iter().any(is_upgraded) {
                wake_after(shared, object, shared.upgrade_timeout.unsigned_abs());
            }
            // What fails for one driver delays no other.
            let mut result = Ok(());
            for action in actions.into_iter().filter(|action| is_confirmed || !confirm::begins(action)) {
                match act(shared, action, guard.is_some()).await {
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

/// Carries an action out; returns what it changes. `is_alone`: no other object begins anything meanwhile.
async fn act(shared: &Shared, action: Action, is_alone: bool) -> Result<Option<String>, Error> {
    match action {
        Action::Apply { driver, change, record, takes_over, rendered } => {
            let how = How { change, takes_over, is_alone };
            let applied = apply_driver(shared, driver, how, record.clone(), &rendered).await;
            if let Err(error) = &applied {
                shared.memory.failed(driver, &error.to_string());
                shared.meters.fails(driver, error.classify().0);
            }
            applied?;
            Ok(verb(change).map(|verb| format!("{verb} {driver} {}", record.version)))
        }
        Action::Remove(driver, record) => {
            let is_begun = record.is_removing;
            let record = recovered(shared, driver, record).await?;
            shared.memory.removing(driver, shared.clock.now());
            let set = shared.sets.get(driver);
            if !is_begun {
                set.write_notes(&Record { is_removing: true, ..record }.notes()).await?;
                shared.meters.removes(driver);
            }
            let left =
                set.delete().await.inspect_err(|error| shared.meters.fails(driver, error.classify().0))?;
            // What was deleted just now is kept by nothing.
            let kept = if is_begun { left.as_slice() } else { &[] };
            shared.memory.kept(driver, named(kept));
            Ok((!is_begun).then(|| format!("removing {driver}")))
        }
        Action::Release(driver, record) => {
            recovered(shared, driver, record).await?;
            shared.sets.get(driver).release().await?;
            shared.memory.forget(driver);
            shared.meters.releases(driver);
            Ok(Some(format!("leaving {driver} as it is")))
        }
    }
}

/// Kinds that objects of drivers have: API group, kind.
const KINDS: &[(&str, &str)] = &[
    ("", "ConfigMap"),
    ("", "Namespace"),
    ("", "Secret"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("storage.k8s.io", "CSIDriver"),
];

/// Has the set of a driver whose notes are gone look for all that it may have.
async fn recovered(shared: &Shared, driver: Driver, record: Record) -> Result<Record, Error> {
    if !record.is_recovered {
        return Ok(record);
    }
    let set = shared.sets.get(driver);
    // Before the notes that follow, which do not say that anything is missing. What is to be applied is not yet.
    set.write_notes(&Record { digest: String::new(), ..record.clone() }.notes()).await?;
    set.recover(KINDS, &[CSI_NAMESPACE]).await?;
    Ok(Record { is_recovered: false, ..record })
}

/// How a driver is applied.
#[derive(Clone, Copy)]
struct How {
    change: Change,
    /// Whether objects of others are taken over, also where an earlier attempt has ended early.
    takes_over: bool,
    /// Whether no other object begins anything meanwhile.
    is_alone: bool,
}

async fn apply_driver(
    shared: &Shared,
    driver: Driver,
    How { change, takes_over, is_alone }: How,
    record: Record,
    rendered: &Rendered,
) -> Result<(), Error> {
    let record = recovered(shared, driver, record).await?;
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
    let progress = if takes_over {
        set(&shared.client, &shared.manager, driver).taking_over().apply(&rendered.waves).await?
    } else {
        own.apply(&rendered.waves).await?
    };
    if change == Change::Maintain && is_complete {
        shared.meters.puts_back(driver, own.changes() - changes);
    }
    let (waits_for, is_watched) = match progress {
        Progress::Complete(_) => {
            if !record.is_complete {
                note_complete(shared, driver, &record, is_alone).await?;
            }
            (None, true)
        }
        Progress::Waiting(members) => {
            let is_watched = members.iter().all(|(member, _)| WATCHED.contains(&member.kind.as_str()));
            (Some(named(&members)), is_watched)
        }
    };
    shared.memory.applied(driver, waits_for, is_watched);
    Ok(())
}

/// Notes that all of a driver runs, unless another object has noted something else.
async fn note_complete(
    shared: &Shared,
    driver: Driver,
    record: &Record,
    is_alone: bool,
) -> Result<(), Error> {
    let _guard = match shared.asked.as_ref().filter(|_| !is_alone) {
        Some(asked) => Some(asked.changing.lock().await),
        None => None,
    };
    let set = shared.sets.get(driver);
    let noted = set.notes().await?.as_ref().map(Record::read);
    let noted = noted.filter(|noted| noted.version == record.version && noted.digest == record.digest);
    if let Some(completed) = noted.filter(|noted| !noted.is_removing).and_then(|noted| noted.completed()) {
        set.write_notes(&completed.notes()).await?;
    }
    Ok(())
}

/// Names the first of these members, each with what it is or waits for.
fn named(members: &[(Member, String)]) -> String {
    first_few(&described(members))
}

fn verb(change: Change) -> Option<&'static str> {
    match change {
        Change::Install => Some("installing"),
        Change::Adopt => Some("taking over"),
        Change::Upgrade => Some("upgrading to"),
        Change::Downgrade => Some("going back to"),
        Change::Rollback => Some("rolling back to"),
        Change::Configure => Some("configuring"),
        Change::Maintain => None,
    }
}
