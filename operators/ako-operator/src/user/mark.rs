//! The mark of a user on AVI: the id of the management cluster that has made it. Pure.
//!
//! ```text
//!   fullName of the user:  ako-operator/<id>
//! ```
//!
//! The name of a user does not say whose it is: a Cluster of another management cluster may have the same. The request that makes a user has the
//! mark, so that it is known again where its reply was lost.

use infra_clients::avi::objects::User;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::account::{foreign, text};
use super::{MARK_ANNOTATION, PASSWORD};

const PREFIX: &str = "ako-operator/";

/// From what the user of a Cluster is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The id of this management cluster.
    pub own: String,
    /// The one from which the Cluster has come with its Secret, or this one.
    pub kept: Option<String>,
    /// Whether its Secret has a password that AVI has: a user without a mark is that of the original operator, or of an earlier version.
    pub has_password: bool,
}

/// Whose the user of this name on AVI is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// There is none.
    Free,
    /// That of the Cluster.
    Ours,
    /// That of another management cluster, as far as is known.
    Others,
}

impl Marks {
    /// Returns the mark of this management cluster, of a Cluster of which no Secret is known.
    #[must_use]
    pub fn new(own: &str) -> Self {
        Self { own: own.to_owned(), kept: None, has_password: false }
    }

    /// Returns from what the user of this name is known, with its Secret.
    #[must_use]
    pub fn of(own: &str, user: &str, secret: Option<&Secret>) -> Self {
        let secret = secret.filter(|secret| foreign(user, secret).is_none());
        Self {
            kept: secret.and_then(|secret| secret.annotations().get(MARK_ANNOTATION).cloned()),
            has_password: secret.is_some_and(|secret| text(secret, PASSWORD).is_some()),
            ..Self::new(own)
        }
    }

    /// Returns the full name that the user is to have.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.own)
    }

    /// Returns whose a user is.
    #[must_use]
    pub fn whose(&self, user: Option<&User>) -> Whose {
        let Some(user) = user else { return Whose::Free };
        let mark = user.full_name.as_deref().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours = match mark {
            Some(id) => id == self.own || self.kept.as_deref() == Some(id),
            None => self.has_password,
        };
        if is_ours { Whose::Ours } else { Whose::Others }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::user::{SECRET_TYPE, USERNAME};

    const USER: &str = "w1-default-ako-user";

    fn secret(kind: &str, data: &[(&str, &str)], mark: Option<&str>) -> Secret {
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(key, value)| ((*key).into(), data_encoding::BASE64.encode(value.as_bytes()).into()))
            .collect();
        let annotations = mark.map(|mark| json!({ MARK_ANNOTATION: mark }));
        let metadata = json!({ "name": "s", "namespace": "n", "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata, "type": kind, "data": data })).unwrap()
    }

    #[test]
    fn a_user_is_known_by_its_mark_and_without_one_by_the_password() {
        let with = [(USERNAME, USER), (PASSWORD, "p")];
        let next = [(USERNAME, USER), ("nextPassword", "n")];
        let other = [(USERNAME, "x"), (PASSWORD, "p")];
        let (none, ours) = (None, Some("ako-operator/here"));
        let (theirs, unmarked) = (Some("ako-operator/there"), Some("A Person"));
        let of = |data: &[(&str, &str)], mark| Some(secret(SECRET_TYPE, data, mark));
        for (what, secret, full_name, wanted) in [
            ("no Secret, no mark", None, none, Whose::Others),
            ("no Secret, another name", None, unmarked, Whose::Others),
            ("no Secret, as where a person deleted it", None, ours, Whose::Ours),
            ("no Secret, of another management cluster", None, theirs, Whose::Others),
            ("AVI lacks the first password", of(&next, Some("here")), none, Whose::Others),
            ("the reply was lost", of(&next, Some("here")), ours, Whose::Ours),
            ("another one was faster", of(&next, Some("here")), theirs, Whose::Others),
            ("of the original", of(&with, None), none, Whose::Ours),
            ("of the original, with a name", of(&with, None), unmarked, Whose::Ours),
            ("the mark was removed by hand", of(&with, Some("here")), unmarked, Whose::Ours),
            ("taken by another one since", of(&with, Some("here")), theirs, Whose::Others),
            ("moved here", of(&with, Some("there")), theirs, Whose::Ours),
            ("moved here, and marked again", of(&with, Some("there")), ours, Whose::Ours),
            ("a Secret of another user", of(&other, Some("there")), theirs, Whose::Others),
            ("the same, unmarked", of(&other, None), none, Whose::Others),
            ("of another type", Some(secret("Opaque", &with, Some("there"))), theirs, Whose::Others),
        ] {
            let marks = Marks::of("here", USER, secret.as_ref());
            let user = User { full_name: full_name.map(str::to_owned), ..User::default() };
            assert_eq!(marks.whose(Some(&user)), wanted, "{what}");
            assert_eq!(marks.whose(None), Whose::Free, "{what}");
        }
    }
}
