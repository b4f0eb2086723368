use super::*;
use crate::choose::Failure;
use crate::nodes::Summary;
use crate::plan::{Cluster, Found, Health, Installed, Target};
use crate::version::Version;

fn record(patch: u64) -> Record {
    let lost = Record::recovered(&format!("1.0.{patch}"));
    Record { digest: "d".to_owned(), is_recovered: false, is_complete: true, ..lost }
}

fn target(patch: u64) -> Wanted {
    Wanted::Present(Target {
        version: Version::new(1, 0, patch),
        digest: "d".to_owned(),
        needs_cpi: false,
        adopts: false,
        rolls_back: false,
    })
}

/// Returns a driver that was applied, with one Node that it serves.
fn installed(wanted: Wanted, health: Health, is_due: bool) -> DriverSeen {
    let Record { version, digest, .. } = record(1);
    let is_removing = health.is_removing();
    DriverSeen {
        wanted,
        found: Found::Ours(Installed { version, digest, needs_cpi: false, health }),
        record: Some(Record { is_removing, ..record(1) }),
        rendered: Some(Arc::new(Rendered::default())),
        nodes: Summary { total: 1, ready: 1, ..Summary::default() },
        is_due,
        ..DriverSeen::default()
    }
}

fn removing() -> Health {
    Health::Removing(String::new())
}

fn seen(csi: DriverSeen) -> Seen {
    let cluster = Cluster { invisible: Some(Vec::new()), is_window_open: true, ..Cluster::default() };
    Seen { drivers: Drivers { csi, ..Drivers::default() }, cluster, ..Seen::default() }
}

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

/// Returns the turn in short.
fn short(turn: &Turn<Plan>) -> String {
    match turn {
        Turn::Act(Plan::Fetch(files)) => format!("fetch {}", files.len()),
        Turn::Act(Plan::Change { actions, outdated, .. }) => {
            let actions: Vec<_> = actions
                .iter()
                .map(|action| match action {
                    Action::Apply { driver, change, record, .. } => {
                        format!("{driver} {change:?} {} since {}", record.version, record.since.as_second())
                    }
                    Action::Remove(driver, record) => format!("{driver} remove {}", record.is_removing),
                    Action::Release(driver, _) => format!("{driver} release"),
                })
                .collect();
            format!("{} ask {}", actions.join(", "), outdated.len())
        }
        Turn::Wait { reason, after, .. } => format!("wait {reason} {:?}", after.unwrap()),
        Turn::Blocked { reason, .. } => format!("blocked {reason}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_state_of_a_driver_has_its_turn() {
    let absent = |wanted| DriverSeen {
        wanted,
        rendered: Some(Arc::new(Rendered::default())),
        ..DriverSeen::default()
    };
    let (available, progressing) = (|| Health::Available, || Health::Progressing("why".to_owned()));
    for (csi, is_deleted, wanted) in [
        (absent(target(1)), false, "CSI Install 1.0.1 since 1000 ask 0"),
        (installed(target(1), progressing(), true), false, "CSI Maintain 1.0.1 since 0 ask 0"),
        (installed(target(1), progressing(), false), false, "wait RollingOut 60s"),
        (installed(target(1), available(), true), false, "CSI Maintain 1.0.1 since 0 ask 0"),
        (installed(target(1), available(), false), false, "Settled"),
        // Its time begins again with another version.
        (installed(target(2), available(), false), false, "CSI Upgrade 1.0.2 since 1000 ask 0"),
        (installed(Wanted::Unmanaged, available(), false), false, "Settled"),
        (installed(Wanted::Unmanaged, available(), false), true, "Gone"),
        (installed(Wanted::Removed, available(), true), true, "CSI remove false ask 0"),
        (installed(Wanted::Removed, removing(), true), true, "CSI remove true ask 0"),
        (installed(Wanted::Removed, removing(), false), true, "wait RollingOut 300ms"),
        // It is to run again: what was begun is finished first.
        (installed(target(1), removing(), true), false, "CSI remove true ask 0"),
        (installed(target(1), removing(), false), false, "wait Removing 300ms"),
        (installed(Wanted::Released, available(), false), true, "CSI release ask 0"),
        (absent(Wanted::Removed), true, "Gone"),
        (absent(Wanted::Removed), false, "Settled"),
    ] {
        assert_eq!(short(&decide(&seen(csi), is_deleted, now())), wanted);
    }
}

/// Returns that 1.0.1 did not become available after an upgrade.
fn failure(from: u64) -> Failure {
    let (version, from) = (Version::new(1, 0, 1), Version::new(1, 0, from));
    Failure { version, from, after: 900, why: "why".to_owned(), retry: String::new() }
}

/// Returns what is noted when a driver is applied, in short.
fn noted(driver: DriverSeen) -> String {
    let turn = decide(&seen(driver), false, now());
    let Turn::Act(Plan::Change { actions, .. }) = turn else { return short(&turn) };
    let [Action::Apply { change, record, .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(!record.is_complete);
    let previous = record.previous.as_ref().map_or("none".to_owned(), ToString::to_string);
    let failed: Vec<_> = record.failed.iter().map(|failure| failure.version.to_string()).collect();
    format!("{change:?} {} after {previous} failed {}", record.version, failed.join(" "))
}

/// Returns 1.0.1, which is to have another patch, with other notes.
fn upgraded(to: u64, health: Health, change: impl FnMut(&mut Record)) -> DriverSeen {
    let mut seen = installed(target(to), health, false);
    seen.record.as_mut().into_iter().for_each(change);
    seen
}

/// An upgrade from 1.0.0 to 1.0.1 that has not become available.
fn begun(record: &mut Record) {
    (record.is_complete, record.previous) = (false, Some(Version::new(1, 0, 0)));
}

fn progressing() -> Health {
    Health::Progressing("why".to_owned())
}

#[test]
fn it_is_noted_what_ran_before_an_upgrade() {
    let unknown = DriverSeen { is_unknown: true, ..upgraded(2, progressing(), |_| ()) };
    let mut configured = upgraded(1, progressing(), begun);
    if let Found::Ours(ours) = &mut configured.found {
        ours.digest = "e".to_owned();
    }
    for (what, seen, wanted) in [
        ("it ran", upgraded(2, Health::Available, |_| ()), "Upgrade 1.0.2 after 1.0.1 failed "),
        ("it ran, as far as is known", unknown, "Upgrade 1.0.2 after 1.0.1 failed "),
        ("it does not run any more", upgraded(2, progressing(), |_| ()), "Upgrade 1.0.2 after none failed "),
        (
            "it has just begun to run",
            upgraded(2, Health::Available, begun),
            "Upgrade 1.0.2 after 1.0.1 failed ",
        ),
        ("it never ran", upgraded(2, progressing(), begun), "Upgrade 1.0.2 after 1.0.0 failed "),
        (
            "an older one is pinned",
            upgraded(0, Health::Available, |_| ()),
            "Downgrade 1.0.0 after none failed ",
        ),
        ("its settings change", configured, "Configure 1.0.1 after 1.0.0 failed "),
    ] {
        assert_eq!(noted(seen), wanted, "{what}");
    }
}

#[test]
fn it_is_noted_which_upgrades_have_failed() {
    let failing = |to: u64| DriverSeen { failing: Some(failure(0)), ..upgraded(to, progressing(), begun) };
    let mut rolled_back = failing(0);
    if let Wanted::Present(target) = &mut rolled_back.wanted {
        target.rolls_back = true;
    }
    let again = upgraded(2, Health::Available, |record| {
        record.failed = vec![failure(0), Failure { version: Version::new(1, 0, 2), ..failure(1) }];
    });
    let twice = DriverSeen {
        failing: Some(failure(0)),
        ..upgraded(2, progressing(), |record| {
            begun(record);
            record.failed = vec![failure(0)];
        })
    };
    let back = upgraded(2, progressing(), |record| {
        (record.is_complete, record.failed) =
            (false, vec![Failure { version: Version::new(1, 0, 3), ..failure(1) }]);
    });
    for (what, seen, wanted) in [
        ("it is rolled back", rolled_back, "Rollback 1.0.0 after none failed 1.0.1"),
        ("a newer one comes", failing(2), "Upgrade 1.0.2 after 1.0.0 failed 1.0.1"),
        ("it has failed before", twice, "Upgrade 1.0.2 after 1.0.0 failed 1.0.1"),
        ("one comes while it is rolled back", back, "Upgrade 1.0.2 after 1.0.1 failed 1.0.3"),
        ("the newer one is tried again", again, "Upgrade 1.0.2 after 1.0.1 failed 1.0.1"),
    ] {
        assert_eq!(noted(seen), wanted, "{what}");
    }
}

#[test]
fn what_is_missing_comes_first() {
    let hold = |reason| Hold { reason, message: String::new() };
    let unusable = Seen::unusable(hold(reason::INVALID_SETTINGS));
    assert_eq!(short(&decide(&unusable, false, now())), "blocked InvalidSettings");
    let file = File { source: "file:a".parse().unwrap(), namespace: String::new() };
    let fetching = Seen { files: vec![file], ..seen(DriverSeen::default()) };
    assert_eq!(short(&decide(&fetching, false, now())), "fetch 1");
    let outdated = vec![("uid".to_owned(), "vc".to_owned())];
    let asking = Seen { outdated, ..seen(DriverSeen::default()) };
    assert_eq!(short(&decide(&asking, false, now())), " ask 1");
    for (reason, wanted) in [
        (reason::CONNECTION_MISSING, "blocked ConnectionMissing"),
        (reason::CONNECTION_NOT_READY, "wait ConnectionNotReady 60s"),
        (reason::FILE_UNREACHABLE, "wait FileUnreachable 60s"),
    ] {
        let csi = DriverSeen { wanted: Wanted::Unclear(hold(reason)), ..DriverSeen::default() };
        assert_eq!(short(&decide(&seen(csi), false, now())), wanted);
    }
}

#[test]
fn a_removal_that_waits_for_volumes_is_looked_at_again_soon() {
    let mut seen = seen(installed(Wanted::Removed, Health::Available, true));
    seen.cluster.volumes = vec!["PersistentVolume a".to_owned()];
    assert_eq!(short(&decide(&seen, true, now())), "wait VolumesInUse 5s");
}
