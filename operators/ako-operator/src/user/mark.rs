//! The mark of a user on AVI: the id of the management cluster that has made it, and which password it has. Pure.
//!
//! ```text
//!   full name of the user:  ako-operator/<id of the management cluster>/<id of the password>
//! ```
//!
//! The name of a user does not say whose it is: a Cluster of another management cluster may have the same. The request that makes a user has the
//! mark, so that it is known again where its reply was lost. A Secret that was restored from before a change of the password has another id of it.

use infra_clients::avi::objects::User;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::account::{foreign, text};
use super::{MARK_ANNOTATION, PASSWORD, PASSWORD_ID_ANNOTATION};

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
    /// The id of the newest password of its Secret; none of one of before passwords had ids.
    pub password: Option<String>,
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
        Self { own: own.to_owned(), kept: None, has_password: false, password: None }
    }

    /// Returns from what the user of this name is known, with its Secret.
    #[must_use]
    pub fn of(own: &str, user: &str, secret: Option<&Secret>) -> Self {
        let secret = secret.filter(|secret| foreign(user, secret).is_none());
        Self {
            kept: secret.and_then(|secret| secret.annotations().get(MARK_ANNOTATION).cloned()),
            password: secret.and_then(|secret| secret.annotations().get(PASSWORD_ID_ANNOTATION).cloned()),
            has_password: secret.is_some_and(|secret| text(secret, PASSWORD).is_some()),
            ..Self::new(own)
        }
    }

    /// Returns the full name that the user is to have.
    #[must_use]
    pub fn full_name(&self) -> String {
        let password = self.password.as_ref().map(|password| format!("/{password}")).unwrap_or_default();
        format!("{PREFIX}{}{password}", self.own)
    }

    /// Returns whose a user is.
    #[must_use]
    pub fn whose(&self, user: Option<&User>) -> Whose {
        let Some(user) = user else { return Whose::Free };
        let is_ours = match parse(user) {
            Some((id, _)) => id == self.own || self.kept.as_deref() == Some(id),
            None => self.has_password,
        };
        if is_ours { Whose::Ours } else { Whose::Others }
    }
}

/// Returns the id of the password that AVI has; `None` without one.
#[must_use]
pub fn password_of(user: &User) -> Option<String> {
    parse(user)?.1.map(str::to_owned)
}

/// Returns the ids of the management cluster and of the password; `None` without a mark.
fn parse(user: &User) -> Option<(&str, Option<&str>)> {
    let mark = user.full_name.as_deref()?.strip_prefix(PREFIX)?;
    Some(mark.split_once('/').map_or((mark, None), |(id, password)| (id, Some(password))))
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
        let (none, ours) = (None, Some("ako-operator/here/1"));
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
    #[test]
    fn a_mark_says_which_password_the_user_has() {
        for (password, full_name) in [(None, "ako-operator/here"), (Some("1a"), "ako-operator/here/1a")] {
            let marks = Marks { password: password.map(str::to_owned), ..Marks::new("here") };
            assert_eq!(marks.full_name(), full_name);
            let user = User { full_name: Some(marks.full_name()), ..User::default() };
            assert_eq!((marks.whose(Some(&user)), password_of(&user)), (Whose::Ours, marks.password));
        }
    }
}
