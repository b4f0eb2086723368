//! The annotation `detach`: whether the machines of an object stay when it is deleted, and how statuses report it.
//!
//! Owns the reading of the annotation and the condition `Detached`. Decides nothing: the plans of both kinds do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::Notice;
use operator_kit::conditions::{self, Status};

use crate::api::{DETACH, GROUP, condition, reason};

/// Characters of the annotation's value that messages show.
const SHOWN: usize = 40;

/// What the annotation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detach {
    /// There is none: the machines go with the object.
    #[default]
    No,
    /// Exactly `true`: the machines stay.
    Yes,
    /// Anything else, such as `True`, or a misspelt key. Whether machines are to go is not clear, and what is destroyed cannot be brought back.
    Unclear,
}

/// Reads the annotation of an object.
#[must_use]
pub fn of(object: &impl kube::Resource) -> Detach {
    match object.annotations().get(DETACH).map(String::as_str) {
        Some("true") => Detach::Yes,
        Some(_) => Detach::Unclear,
        None if misspelt(object).is_some() => Detach::Unclear,
        None => Detach::No,
    }
}

/// Returns an annotation of the operator's API group that the operator does not know, such as `detatch`: a person may have meant
/// to keep the machines.
fn misspelt(object: &impl kube::Resource) -> Option<&str> {
    let of_operator =
        |key: &&String| key.split_once('/').is_some_and(|(group, _)| group.eq_ignore_ascii_case(GROUP));
    object.annotations().keys().filter(of_operator).find(|key| *key != DETACH).map(String::as_str)
}

/// Returns whether the machines of an object are to stay.
#[must_use]
pub fn is_detached(object: &impl kube::Resource) -> bool {
    of(object) == Detach::Yes
}

/// Returns what is wrong with the annotation and what to write; `None` where it is clear.
#[must_use]
pub fn problem(object: &impl kube::Resource) -> Option<String> {
    if of(object) != Detach::Unclear {
        return None;
    }
    let Some(value) = object.annotations().get(DETACH) else {
        let key = misspelt(object)?;
        return Some(format!(
            "the operator does not know the annotation {key}: remove it, and write {DETACH}=true if the virtual machines are to \
             stay; none is removed until then"
        ));
    };
    let shown: String = value.chars().take(SHOWN).collect();
    Some(format!(
        "detach is {shown:?}: write \"true\", or remove the annotation {DETACH}; no virtual machine is removed until then"
    ))
}

/// Sets the condition `Detached`, or removes it where the object has no annotation. `stay` says which machines stay.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    object: &impl kube::Resource,
    stay: &str,
    now: Timestamp,
) {
    let (status, reason, message) = match (of(object), problem(object)) {
        (Detach::Yes, _) => (Status::True, reason::DETACHED, format!("detached: {stay}")),
        (_, Some(problem)) => (Status::Unknown, reason::DETACH_UNCLEAR, problem),
        (_, None) => return conditions.retain(|condition| condition.type_ != condition::DETACHED),
    };
    let generation = object.meta().generation;
    conditions::set(conditions, condition::DETACHED, status, reason, &message, generation, now);
}

/// Returns the Warning for an annotation that is not clear, where the conditions of the last status did not have it.
#[must_use]
pub fn news(old: &[Condition], new: &[Condition]) -> Option<Notice> {
    let unclear = |conditions| {
        conditions::get(conditions, condition::DETACHED)
            .filter(|detached| detached.reason == reason::DETACH_UNCLEAR)
    };
    let problem = unclear(new).filter(|_| unclear(old).is_none())?;
    Some(Notice::warning(reason::DETACH_UNCLEAR, &*problem.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn only_true_detaches_and_any_other_value_is_a_problem() {
        let mut group = fixtures::group(1);
        let mut conditions = Vec::new();
        let mut warnings = Vec::new();
        let rows = [
            (Some("True"), Detach::Unclear, Some(("Unknown", "DetachUnclear"))),
            (Some("true"), Detach::Yes, Some(("True", "Detached"))),
            (Some(" true"), Detach::Unclear, Some(("Unknown", "DetachUnclear"))),
            (Some("false"), Detach::Unclear, Some(("Unknown", "DetachUnclear"))),
            (Some(""), Detach::Unclear, Some(("Unknown", "DetachUnclear"))),
            (None, Detach::No, None),
        ];
        for (value, wanted, shown) in rows {
            group.metadata.annotations = value.map(|value| [(DETACH.to_owned(), value.to_owned())].into());
            assert_eq!(of(&group), wanted, "{value:?}");
            assert_eq!(problem(&group).is_some(), wanted == Detach::Unclear, "{value:?}");
            let old = conditions.clone();
            set_condition(&mut conditions, &group, "its virtual machines stay", Timestamp::UNIX_EPOCH);
            warnings.push(news(&old, &conditions).is_some());
            let found = conditions::get(&conditions, "Detached").map(|c| (&*c.status, &*c.reason));
            assert_eq!(found, shown, "{value:?}");
        }
        assert_eq!(warnings, [true, false, true, false, false, false], "one for each transition");
    }

    #[test]
    fn a_misspelt_annotation_removes_nothing() {
        let mut group = fixtures::group(1);
        let annotated = |keys: &[(&str, &str)]| {
            Some(keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let misspelt = "vm.codeconnect.vmworld.com/detatch";
        group.metadata.annotations = annotated(&[(misspelt, "true"), ("example.com/detatch", "true")]);
        assert_eq!(of(&group), Detach::Unclear);
        let text = problem(&group).unwrap();
        assert!(text.contains(misspelt) && text.contains(DETACH), "{text}");
        group.metadata.annotations = annotated(&[(&DETACH.replace("vm.", "VM."), "true")]);
        assert_eq!(of(&group), Detach::Unclear, "capitals in the group");
        group.metadata.annotations = annotated(&[(misspelt, "true"), (DETACH, "true")]);
        assert_eq!((of(&group), problem(&group)), (Detach::Yes, None));
        group.metadata.annotations = annotated(&[("vm.codeconnect.vmworld.community/x", "true")]);
        assert_eq!((of(&group), problem(&group)), (Detach::No, None));
    }

    #[test]
    fn the_problem_names_the_value_and_what_to_write() {
        let mut group = fixtures::group(1);
        let long = "x".repeat(1000);
        for (value, shown) in
            [("True", "\"True\""), ("a\nb", "\"a\\nb\""), (&long, &format!("{:?}", "x".repeat(40)))]
        {
            group.metadata.annotations = Some([(DETACH.to_owned(), value.to_owned())].into());
            let problem = problem(&group).unwrap();
            assert!(
                problem.starts_with(&format!("detach is {shown}: write \"true\", or remove")),
                "{problem}"
            );
        }
    }
}
