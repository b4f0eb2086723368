use super::*;
use crate::version::Version;

fn found(health: Health) -> Found {
    Found::Ours(Installed {
        version: Version::new(3, 7, 3),
        digest: "abc".to_owned(),
        needs_cpi: false,
        health,
    })
}

fn report(found: Found, step: Step, nodes: Summary) -> Report {
    let choice = Some("it is the highest version that fits".to_owned());
    Report { found, step, choice, nodes, rolled_back: None, failing: None }
}

/// Returns the report of a driver whose upgrade has failed: `rolls_back` says whether it is rolled back.
fn failed(health: Health, rolls_back: bool, nodes: Summary) -> Report {
    let why = Some("3.8.0 did not become available".to_owned());
    let (rolled_back, failing) = if rolls_back { (why, None) } else { (None, why) };
    Report { rolled_back, failing, ..report(found(health), MAINTAIN, nodes) }
}

fn unmanaged() -> Report {
    report(Found::Absent, Step::Rest, Summary::default())
}

fn summary(ready: usize, failed: usize, pending: usize) -> Summary {
    let states = std::iter::repeat_n(State::Ready, ready)
        .chain(std::iter::repeat_n(State::Failed("look".to_owned()), failed))
        .chain(std::iter::repeat_n(State::Pending("wait".to_owned()), pending));
    let states: Vec<_> = states.enumerate().map(|(at, state)| (format!("n{at}"), state)).collect();
    Summary::of(states.iter().map(|(name, state)| (name.as_str(), state)))
}

fn hold() -> Hold {
    Hold { reason: reason::WAITING_FOR_DRIVER, message: "CPI is not available".to_owned() }
}

fn of_csi(csi: Report) -> VdoConfigStatus {
    let reports = Drivers { csi, ..Drivers::of(|_| unmanaged()) };
    vdo_config(None, Some(1), &reports, &BTreeMap::new(), Timestamp::UNIX_EPOCH)
}

const MAINTAIN: Step = Step::Apply(Change::Maintain);

/// Reports, with the phase, the reason and the message that follow.
fn rows() -> Vec<(Report, &'static str, &'static str, &'static str)> {
    let available = |step, nodes| report(found(Health::Available), step, nodes);
    let absent = |step| report(Found::Absent, step, summary(0, 0, 2));
    let progressing = found(Health::Progressing("1 of 2 pods are available".to_owned()));
    let running = "2 of 2 Nodes are ready";
    vec![
        (absent(Step::Wait(hold())), "Deploying", "WaitingForDriver", "CPI is not available"),
        (absent(Step::Apply(Change::Install)), "Deploying", "RollingOut", "it is being applied"),
        (
            report(progressing, MAINTAIN, summary(1, 0, 1)),
            "Deploying",
            "RollingOut",
            "1 of 2 pods are available",
        ),
        (
            available(MAINTAIN, summary(0, 0, 0)),
            "Deployed",
            "SettingUpNodes",
            "its Pods run; no Node is known yet",
        ),
        (
            available(MAINTAIN, summary(1, 0, 1)),
            "Configuring",
            "SettingUpNodes",
            "1 of 2 Nodes are ready; n1: wait",
        ),
        (available(MAINTAIN, summary(1, 1, 1)), "Failed", "NodesFailing", "1 of 3 Nodes are ready; n1: look"),
        (available(MAINTAIN, summary(2, 0, 0)), "Configured", "AsAsked", running),
        (
            available(Step::Wait(hold()), summary(2, 0, 0)),
            "Configuring",
            "WaitingForDriver",
            "CPI is not available",
        ),
        (
            available(Step::Blocked(hold()), summary(2, 0, 0)),
            "Failed",
            "WaitingForDriver",
            "CPI is not available",
        ),
        (available(Step::Remove, summary(2, 0, 0)), "Configuring", "RollingOut", "it is being removed"),
        (
            report(
                found(Health::Removing("Secret a/b: finalizer c".to_owned())),
                Step::Remove,
                summary(0, 0, 0),
            ),
            "Configuring",
            "RollingOut",
            "it is being removed; left: Secret a/b: finalizer c",
        ),
    ]
}

/// As [`rows`], of drivers whose upgrade has failed.
fn rows_of_failed_upgrades() -> Vec<(Report, &'static str, &'static str, &'static str)> {
    vec![
        (
            failed(Health::Progressing("why".to_owned()), false, summary(2, 0, 0)),
            "Failed",
            "UpgradeFailed",
            "3.8.0 did not become available",
        ),
        (
            Report {
                step: Step::Apply(Change::Rollback),
                ..failed(Health::Progressing("why".to_owned()), true, summary(2, 0, 0))
            },
            "Deploying",
            "RolledBack",
            "it is being rolled back: 3.8.0 did not become available",
        ),
        (
            failed(Health::Progressing("why".to_owned()), true, summary(2, 0, 0)),
            "Deploying",
            "RolledBack",
            "why; it was rolled back: 3.8.0 did not become available",
        ),
        (
            failed(Health::Available, true, summary(2, 0, 0)),
            "Configured",
            "RolledBack",
            "2 of 2 Nodes are ready; it was rolled back: 3.8.0 did not become available",
        ),
        (
            failed(Health::Available, true, summary(1, 0, 1)),
            "Configuring",
            "SettingUpNodes",
            "1 of 2 Nodes are ready; n1: wait",
        ),
    ]
}

#[test]
fn every_state_has_a_phase_a_reason_and_a_message() {
    for (report, phase, reason, message) in rows().into_iter().chain(rows_of_failed_upgrades()) {
        let status = of_csi(report.clone());
        let csi = status.csi.unwrap();
        assert_eq!(format!("{:?}", csi.phase.unwrap()), phase, "{report:?}");
        assert_eq!(csi.status_msg.as_deref(), Some(message), "{report:?}");
        let [ready, available] = status.conditions.as_slice() else { panic!("{report:?}") };
        assert_eq!((ready.type_.as_str(), available.type_.as_str()), ("Ready", "CSIAvailable"));
        assert_eq!((ready.reason.as_str(), available.reason.as_str()), (reason, reason), "{report:?}");
        let is_good = if phase == "Configured" { "True" } else { "False" };
        assert_eq!((ready.status.as_str(), available.status.as_str()), (is_good, is_good), "{report:?}");
        assert_eq!(available.message, message);
    }
}

#[test]
fn what_is_not_managed_has_no_status() {
    let status = of_csi(unmanaged());
    assert_eq!((status.cpi, status.csi), (None, None));
    assert_eq!(status.conditions.len(), 1);
    assert_eq!(status.conditions[0].status, "True");
}

#[test]
fn ready_names_the_driver_that_needs_help_before_those_that_come_by_themselves() {
    let waiting = report(Found::Absent, Step::Wait(hold()), Summary::default());
    let blocked = Hold { reason: reason::FOREIGN_DRIVER, message: "another tool".to_owned() };
    let reports = Drivers {
        cni: report(Found::Absent, Step::Apply(Change::Install), Summary::default()),
        cpi: waiting,
        snapshots: report(Found::Absent, Step::Apply(Change::Install), Summary::default()),
        csi: report(Found::Absent, Step::Blocked(blocked), Summary::default()),
    };
    let status = driver_set(None, Some(3), &reports, Timestamp::UNIX_EPOCH);
    assert_eq!(status.observed_generation, Some(3));
    let ready = &status.conditions[0];
    assert_eq!((ready.reason.as_str(), ready.message.as_str()), ("ForeignDriver", "CSI: another tool"));
    let types: Vec<_> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(
        types,
        ["Ready", "CNIAvailable", "CPIAvailable", "CSIAvailable", "SnapshotControllerAvailable"]
    );
    // A driver that is not managed any more loses its condition; others keep their times.
    let later = Timestamp::from_second(60).unwrap();
    let reports = Drivers { cni: unmanaged(), ..reports };
    let next = driver_set(Some(&status), Some(3), &reports, later);
    let types: Vec<_> = next.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "CPIAvailable", "CSIAvailable", "SnapshotControllerAvailable"]);
    assert_eq!(next.conditions[0], status.conditions[0]);
}

#[test]
fn a_driver_set_shows_what_runs() {
    let reports = Drivers {
        csi: report(found(Health::Available), MAINTAIN, summary(1, 1, 0)),
        ..Drivers::of(|_| unmanaged())
    };
    let status = driver_set(None, Some(1), &reports, Timestamp::UNIX_EPOCH);
    let csi = status.csi.unwrap();
    assert_eq!((csi.version.as_deref(), csi.digest.as_deref()), (Some("3.7.3"), Some("abc")));
    assert_eq!((csi.nodes.as_deref(), csi.failing), (Some("1/2"), vec!["n1: look".to_owned()]));
    assert!(csi.choice.is_some() && status.cpi.is_none());
}

#[test]
fn the_nodes_of_the_status_are_bounded_and_those_that_are_not_ready_come_first() {
    let nodes: BTreeMap<_, _> = (0..5000)
        .map(|at| {
            (
                format!("node-{at:04}"),
                if at == 4999 { State::Failed("look".to_owned()) } else { State::Ready },
            )
        })
        .collect();
    let cpi = report(found(Health::Available), MAINTAIN, summary(1, 0, 0));
    let reports = Drivers { cpi, ..Drivers::of(|_| unmanaged()) };
    let status = vdo_config(None, Some(1), &reports, &nodes, Timestamp::UNIX_EPOCH);
    let cpi = status.cpi.clone().unwrap();
    assert_eq!((cpi.node_status.len(), cpi.node_status["node-4999"].as_str()), (500, "failed"));
    assert!(serde_json::to_string(&status).unwrap().len() < 16 * 1024);
}
