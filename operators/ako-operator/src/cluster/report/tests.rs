use infra_clients::capi;

use super::*;
use crate::cluster::plan::deadline::NOT_TAKEN;
use crate::cluster::seen::{Cleanup, Installed, Set};
use crate::delivery::{STATEFUL_SET, removal};
use crate::problem::Problem;
use crate::selection::Skip;

mod kept;

fn seen(want: Want) -> Seen {
    Seen::held(want)
}

fn waits(reason: &'static str) -> Turn<Plan> {
    Turn::Wait { reason, message: "m".into(), after: None }
}

fn blocked(reason: &'static str) -> Turn<Plan> {
    Turn::Blocked { reason, message: "m".into() }
}

fn said(type_: &'static str, status: Status, reason: &str) -> Said {
    Said::new(type_, status, reason, "m")
}

/// What is set, as `type=status reason`, then what is removed, then the reason of the event.
fn shown(seen: &Seen, turn: &Turn<Plan>, about: About) -> String {
    let Some(Report { set, remove, notice }) = report(seen, turn, about) else { return "nothing".into() };
    let set = set.iter().map(|said| format!("{}={} {}", said.type_, said.status.as_str(), said.reason));
    let remove = remove.iter().map(|type_| format!("-{type_}"));
    let event = notice.map(|notice| format!("event {}", notice.reason()));
    set.chain(remove).chain(event).collect::<Vec<_>>().join(", ")
}

fn installed(seen: Seen) -> Seen {
    Seen { said: vec![said(AKO_INSTALLED, Status::True, "AKOInstalled")], ..seen }
}

fn cleaning() -> Seen {
    let said = vec![said(RESOURCES_CLEANED_UP, Status::False, reason::CLEANING_UP)];
    Seen { said, is_deleting: true, ..seen(Want::Ako) }
}

fn check(rows: Vec<(&str, Seen, Turn<Plan>, &str)>) {
    check_about(About::Ako, rows);
}

fn check_about(about: About, rows: Vec<(&str, Seen, Turn<Plan>, &str)>) {
    for (what, seen, turn, wanted) in rows {
        assert_eq!(shown(&seen, &turn, about), wanted, "{what}");
    }
}

#[test]
fn conditions_say_how_far_the_delivery_is() {
    let selected = || seen(Want::Ako);
    let unread = Seen {
        workload: Workload::Closed { reason: "ClusterUnreachable", message: String::new() },
        ..selected()
    };
    let kept = seen(Want::Kept(Skip::NotReady));
    let brief = Problem { reason: reason::ADC_NOT_READY, message: String::new() };
    let asking = Seen { offer: Err(Obstacle::Brief(brief)), ..selected() };
    let family = |result| Seen { ip_family: Some(result), ..selected() };
    check(vec![
        ("a step", selected(), Turn::LookAgain(Plan::Watch), "nothing"),
        ("installed", selected(), Turn::Settled, "AKOInstalled=True AKOInstalled, event AKOInstalled"),
        (
            "an ADC that is not ready",
            selected(),
            waits(reason::ADC_NOT_READY),
            "AKOInstalled=False AKODeploymentConfigNotReady, event AKODeploymentConfigNotReady",
        ),
        (
            "one about which AVI is being asked",
            asking,
            waits(reason::ADC_NOT_READY),
            "AKOInstalled=False AKODeploymentConfigNotReady",
        ),
        ("a new Cluster", selected(), waits(reason::CLUSTER_NOT_READY), "AKOInstalled=False ClusterNotReady"),
        ("the driver warns", selected(), blocked(reason::INVALID_SPEC), "AKOInstalled=False InvalidSpec"),
        (
            "no answer",
            unread,
            waits("ClusterUnreachable"),
            "AKOInstalled=Unknown ClusterUnreachable, event ClusterUnreachable",
        ),
        (
            "it becomes unready later",
            installed(kept),
            waits(reason::CLUSTER_NOT_READY),
            "AKOInstalled=True ClusterNotReady",
        ),
        (
            "families",
            installed(family(Ok(()))),
            Turn::Settled,
            "AKOInstalled=True AKOInstalled, ClusterIpFamilyValidationSucceeded=True IPFamilySupported",
        ),
        (
            "wrong families",
            family(Err("m".into())),
            blocked(reason::IP_FAMILY_UNSUPPORTED),
            "AKOInstalled=False IPFamilyUnsupported, ClusterIpFamilyValidationSucceeded=False IPFamilyUnsupported",
        ),
    ]);
}

#[test]
fn conditions_say_how_far_the_cleanup_is() {
    let deleted = Seen { said: Vec::new(), ..cleaning() };
    check(vec![
        (
            "deleted",
            deleted,
            waits(reason::CLEANING_UP),
            "AviResourceCleanupSucceeded=False AKOCleaningUp, event AKOCleaningUp",
        ),
        ("still", cleaning(), waits(reason::CLEANING_UP), "nothing"),
        (
            "it gave up",
            cleaning(),
            blocked(reason::CLEANUP_TIMED_OUT),
            "AviResourceCleanupSucceeded=False AKOCleanupTimedOut",
        ),
        ("done", cleaning(), Turn::Gone, "AviResourceCleanupSucceeded=True AKOCleanedUp, event AKOCleanedUp"),
        (
            "forced",
            Seen { is_forced: true, ..cleaning() },
            Turn::Gone,
            "AviResourceCleanupSucceeded=Unknown AviObjectsLeft",
        ),
        (
            "selected again",
            Seen { is_deleting: false, ..cleaning() },
            Turn::Settled,
            "AKOInstalled=True AKOInstalled, -AviResourceCleanupSucceeded, event AKOInstalled",
        ),
        ("not selected any more", installed(seen(Want::Nothing)), Turn::Gone, "-AKOInstalled"),
        (
            "AKO was never delivered",
            installed(seen(Want::Kept(Skip::Unrecorded))),
            Turn::Gone,
            "-AKOInstalled",
        ),
        ("never selected", seen(Want::Nothing), Turn::Gone, "nothing"),
    ]);
}

/// Whatever keeps AKO, or its user: it serves nothing more.
#[test]
fn an_ako_that_leaves_is_not_installed() {
    let leaves = "AKOInstalled=False AKOLeaving";
    let also = |seen: Seen| {
        let mut seen = installed(seen);
        seen.said.extend(cleaning().said);
        seen
    };
    let gone = said(AKO_INSTALLED, Status::False, reason::LEAVING);
    let known = Seen {
        said: vec![Said { message: LEAVING.to_owned(), ..gone }, cleaning().said.remove(0)],
        ..cleaning()
    };
    let asked = Seen { said: leaving(&seen(Want::Nothing)).unwrap().set, ..seen(Want::Nothing) };
    check(vec![
        (
            "it cannot be reached, and only lost its label",
            installed(seen(Want::Nothing)),
            waits("ClusterUnreachable"),
            "AviResourceCleanupSucceeded=False ClusterUnreachable, AKOInstalled=False AKOToLeave, event ClusterUnreachable",
        ),
        (
            "it is asked",
            asked,
            waits(reason::CLEANING_UP),
            "AviResourceCleanupSucceeded=False AKOCleaningUp, event AKOCleaningUp",
        ),
        ("it still leaves", also(cleaning()), waits(reason::CLEANING_UP), leaves),
        ("that is said already", known, waits(reason::CLEANING_UP), "nothing"),
        (
            "it is gone",
            also(cleaning()),
            Turn::Gone,
            &format!("AviResourceCleanupSucceeded=True AKOCleanedUp, {leaves}, event AKOCleanedUp"),
        ),
    ]);
    let user = format!(
        "AviResourceCleanupSucceeded=True AKOCleanedUp, AviUserCleanupSucceeded=False AviForbidden, {leaves}"
    );
    check_about(About::User, vec![("its user stays", also(cleaning()), blocked("AviForbidden"), &user)]);
    check_about(
        About::Pause,
        vec![(
            "a pause says nothing of it",
            also(cleaning()),
            waits(reason::PAUSED),
            "AviResourceCleanupSucceeded=Unknown ClusterPaused, event ClusterPaused",
        )],
    );
}

/// A policy that changes AKO's image is no failure, and the condition names what it changed.
#[test]
fn what_a_policy_of_the_workload_cluster_changes_is_named() {
    let altered = removal().into_iter().filter(|target| target.name == STATEFUL_SET).collect();
    let delivery = Delivery::Of(Difference { altered, ..Difference::default() });
    let state = State { delivery, installed: Installed::default() };
    let seen = Seen { workload: Workload::Open(Box::new(state)), ..seen(Want::Ako) };
    let report = report(&seen, &Turn::Settled, About::Ako).unwrap();
    let [said] = &report.set[..] else { unreachable!("{report:?}") };
    assert_eq!((said.type_, said.status), (AKO_INSTALLED, Status::True));
    assert!(said.message.contains("StatefulSet avi-system/ako"), "{}", said.message);
}

/// It would end the wait of the next cleanup, which no one asked for.
#[test]
fn an_annotation_that_was_left_is_named() {
    let delivery = Delivery::Of(Difference::default());
    let state = State { delivery, installed: Installed::default() };
    let seen = Seen { workload: Workload::Open(Box::new(state)), ..seen(Want::Ako) };
    for (is_forced, wanted) in [(true, true), (false, false)] {
        let report = report(&Seen { is_forced, ..seen.clone() }, &Turn::Settled, About::Ako).unwrap();
        assert_eq!(report.set[0].message.contains(FORCE_ANNOTATION), wanted, "{report:?}");
        assert_eq!(report.set[0].status, Status::True);
    }
}

/// An AKO that runs is installed, whatever keeps it from being as its AKODeploymentConfig says now.
#[test]
fn an_ako_that_runs_stays_installed() {
    let state = |is_ready| {
        let target = removal().remove(0);
        let set = Set { is_ours: true, target, answer: Cleanup::Silent, ending_since: None, is_ready };
        let installed = Installed { set: Some(set), ..Installed::default() };
        let delivery = Delivery::Of(Difference::default());
        Seen { workload: Workload::Open(Box::new(State { delivery, installed })), ..seen(Want::Ako) }
    };
    let news = "event AKONotReady";
    check(vec![
        ("another place", state(true), blocked(reason::PLACE_CHANGED), "AKOInstalled=True PlaceChanged"),
        (
            "another place, and no Pod",
            state(false),
            blocked(reason::PLACE_CHANGED),
            "AKOInstalled=False PlaceChanged",
        ),
        (
            "no Pod",
            state(false),
            waits(reason::AKO_NOT_READY),
            &format!("AKOInstalled=False AKONotReady, {news}"),
        ),
    ]);
    let wanted = "AKOInstalled=False AKOCRDsMissing, event AKOCRDsMissing";
    check_about(About::Idle, vec![("it waits", state(true), waits(reason::DEFINITIONS_MISSING), wanted)]);
}

#[test]
fn conditions_say_how_far_an_ako_is_that_is_to_make_nothing() {
    let seen = |want| Seen { deletes_config: true, ..seen(want) };
    let going = || Seen { said: cleaning().said, ..seen(Want::Ako) };
    let told = said(AKO_INSTALLED, Status::False, reason::CONFIG_DELETED);
    let told = || Seen { said: vec![told.clone(), cleaning().said.remove(0)], ..seen(Want::Ako) };
    let begun = "AKOInstalled=False AviConfigDeleted";
    check_about(
        About::ConfigDeletion,
        vec![
            (
                "it begins",
                installed(seen(Want::Ako)),
                waits(reason::CLEANING_UP),
                &format!("{begun}, AviResourceCleanupSucceeded=False AKOCleaningUp, event AKOCleaningUp"),
            ),
            ("a step", going(), Turn::Act(Plan::Purge { once: false }), "nothing"),
            (
                "it gave up",
                going(),
                blocked(reason::CLEANUP_TIMED_OUT),
                &format!("{begun}, AviResourceCleanupSucceeded=False AKOCleanupTimedOut"),
            ),
            (
                "it is done",
                told(),
                waits(reason::CONFIG_DELETED),
                &format!("{begun}, AviResourceCleanupSucceeded=True AKOCleanedUp, event AKOCleanedUp"),
            ),
        ],
    );
    check(vec![(
        "its workload cluster does not answer",
        told(),
        waits("ClusterUnreachable"),
        "AKOInstalled=False ClusterUnreachable, event ClusterUnreachable",
    )]);
    let after = || Seen {
        deletes_config: false,
        said: vec![said(RESOURCES_CLEANED_UP, Status::True, reason::CLEANED_UP)],
        ..seen(Want::Ako)
    };
    let wanted = "AKOInstalled=True AKOInstalled, -AviResourceCleanupSucceeded, event AKOInstalled";
    check(vec![("the label is gone", after(), Turn::Settled, wanted)]);
}

/// What was known before stays, as nothing is looked at.
#[test]
fn a_pause_is_in_the_condition() {
    let user = said(USER_CLEANED_UP, Status::False, reason::USER_CLEANUP);
    let going = Seen { said: vec![user], ..cleaning() };
    let event = "event ClusterPaused";
    let rows = [
        ("new", seen(Want::Ako), format!("AKOInstalled=Unknown ClusterPaused, {event}")),
        ("installed", installed(seen(Want::Ako)), format!("AKOInstalled=True ClusterPaused, {event}")),
        ("leaving", cleaning(), format!("AviResourceCleanupSucceeded=Unknown ClusterPaused, {event}")),
        ("its user leaves", going, "AviUserCleanupSucceeded=False ClusterPaused".to_owned()),
    ];
    for (what, seen, wanted) in rows {
        assert_eq!(shown(&seen, &waits(reason::PAUSED), About::Pause), wanted, "{what}");
        let known = report(&seen, &waits(reason::PAUSED), About::Pause).unwrap().set;
        let again = Seen { said: known, ..seen };
        assert_eq!(shown(&again, &waits(reason::PAUSED), About::Pause), "nothing", "{what}: a second time");
    }
}

#[test]
fn a_failed_step_is_in_the_conditions() {
    let error = Error::Credentials("the Secret is gone".to_owned());
    let rows = [
        ("new", vec![], false, Some((AKO_INSTALLED, Status::False))),
        ("installed", installed(seen(Want::Ako)).said, false, Some((AKO_INSTALLED, Status::Unknown))),
        ("going", cleaning().said, true, Some((RESOURCES_CLEANED_UP, Status::False))),
    ];
    for (what, mut known, is_leaving, wanted) in rows {
        let failed = failure(&known, is_leaving, &error);
        assert_eq!(failed.as_ref().map(|said| (said.type_, said.status)), wanted, "{what}");
        let failed = failed.unwrap();
        assert_eq!(failed.reason, reason::CREDENTIALS_MISSING, "{what}");
        assert!(failed.message.starts_with("the Secret is gone"), "{what}: {}", failed.message);
        assert_eq!(failed.message.contains(FORCE_ANNOTATION), is_leaving, "{what}: {}", failed.message);
        known.retain(|said| said.type_ != failed.type_);
        known.push(failed);
        assert_eq!(failure(&known, is_leaving, &error), None, "{what}: a second time");
    }
}

/// Else the next pass did not know that it has said it.
#[test]
fn a_step_that_fails_after_the_deadline_keeps_its_reason() {
    let error = |what: &str| Error::Credentials(what.to_owned());
    let said = Said::new(
        RESOURCES_CLEANED_UP,
        Status::False,
        reason::CLEANUP_OVERDUE,
        &End::Unreachable.hindered("m"),
    );
    let failed = failure(&[said], true, &error("one")).unwrap();
    assert_eq!(failed.reason, reason::CLEANUP_OVERDUE);
    let hindered = |failed: &Said, by: &str| failed.message.starts_with(&End::Unreachable.hindered(by));
    assert!(hindered(&failed, "CredentialsMissing: one"), "{failed:?}");
    let again = failure(&[failed], true, &error("two")).unwrap();
    assert!(hindered(&again, "CredentialsMissing: two"), "{again:?}");
    assert_eq!(End::said(&[again]), Some(End::Unreachable));
}

/// The deadline is for what the workload cluster refuses, and that the condition says.
#[test]
fn a_change_that_a_workload_cluster_does_not_take_is_said_to_be_one() {
    let of = |kind| Error::from(capi::Error::new(kind, "no"));
    for (what, known, error, wanted) in [
        ("refused", cleaning().said, of(Kind::Forbidden), true),
        ("not answered", cleaning().said, of(Kind::Timeout), true),
        ("reverted", cleaning().said, Error::Reverted("x".into()), true),
        (
            "while its user is next",
            vec![said(USER_CLEANED_UP, Status::False, reason::USER_CLEANUP)],
            of(Kind::Forbidden),
            true,
        ),
        ("no kubeconfig", cleaning().said, of(Kind::NoKubeconfig), false),
        (
            "AVI",
            cleaning().said,
            infra_clients::avi::Error::new(infra_clients::avi::Kind::Forbidden, "no").into(),
            false,
        ),
        (
            "while another wait is over",
            vec![Said::new(
                RESOURCES_CLEANED_UP,
                Status::False,
                reason::CLEANUP_OVERDUE,
                End::Silent.message(),
            )],
            of(Kind::Forbidden),
            true,
        ),
    ] {
        let failed = failure(&known, true, &error).unwrap();
        assert_eq!(failed.type_, RESOURCES_CLEANED_UP, "{what}");
        assert_eq!(failed.message.contains(NOT_TAKEN), wanted, "{what}: {}", failed.message);
        assert!(failed.message.contains(&error.to_string()), "{what}: {}", failed.message);
    }
}

#[test]
fn the_condition_names_the_annotation_while_ako_moves() {
    let moves = |seen| Seen { want: Want::Nothing, moves_to: Some("all".to_owned()), ..seen };
    let begun = leaving(&moves(seen(Want::Nothing))).unwrap();
    let [said] = &begun.set[..] else { panic!("{begun:?}") };
    assert_eq!((said.type_, said.status, &*said.reason), (AKO_INSTALLED, Status::False, reason::LEAVING));
    assert!(said.message.contains(MOVE_ANNOTATION) && said.message.contains("\"all\""), "{}", said.message);
    assert!(leaving(&Seen { said: begun.set.clone(), ..moves(seen(Want::Nothing)) }).is_none(), "it is said");
    assert!(leaving(&Seen { is_deleting: true, ..moves(seen(Want::Nothing)) }).is_none(), "it is deleted");
    assert!(leaving(&Seen { moves_to: None, ..moves(seen(Want::Nothing)) }).is_some(), "nothing selects it");
}

#[test]
fn a_pause_that_is_over_is_not_said_while_a_step_fails() {
    let paused = [said(AKO_INSTALLED, Status::True, reason::PAUSED)];
    let is = |said: Option<Said>| said.map(|said| (said.status, said.reason));
    let (leaving, to_leave) =
        (Some((Status::False, "AKOLeaving".to_owned())), Some((Status::False, "AKOToLeave".to_owned())));
    assert_eq!(is(unpaused(&paused, true, true)), leaving);
    assert_eq!(is(unpaused(&paused, true, false)), to_leave);
    assert_eq!(is(unpaused(&paused, false, false)), None);
    let moved = [said(AKO_INSTALLED, Status::True, reason::PLACE_CHANGED)];
    assert_eq!(is(unpaused(&moved, true, false)), to_leave);
    assert_eq!(is(unpaused(&installed(seen(Want::Ako)).said, true, false)), None);
}

#[test]
fn the_condition_of_the_user_follows_that_of_the_objects() {
    let remove = || Turn::LookAgain(Plan::RemoveUser { once: false });
    let cleaned = || said(RESOURCES_CLEANED_UP, Status::True, reason::CLEANED_UP);
    let going = || Seen {
        said: vec![cleaned(), said(USER_CLEANED_UP, Status::False, reason::USER_CLEANUP)],
        ..cleaning()
    };
    check(vec![
        (
            "the user is next",
            cleaning(),
            remove(),
            "AviResourceCleanupSucceeded=True AKOCleanedUp, AviUserCleanupSucceeded=False AviResourceCleanup",
        ),
        (
            "a Cluster that lives on",
            Seen { is_deleting: false, want: Want::Nothing, ..cleaning() },
            remove(),
            "nothing",
        ),
        (
            "it is gone",
            going(),
            Turn::Gone,
            "AviResourceCleanupSucceeded=True AKOCleanedUp, AviUserCleanupSucceeded=True AviUserRemoved, event AKOCleanedUp",
        ),
        (
            "forced",
            Seen { is_forced: true, ..going() },
            Turn::Gone,
            "AviResourceCleanupSucceeded=Unknown AviObjectsLeft, AviUserCleanupSucceeded=Unknown AviObjectsLeft",
        ),
    ]);
    let wanted = "AviResourceCleanupSucceeded=True AKOCleanedUp, AviUserCleanupSucceeded=False AviUserCleanupImpossible";
    let unknown = blocked(reason::USER_CLEANUP_IMPOSSIBLE);
    check_about(About::User, vec![("nothing says where it is", cleaning(), unknown, wanted)]);
    let error = Error::Credentials("m".into());
    let failed = failure(&going().said, true, &error).unwrap();
    assert_eq!((failed.type_, failed.status), (USER_CLEANED_UP, Status::False));
    let failed = failure(&cleaning().said, true, &error).unwrap();
    assert_eq!((failed.type_, failed.status), (RESOURCES_CLEANED_UP, Status::False));
}
