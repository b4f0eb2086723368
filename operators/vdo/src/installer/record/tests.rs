use super::*;

fn failure(version: &str) -> Failure {
    let (version, from) = (version.parse().unwrap(), Version::new(1, 35, 0));
    Failure { version, from, after: 900, why: "\"quoted\"\nwhy".to_owned(), retry: "once".to_owned() }
}

#[test]
fn notes_are_read_as_they_were_written() {
    for marks in 0..32_u8 {
        let is = |bit: u8| marks & (1 << bit) != 0;
        let record = Record {
            version: Version::new(1, 36, 0),
            digest: "ab".to_owned(),
            since: Timestamp::from_second(7).unwrap(),
            is_upgrade: is(0),
            needs_cpi: is(1),
            is_removing: is(2),
            is_recovered: is(3),
            is_complete: is(4),
            previous: is(0).then(|| Version::new(1, 35, 0)),
            failed: if is(1) { vec![failure("1.36.1-rc.1+a"), failure("1.37.0")] } else { Vec::new() },
        };
        assert_eq!(Record::read(&record.notes()), record);
    }
    assert_eq!(Record::read(&BTreeMap::new()).version, Version::new(0, 0, 0));
    let recovered = Record::recovered("v1.36.0");
    assert!(recovered.version == Version::new(1, 36, 0) && recovered.is_recovered);
    assert_eq!(Record::recovered("latest").version, Version::new(0, 0, 0));
}

/// What is begun as an upgrade goes in the order of an upgrade to its end.
#[test]
fn an_upgrade_stays_one() {
    let lost = Record::recovered("1.0.0");
    let old = Record { is_upgrade: false, ..lost.clone() };
    let (same, other) = (Version::new(1, 0, 0), Version::new(2, 0, 0));
    assert!(!old.replaces(&same) && old.replaces(&other) && lost.replaces(&same));
    assert!(Record { version: other.clone(), is_upgrade: true, ..old }.replaces(&other));
}

/// Returns the record of an upgrade from 1.35.0 to 1.36.0, applied at second 0.
fn upgrade() -> Record {
    let previous = Some(Version::new(1, 35, 0));
    Record { digest: "d".to_owned(), previous, ..Record::recovered("1.36.0") }
}

#[test]
fn an_upgrade_fails_once_what_it_waits_for_has_had_its_time() {
    let waiting = || Some("1 of 2 Pods".to_owned());
    let (mins, secs) = (SignedDuration::from_mins, SignedDuration::from_secs);
    for (what, record, waits_for, has_changed, after, fails) in [
        ("its time is over", upgrade(), waiting(), false, mins(15), true),
        ("it has time", upgrade(), waiting(), false, secs(899), false),
        ("it runs", upgrade(), None, false, mins(20), false),
        ("it may run by now", upgrade(), waiting(), true, mins(20), false),
        (
            "another was applied",
            Record { digest: "e".to_owned(), ..upgrade() },
            waiting(),
            false,
            mins(20),
            false,
        ),
        ("none ran before", Record { previous: None, ..upgrade() }, waiting(), false, mins(20), false),
        ("it ran once", Record { is_complete: true, ..upgrade() }, waiting(), false, mins(20), false),
        ("it is removed", Record { is_removing: true, ..upgrade() }, waiting(), false, mins(20), false),
    ] {
        let memory = Memory::default();
        memory.applying(Driver::Cpi, "d", Timestamp::UNIX_EPOCH);
        memory.applied(Driver::Cpi, waits_for, true);
        if has_changed {
            memory.look_at(Driver::Cpi);
        }
        let patience = Patience { timeout: mins(15), retry: "once", now: Timestamp::UNIX_EPOCH + after };
        let found = record.failure(Driver::Cpi, &memory, patience);
        let wanted = Failure { why: "1 of 2 Pods".to_owned(), ..failure("1.36.0") };
        assert_eq!(found, fails.then_some(wanted), "{what}");
        assert_eq!(record.failure(Driver::Csi, &memory, patience), None, "{what}: it was not looked at");
    }
}

#[test]
fn a_version_that_runs_forgets_what_ran_before_and_older_failures() {
    let failed = ["1.35.9", "1.36.0", "1.37.0"].map(failure).to_vec();
    let record = Record { failed, ..upgrade() }.completed().unwrap();
    let left: Vec<_> = record.failed.iter().map(|failure| failure.version.to_string()).collect();
    assert_eq!((record.is_complete, &record.previous, left), (true, &None, vec!["1.37.0".to_owned()]));
    assert_eq!(record.completed(), None);
}
