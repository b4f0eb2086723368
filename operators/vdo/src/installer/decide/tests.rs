use super::*;
use crate::nodes::Summary;
use crate::plan::{Cluster, Found, Health, Installed, Target};
use crate::version::Version;

fn record(patch: u64) -> Record {
    Record { digest: "d".to_owned(), is_recovered: false, ..Record::recovered(&format!("1.0.{patch}")) }
}

fn target(patch: u64) -> Wanted {
    Wanted::Present(Target {
        version: Version::new(1, 0, patch),
        digest: "d".to_owned(),
        needs_cpi: false,
        adopts: false,
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
