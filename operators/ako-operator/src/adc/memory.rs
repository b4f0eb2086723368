//! What this process remembers of AVI: the last answer for each AKODeploymentConfig, and the last change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operator_kit::Key;

use super::lost::Unsettled;
use super::port_groups::{self, Running};
use super::record::AviChange;
use super::seen::{Answer, Basis, Facts, Tenant};
use super::tenants;
use crate::api::Works;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    /// By the UID of the AKODeploymentConfig.
    entries: Mutex<HashMap<String, Entry>>,
    /// Clusters that are being deleted, and that nothing is looked for of once they are gone.
    left: Mutex<HashSet<Key>>,
    /// Where the AKO of Clusters works that are in no record, by the UID of the Cluster.
    works: Mutex<HashMap<String, Works>>,
}

#[derive(Debug, Default)]
struct Entry {
    answer: Option<Arc<Answer>>,
    /// Of the last answer, which may be forgotten.
    basis: Option<Basis>,
    change: Option<AviChange>,
    tenants: Option<tenants::TenantChange>,
    vcenter: Option<Arc<port_groups::Answer>>,
    task: Option<Running>,
    group_change: Option<port_groups::PortGroupChange>,
    unsettled: BTreeMap<String, Unsettled>,
    kept_roles: BTreeSet<String>,
}

impl Memory {
    /// Returns the last answer.
    #[must_use]
    pub fn answer(&self, uid: &str) -> Option<Arc<Answer>> {
        self.entries().get(uid).and_then(|entry| entry.answer.clone())
    }

    /// Remembers an answer. Returns whether it is the first one for its basis.
    pub(super) fn answered(&self, uid: &str, answer: Answer) -> bool {
        let mut entries = self.entries();
        let entry = entries.entry(uid.to_owned()).or_default();
        let is_first = entry.basis.replace(answer.basis.clone()).as_ref() != Some(&answer.basis);
        entry.answer = Some(Arc::new(answer));
        is_first
    }

    /// Forgets the answer, so that AVI is asked again.
    pub(super) fn forget_answer(&self, uid: &str) {
        self.entries().entry(uid.to_owned()).or_default().answer = None;
    }

    /// Remembers a change, and returns whether it is the last one again: then AVI did not keep that.
    pub(super) fn changes(&self, uid: &str, change: &AviChange) -> bool {
        let last = self.entries().entry(uid.to_owned()).or_default().change.replace(change.clone());
        last.as_ref() == Some(change)
    }

    /// Remembers what AVI answered about tenants, as a part of its last answer. What it refuses to remove it is asked again with the rest.
    pub(super) fn tenants_answered(&self, uid: &str, of: &Facts) {
        self.change_tenants(uid, |known| {
            let before = std::mem::replace(known, of.tenants.clone());
            for (name, before) in before {
                if let (Some(before), Some(Some(now))) = (before, known.get_mut(&name)) {
                    now.refusal = before.refusal.filter(|_| before.uuid == now.uuid);
                }
            }
        });
    }

    /// Remembers that AVI refuses to remove a tenant, until all of AVI is asked again.
    pub(super) fn tenant_refused(&self, uid: &str, name: &str, tenant: Tenant) {
        self.change_tenants(uid, |known| drop(known.insert(name.to_owned(), Some(tenant))));
    }

    /// Forgets what is known of tenants, so that AVI is asked again.
    pub(super) fn forget_tenants<'a>(&self, uid: &str, names: impl Iterator<Item = &'a String>) {
        self.change_tenants(uid, |known| names.for_each(|name| drop(known.remove(name))));
    }

    fn change_tenants(&self, uid: &str, change: impl FnOnce(&mut BTreeMap<String, Option<Tenant>>)) {
        if let Some(answer) = self.entries().get_mut(uid).and_then(|entry| entry.answer.as_mut()) {
            change(&mut Arc::make_mut(answer).facts.tenants);
        }
    }

    /// Remembers a change of tenants, and returns whether it is the last one again: then AVI did not keep that.
    pub(super) fn changes_tenants(&self, uid: &str, change: &tenants::TenantChange) -> bool {
        let last = self.entries().entry(uid.to_owned()).or_default().tenants.replace(change.clone());
        last.as_ref() == Some(change)
    }

    /// Remembers that AVI does not remove a role, as users of others have it.
    pub(super) fn keep_role(&self, uid: &str, name: &str) {
        self.entries().entry(uid.to_owned()).or_default().kept_roles.insert(name.to_owned());
    }

    /// Returns the roles that AVI does not remove, as users of others have them.
    pub(super) fn kept_roles(&self, uid: &str) -> BTreeSet<String> {
        self.entries().get(uid).map(|entry| entry.kept_roles.clone()).unwrap_or_default()
    }

    /// Returns the last answer of the vCenter.
    pub(super) fn vcenter(&self, uid: &str) -> Option<Arc<port_groups::Answer>> {
        self.entries().get(uid).and_then(|entry| entry.vcenter.clone())
    }

    /// Remembers an answer of the vCenter.
    pub(super) fn vcenter_answered(&self, uid: &str, answer: port_groups::Answer) {
        self.entries().entry(uid.to_owned()).or_default().vcenter = Some(Arc::new(answer));
    }

    /// Forgets the answer of the vCenter, so that it is asked again.
    pub(super) fn forget_vcenter(&self, uid: &str) {
        self.entries().entry(uid.to_owned()).or_default().vcenter = None;
    }

    /// Returns the task of the vCenter that has not been seen to end.
    pub(super) fn task(&self, uid: &str) -> Option<Running> {
        self.entries().get(uid).and_then(|entry| entry.task.clone())
    }

    /// Remembers a task of the vCenter.
    pub(super) fn submitted(&self, uid: &str, task: Running) {
        self.entries().entry(uid.to_owned()).or_default().task = Some(task);
    }

    /// Forgets the task of the vCenter.
    pub(super) fn ended(&self, uid: &str) {
        self.entries().entry(uid.to_owned()).or_default().task = None;
    }

    /// Remembers a change of a port group that was made.
    pub(super) fn changed(&self, uid: &str, change: port_groups::PortGroupChange) {
        self.entries().entry(uid.to_owned()).or_default().group_change = Some(change);
    }

    /// Returns whether a change of a port group is the last one that was made: then the vCenter did not keep that.
    pub(super) fn has_changed(&self, uid: &str, change: &port_groups::PortGroupChange) -> bool {
        self.entries().get(uid).is_some_and(|entry| entry.group_change.as_ref() == Some(change))
    }

    /// Returns the Clusters that are gone and whose remains AVI refused to remove, as `namespace/name`.
    pub(super) fn unsettled(&self, uid: &str) -> BTreeMap<String, Unsettled> {
        self.entries().get(uid).map(|entry| entry.unsettled.clone()).unwrap_or_default()
    }

    /// Remembers that AVI refused to remove what a Cluster has left.
    pub(super) fn not_settled(&self, uid: &str, cluster: String, why: Unsettled) {
        self.entries().entry(uid.to_owned()).or_default().unsettled.insert(cluster, why);
    }

    /// Forgets a Cluster that has left nothing any more.
    pub(super) fn settled(&self, uid: &str, cluster: &str) {
        self.entries().get_mut(uid).map(|entry| entry.unsettled.remove(cluster));
    }

    /// Forgets an AKODeploymentConfig.
    pub(super) fn forget(&self, uid: &str) {
        self.entries().remove(uid);
    }

    /// Remembers a Cluster that is being deleted and that the operator lets go, or that is paused: nothing of it is looked for on AVI.
    pub fn leaves(&self, cluster: &Key) {
        self.left().insert(cluster.clone());
    }

    /// Returns whether the operator has let a Cluster go that was being deleted, or it was paused.
    pub(super) fn has_left(&self, cluster: &Key) -> bool {
        self.left().contains(cluster)
    }

    /// Forgets that Clusters were let go: they are in no record any more.
    pub(super) fn forget_left<'a>(&self, clusters: impl Iterator<Item = &'a String>) {
        let mut left = self.left();
        for cluster in clusters.filter_map(|cluster| cluster.parse::<Key>().ok()) {
            left.remove(&cluster);
        }
    }

    /// Remembers where the AKO of a Cluster works that is in no record. Returns whether that was not known.
    pub fn works(&self, uid: &str, works: Works) -> bool {
        let mut all = self.all_works();
        let is_news = all.get(uid) != Some(&works);
        all.insert(uid.to_owned(), works);
        is_news
    }

    /// Returns where the AKO of a Cluster works that was in no record; `None` if no pass has looked.
    pub fn found(&self, uid: &str) -> Option<Works> {
        self.all_works().get(uid).cloned()
    }

    /// Forgets a Cluster.
    pub fn forget_works(&self, uid: &str) {
        self.all_works().remove(uid);
    }

    fn all_works(&self) -> MutexGuard<'_, HashMap<String, Works>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// Else each new Cluster would have AVI refuse the removal of each tenant that is in use again.
    #[test]
    fn a_refusal_of_avi_lasts_until_all_is_asked_again() {
        let memory = Memory::default();
        let tenant = |uuid: &str, refusal: Option<&str>| {
            Some(Tenant { uuid: uuid.into(), refusal: refusal.map(str::to_owned), ..Tenant::default() })
        };
        let facts =
            |uuid| Facts { tenants: [("t".to_owned(), tenant(uuid, None))].into(), ..Facts::default() };
        let answer = || Answer { basis: Basis::default(), at: Timestamp::UNIX_EPOCH, facts: facts("1") };
        let known = || memory.answer("a").unwrap().facts.tenants["t"].clone();
        memory.answered("a", answer());
        memory.tenant_refused("a", "t", tenant("1", Some("in use")).unwrap());
        assert_eq!(known(), tenant("1", Some("in use")));
        memory.tenants_answered("a", &facts("1"));
        assert_eq!(known(), tenant("1", Some("in use")));
        memory.tenants_answered("a", &facts("2"));
        assert_eq!(known(), tenant("2", None), "another one has its name");
        memory.tenant_refused("a", "t", tenant("2", Some("in use")).unwrap());
        memory.answered("a", answer());
        assert_eq!(known(), tenant("1", None));
    }
}
