use jiff::SignedDuration;

use super::*;

fn order(about: &str, nodes: u64, answered: Timestamp) -> Order {
    Order {
        uid: "u".to_owned(),
        about: about.to_owned(),
        nodes,
        vcenters: Vec::new(),
        answered,
        desired: Arc::default(),
        csi: None,
        ours: Drivers::default(),
    }
}

fn finding(check: Check, severity: Severity) -> Finding {
    Finding { check, severity, object: "vc".to_owned(), message: "why".to_owned(), remediation: "what" }
}

fn minutes(count: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(count)
}

#[test]
fn checks_run_when_they_are_due_and_when_what_they_look_at_changes() {
    let checkups = Checkups::default();
    let is_due = |order: &Order, at| checkups.known(order, minutes(at)).is_due;
    let first = order("a", 1, minutes(0));
    assert!(is_due(&first, 0));
    assert_eq!(checkups.known(&first, minutes(0)).checks(), Checks::Running);

    let warning = finding(Check::Certificate, Severity::Warning);
    assert_eq!(
        checkups.note(&first, vec![warning], minutes(0)),
        Duration::from_hours(1),
        "a warning may stay"
    );
    for (about, nodes, at, wanted) in
        [("a", 1, 59, false), ("a", 1, 60, true), ("b", 1, 0, true), ("a", 2, 0, false), ("a", 2, 1, true)]
    {
        assert_eq!(is_due(&order(about, nodes, minutes(9)), at), wanted, "{about} {nodes} {at}");
    }
    assert_eq!(checkups.known(&order("b", 1, minutes(0)), minutes(0)).checks(), Checks::Running);

    let lost = finding(Check::Connection, Severity::BlockInstall);
    assert_eq!(checkups.note(&first, vec![lost.clone()], minutes(10)), Duration::from_mins(1));
    assert_eq!(checkups.note(&first, vec![lost], minutes(11)), Duration::from_mins(2));
    assert!(!is_due(&order("a", 1, minutes(11)), 12), "nothing was heard of the vCenter");
    assert!(is_due(&order("a", 1, minutes(12)), 12), "the connection has healed");

    checkups.forget("u");
    assert!(is_due(&first, 12) && checkups.findings().is_empty());
}

#[test]
fn what_was_found_forbids_and_is_said() {
    for (severity, checks, condition) in [
        (None, "Passed", "true ChecksPassed nothing was found"),
        (Some(Severity::Warning), "Passed", "true ChecksWarn [warning] Tools: vc: why: what"),
        (Some(Severity::BlockUpgrade), "install", "false ChecksFailed [block-upgrade] Tools: vc: why: what"),
        (Some(Severity::BlockInstall), "none", "false ChecksFailed [block-install] Tools: vc: why: what"),
        (Some(Severity::Degraded), "none", "false ChecksFailed [degraded] Tools: vc: why: what"),
    ] {
        let findings = severity.map(|severity| finding(Check::Tools, severity)).into_iter().collect();
        let known = Known { is_due: false, findings: Some(Arc::new(findings)) };
        let allowed = match known.checks() {
            Checks::Passed => "Passed",
            Checks::Failed { install: true, upgrade: false, .. } => "install",
            Checks::Failed { install: false, upgrade: false, .. } => "none",
            other => panic!("{other:?}"),
        };
        assert_eq!(allowed, checks, "{severity:?}");
        let (passed, reason, message) = known.condition().unwrap();
        assert_eq!(format!("{passed} {reason} {message}"), condition);
    }
}
