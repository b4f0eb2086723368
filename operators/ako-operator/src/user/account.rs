//! What has to be done about a Cluster's user: a pure function of its Secret.
//!
//! ```text
//!   no Secret ──▶ Begin, or another password is asked for ──▶ Draw ──▶ Ensure ──▶ Ready
//! ```

use std::time::Duration;

use data_encoding::BASE64;
use infra_clients::Secret;
use k8s_openapi::api::core::v1;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    AUTHORITY, MARK_ANNOTATION, NEXT_PASSWORD, PASSWORD, PASSWORD_ID_ANNOTATION, SECRET_TYPE, USERNAME,
};
use crate::api::{ROTATE_ANNOTATION, reason};
use crate::problem::Problem;

/// What has to be done before AKO can be delivered with the credentials of a Cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// Nothing: AKO has credentials that others make.
    Other,
    /// Nothing: AVI has the user, with the password of the Secret.
    Ready,
    /// This.
    Do(Step),
    /// This, after that time.
    Waits(Problem, Duration),
    /// A person has to do something.
    Refused(Problem),
}

/// A step on the way to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes the first password into a new Secret, unless AVI has a user of others of that name.
    Begin,
    /// Writes a new password into the Secret, which AVI does not have yet.
    Draw,
    /// Makes the user on AVI, or corrects it, unless it is of others, and writes into the Secret what AVI has.
    Ensure,
}

/// Why AVI does not have the next password of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// AVI has refused it, and another one is tried after this time.
    Recent(Problem, Duration),
    /// Another one is tried now: AVI may have had this one before, or its policy may ask for more.
    Past,
}

/// What is known of the user of a Cluster.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its name on AVI.
    pub user: &'a str,
    /// The Secret with its credentials.
    pub secret: Option<&'a v1::Secret>,
    /// The certificates that the Secret is to have.
    pub authority: &'a str,
    /// Changes when a person asks for another password.
    pub rotate: Option<&'a str>,
    /// Whether AVI was found to have the user as it is to be, with the Secret as it is.
    pub is_checked: bool,
    /// Whether AVI has refused the next password of the Secret as it is.
    pub refusal: Option<&'a Refusal>,
}

/// Decides what to do next.
#[must_use]
pub fn decide(known: &Known<'_>) -> Account {
    let Some(secret) = known.secret else { return Account::Do(Step::Begin) };
    if let Some(message) = foreign(known.user, secret) {
        return Account::Refused(Problem { reason: reason::USER_SECRET_TAKEN, message });
    }
    let has = |key| text(secret, key).is_some();
    if has(NEXT_PASSWORD) {
        return match known.refusal {
            None => Account::Do(Step::Ensure),
            Some(Refusal::Past) => Account::Do(Step::Draw),
            Some(Refusal::Recent(problem, after)) => Account::Waits(problem.clone(), *after),
        };
    }
    let asked = known.rotate.is_some() && known.rotate != annotation(secret);
    if !has(PASSWORD) || asked {
        return Account::Do(Step::Draw);
    }
    let has_authority = text(secret, AUTHORITY).as_deref() == Some(known.authority);
    if known.is_checked && has_authority { Account::Ready } else { Account::Do(Step::Ensure) }
}

/// Returns why a Secret is not that of the user; `None` if it is.
#[must_use]
pub fn foreign(user: &str, secret: &v1::Secret) -> Option<String> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    if kind != SECRET_TYPE {
        return Some(format!(
            "Secret {namespace}/{name} has the type {kind:?}, and the credentials of the AVI user need its name: rename it"
        ));
    }
    let other = text(secret, USERNAME).filter(|other| other != user)?;
    Some(format!(
        "Secret {namespace}/{name} names the AVI user {other:?} in place of {user:?}: delete it, and that user if nothing uses it; or name \
         the Secret in spec.workloadCredentialRef"
    ))
}

/// Returns the text of a key of a Secret.
#[must_use]
pub fn text(secret: &v1::Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone()).ok().filter(|text| !text.is_empty())
}

fn annotation(secret: &v1::Secret) -> Option<&str> {
    secret.annotations().get(ROTATE_ANNOTATION).map(String::as_str)
}

/// Returns the part of a Secret that gives it a password which AVI does not have yet. `id`: the id of the password.
#[must_use]
pub fn drawn(user: &str, authority: &str, next: &Secret, id: &str, rotate: Option<&str>) -> Value {
    let encoded = |text: &str| BASE64.encode(text.as_bytes());
    json!({
        "metadata": { "annotations": { (ROTATE_ANNOTATION): rotate, (PASSWORD_ID_ANNOTATION): id } },
        "data": { (USERNAME): encoded(user), (NEXT_PASSWORD): encoded(next.expose()), (AUTHORITY): encoded(authority) },
    })
}

/// Returns the change of a Secret once AVI has its password; `None` if it says so already. `mark`: the id of this management cluster;
/// `id`: that of the password, as AVI has returned it: nothing is concluded later from an id that AVI has not kept.
#[must_use]
pub fn settled(secret: &v1::Secret, authority: &str, mark: &str, id: Option<&str>) -> Option<Value> {
    let encoded = |text: &str| BASE64.encode(text.as_bytes());
    let next = text(secret, NEXT_PASSWORD);
    let is_marked = secret.annotations().get(MARK_ANNOTATION).is_some_and(|known| known == mark);
    if next.is_none() && text(secret, AUTHORITY).as_deref() == Some(authority) && is_marked {
        return None;
    }
    let mut data = json!({ (AUTHORITY): encoded(authority), (NEXT_PASSWORD): null });
    let mut annotations = json!({ (MARK_ANNOTATION): mark });
    if let Some(next) = next {
        data[PASSWORD] = encoded(&next).into();
        annotations[PASSWORD_ID_ANNOTATION] = json!(id);
    }
    Some(json!({ "metadata": { "annotations": annotations }, "data": data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "w1-default-ako-user";

    fn secret(data: &[(&str, &str)]) -> v1::Secret {
        let data: serde_json::Map<_, _> =
            data.iter().map(|(key, value)| ((*key).into(), BASE64.encode(value.as_bytes()).into())).collect();
        serde_json::from_value(json!({
            "metadata": { "name": "w1-avi-credentials", "namespace": "default" }, "type": SECRET_TYPE, "data": data,
        }))
        .unwrap()
    }

    /// As the original made it.
    fn adopted() -> v1::Secret {
        secret(&[(USERNAME, USER), (PASSWORD, "p"), (AUTHORITY, "ca")])
    }

    fn rotated(mut secret: v1::Secret, to: &str) -> v1::Secret {
        secret.annotations_mut().insert(ROTATE_ANNOTATION.into(), to.into());
        secret
    }

    fn known(secret: Option<&v1::Secret>) -> Known<'_> {
        Known { user: USER, secret, authority: "ca", rotate: None, is_checked: false, refusal: None }
    }

    #[test]
    fn a_user_is_made_in_steps() {
        let (draw, ensure) = (Account::Do(Step::Draw), Account::Do(Step::Ensure));
        let problem = Problem { reason: "AviInvalid", message: "m".into() };
        let recent = Refusal::Recent(problem.clone(), Duration::from_secs(7));
        let refused = Account::Waits(problem, Duration::from_secs(7));
        let pending = secret(&[(USERNAME, USER), (NEXT_PASSWORD, "n"), (AUTHORITY, "ca")]);
        let both = secret(&[(USERNAME, USER), (PASSWORD, "p"), (NEXT_PASSWORD, "n"), (AUTHORITY, "ca")]);
        let empty = secret(&[]);
        let old = secret(&[(USERNAME, USER), (PASSWORD, "p"), (AUTHORITY, "old")]);
        let (adopted, turned) = (adopted(), rotated(adopted(), "1"));
        let at = |secret| Known { is_checked: true, ..known(Some(secret)) };
        for (what, known, wanted) in [
            ("no Secret", known(None), &Account::Do(Step::Begin)),
            ("a Secret without anything", known(Some(&empty)), &draw),
            ("AVI does not have the first password", known(Some(&pending)), &ensure),
            ("AVI has another password", at(&both), &ensure),
            ("of the original, not looked at", known(Some(&adopted)), &ensure),
            ("looked at", at(&adopted), &Account::Ready),
            ("another authority", at(&old), &ensure),
            ("asked for another password", Known { rotate: Some("1"), ..at(&adopted) }, &draw),
            ("it has it", Known { rotate: Some("1"), ..at(&turned) }, &Account::Ready),
            ("asked again", Known { rotate: Some("2"), ..at(&turned) }, &draw),
            ("no longer asked", at(&turned), &Account::Ready),
            ("asked again while AVI lacks the last", Known { rotate: Some("2"), ..at(&both) }, &ensure),
            ("AVI has refused it", Known { refusal: Some(&recent), ..known(Some(&pending)) }, &refused),
            ("AVI has refused another", Known { refusal: Some(&recent), ..at(&both) }, &refused),
            ("that was long ago", Known { refusal: Some(&Refusal::Past), ..at(&both) }, &draw),
        ] {
            assert_eq!(decide(&known), *wanted, "{what}");
        }
    }

    #[test]
    fn a_secret_of_others_is_left_alone() {
        let mut opaque = adopted();
        opaque.type_ = Some("Opaque".into());
        let other = secret(&[(USERNAME, "another-user"), (PASSWORD, "p")]);
        for (secret, words) in
            [(&opaque, "has the type \"Opaque\""), (&other, "names the AVI user \"another-user\"")]
        {
            let Account::Refused(Problem { reason, message }) = decide(&known(Some(secret))) else {
                panic!("{words}")
            };
            assert_eq!(reason, "AviUserSecretTaken");
            assert!(message.contains("default/w1-avi-credentials") && message.contains(words), "{message}");
        }
    }

    /// Each write leads to the next step, from any of them on.
    #[test]
    fn a_change_of_the_password_comes_to_its_end() {
        let mut live = serde_json::to_value(adopted()).unwrap();
        let mut steps = Vec::new();
        for _ in 0..4 {
            let secret: v1::Secret = serde_json::from_value(live.clone()).unwrap();
            let is_checked = steps.contains(&Account::Do(Step::Ensure));
            let step = decide(&Known { rotate: Some("1"), is_checked, ..known(Some(&secret)) });
            let patch = match step {
                Account::Do(Step::Draw) => drawn(USER, "ca", &Secret::new("next"), "1a", Some("1")),
                Account::Do(Step::Ensure) => settled(&secret, "ca", "here", Some("1a")).unwrap_or_default(),
                _ => json!({}),
            };
            merge(&mut live, &patch);
            steps.push(step);
        }
        let (draw, ensure) = (Account::Do(Step::Draw), Account::Do(Step::Ensure));
        assert_eq!(steps, [draw, ensure, Account::Ready, Account::Ready]);
        let end: v1::Secret = serde_json::from_value(live).unwrap();
        assert_eq!(text(&end, PASSWORD).as_deref(), Some("next"));
        assert_eq!(text(&end, NEXT_PASSWORD), None);
        assert_eq!(end.annotations()[MARK_ANNOTATION], "here");
        assert_eq!(end.annotations()[PASSWORD_ID_ANNOTATION], "1a");
        assert_eq!(settled(&end, "ca", "here", Some("1a")), None, "once");
        assert_eq!(end.data.unwrap().len(), 3, "it has the original's keys");
    }

    /// RFC 7386.
    fn merge(live: &mut Value, patch: &Value) {
        for (key, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => drop(live.as_object_mut().unwrap().remove(key)),
                Value::Object(_) => {
                    merge(live.as_object_mut().unwrap().entry(key).or_insert_with(|| json!({})), value);
                }
                value => live[key] = value.clone(),
            }
        }
    }
}
