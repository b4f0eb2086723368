use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use super::aim::Basis;
use super::record::Record;
use super::seen::{DriverSeen, File};
use super::*;
use crate::api::{ADOPT, CloudProvider, DriverSet, DriverSetSpec, RETRY_UPGRADE, VdoConfig, VdoConfigStatus};
use crate::desired::Desired;
use crate::foreign::Foreign;
use crate::matrix::{Driver, Matrix};
use crate::nodes::Summary;
use crate::plan::{Found, Health, Hold, Installed, Target, Wanted};
use crate::version::Version;

/// Returns what is seen of CSI, which runs.
fn running() -> Seen {
    let (version, digest) = (Version::new(3, 7, 3), "d".to_owned());
    let target = Target {
        version: version.clone(),
        digest: digest.clone(),
        needs_cpi: false,
        adopts: false,
        rolls_back: false,
    };
    let since = Timestamp::UNIX_EPOCH;
    let csi = DriverSeen {
        wanted: Wanted::Present(target),
        found: Found::Ours(Installed {
            version: version.clone(),
            digest: digest.clone(),
            needs_cpi: false,
            health: Health::Available,
        }),
        record: Some(Record {
            digest,
            since,
            is_recovered: false,
            ..Record::recovered(&version.to_string())
        }),
        nodes: Summary { total: 1, ready: 1, ..Summary::default() },
        ..DriverSeen::default()
    };
    Seen { drivers: Drivers { csi, ..Drivers::default() }, ..Seen::default() }
}

fn config() -> VdoConfig {
    let spec = json!({"storageProvider": {"vsphereCloudConfig": "vc"}});
    let mut config = VdoConfig::new("vdo", serde_json::from_value(spec).unwrap());
    config.metadata.generation = Some(1);
    config
}

/// Returns reason and message of Ready after a pass.
fn ready(seen: Option<&Seen>, outcome: &Outcome<Done, Error>) -> Option<(String, String)> {
    let status = Installer::<VdoConfig>::status(None, &config(), seen, outcome, Timestamp::UNIX_EPOCH)?;
    let ready = conditions::get(&status.conditions, READY).unwrap();
    Some((ready.reason.clone(), ready.message.clone()))
}

#[test]
fn a_pass_in_which_little_is_known_says_nothing() {
    let acted = || Outcome::Acted(Done::default());
    let of = |reason: &str, message: &str| Some((reason.to_owned(), message.to_owned()));
    assert_eq!(ready(Some(&running()), &acted()), of("AsAsked", "every driver that is managed runs"));
    let file = File { source: "file:a".parse().unwrap(), namespace: String::new() };
    assert_eq!(ready(Some(&Seen { files: vec![file], ..running() }), &acted()), None);
    let mut unknown = running();
    unknown.drivers.get_mut(Driver::Csi).is_unknown = true;
    assert_eq!(ready(Some(&unknown), &acted()), None);
    // What does not end by itself is said.
    let hold = || Outcome::Blocked(reason::INVALID_SETTINGS, "why".to_owned());
    let unusable = Seen::unusable(Hold { reason: reason::INVALID_SETTINGS, message: "why".to_owned() });
    assert_eq!(ready(Some(&unusable), &hold()), of("InvalidSettings", "why"));
    let failed = Outcome::Failed(Arc::new(operator_kit::KitError::StillChanging.into()));
    assert_eq!(ready(None, &failed).unwrap().0, "InternalError");
}

#[test]
fn a_removal_that_waits_for_others_has_a_warning_once() {
    let with = |reason: &str| {
        let mut status = VdoConfigStatus::default();
        let now = Timestamp::UNIX_EPOCH;
        conditions::set(
            &mut status.conditions,
            READY,
            Status::False,
            reason,
            "PersistentVolume a",
            Some(1),
            now,
        );
        status
    };
    let (before, waiting) = (with(reason::ROLLING_OUT), with(reason::VOLUMES_IN_USE));
    let news = |old: &VdoConfigStatus| {
        let news = Installer::<VdoConfig>::news(&config(), Some(old), &waiting);
        news.iter().map(Notice::reason).collect::<Vec<_>>()
    };
    assert_eq!((news(&before), news(&waiting)), (vec!["VolumesInUse"], Vec::new()));
}

#[test]
fn a_rollback_has_a_warning_once() {
    let with = |reason: &str| {
        let mut status = VdoConfigStatus::default();
        let now = Timestamp::UNIX_EPOCH;
        for type_ in [READY, "CPIAvailable", "CSIAvailable"] {
            let reason = if type_ == "CSIAvailable" { reason::AS_ASKED } else { reason };
            conditions::set(&mut status.conditions, type_, Status::True, reason, "why", Some(1), now);
        }
        status
    };
    let (before, rolled_back) = (with(reason::ROLLING_OUT), with(reason::ROLLED_BACK));
    let news = |old: Option<&VdoConfigStatus>| {
        let news = Installer::<VdoConfig>::news(&config(), old, &rolled_back);
        news.iter().map(Notice::reason).collect::<Vec<_>>()
    };
    assert_eq!((news(Some(&before)), news(Some(&rolled_back))), (vec!["RolledBack"], Vec::new()));
    assert_eq!(news(None), ["RolledBack"]);
}

#[test]
fn an_annotation_of_both_kinds_lets_a_version_be_tried_again() {
    let mut config = config();
    config.annotations_mut().insert(RETRY_UPGRADE.to_owned(), "1".to_owned());
    let mut set = DriverSet::new("set", DriverSetSpec::default());
    assert_eq!(set.desired().unwrap().retry, "");
    set.annotations_mut().insert(RETRY_UPGRADE.to_owned(), "2".to_owned());
    assert_eq!(
        (config.desired().unwrap().retry, set.desired().unwrap().retry),
        ("1".to_owned(), "2".to_owned())
    );
    assert_eq!((config.settings()[2], set.settings()[2]), (Some("1"), Some("2")));
}

/// `kubectl wait` and others compare it with the generation.
#[test]
fn a_driver_set_that_cannot_be_used_is_answered() {
    let mut set = DriverSet::new("set", DriverSetSpec::default());
    set.metadata.generation = Some(7);
    let seen = Seen::unusable(Hold { reason: reason::INVALID_SETTINGS, message: "why".to_owned() });
    let outcome = Outcome::Blocked(reason::INVALID_SETTINGS, "why".to_owned());
    let status = Installer::<DriverSet>::status(None, &set, Some(&seen), &outcome, Timestamp::UNIX_EPOCH);
    assert_eq!(status.unwrap().observed_generation, Some(7));
}

#[test]
fn a_vdo_config_has_drivers_adopted_by_an_annotation() {
    let adopts = |text: &str, is_deleted: bool| {
        let mut config = config();
        config.spec.cloud_provider =
            Some(CloudProvider { vsphere_cloud_configs: vec!["vc".to_owned()], topology: None });
        config.annotations_mut().insert(ADOPT.to_owned(), text.to_owned());
        config.metadata.deletion_timestamp = is_deleted.then_some(Time(Timestamp::UNIX_EPOCH));
        config.desired().map(|desired| Driver::ALL.map(|driver| desired.drivers.get(driver).adopts))
    };
    assert_eq!(adopts("", false), Ok([false; 4]));
    assert_eq!(adopts("cpi, CSI", false), Ok([false, true, false, true]));
    assert_eq!(adopts("CIS", true), Ok([false; 4]), "it keeps nothing from being removed");
    let problem = adopts("CIS", false).unwrap_err()[0].to_string();
    assert_eq!(
        problem,
        "metadata.annotations[vdo.vmware.com/adopt]: unknown driver \"CIS\"; write one of CNI, CPI, SnapshotController, CSI"
    );
}

#[test]
fn a_driver_is_adopted_in_the_version_that_runs_if_the_matrix_has_it() {
    let release = json!({"deploymentPath": ["file:cpi.yaml"]});
    let matrix = json!({"CPI": {"1.35.0": release, "1.36.0": release, "1.36.1": release}});
    let matrix = Matrix::parse(&matrix.to_string()).unwrap();
    let chosen = |runs: &str, adopts: bool, auto_upgrade: bool| {
        let mut desired = Desired::default();
        desired.drivers.cpi.adopts = adopts;
        let what = "DaemonSet kube-system/cpi".to_owned();
        let cpi = Some(Foreign { what, version: runs.parse().ok() });
        let basis = Basis {
            desired: &desired,
            records: &Drivers::default(),
            failing: &Drivers::default(),
            foreign: &Drivers { cpi, ..Drivers::default() },
            kubernetes: "1.36.0".parse().unwrap(),
            matrix: &matrix,
            auto_upgrade,
        };
        basis.choose(Driver::Cpi, &[], None).unwrap().version.unwrap().to_string()
    };
    assert_eq!(chosen("1.36.0", true, false), "1.36.0");
    assert_eq!(chosen("1.36.0", true, true), "1.36.1");
    assert_eq!(chosen("1.34.2", true, false), "1.36.1", "the matrix does not have it");
    assert_eq!(chosen("1.36.0", false, false), "1.36.1", "it is not taken over");
}
