//! `ApplySet`: applies many objects as one set, in waves, and prunes what left it.
//!
//! Speaks the ApplySet specification of `kubectl apply --prune --applyset` (KEP-3659): members have the label
//! `applyset.kubernetes.io/part-of`, and a parent ConfigMap records which kinds and namespaces the set uses, so that what left
//! the set is found after any crash. Never takes over an object that belongs to something else, and never waits: a wave that is
//! not ready is the result of the call, and the next call continues.

mod error;
mod parent;
mod preview;
mod readiness;
mod release;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
    sync::{Mutex, PoisonError},
};

use data_encoding::BASE64URL_NOPAD;
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        Preconditions,
    },
    discovery::{ApiCapabilities, Scope, pinned_kind},
};
use sha2::{Digest, Sha256};

pub use error::{ALL, Conflict, FIELD_CONFLICT, KIND_NOT_SERVED, OBJECT_NOT_OURS, SetError};
use parent::Record;
pub use preview::{Change, Preview};
pub use readiness::{not_gone, not_ready};

/// Label of the members of a set: the set's [id](ApplySet::id).
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// For a kind that is not served the API server answers 404 without a reason.
const NOT_FOUND: u16 = 404;

/// A set of objects, identified by its parent ConfigMap.
pub struct ApplySet {
    client: Client,
    namespace: String,
    name: String,
    manager: String,
    force: Force,
    /// Served kinds, once they were found.
    kinds: Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>,
    /// Hash of what was applied, and the [state](state_of) that came of it, by object.
    applied: Mutex<HashMap<Member, (u64, u64)>>,
    /// How many objects were created or changed.
    changes: AtomicU64,
}

/// Of which objects the set takes fields that another manager holds with another value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Force {
    /// Of none.
    Never,
    /// Of its members.
    Members,
    /// Of all that belong to nothing else.
    All,
}

/// Identity of a member: what pruning compares. Displays as `Kind namespace/name`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Member {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty for a cluster-scoped kind.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.kind, self.namespace, self.name)
    }
}

/// Returns members in words, each with what it waits for, or what keeps it.
#[must_use]
pub fn described(members: &[(Member, String)]) -> Vec<String> {
    members.iter().map(|(member, why)| format!("{member}: {why}")).collect()
}

/// How far a set is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// These objects of the present wave are not ready, for these reasons; later waves were not applied.
    Waiting(Vec<(Member, String)>),
    /// Every wave is ready, and these objects, which left the set, were deleted.
    Complete(Vec<Member>),
}

impl ApplySet {
    /// Creates a handle on the set whose parent is the ConfigMap `name` in `namespace`. `manager` is the field manager of
    /// everything it applies, and names the tool on the parent.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, manager: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            manager: manager.to_owned(),
            force: Force::Never,
            kinds: Mutex::default(),
            applied: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Returns how many objects `apply` has created or changed so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Puts back what other clients change of members. An object that is no member yet is a conflict all the same.
    #[must_use]
    pub fn putting_back(self) -> Self {
        Self { force: Force::Members, ..self }
    }

    /// Takes over objects that are no members yet, also where their fields have other values: those of an owner, and of another set,
    /// are left alone.
    #[must_use]
    pub fn taking_over(self) -> Self {
        Self { force: Force::All, ..self }
    }

    /// Applies the waves one after the other, each once the one before is ready, and prunes when all are. An object without
    /// namespace of a namespaced kind goes into the namespace of the parent.
    ///
    /// # Errors
    /// The first object that cannot be applied. What was applied before stays.
    pub async fn apply(&self, waves: &[Vec<DynamicObject>]) -> Result<Progress, SetError> {
        let before = self.parent().await?;
        let mut record = before.clone();
        for object in waves.iter().flatten() {
            record.add(&self.member(object, None), &self.namespace);
        }
        // The record covers every member before it exists.
        if record != before || !record.exists {
            self.write_parent(&record).await?;
        }
        let mut members = BTreeSet::new();
        for wave in waves {
            let mut waiting = Vec::new();
            for object in wave {
                let (member, live) = self.apply_one(object).await?;
                waiting.extend(not_ready(&live).map(|why| (member.clone(), why)));
                members.insert(member);
            }
            if !waiting.is_empty() {
                return Ok(Progress::Waiting(waiting));
            }
        }
        let pruned = self.prune(&record, &members).await?;
        let mut exact = Record { exists: true, ..Record::default() };
        for member in &members {
            exact.add(member, &self.namespace);
        }
        if exact != record {
            self.write_parent(&exact).await?;
        }
        Ok(Progress::Complete(pruned))
    }

    /// Deletes every member and, once all are gone, the parent. Members that still exist are the result, each with [what keeps
    /// it](not_gone); call again.
    ///
    /// # Errors
    /// A member that cannot be deleted.
    pub async fn delete(&self) -> Result<Vec<(Member, String)>, SetError> {
        let record = self.parent().await?;
        let mut left = Vec::new();
        for (api, member, object) in self.members(&record).await? {
            self.delete_one(&api, &member, &object).await?;
            left.push((member, not_gone(&object)));
        }
        if left.is_empty() && record.exists {
            self.delete_parent().await?;
        }
        Ok(left)
    }

    /// Returns the id of the set, as the specification derives it: the value of the label of its members.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Sha256::digest(format!("{}.{}.ConfigMap.", self.name, self.namespace));
        format!("applyset-{}-v1", BASE64URL_NOPAD.encode(&hash))
    }

    async fn apply_one(&self, object: &DynamicObject) -> Result<(Member, DynamicObject), SetError> {
        let (kind, scope) = self.kind(object).await?;
        let member = self.member(object, Some(&scope));
        let fail = |error| SetError::Kubernetes { member: member.clone(), error };
        let api = self.api(&kind, &member.namespace);
        let live = match api.get_opt(&member.name).await {
            // The kind was removed since it was found.
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => {
                lock(&self.kinds)
                    .retain(|_, (known, _)| known.kind != kind.kind || known.group != kind.group);
                return Err(SetError::NotServed(member));
            }
            live => live.map_err(fail)?,
        };
        if let Some(owner) = live.as_ref().and_then(|live| self.other_owner(live)) {
            return Err(SetError::NotOurs { member, owner });
        }
        let desired = self.desired(object, &member, &kind);
        let hash = hash_of(&desired);
        // What came of the same content last time is still there: nothing to write.
        if let Some(live) = &live
            && lock(&self.applied).get(&member) == Some(&(hash, state_of(live)))
        {
            return Ok((member, live.clone()));
        }
        let params = PatchParams { force: self.forces(live.as_ref()), ..PatchParams::apply(&self.manager) };
        match api.patch(&member.name, &params, &Patch::Apply(&desired)).await {
            Ok(new) => {
                let before = live.as_ref().and_then(ResourceExt::resource_version);
                self.changes.fetch_add(u64::from(before != new.resource_version()), Ordering::Relaxed);
                let live = new;
                lock(&self.applied).insert(member.clone(), (hash, state_of(&live)));
                Ok((member, live))
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                let causes =
                    status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
                let conflicts: Vec<_> = causes
                    .iter()
                    .map(|cause| Conflict { manager: manager_of(&cause.message), field: cause.field.clone() })
                    .collect();
                if conflicts.is_empty() {
                    return Err(fail(kube::Error::Api(status)));
                }
                Err(SetError::Conflicts { member, conflicts })
            }
            // The kind was removed since it was found.
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => {
                lock(&self.kinds)
                    .retain(|_, (known, _)| known.kind != kind.kind || known.group != kind.group);
                Err(SetError::NotServed(member))
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Returns whether fields of an object are taken from other managers.
    fn forces(&self, live: Option<&DynamicObject>) -> bool {
        match self.force {
            Force::Never => false,
            Force::Members => live.is_some_and(|live| live.labels().get(PART_OF) == Some(&self.id())),
            Force::All => true,
        }
    }

    /// Returns what is sent for an object: with its namespace and the label of the set, without status.
    fn desired(&self, object: &DynamicObject, member: &Member, kind: &ApiResource) -> DynamicObject {
        let mut desired = object.clone();
        desired.types =
            Some(kube::core::TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
        desired.metadata.namespace = (!member.namespace.is_empty()).then(|| member.namespace.clone());
        desired.metadata.managed_fields = None;
        desired.labels_mut().insert(PART_OF.to_owned(), self.id());
        if let Some(data) = desired.data.as_object_mut() {
            data.remove("status");
        }
        desired
    }

    /// Returns who else an existing object belongs to.
    fn other_owner(&self, live: &DynamicObject) -> Option<String> {
        let ours = live.labels().get(PART_OF) == Some(&self.id());
        let controller = live.owner_references().iter().find(|owner| owner.controller == Some(true));
        match (controller, live.labels().get(PART_OF)) {
            (Some(owner), _) => Some(format!("{} {}", owner.kind, owner.name)),
            (None, Some(other)) if !ours => Some(format!("the apply set {other}")),
            _ => None,
        }
    }

    /// Deletes members of the recorded kinds and namespaces that are not among `keep`; those that were found.
    async fn prune(&self, record: &Record, keep: &BTreeSet<Member>) -> Result<Vec<Member>, SetError> {
        let mut pruned = Vec::new();
        for (api, member, object) in self.members(record).await? {
            if !keep.contains(&member) {
                self.delete_one(&api, &member, &object).await?;
                pruned.push(member);
            }
        }
        Ok(pruned)
    }

    /// Returns the members of the recorded kinds and namespaces, as they are.
    async fn members(
        &self,
        record: &Record,
    ) -> Result<Vec<(Api<DynamicObject>, Member, DynamicObject)>, SetError> {
        let mut members = Vec::new();
        let selector = ListParams::default().labels(&format!("{PART_OF}={}", self.id()));
        for (group, kind) in &record.kinds {
            let Some((resource, scope)) = self.served(group, kind).await? else { continue };
            let namespaces: Vec<&str> = match scope {
                Scope::Cluster => vec![""],
                Scope::Namespaced => {
                    record.namespaces.iter().map(String::as_str).chain([self.namespace.as_str()]).collect()
                }
            };
            for namespace in namespaces {
                let api = self.api(&resource, namespace);
                let member = |name: String| Member {
                    group: group.clone(),
                    kind: kind.clone(),
                    namespace: namespace.to_owned(),
                    name,
                };
                let found = api.list(&selector).await;
                let found =
                    found.map_err(|error| SetError::Kubernetes { member: member(String::new()), error })?;
                members
                    .extend(found.into_iter().map(|object| (api.clone(), member(object.name_any()), object)));
            }
        }
        Ok(members)
    }

    async fn delete_one(
        &self,
        api: &Api<DynamicObject>,
        member: &Member,
        object: &DynamicObject,
    ) -> Result<(), SetError> {
        lock(&self.applied).remove(member);
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match api.delete(&member.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(SetError::Kubernetes { member: member.clone(), error }),
        }
    }

    fn member(&self, object: &DynamicObject, scope: Option<&Scope>) -> Member {
        let types = object.types.clone().unwrap_or_default();
        let group = types.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let namespace = match scope {
            Some(Scope::Cluster) => String::new(),
            Some(Scope::Namespaced) => object.namespace().unwrap_or_else(|| self.namespace.clone()),
            None => object.namespace().unwrap_or_default(),
        };
        Member { group, kind: types.kind, namespace, name: object.name_any() }
    }

    /// Returns the resource of an object's kind, which is asked for once.
    async fn kind(&self, object: &DynamicObject) -> Result<(ApiResource, Scope), SetError> {
        let types = object.types.clone().unwrap_or_default();
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", types.api_version.as_str()));
        let gvk = GroupVersionKind::gvk(group, version, &types.kind);
        if let Some((resource, scope)) = lock(&self.kinds).get(&gvk) {
            return Ok((resource.clone(), scope.clone()));
        }
        let member = self.member(object, None);
        match pinned_kind(&self.client, &gvk).await {
            Ok((resource, ApiCapabilities { scope, .. })) => {
                lock(&self.kinds).insert(gvk, (resource.clone(), scope.clone()));
                Ok((resource, scope))
            }
            Err(kube::Error::Discovery(_)) => Err(SetError::NotServed(member)),
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Err(SetError::NotServed(member)),
            Err(error) => Err(SetError::Kubernetes { member, error }),
        }
    }

    /// Returns the resource of a recorded kind in the version that the cluster prefers; `None` if it is not served
    /// any more, so that none of its objects exists.
    async fn served(&self, group: &str, kind: &str) -> Result<Option<(ApiResource, Scope)>, SetError> {
        let known = lock(&self.kinds)
            .iter()
            .find(|(gvk, _)| gvk.group == group && gvk.kind == kind)
            .map(|(_, k)| k.clone());
        if known.is_some() {
            return Ok(known);
        }
        let found = if group.is_empty() {
            kube::discovery::pinned_group(&self.client, &kube::core::GroupVersion::gv("", "v1")).await
        } else {
            kube::discovery::group(&self.client, group).await
        };
        match found {
            Ok(group) => Ok(group
                .recommended_resources()
                .into_iter()
                .find(|(resource, _)| resource.kind == kind)
                .map(|(resource, capabilities)| (resource, capabilities.scope))),
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(None),
            Err(error) => {
                let member = Member {
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                    namespace: String::new(),
                    name: String::new(),
                };
                Err(SetError::Kubernetes { member, error })
            }
        }
    }

    fn api(&self, kind: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), kind)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, kind)
        }
    }
}

/// Returns the manager in `conflict with "kubectl" using v1`.
fn manager_of(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

fn hash_of(object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Equal objects have equal texts within a process.
    serde_json::to_string(object).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// Returns what of a live object a write of others changes. A status is not part of it where the API server counts generations.
fn state_of(live: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    match live.metadata.generation {
        Some(generation) => {
            (live.uid(), generation, live.labels(), live.annotations()).hash(&mut hasher);
        }
        None => (live.uid(), live.resource_version()).hash(&mut hasher),
    }
    hasher.finish()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_manager_is_named() {
        assert_eq!(
            manager_of(r#"conflict with "kubectl-client-side-apply" using apps/v1"#),
            "kubectl-client-side-apply"
        );
    }
}
