//! Every combination of what a user asks for and what is there, and whole runs from every state.

use super::*;

fn wishes() -> Vec<Wanted> {
    let unclear = Hold { reason: reason::CPI_REQUIRED, message: String::new() };
    let needy = Wanted::Present(Target { needs_cpi: true, ..target(1) });
    vec![
        Wanted::Unmanaged,
        present(1),
        present(2),
        needy,
        Wanted::Present(Target { rolls_back: true, ..target(1) }),
        Wanted::Unclear(unclear),
        Wanted::Removed,
        Wanted::Released,
    ]
}

fn states() -> Vec<Found> {
    let other = Found::Ours(Installed { digest: "b".to_owned(), ..installed(1) });
    vec![
        Found::Absent,
        foreign(),
        available(1),
        progressing(1),
        other,
        available(2),
        progressing(2),
        ours(1, removing()),
    ]
}

fn clusters() -> Vec<Cluster> {
    let busy = Cluster {
        volumes: names(&["v"]),
        snapshots: names(&["s"]),
        pods: names(&["p"]),
        uninitialized: names(&["n"]),
        ..cluster()
    };
    vec![
        cluster(),
        Cluster { invisible: None, ..busy.clone() },
        Cluster { invisible: Some(names(&["n"])), is_window_open: false, ..cluster() },
        busy,
    ]
}

/// Calls `check` with each combination, and returns how many there are.
fn each(mut check: impl FnMut(&Drivers<Wanted>, &Drivers<Found>, &Cluster)) -> usize {
    let pairs: Vec<_> = wishes()
        .into_iter()
        .flat_map(|wish| states().into_iter().map(move |state| (wish.clone(), state)))
        .collect();
    // Some of the snapshot controller's: with all of them there are too many.
    let of_snapshots = [
        (Wanted::Unmanaged, Found::Absent),
        (present(1), Found::Absent),
        (present(2), progressing(1)),
        (Wanted::Removed, available(1)),
    ];
    let surroundings = clusters().into_iter().flat_map(|cluster| {
        of_snapshots.iter().map(move |(wanted, found)| (cluster.clone(), wanted.clone(), found.clone()))
    });
    let mut count = 0;
    for (cluster, snapshots, snapshots_found) in surroundings {
        for (cni, cni_found) in &pairs {
            for (cpi, cpi_found) in &pairs {
                for (csi, csi_found) in &pairs {
                    let wanted = Drivers {
                        cni: cni.clone(),
                        cpi: cpi.clone(),
                        snapshots: snapshots.clone(),
                        csi: csi.clone(),
                    };
                    let found = Drivers {
                        cni: cni_found.clone(),
                        cpi: cpi_found.clone(),
                        snapshots: snapshots_found.clone(),
                        csi: csi_found.clone(),
                    };
                    check(&wanted, &found, &cluster);
                    count += 1;
                }
            }
        }
    }
    count
}

fn is_to_run(wanted: &Wanted) -> bool {
    matches!(wanted, Wanted::Present(_) | Wanted::Unclear(_))
}

fn is_working(found: &Found) -> bool {
    matches!(found, Found::Foreign(_) | Found::Ours(Installed { health: Health::Available, .. }))
}

/// What holds for one driver, whatever the others are.
fn check_one(
    driver: Driver,
    wanted: &Drivers<Wanted>,
    found: &Drivers<Found>,
    cluster: &Cluster,
    step: &Step,
) {
    let why = || format!("{driver} {wanted:?} {found:?} {cluster:?} {step:?}");
    let earlier = || Driver::ALL.into_iter().filter(|earlier| *earlier < driver);
    match step {
        Step::Apply(change) => {
            let Wanted::Present(target) = wanted.get(driver) else { panic!("{}", why()) };
            assert!(!matches!(found.get(driver), Found::Foreign(_)), "{}", why());
            if driver == Driver::Cpi && *change != Change::Maintain {
                assert!(cluster.invisible.as_ref().is_some_and(Vec::is_empty), "{}", why());
            }
            match change {
                Change::Install => {
                    assert!(
                        earlier().all(|of| !is_to_run(wanted.get(of)) || is_working(found.get(of))),
                        "{}",
                        why()
                    );
                    let is_ready = driver != Driver::Csi || cluster.uninitialized.is_empty();
                    let has_cpi = is_working(&found.cpi)
                        || matches!(&found.cpi, Found::Ours(cpi) if !cpi.health.is_removing());
                    assert!(is_ready && (!target.needs_cpi || driver != Driver::Csi || has_cpi), "{}", why());
                }
                Change::Upgrade | Change::Downgrade => {
                    assert!(cluster.is_window_open, "{}", why());
                    assert!(earlier().all(|of| !matches!(
                        found.get(of),
                        Found::Ours(Installed { health: Health::Progressing(_), .. })
                    )));
                }
                Change::Rollback => {
                    assert!(target.rolls_back, "{}", why());
                    let is_broken = |of| {
                        matches!(found.get(of), Found::Ours(Installed { health: Health::Progressing(_), .. }))
                    };
                    assert!(!earlier().any(is_broken), "{}", why());
                }
                Change::Adopt | Change::Configure | Change::Maintain => {}
            }
        }
        Step::Remove => {
            assert_eq!(wanted.get(driver), &Wanted::Removed, "{}", why());
            let Found::Ours(installed) = found.get(driver) else { panic!("{}", why()) };
            let is_free = match driver {
                Driver::Cni => cluster.pods.is_empty(),
                Driver::Cpi => true,
                Driver::Snapshots => cluster.snapshots.is_empty() && found.csi == Found::Absent,
                Driver::Csi => cluster.volumes.is_empty(),
            };
            assert!(is_free || installed.health.is_removing(), "{}", why());
        }
        Step::Release => assert_eq!(wanted.get(driver), &Wanted::Released, "{}", why()),
        Step::Rest | Step::Wait(_) | Step::Blocked(_) => {}
    }
    if let (Wanted::Present(target), Found::Ours(installed)) = (wanted.get(driver), found.get(driver))
        && (&target.version, &target.digest) == (&installed.version, &installed.digest)
        && !installed.health.is_removing()
    {
        assert_eq!(*step, Step::Apply(Change::Maintain), "what runs is maintained: {}", why());
    }
}

#[test]
fn no_combination_breaks_a_rule() {
    let count = each(|wanted, found, cluster| {
        let plan = plan(wanted, found, cluster);
        for driver in Driver::ALL {
            check_one(driver, wanted, found, cluster, plan.get(driver));
        }
        let changes = Driver::ALL
            .iter()
            .filter(|driver| matches!(plan.get(**driver), Step::Apply(Change::Upgrade | Change::Downgrade)))
            .count();
        assert!(changes <= 1, "{wanted:?} {found:?}: {plan:?}");
    });
    assert!(count > 100_000, "{count}");
}

/// A cluster that carries out steps.
struct World {
    found: Drivers<Found>,
    cluster: Cluster,
    /// What was begun, in order.
    log: Vec<String>,
}

impl World {
    fn found(&mut self, driver: Driver) -> &mut Found {
        self.found.get_mut(driver)
    }

    /// Time passes: what was begun gets ready, what is being removed is gone, and a CPI that runs sets Nodes up.
    fn pass(&mut self) {
        for driver in Driver::ALL {
            let found = self.found(driver);
            match found {
                Found::Ours(Installed { health: Health::Removing(_), .. }) => *found = Found::Absent,
                Found::Ours(installed) => installed.health = Health::Available,
                Found::Absent | Found::Foreign(_) => {}
            }
        }
        if is_working(&self.found.cpi) {
            self.cluster.uninitialized.clear();
        }
    }

    fn carry_out(&mut self, wanted: &Drivers<Wanted>) {
        let plan = plan(wanted, &self.found, &self.cluster);
        self.pass();
        for driver in Driver::ALL {
            match plan.get(driver) {
                Step::Apply(change) if *change != Change::Maintain => {
                    let Wanted::Present(target) = wanted.get(driver) else { panic!("{plan:?}") };
                    let (version, digest) = (target.version.clone(), target.digest.clone());
                    let health = Health::Progressing("it starts".to_owned());
                    *self.found(driver) =
                        Found::Ours(Installed { version, digest, needs_cpi: target.needs_cpi, health });
                    self.log.push(format!("{driver} {change:?}"));
                }
                Step::Remove => {
                    if let Found::Ours(installed) = self.found(driver) {
                        installed.health = removing();
                        self.log.push(format!("{driver} Remove"));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Runs until nothing changes.
fn run(wanted: &Drivers<Wanted>, found: Drivers<Found>, cluster: Cluster) -> World {
    let mut world = World { found, cluster, log: Vec::new() };
    for _ in 0..24 {
        world.carry_out(wanted);
    }
    world.pass();
    world
}

#[test]
fn every_run_ends_where_it_should() {
    let nodes = Cluster { uninitialized: names(&["n"]), ..cluster() };
    let own = states().into_iter().filter(|state| !matches!(state, Found::Foreign(_)));
    let own: Vec<_> = own.collect();
    for cni in &own {
        for cpi in &own {
            for csi in &own {
                let found =
                    Drivers { cni: cni.clone(), cpi: cpi.clone(), csi: csi.clone(), ..Drivers::default() };
                let world = run(&all(&present(2)), found.clone(), nodes.clone());
                assert_eq!(world.found, all(&available(2)), "{found:?}: {:?}", world.log);
                let world = run(&all(&Wanted::Removed), found.clone(), cluster());
                assert_eq!(world.found, all(&Found::Absent), "{found:?}: {:?}", world.log);
            }
        }
    }
}

#[test]
fn the_order_of_a_whole_life() {
    let nodes = Cluster { uninitialized: names(&["n"]), ..cluster() };
    let world = run(&all(&present(1)), Drivers::default(), nodes);
    assert_eq!(world.log, ["CNI Install", "CPI Install", "CSI Install"]);
    let world = run(&all(&present(2)), world.found, world.cluster);
    assert_eq!(world.log, ["CNI Upgrade", "CPI Upgrade", "CSI Upgrade"]);
    let world = run(&all(&Wanted::Removed), world.found, world.cluster);
    assert_eq!(world.log, ["CSI Remove", "CPI Remove", "CNI Remove"]);
}
