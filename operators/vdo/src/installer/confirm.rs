//! Whether what was decided still counts: asked of the API server before a driver is changed. A cache may be behind, above all after a start.

use kube::ResourceExt as _;
use operator_kit::{Kind, Objects};
use tokio::sync::Mutex;

use super::claims::owners;
use super::decide::Action;
use super::record::Record;
use super::{Asks, Shared};
use crate::api::{DriverSet, VdoConfig};
use crate::error::Error;
use crate::matrix::Driver;
use crate::plan::{Change, Drivers};

/// The objects that ask for drivers, as the API server has them.
pub(crate) struct Asked {
    pub(crate) vdo_configs: Objects<VdoConfig>,
    pub(crate) driver_sets: Objects<DriverSet>,
    /// Namespaces that are watched; `[""]` for all.
    pub(crate) namespaces: Vec<String>,
    /// Held while something begins: it may rule out what another object is about to begin.
    pub(crate) changing: Mutex<()>,
}

/// Returns whether an action begins something. What was begun is carried on.
pub(crate) fn begins(action: &Action) -> bool {
    match action {
        Action::Apply { change, .. } => *change != Change::Maintain,
        Action::Remove(_, record) => !record.is_removing,
        Action::Release(..) => true,
    }
}

/// Returns whether an object asks for what this process knows, and decides about the drivers that are to be changed, and whether the notes of all
/// drivers are as they were.
pub(super) async fn is_confirmed<K: Asks>(
    shared: &Shared,
    object: &K,
    actions: &[Action],
    records: &Drivers<Option<Record>>,
) -> Result<bool, Error> {
    let mut changed = Vec::new();
    for action in actions {
        if begins(action) {
            changed.push(action.driver());
        }
    }
    let view = |object: &K| {
        let meta = object.meta();
        (
            meta.generation,
            meta.deletion_timestamp.is_some(),
            object.settings().map(|text| text.map(str::to_owned)),
        )
    };
    let Some(asked) = &shared.asked else { return Ok(false) };
    if !K::objects(asked).is_current(object, view).await? {
        return Ok(false);
    }
    for driver in Driver::ALL {
        let noted = shared.sets.get(driver).notes().await?.as_ref().map(Record::read);
        if !is_same(records.get(driver).as_ref(), noted.as_ref()) {
            return Ok(false);
        }
    }
    for namespace in &asked.namespaces {
        refresh(&asked.vdo_configs, namespace).await?;
        refresh(&asked.driver_sets, namespace).await?;
    }
    let owners = owners(&shared.caches);
    let uid = object.uid();
    Ok(changed
        .into_iter()
        .all(|driver| owners.get(driver).as_ref().is_none_or(|owner| Some(&owner.uid) == uid.as_ref())))
}

/// Returns whether what was noted of a driver is as it was. A record that was recovered stands for no notes.
fn is_same(before: Option<&Record>, now: Option<&Record>) -> bool {
    before == now || now.is_none() && before.is_some_and(|before| before.is_recovered)
}

/// Brings the cache up to date.
async fn refresh<K: Kind>(objects: &Objects<K>, namespace: &str) -> Result<(), Error> {
    objects.find(namespace, "", |_| false).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_carried_on() {
        let record = Record::recovered("1.0.0");
        let removing = Record { is_removing: true, ..record.clone() };
        let apply = |change| Action::Apply {
            driver: Driver::Cpi,
            change,
            record: record.clone(),
            takes_over: false,
            rendered: std::sync::Arc::default(),
        };
        for (action, is_begun) in [
            (apply(Change::Maintain), true),
            (apply(Change::Install), false),
            (apply(Change::Configure), false),
            (Action::Remove(Driver::Csi, record.clone()), false),
            (Action::Remove(Driver::Csi, removing), true),
            (Action::Release(Driver::Cni, record.clone()), false),
        ] {
            assert_eq!(begins(&action), !is_begun, "{action:?}");
        }
    }

    #[test]
    fn a_recovered_record_stands_for_no_notes() {
        let lost = Record::recovered("1.0.0");
        let noted = Record { is_recovered: false, ..lost.clone() };
        let removing = Record { is_removing: true, ..noted.clone() };
        for (before, now, is_same_to_it) in [
            (None, None, true),
            (Some(&noted), Some(&noted), true),
            (Some(&lost), None, true),
            (Some(&lost), Some(&lost), true),
            (Some(&noted), None, false),
            (None, Some(&noted), false),
            (Some(&noted), Some(&removing), false),
        ] {
            assert_eq!(is_same(before, now), is_same_to_it, "{before:?} {now:?}");
        }
    }
}
