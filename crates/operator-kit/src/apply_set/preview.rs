//! What applying a set would change, and how its members are: asks the API server, and writes nothing.

use std::collections::BTreeSet;

use kube::api::{DynamicObject, Patch, PatchParams};

use super::{ApplySet, Member, NOT_FOUND, SetError, not_ready};

/// What applying a set would do with an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// The object.
    pub member: Member,
    /// What would be done with it.
    pub change: Change,
}

/// What would be done with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It would be created.
    Create,
    /// It would become the second: an update that changes nothing has two that are equal.
    Update(Box<DynamicObject>, Box<DynamicObject>),
    /// It would be deleted, as it is no member any more.
    Delete,
    /// It could not be applied: why.
    Refuse(String),
}

impl ApplySet {
    /// Returns what [`apply`](Self::apply) would do with the objects of all waves, and with members that are among none of them.
    ///
    /// # Errors
    /// If the API server does not answer. What it refuses of an object is a [`Change::Refuse`].
    pub async fn preview(&self, waves: &[Vec<DynamicObject>]) -> Result<Vec<Preview>, SetError> {
        let (mut previews, mut kept) = (Vec::new(), BTreeSet::new());
        for object in waves.iter().flatten() {
            let preview = self.preview_one(object).await?;
            kept.insert(preview.member.clone());
            previews.push(preview);
        }
        for (_, member, _) in self.members(&self.parent().await?).await? {
            if !kept.contains(&member) {
                previews.push(Preview { member, change: Change::Delete });
            }
        }
        Ok(previews)
    }

    /// Returns the members that exist, each with why it is not [ready](not_ready).
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn health(&self) -> Result<Vec<(Member, Option<String>)>, SetError> {
        let members = self.members(&self.parent().await?).await?;
        let of = |(_, member, object): (_, Member, DynamicObject)| {
            let object = DynamicObject { types: Some(member.types()), ..object };
            (member, not_ready(&object))
        };
        Ok(members.into_iter().map(of).collect())
    }

    async fn preview_one(&self, object: &DynamicObject) -> Result<Preview, SetError> {
        let (kind, scope) = match self.kind(object).await {
            // The set itself may define the kind.
            Err(SetError::NotServed(member)) => return Ok(Preview { member, change: Change::Create }),
            kind => kind?,
        };
        let member = self.member(object, Some(&scope));
        let fail = |error| SetError::Kubernetes { member: member.clone(), error };
        let api = self.api(&kind, &member.namespace);
        let Some(live) = api.get_opt(&member.name).await.map_err(fail)? else {
            return Ok(Preview { member, change: Change::Create });
        };
        if let Some(owner) = self.other_owner(&live) {
            let change = Change::Refuse(SetError::NotOurs { member: member.clone(), owner }.to_string());
            return Ok(Preview { member, change });
        }
        let desired = self.desired(object, &member, &kind);
        let params = PatchParams {
            force: self.forces(Some(&live)),
            dry_run: true,
            ..PatchParams::apply(&self.manager)
        };
        let change = match api.patch(&member.name, &params, &Patch::Apply(&desired)).await {
            Ok(new) => Change::Update(Box::new(live), Box::new(new)),
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Change::Create,
            Err(kube::Error::Api(status)) => Change::Refuse(status.message.clone()),
            Err(error) => return Err(fail(error)),
        };
        Ok(Preview { member, change })
    }
}

impl Member {
    fn types(&self) -> kube::core::TypeMeta {
        let api_version = if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) };
        kube::core::TypeMeta { api_version, kind: self.kind.clone() }
    }
}
