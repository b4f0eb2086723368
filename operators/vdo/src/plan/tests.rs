//! Cases, every combination of states, and whole installations and removals.

mod explore;
mod snapshots;

use operator_kit::ReconcileError as _;

use super::*;

fn version(number: u64) -> Version {
    Version::new(number, 0, 0)
}

fn target(number: u64) -> Target {
    Target {
        version: version(number),
        digest: "a".to_owned(),
        needs_cpi: false,
        adopts: false,
        rolls_back: false,
    }
}

fn present(number: u64) -> Wanted {
    Wanted::Present(target(number))
}

fn ours(number: u64, health: Health) -> Found {
    Found::Ours(Installed { version: version(number), digest: "a".to_owned(), needs_cpi: false, health })
}

fn installed(number: u64) -> Installed {
    let Found::Ours(installed) = available(number) else { unreachable!() };
    installed
}

fn available(number: u64) -> Found {
    ours(number, Health::Available)
}

fn progressing(number: u64) -> Found {
    ours(number, Health::Progressing("1 of 2 pods".to_owned()))
}

fn removing() -> Health {
    Health::Removing(String::new())
}

fn foreign() -> Found {
    Found::Foreign("DaemonSet kube-system/other".to_owned())
}

/// Returns the value for each driver but the snapshot controller.
fn all<T: Clone + Default>(value: &T) -> Drivers<T> {
    Drivers { cni: value.clone(), cpi: value.clone(), csi: value.clone(), ..Drivers::default() }
}

/// A cluster in which nothing is in the way.
fn cluster() -> Cluster {
    Cluster { invisible: Some(Vec::new()), is_window_open: true, ..Cluster::default() }
}

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Formats steps: what happens with CNI, CPI and CSI.
fn steps(plan: &Drivers<Step>) -> [String; 3] {
    [Driver::Cni, Driver::Cpi, Driver::Csi].map(|driver| text(plan.get(driver)))
}

fn text(step: &Step) -> String {
    match step {
        Step::Apply(change) => format!("{change:?}"),
        Step::Wait(hold) => format!("Wait {}", hold.reason),
        Step::Blocked(hold) => format!("Blocked {}", hold.reason),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_first_installation_goes_from_the_network_to_the_storage() {
    let wanted = all(&present(1));
    let nodes = Cluster { uninitialized: names(&["n1", "n2"]), ..cluster() };
    let waits = "Wait WaitingForDriver";
    let rows = [
        (all(&Found::Absent), &nodes, ["Install", waits, waits]),
        (Drivers { cni: progressing(1), ..Drivers::default() }, &nodes, ["Maintain", waits, waits]),
        (Drivers { cni: available(1), ..Drivers::default() }, &nodes, ["Maintain", "Install", waits]),
        (
            Drivers { cni: available(1), cpi: progressing(1), csi: Found::Absent, ..Drivers::default() },
            &nodes,
            ["Maintain", "Maintain", waits],
        ),
        (
            Drivers { cni: available(1), cpi: available(1), csi: Found::Absent, ..Drivers::default() },
            &nodes,
            ["Maintain", "Maintain", "Wait NodesUninitialized"],
        ),
        (
            Drivers { cni: available(1), cpi: available(1), csi: Found::Absent, ..Drivers::default() },
            &cluster(),
            ["Maintain", "Maintain", "Install"],
        ),
        (all(&available(1)), &nodes, ["Maintain"; 3]),
        (
            Drivers { cni: foreign(), ..Drivers::default() },
            &nodes,
            ["Blocked ForeignDriver", "Install", waits],
        ),
    ];
    for (found, cluster, expected) in rows {
        assert_eq!(steps(&plan(&wanted, &found, cluster)), expected, "{found:?}");
    }
}

#[test]
fn a_driver_that_is_not_ours_is_left_alone() {
    let wanted = Drivers { csi: present(1), ..Drivers::default() };
    let found = Drivers { cni: foreign(), cpi: foreign(), csi: Found::Absent, ..Drivers::default() };
    assert_eq!(steps(&plan(&wanted, &found, &cluster())), ["Rest", "Rest", "Install"]);
    let found = Drivers { csi: foreign(), ..Drivers::default() };
    assert_eq!(steps(&plan(&wanted, &found, &cluster())), ["Rest", "Rest", "Blocked ForeignDriver"]);
    let adopting =
        Drivers { csi: Wanted::Present(Target { adopts: true, ..target(1) }), ..Drivers::default() };
    assert_eq!(steps(&plan(&adopting, &found, &cluster())), ["Rest", "Rest", "Adopt"]);
    let removing = Drivers { csi: Wanted::Removed, ..Drivers::default() };
    assert_eq!(steps(&plan(&removing, &found, &cluster())), ["Rest"; 3]);
}

#[test]
fn csi_that_needs_cpi_waits_for_some_cpi() {
    let needs = |wanted_cpi: Wanted| Drivers {
        cni: Wanted::Unmanaged,
        cpi: wanted_cpi,
        csi: Wanted::Present(Target { needs_cpi: true, ..target(1) }),
        ..Drivers::default()
    };
    let csi_in = |wanted: &Drivers<Wanted>, cpi: Found, csi: Found, is_cpi_kept: bool| {
        let found = Drivers { cni: Found::Absent, cpi, csi, ..Drivers::default() };
        let [_, cpi, csi] = steps(&plan(wanted, &found, &Cluster { is_cpi_kept, ..cluster() }));
        (cpi, csi)
    };
    let csi = |wanted: &Drivers<Wanted>, cpi: Found, csi: Found| csi_in(wanted, cpi, csi, true);
    let pair = |cpi: &str, csi: &str| (cpi.to_owned(), csi.to_owned());
    assert_eq!(
        csi(&needs(Wanted::Unmanaged), Found::Absent, Found::Absent),
        pair("Rest", "Blocked CpiRequired")
    );
    assert_eq!(csi(&needs(Wanted::Unmanaged), foreign(), Found::Absent), pair("Rest", "Install"));
    // One of another object.
    assert_eq!(
        csi(&needs(Wanted::Unmanaged), progressing(1), Found::Absent),
        pair("Rest", "Wait WaitingForDriver")
    );
    assert_eq!(csi(&needs(Wanted::Unmanaged), available(1), Found::Absent), pair("Rest", "Install"));
    // Of one about which no object decides, it is not known how it is.
    assert_eq!(
        csi_in(&needs(Wanted::Unmanaged), progressing(1), Found::Absent, false),
        pair("Rest", "Install")
    );
    assert_eq!(
        csi(&needs(Wanted::Removed), available(1), available(1)),
        pair("Blocked CpiRequired", "Maintain")
    );
}

/// The CSI may be of another object, or let go of.
#[test]
fn cpi_stays_while_a_csi_is_there_that_needs_it() {
    let csi = Found::Ours(Installed { needs_cpi: true, ..installed(1) });
    let wanted = Drivers { cpi: Wanted::Removed, ..Drivers::default() };
    let cpi = |csi: Found, health: Health| {
        let found = Drivers { cni: Found::Absent, cpi: ours(1, health), csi, ..Drivers::default() };
        steps(&plan(&wanted, &found, &cluster()))[1].clone()
    };
    assert_eq!(cpi(csi.clone(), Health::Available), "Blocked CpiRequired");
    assert_eq!(cpi(available(1), Health::Available), "Remove");
    assert_eq!(cpi(csi, removing()), "Remove");
    // One that goes is of no use.
    let needs =
        Drivers { csi: Wanted::Present(Target { needs_cpi: true, ..target(1) }), ..Drivers::default() };
    let found = Drivers { cpi: ours(1, removing()), ..Drivers::default() };
    assert_eq!(steps(&plan(&needs, &found, &cluster()))[2], "Blocked CpiRequired");
}

#[test]
fn cpi_is_not_changed_while_its_account_may_not_see_every_machine() {
    let wanted = Drivers { cpi: present(2), ..Drivers::default() };
    let cpi = |found: Found, cluster: &Cluster| {
        let found = Drivers { cpi: found, ..Drivers::default() };
        let plan = plan(&wanted, &found, cluster);
        (steps(&plan)[1].clone(), plan.cpi)
    };
    let unknown = Cluster { invisible: None, ..cluster() };
    let hidden = Cluster { invisible: Some((0..25).map(|at| format!("n{at}")).collect()), ..cluster() };
    let old_settings = Found::Ours(Installed { digest: "b".to_owned(), ..installed(2) });
    for found in [Found::Absent, available(1), available(3), old_settings] {
        assert_eq!(cpi(found.clone(), &unknown).0, "Wait MachinesUnknown", "{found:?}");
        let (step, hold) = cpi(found.clone(), &hidden);
        assert_eq!(step, "Blocked MachinesInvisible", "{found:?}");
        let Step::Blocked(hold) = hold else { panic!("{hold:?}") };
        assert!(hold.message.contains("n3, n4 and 20 more"), "{}", hold.message);
        let keeps = Cluster { keeps_nodes: true, ..hidden.clone() };
        assert!(matches!(cpi(found, &keeps).1, Step::Apply(_)));
    }
    assert_eq!(cpi(available(2), &hidden).0, "Maintain", "what runs is maintained");
}

#[test]
fn versions_change_one_after_the_other_and_in_the_window() {
    let wanted = all(&present(2));
    let found = all(&available(1));
    let waits = "Wait WaitingForDriver";
    assert_eq!(steps(&plan(&wanted, &found, &cluster())), ["Upgrade", waits, waits]);
    let closed = Cluster { is_window_open: false, ..cluster() };
    assert_eq!(steps(&plan(&wanted, &found, &closed)), ["Wait OutsideOfWindow", waits, waits]);
    let found = Drivers { cni: progressing(2), ..all(&available(1)) };
    assert_eq!(steps(&plan(&wanted, &found, &cluster())), ["Maintain", waits, waits]);
    let found = Drivers { cni: available(2), ..all(&available(1)) };
    assert_eq!(steps(&plan(&wanted, &found, &cluster())), ["Maintain", "Upgrade", waits]);
    // A CPI that a person has to see to holds up no other driver.
    let hidden = Cluster { invisible: Some(names(&["n1"])), ..cluster() };
    assert_eq!(steps(&plan(&wanted, &found, &hidden)), ["Maintain", "Blocked MachinesInvisible", "Upgrade"]);
    // What is broken because of an earlier driver does not keep that one from being replaced.
    let found = Drivers { csi: progressing(1), ..all(&available(1)) };
    assert_eq!(steps(&plan(&wanted, &found, &cluster()))[0], "Upgrade");
    let found = Drivers { csi: available(3), ..all(&available(2)) };
    assert_eq!(steps(&plan(&wanted, &found, &cluster())), ["Maintain", "Maintain", "Downgrade"]);
}

#[test]
fn what_is_rolled_back_waits_for_earlier_drivers_and_for_visible_machines_only() {
    let back = Wanted::Present(Target { rolls_back: true, ..target(1) });
    let wanted = Drivers { cni: present(2), ..all(&back) };
    let found = Drivers { cni: available(1), cpi: available(1), csi: progressing(2), ..Drivers::default() };
    let forbidden = Checks::Failed { install: false, upgrade: false, message: String::new() };
    let closed = Cluster { is_window_open: false, checks: forbidden, ..cluster() };
    let waits = "Wait OutsideOfWindow";
    assert_eq!(steps(&plan(&wanted, &found, &closed)), [waits, "Maintain", "Rollback"]);
    let found = Drivers { cpi: progressing(2), ..found };
    assert_eq!(steps(&plan(&wanted, &found, &closed)), [waits, "Rollback", "Wait WaitingForDriver"]);
    let hidden = Cluster { invisible: Some(names(&["n1"])), ..closed };
    assert_eq!(steps(&plan(&wanted, &found, &hidden))[1], "Blocked MachinesInvisible");
    assert_eq!(steps(&plan(&wanted, &all(&available(1)), &cluster())), ["Upgrade", "Maintain", "Maintain"]);
}

#[test]
fn settings_change_at_once() {
    let found = all(&Found::Ours(Installed { digest: "b".to_owned(), ..installed(1) }));
    let closed = Cluster { is_window_open: false, ..cluster() };
    assert_eq!(steps(&plan(&all(&present(1)), &found, &closed)), ["Configure"; 3]);
}

#[test]
fn what_is_unclear_leaves_what_runs() {
    let hold = Hold { reason: reason::CPI_REQUIRED, message: "no version fits".to_owned() };
    let wanted = all(&Wanted::Unclear(hold.clone()));
    for found in [Found::Absent, available(1), progressing(1), foreign()] {
        let blocked = Step::Blocked(hold.clone());
        let all_blocked = Drivers { snapshots: Step::Rest, ..Drivers::of(|_| blocked.clone()) };
        assert_eq!(plan(&wanted, &all(&found), &cluster()), all_blocked);
    }
}

#[test]
fn the_removal_is_the_reverse_and_waits_for_what_uses_the_driver() {
    let wanted = all(&Wanted::Removed);
    let used =
        Cluster { volumes: names(&["PersistentVolume pvc-1"]), pods: names(&["default/web-0"]), ..cluster() };
    let waits = "Wait WaitingForDriver";
    let gone = Found::Absent;
    let removing = ours(1, removing());
    let rows = [
        (all(&available(1)), &used, [waits, waits, "Blocked VolumesInUse"]),
        (all(&available(1)), &cluster(), [waits, waits, "Remove"]),
        (Drivers { csi: removing.clone(), ..all(&available(1)) }, &used, [waits, waits, "Remove"]),
        (Drivers { csi: gone.clone(), ..all(&available(1)) }, &used, [waits, "Remove", "Rest"]),
        (
            Drivers { cpi: removing, csi: gone.clone(), cni: available(1), ..Drivers::default() },
            &used,
            [waits, "Remove", "Rest"],
        ),
        (
            Drivers { cpi: gone.clone(), csi: gone.clone(), cni: available(1), ..Drivers::default() },
            &used,
            ["Blocked NetworkInUse", "Rest", "Rest"],
        ),
        (
            Drivers { cpi: gone.clone(), csi: gone.clone(), cni: available(1), ..Drivers::default() },
            &cluster(),
            ["Remove", "Rest", "Rest"],
        ),
        (all(&gone), &used, ["Rest"; 3]),
    ];
    for (found, cluster, expected) in rows {
        assert_eq!(steps(&plan(&wanted, &found, cluster)), expected, "{found:?}");
    }
    let csi = plan(&wanted, &all(&available(1)), &used).csi;
    let Step::Blocked(hold) = csi else { panic!("{csi:?}") };
    let message = "CSI has to detach and delete these: PersistentVolume pvc-1; delete the claims and snapshots, or keep the driver";
    assert_eq!(hold.message, message);
}

#[test]
fn what_is_released_stays() {
    let found = Drivers { cni: foreign(), cpi: Found::Absent, csi: available(1), ..Drivers::default() };
    assert_eq!(steps(&plan(&all(&Wanted::Released), &found, &cluster())), ["Rest", "Rest", "Release"]);
}

#[test]
fn a_driver_that_is_being_removed_is_not_installed_before_it_is_gone() {
    let found = Drivers { csi: ours(1, removing()), ..Drivers::default() };
    let wanted = Drivers { csi: present(1), ..Drivers::default() };
    assert_eq!(steps(&plan(&wanted, &found, &cluster()))[2], "Wait Removing");
}

#[test]
fn what_keeps_a_driver_from_being_gone_is_said() {
    let found = Drivers {
        csi: ours(1, Health::Removing("Secret a/b: finalizer c".to_owned())),
        ..all(&available(1))
    };
    let message = |wanted: &Drivers<Wanted>, driver| match plan(wanted, &found, &cluster()).get(driver) {
        Step::Wait(hold) => hold.message.clone(),
        step => panic!("{step:?}"),
    };
    let removed = all(&Wanted::Removed);
    assert_eq!(message(&removed, Driver::Cpi), "CSI is removed first; left: Secret a/b: finalizer c");
    let again = Drivers { csi: present(1), ..removed };
    assert_eq!(
        message(&again, Driver::Csi),
        "the CSI that was removed is not gone yet; left: Secret a/b: finalizer c"
    );
}

#[test]
fn the_docs_explain_every_reason() {
    let docs = include_str!("../../../../docs/vdo/reasons.md");
    let reasons = crate::error::Error::reasons();
    operator_kit::reasons::check_documented(docs, reason::ALL.iter().chain(&reasons)).unwrap();
}
