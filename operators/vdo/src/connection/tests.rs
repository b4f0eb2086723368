use std::collections::HashSet;

use super::*;
use crate::api::{VsphereCloudConfig, VsphereCloudConfigSpec};
use crate::config::{Account, Trust};

fn seen(vcenter: Result<(), &'static str>, answer: Option<(&str, i64, &[&str])>, is_stale: bool) -> Seen {
    let account = Account { username: "u".to_owned(), password: "p".to_owned().into() };
    let (server, datacenters) = ("vc".to_owned(), Vec::new());
    let vcenter = vcenter
        .map(|()| Vcenter { server, port: 443, datacenters, account, trust: Trust::Image })
        .map_err(|reason| Hold { reason, message: String::new() });
    let answer = answer.map(|(identity, second, missing)| {
        Arc::new(Answer {
            identity: identity.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
            release: "8.0.3".to_owned(),
            version: "8.0.3".parse().ok(),
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
            machines: HashSet::from(["4230c6a1-12ab-4c8d-9000-00000000000a".to_owned()]),
        })
    });
    let login = Login { vcenter, identity: "new".to_owned() };
    Seen { login, answer, refusal: None, is_stale }
}

#[test]
fn a_login_that_was_refused_is_not_tried_again_soon() {
    let object = VsphereCloudConfig::new("vc", VsphereCloudConfigSpec::default());
    let hold = Hold { reason: "VCenterLoginRefused", message: String::new() };
    for (identity, minutes, is_blocked) in [("new", 5, true), ("new", 15, false), ("old", 5, false)] {
        let refusal =
            Refusal { identity: identity.to_owned(), at: Timestamp::UNIX_EPOCH, hold: hold.clone() };
        let seen = Seen { refusal: Some(refusal), ..seen(Ok(()), None, true) };
        let turn = Connections::plan(&object, &seen, Timestamp::from_second(minutes * 60).unwrap());
        assert_eq!(matches!(turn, Turn::Blocked { .. }), is_blocked, "{identity} {minutes} {turn:?}");
    }
}

#[test]
fn a_vcenter_is_asked_when_its_answer_is_not_of_this_account_or_old() {
    let object = VsphereCloudConfig::new("vc", VsphereCloudConfigSpec::default());
    for (seen, wanted) in [
        (seen(Err(reason::CREDENTIALS_MISSING), None, false), "blocked CredentialsMissing"),
        (seen(Ok(()), None, false), "ask"),
        (seen(Ok(()), Some(("old", 1000, &[])), false), "ask"),
        (seen(Ok(()), Some(("new", 0, &[])), false), "ask"),
        (seen(Ok(()), Some(("new", 1000, &[])), true), "ask"),
        (seen(Ok(()), Some(("new", 1000, &["DC9"])), false), "blocked DatacenterNotFound"),
        (seen(Ok(()), Some(("new", 1000, &[])), false), "settled"),
    ] {
        let turn = Connections::plan(&object, &seen, Timestamp::from_second(1000).unwrap());
        let turn = match turn {
            Turn::Act(_) => "ask".to_owned(),
            Turn::Settled => "settled".to_owned(),
            Turn::Blocked { reason, .. } => format!("blocked {reason}"),
            other => format!("{other:?}"),
        };
        assert_eq!(turn, wanted);
    }
}

#[test]
fn the_original_status_says_whether_the_account_can_be_used() {
    let object = VsphereCloudConfig::new("vc", VsphereCloudConfigSpec::default());
    let status = |seen: &Seen, outcome: &Outcome<(), Error>| {
        Connections::status(None, &object, Some(seen), outcome, Timestamp::UNIX_EPOCH).map(|status| {
            let reason = status.conditions.first().map(|ready| ready.reason.clone());
            (serde_json::to_value(status.config).unwrap(), status.message, reason.unwrap_or_default())
        })
    };
    let good = seen(Ok(()), Some(("new", 1000, &[])), false);
    assert_eq!(status(&good, &Outcome::Settled), Some(("verified".into(), None, "LoggedIn".to_owned())));
    let blocked = Outcome::Blocked(reason::DATACENTER_NOT_FOUND, "why".to_owned());
    let wanted = ("failed".into(), Some("why".to_owned()), "DatacenterNotFound".to_owned());
    assert_eq!(status(&good, &blocked), Some(wanted));
    assert_eq!(status(&good, &Outcome::Acted(())), None);
}

#[test]
fn a_machine_is_seen_by_either_spelling_of_its_uuid() {
    let seen = seen(Ok(()), Some(("new", 0, &[])), false);
    let answer = seen.answer.unwrap();
    for (uuid, wanted) in [
        ("4230C6A1-12AB-4C8D-9000-00000000000A", true),
        ("a1c63042-ab12-8d4c-9000-00000000000a", true),
        ("4230c6a1-12ab-4c8d-9000-00000000000b", false),
        ("", false),
    ] {
        assert_eq!(answer.sees(uuid), wanted, "{uuid}");
    }
}
