//! The kinds of snapshots and their controller, beside CSI.

use super::*;

/// What there is of the snapshot controller and of CSI; CNI and CPI are there.
fn found(snapshots: Found, csi: Found) -> Drivers<Found> {
    Drivers { cni: available(1), cpi: available(1), snapshots, csi }
}

fn both(wanted: &Drivers<Wanted>, found: &Drivers<Found>, cluster: &Cluster) -> [String; 2] {
    let plan = plan(wanted, found, cluster);
    [text(&plan.snapshots), text(&plan.csi)]
}

#[test]
fn csi_is_installed_once_the_kinds_of_snapshots_are_there() {
    let wanted = Drivers { snapshots: present(1), ..all(&present(1)) };
    let waits = "Wait WaitingForDriver";
    for (snapshots, expected) in [
        (Found::Absent, ["Install", waits]),
        (progressing(1), ["Maintain", waits]),
        (available(1), ["Maintain", "Install"]),
        (foreign(), ["Blocked ForeignDriver", "Install"]),
        (ours(1, removing()), ["Wait Removing", waits]),
    ] {
        let found = found(snapshots, Found::Absent);
        assert_eq!(both(&wanted, &found, &cluster()), expected, "{found:?}");
    }
    let without_cpi = Drivers { cni: available(1), ..Drivers::default() };
    assert_eq!(text(&plan(&wanted, &without_cpi, &cluster()).snapshots), waits);
}

#[test]
fn the_kinds_of_snapshots_are_removed_after_csi_and_with_no_snapshot() {
    let removed = all(&Wanted::Removed);
    let used = Cluster { snapshots: names(&["VolumeSnapshot web/data"]), ..cluster() };
    let (in_use, required) = ("Blocked SnapshotsInUse", "Blocked SnapshotControllerRequired");
    for (csi_wanted, csi, cluster, expected) in [
        (Wanted::Removed, available(1), &used, ["Wait WaitingForDriver", "Remove"]),
        (Wanted::Removed, ours(1, removing()), &used, ["Wait WaitingForDriver", "Remove"]),
        (Wanted::Removed, Found::Absent, &used, [in_use, "Rest"]),
        (Wanted::Removed, Found::Absent, &cluster(), ["Remove", "Rest"]),
        (present(1), available(1), &cluster(), [required, "Maintain"]),
        (present(1), Found::Absent, &cluster(), [required, "Install"]),
        (Wanted::Unmanaged, available(1), &cluster(), [required, "Rest"]),
        (Wanted::Unmanaged, foreign(), &cluster(), [required, "Rest"]),
        (Wanted::Unmanaged, Found::Absent, &cluster(), ["Remove", "Rest"]),
    ] {
        let wanted =
            Drivers { csi: csi_wanted, snapshots: Wanted::Removed, cpi: present(1), cni: present(1) };
        let found = found(available(1), csi);
        assert_eq!(both(&wanted, &found, cluster), expected, "{wanted:?} {found:?}");
    }
    // What was begun is finished, and CPI and CNI wait for it.
    let wanted = Drivers { snapshots: Wanted::Removed, ..removed };
    let found = found(ours(1, removing()), Found::Absent);
    assert_eq!(text(&plan(&wanted, &found, &used).snapshots), "Remove");
    assert_eq!(
        steps(&plan(&wanted, &found, &used)),
        ["Wait WaitingForDriver", "Wait WaitingForDriver", "Rest"]
    );
    let Step::Blocked(hold) =
        plan(&wanted, &Drivers { snapshots: available(1), ..Drivers::default() }, &used).snapshots
    else {
        panic!()
    };
    assert_eq!(
        hold.message,
        "these would go with their kinds: VolumeSnapshot web/data; delete them, or leave the SnapshotController unmanaged"
    );
}
