//! The parent of a set: a ConfigMap that records which kinds and namespaces the set uses.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{ApplySet, Member, SetError};

const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// What the parent records about the members.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) exists: bool,
    /// Group and kind of every member.
    pub(super) kinds: BTreeSet<(String, String)>,
    /// Namespaces of members beside the parent's.
    pub(super) namespaces: BTreeSet<String>,
}

impl Record {
    /// Adds a member; `parent` is the namespace of the parent.
    pub(super) fn add(&mut self, member: &Member, parent: &str) {
        self.kinds.insert((member.group.clone(), member.kind.clone()));
        if !member.namespace.is_empty() && member.namespace != parent {
            self.namespaces.insert(member.namespace.clone());
        }
    }
}

impl ApplySet {
    pub(super) fn parent_member(&self) -> Member {
        Member {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Returns what [`write_notes`](Self::write_notes) wrote; `None` if there is no set.
    ///
    /// # Errors
    /// If the API server refuses or does not answer, or the parent is not ours.
    pub async fn notes(&self) -> Result<Option<BTreeMap<String, String>>, SetError> {
        Ok(self.read_parent().await?.map(|parent| parent.data.unwrap_or_default()))
    }

    /// Writes into the parent, which it creates, what the caller wants to know of the set later: which version was applied, say. It is there
    /// until the set is [deleted](Self::delete) or [released](Self::release).
    ///
    /// # Errors
    /// If the API server refuses or does not answer, or the parent is not ours.
    pub async fn write_notes(&self, notes: &BTreeMap<String, String>) -> Result<(), SetError> {
        self.read_parent().await?;
        let metadata = json!({ "name": self.name, "namespace": self.namespace, "labels": { ID: self.id() } });
        let parent = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": notes });
        // Not the manager of the record, which would lose it.
        self.apply_parent(&format!("{}/notes", self.manager), parent).await
    }

    /// Records that members may have these kinds, given by API group and kind, in these namespaces beside the parent's: for a set whose parent
    /// was deleted while members were left. The next call that prunes finds them.
    ///
    /// # Errors
    /// If the API server refuses or does not answer, or the parent is not ours.
    pub async fn recover(&self, kinds: &[(&str, &str)], namespaces: &[&str]) -> Result<(), SetError> {
        let mut record = self.parent().await?;
        record.kinds.extend(kinds.iter().map(|(group, kind)| ((*group).to_owned(), (*kind).to_owned())));
        record.namespaces.extend(namespaces.iter().map(|name| (*name).to_owned()));
        self.write_parent(&record).await
    }

    async fn read_parent(&self) -> Result<Option<ConfigMap>, SetError> {
        let member = self.parent_member();
        let parent = self.parents().get_opt(&self.name).await;
        let parent = parent.map_err(|error| SetError::Kubernetes { member: member.clone(), error })?;
        match parent {
            Some(parent) if parent.labels().get(ID) != Some(&self.id()) => {
                Err(SetError::NotOurs { member, owner: "something that is no apply set".to_owned() })
            }
            parent => Ok(parent),
        }
    }

    fn parents(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn apply_parent(&self, manager: &str, parent: Value) -> Result<(), SetError> {
        let params = PatchParams::apply(manager).force();
        let written = self.parents().patch(&self.name, &params, &Patch::Apply(parent)).await;
        written.map(drop).map_err(|error| SetError::Kubernetes { member: self.parent_member(), error })
    }

    pub(super) async fn delete_parent(&self) -> Result<(), SetError> {
        match self.parents().delete(&self.name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(SetError::Kubernetes { member: self.parent_member(), error }),
        }
    }

    pub(super) async fn parent(&self) -> Result<Record, SetError> {
        let Some(parent) = self.read_parent().await? else { return Ok(Record::default()) };
        let list = |name: &str| parent.annotations().get(name).cloned().unwrap_or_default();
        let kinds =
            list(GROUP_KINDS).split(',').filter(|text| !text.is_empty()).map(parse_group_kind).collect();
        let namespaces = list(NAMESPACES);
        let namespaces = namespaces.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Record { exists: true, kinds, namespaces })
    }

    pub(super) async fn write_parent(&self, record: &Record) -> Result<(), SetError> {
        let kinds: Vec<_> = record.kinds.iter().map(|(group, kind)| group_kind(group, kind)).collect();
        let namespaces: Vec<_> = record.namespaces.iter().cloned().collect();
        let annotations: BTreeMap<&str, String> = BTreeMap::from([
            (TOOLING, format!("{}/v1", self.manager.split('/').next().unwrap_or_default())),
            (GROUP_KINDS, kinds.join(",")),
            (NAMESPACES, namespaces.join(",")),
        ]);
        let parent = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": { ID: self.id() }, "annotations": annotations,
            },
        });
        self.apply_parent(&self.manager, parent).await
    }
}

/// Returns `Kind.group`, or `Kind` for the core group.
fn group_kind(group: &str, kind: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}

fn parse_group_kind(text: &str) -> (String, String) {
    let (kind, group) = text.split_once('.').unwrap_or((text, ""));
    (group.to_owned(), kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_recorded_as_the_specification_says() {
        for (group, kind, text) in
            [("", "Secret", "Secret"), ("apps", "Deployment", "Deployment.apps"), ("a.b", "K", "K.a.b")]
        {
            assert_eq!(group_kind(group, kind), text);
            assert_eq!(parse_group_kind(text), (group.to_owned(), kind.to_owned()));
        }
    }
}
