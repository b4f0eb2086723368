use serde_json::json;

use super::record::Record;
use super::seen::{DriverSeen, File};
use super::*;
use crate::api::{DriverSet, DriverSetSpec, VdoConfig, VdoConfigStatus};
use crate::matrix::Driver;
use crate::nodes::Summary;
use crate::plan::{Found, Health, Hold, Installed, Target, Wanted};
use crate::version::Version;

/// Returns what is seen of CSI, which runs.
fn running() -> Seen {
    let (version, digest) = (Version::new(3, 7, 3), "d".to_owned());
    let target = Target { version: version.clone(), digest: digest.clone(), needs_cpi: false, adopts: false };
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
