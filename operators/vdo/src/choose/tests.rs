//! A table of choices, and the property that the chosen fits and no higher one does.

mod property;

use super::*;
use crate::version::{Bound, Range};

/// A range of text: `1.33-1.35`, `1.33-`, `-1.35`, or `1.36` for that one.
fn range(text: &str) -> Range {
    let bound = |text: &str| (!text.is_empty()).then(|| text.parse::<Bound>().unwrap());
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Range { min: bound(min), max: bound(max) }
}

/// A matrix of text, with a release in each item: the version, then what is known of it.
fn matrix(driver: Driver, releases: &str) -> Matrix {
    let mut matrix = Matrix::default();
    for text in releases.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let mut words = text.split_whitespace();
        let version = words.next().unwrap().parse().unwrap();
        let mut release = Release { manifests: vec!["file".to_owned()], ..Release::default() };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("k", text) => release.kubernetes = range(text),
                ("v", text) => release.vsphere = range(text),
                ("from", text) => release.upgrade_from = Some(text.parse().unwrap()),
                ("lts", _) => release.is_lts = true,
                ("cpi", _) => release.is_cpi_required = true,
                ("revoked", _) => release.revoked = Some("it loses data".to_owned()),
                (other, _) => panic!("{other}"),
            }
        }
        matrix.add(driver, version, release);
    }
    matrix
}

fn surroundings(kubernetes: &str, vcenters: &str) -> Surroundings {
    let vcenters = vcenters.split_whitespace().enumerate().map(|(index, version)| {
        let (version, build) = version.split_once('/').unwrap_or((version, ""));
        Vcenter {
            server: format!("vc{index}"),
            version: crate::version::from_about(version, None, Some(build)).unwrap(),
        }
    });
    Surroundings { kubernetes: kubernetes.parse().unwrap(), vcenters: vcenters.collect(), has_cpi: true }
}

fn policy(text: &str) -> Policy {
    match text {
        "latest" => Policy::Latest,
        "patch" => Policy::Patch,
        "lts" => Policy::Lts,
        pin => Policy::Pinned(pin.trim_start_matches('=').parse().unwrap()),
    }
}

/// Releases; Kubernetes; vCenters; policy; installed; what is chosen, and the step. `none` for nothing.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const THREE: &str = "3.5.0 k=1.31-1.33 v=7.0-, 3.6.0 k=1.32-1.34 v=7.0-, 3.7.0 k=1.33-1.35 v=7.0-";
const CPI: &str = "1.34.0 k=1.34, 1.35.0 k=1.35, 1.35.1 k=1.35, 1.36.0 k=1.36";
const STEPS: &str = "2.7.0, 3.0.0 from=2.7.0, 3.3.0 from=3.0.0, 3.7.0 from=3.3.0";

const ORDER: &[Case] = &[
    ("2.9.0, 2.10.0", "1.33", "8.0.3", "latest", "", "2.10.0 Install"),
    ("2.10.0, 2.9.0, 2.11.0-rc.1", "1.33", "8.0.3", "latest", "", "2.10.0 Install"),
    ("9.0.0, 10.0.0", "1.33", "8.0.3", "latest", "", "10.0.0 Install"),
    ("v3.0, 3.0.1", "1.33", "8.0.3", "latest", "", "3.0.1 Install"),
    ("3.7.3, 3.7.21", "1.33", "8.0.3", "latest", "", "3.7.21 Install"),
    ("3.8.0-rc.1, 3.7.3", "1.33", "8.0.3", "latest", "", "3.7.3 Install"),
    ("3.8.0-rc.1", "1.33", "8.0.3", "latest", "", "none Nothing"),
    ("3.8.0-rc.1", "1.33", "8.0.3", "=3.8.0-rc.1", "", "none Nothing"),
    ("3.8.0-alpha, 3.8.0", "1.33", "8.0.3", "latest", "", "3.8.0 Install"),
    ("", "1.33", "8.0.3", "latest", "", "none Nothing"),
];

const KUBERNETES: &[Case] = &[
    (THREE, "1.31", "8.0.3", "latest", "", "3.5.0 Install"),
    (THREE, "1.32", "8.0.3", "latest", "", "3.6.0 Install"),
    (THREE, "1.33", "8.0.3", "latest", "", "3.7.0 Install"),
    (THREE, "1.33+", "8.0.3", "latest", "", "3.7.0 Install"),
    (THREE, "v1.35.9", "8.0.3", "latest", "", "3.7.0 Install"),
    (THREE, "v1.34.1-gke.1", "8.0.3", "latest", "", "3.7.0 Install"),
    (THREE, "v1.32.4+rke2r1", "8.0.3", "latest", "", "3.6.0 Install"),
    (THREE, "1.36", "8.0.3", "latest", "", "none Nothing"),
    (THREE, "1.30", "8.0.3", "latest", "", "none Nothing"),
    (THREE, "2.0", "8.0.3", "latest", "", "none Nothing"),
    (CPI, "1.34", "8.0.3", "latest", "", "1.34.0 Install"),
    (CPI, "1.35+", "8.0.3", "latest", "", "1.35.1 Install"),
    (CPI, "1.36.2", "8.0.3", "latest", "", "1.36.0 Install"),
    (CPI, "1.37", "8.0.3", "latest", "", "none Nothing"),
    (CPI, "1.33", "8.0.3", "latest", "", "none Nothing"),
    ("3.0.0 k=1.25.3-1.27", "1.25.2", "8.0.3", "latest", "", "none Nothing"),
    ("3.0.0 k=1.25.3-1.27", "1.25.3", "8.0.3", "latest", "", "3.0.0 Install"),
    ("2.7.0 k=1.23-", "1.40", "", "latest", "", "2.7.0 Install"),
];

const VSPHERE: &[Case] = &[
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "6.7.0/14367737", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "6.7.0/15976728", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "6.7.0/13010631", "latest", "", "none Nothing"),
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "6.7.0", "latest", "", "none Nothing"),
    ("3.0.0 v=6.7.1-8.0.1", "1.33", "6.7.0/14367737", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=6.7.1-8.0.1", "1.33", "8.0.2", "latest", "", "none Nothing"),
    ("3.0.0 v=6.7.1-8.0", "1.33", "8.0.3.00400", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=6.7.1-8.0", "1.33", "8.1.0", "latest", "", "none Nothing"),
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "9.0.2.0", "latest", "", "3.2.0 Install"),
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "8.0.3 6.7.0/14367737", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=6.7.3-, 3.2.0 v=7.0-", "1.33", "6.7.0/14367737 8.0.3", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=6.7.3-7.0, 3.2.0 v=8.0-", "1.33", "6.7.0/14367737 8.0.3", "latest", "", "none Nothing"),
    ("3.0.0 v=6.7.3-8.0, 3.2.0 v=8.0-", "1.33", "7.0.3 8.0.3 8.0.0", "latest", "", "3.0.0 Install"),
    ("3.0.0 v=7.0-", "1.33", "", "latest", "", "3.0.0 Install"),
];

const POLICIES: &[Case] = &[
    ("3.6.0, 3.6.3, 3.7.0", "1.33", "8.0.3", "patch", "3.6.0", "3.6.3 Upgrade"),
    ("3.6.0, 3.6.3, 3.7.0", "1.33", "8.0.3", "patch", "3.6.3", "3.6.3 Keep"),
    ("3.6.0, 3.6.3, 3.7.0", "1.33", "8.0.3", "patch", "", "3.7.0 Install"),
    ("3.6.0, 3.6.3 revoked, 3.7.0", "1.33", "8.0.3", "patch", "3.6.0", "3.6.0 Keep"),
    ("3.7.0", "1.33", "8.0.3", "patch", "3.6.0", "none Nothing"),
    (CPI, "1.35", "8.0.3", "patch", "1.35.0", "1.35.1 Upgrade"),
    (CPI, "1.36", "8.0.3", "patch", "1.35.1", "1.36.0 Upgrade"),
    ("3.6.0, 3.6.3, 3.7.0", "1.33", "8.0.3", "latest", "3.6.0", "3.7.0 Upgrade"),
    ("3.6.0, 3.7.0", "1.33", "8.0.3", "=3.6.0", "", "3.6.0 Install"),
    ("3.6.0, 3.7.0", "1.33", "8.0.3", "=3.6.0", "3.7.0", "3.6.0 Downgrade"),
    ("3.6.0, 3.7.0", "1.33", "8.0.3", "=v3.6", "3.6.0", "3.6.0 Keep"),
    ("3.6.0, 3.7.0", "1.33", "8.0.3", "=3.5.0", "3.6.0", "none Nothing"),
    ("3.6.0 revoked, 3.7.0", "1.33", "8.0.3", "=3.6.0", "", "none Nothing"),
    (THREE, "1.36", "8.0.3", "=3.7.0", "", "none Nothing"),
    ("3.6.0 lts, 3.7.0", "1.33", "8.0.3", "lts", "", "3.6.0 Install"),
    ("3.6.0 lts, 3.7.0 lts", "1.33", "8.0.3", "lts", "3.6.0", "3.7.0 Upgrade"),
    ("3.6.0 lts, 3.7.0", "1.33", "8.0.3", "lts", "3.7.0", "none Nothing"),
    ("3.6.0, 3.7.0", "1.33", "8.0.3", "lts", "", "none Nothing"),
];

const UPGRADES: &[Case] = &[
    ("3.6.0, 3.7.0 revoked", "1.33", "8.0.3", "latest", "", "3.6.0 Install"),
    ("3.6.0, 3.7.0 revoked", "1.33", "8.0.3", "latest", "3.7.0", "none Nothing"),
    ("3.6.0, 3.7.0 k=1.33", "1.32", "8.0.3", "latest", "3.7.0", "none Nothing"),
    ("3.6.0", "1.33", "8.0.3", "latest", "3.7.0", "none Nothing"),
    ("3.6.0 revoked", "1.33", "8.0.3", "latest", "", "none Nothing"),
    (STEPS, "1.33", "8.0.3", "latest", "", "3.7.0 Install"),
    (STEPS, "1.33", "8.0.3", "latest", "2.7.0", "3.0.0 Upgrade"),
    (STEPS, "1.33", "8.0.3", "latest", "3.0.0", "3.3.0 Upgrade"),
    (STEPS, "1.33", "8.0.3", "latest", "3.1.5", "3.3.0 Upgrade"),
    (STEPS, "1.33", "8.0.3", "latest", "3.3.0", "3.7.0 Upgrade"),
    (STEPS, "1.33", "8.0.3", "latest", "2.6.0", "2.7.0 Upgrade"),
    (STEPS, "1.33", "8.0.3", "=3.7.0", "2.7.0", "none Nothing"),
    (STEPS, "1.33", "8.0.3", "latest", "3.7.0", "3.7.0 Keep"),
];

#[test]
fn the_highest_version_that_fits_is_chosen() {
    let cases = [ORDER, KUBERNETES, VSPHERE, POLICIES, UPGRADES].concat();
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in cases {
        let (releases, kubernetes, vcenters, wish, installed, wanted) = case;
        let installed = (!installed.is_empty()).then(|| installed.parse::<Version>().unwrap());
        let matrix = matrix(Driver::Csi, releases);
        let choice = choose(
            &matrix,
            Driver::Csi,
            &surroundings(kubernetes, vcenters),
            &policy(wish),
            &History::of(installed.as_ref()),
        );
        let version = choice.version.as_ref().map_or("none".to_owned(), ToString::to_string);
        assert_eq!(format!("{version} {:?}", choice.step), wanted, "{case:?}\n{}", choice.explain());
    }
}

/// Returns the failure of the upgrade from 3.6.0 to 3.7.0.
fn failure(retry: &str) -> Failure {
    let (version, from) = (Version::new(3, 7, 0), Version::new(3, 6, 0));
    Failure { version, from, after: 900, why: "why".to_owned(), retry: retry.to_owned() }
}

/// Releases; policy; what is chosen, and the step; why nothing is rolled back.
type Failed = (&'static str, &'static str, &'static str, Option<&'static str>);

const FAILED: &[Failed] = &[
    ("3.6.0, 3.7.0", "latest", "3.6.0 Rollback", None),
    (
        "3.6.0, 3.7.0",
        "patch",
        "3.7.0 Keep",
        Some("3.7.0 stays, as 3.6.0 is no patch of 3.7.0, and the policy is Patch"),
    ),
    ("3.6.0 lts, 3.7.0 lts", "lts", "3.6.0 Rollback", None),
    ("3.6.0, 3.6.1, 3.7.0", "latest", "3.6.0 Rollback", None),
    ("3.6.0, 3.7.0, 3.7.1", "latest", "3.6.0 Rollback", None),
    (
        "3.5.0, 3.7.0, 3.7.1",
        "latest",
        "3.7.1 Upgrade",
        Some("3.7.0 stays, as the matrix does not have 3.6.0"),
    ),
    ("3.6.0, 3.7.0, 3.8.0-rc.1", "latest", "3.6.0 Rollback", None),
    ("3.6.0, 3.7.0 revoked", "latest", "3.6.0 Rollback", None),
    ("3.6.0", "latest", "3.6.0 Rollback", None),
    ("3.5.0, 3.7.0", "latest", "3.7.0 Keep", Some("3.7.0 stays, as the matrix does not have 3.6.0")),
    (
        "3.6.0 revoked, 3.7.0",
        "latest",
        "3.7.0 Keep",
        Some("3.7.0 stays, as 3.6.0 was revoked: it loses data"),
    ),
    (
        "3.6.0 k=1.20, 3.7.0",
        "latest",
        "3.7.0 Keep",
        Some("3.7.0 stays, as 3.6.0 works with Kubernetes 1.20, and the cluster has 1.33.0"),
    ),
    ("3.6.0, 3.7.0", "=3.7.0", "3.7.0 Keep", Some("3.7.0 is pinned and stays: pin 3.6.0 to go back")),
    ("3.6.0, 3.7.0", "=3.6.0", "3.6.0 Downgrade", Some("3.7.0 is pinned and stays: pin 3.6.0 to go back")),
];

#[test]
fn an_upgrade_that_has_failed_is_rolled_back_where_the_version_before_fits() {
    let (installed, failing) = (Version::new(3, 7, 0), failure(""));
    let stored =
        Rejection::Stored { definition: "nodes.cns.example.com".to_owned(), versions: vec!["v2".to_owned()] };
    let mut history = History { failing: Some(&failing), ..History::of(Some(&installed)) };
    let chosen = |releases: &str, wish: &str, history: &History<'_>| {
        let matrix = matrix(Driver::Csi, releases);
        choose(&matrix, Driver::Csi, &surroundings("1.33", "8.0.3"), &policy(wish), history)
    };
    let short = |choice: &Choice| {
        let version = choice.version.as_ref().map_or("none".to_owned(), ToString::to_string);
        format!("{version} {:?}", choice.step)
    };
    for (releases, wish, wanted, stays) in FAILED {
        let choice = chosen(releases, wish, &history);
        assert_eq!(
            (short(&choice).as_str(), choice.stays.as_deref()),
            (*wanted, *stays),
            "{releases} {wish}"
        );
    }
    history.no_way_back = Some(&stored);
    let choice = chosen("3.6.0, 3.7.0", "latest", &history);
    let stays =
        "3.7.0 stays, as 3.6.0 lacks v2 of nodes.cns.example.com, in which objects are or were stored";
    assert_eq!((short(&choice).as_str(), choice.stays.as_deref()), ("3.7.0 Keep", Some(stays)));
}

#[test]
fn a_version_that_has_failed_is_tried_again_only_where_a_person_asks() {
    let failed = [failure("once")];
    let at = |installed: &str, wish: &str, retry: &str| {
        let installed: Version = installed.parse().unwrap();
        let history = History { failed: &failed, retry, ..History::of(Some(&installed)) };
        let matrix = matrix(Driver::Csi, "3.6.0, 3.7.0");
        let choice = choose(&matrix, Driver::Csi, &surroundings("1.33", "8.0.3"), &policy(wish), &history);
        (format!("{} {:?}", choice.version.as_ref().unwrap(), choice.step), choice.explain())
    };
    let why = "CSI 3.6.0 is the highest version that fits\n\
               3.7.0: did not become available within 15 minutes after the upgrade from 3.6.0: why; to try it again, give the annotation \
               vdo.vmware.com/retry-upgrade another value";
    assert_eq!(at("3.6.0", "latest", "once"), ("3.6.0 Keep".to_owned(), why.to_owned()));
    for (installed, wish, retry, wanted) in [
        ("3.6.0", "latest", "twice", "3.7.0 Upgrade"),
        ("3.6.0", "=3.7.0", "once", "3.7.0 Upgrade"),
        ("3.6.0", "=3.6.0", "once", "3.6.0 Keep"),
        // It runs in spite of it.
        ("3.7.0", "latest", "once", "3.7.0 Keep"),
    ] {
        let (chosen, why) = at(installed, wish, retry);
        assert!(
            chosen == wanted && !why.contains("did not become"),
            "{installed} {wish} {retry}: {chosen} {why}"
        );
    }
}

#[test]
fn cpi_is_needed_where_the_matrix_says_so() {
    let matrix = matrix(Driver::Csi, "3.6.0, 3.7.0 cpi");
    let mut surroundings = surroundings("1.33", "8.0.3");
    let version = |surroundings: &Surroundings| {
        choose(&matrix, Driver::Csi, surroundings, &Policy::Latest, &History::default())
            .version
            .unwrap()
            .to_string()
    };
    assert_eq!(version(&surroundings), "3.7.0");
    surroundings.has_cpi = false;
    assert_eq!(version(&surroundings), "3.6.0");
}

#[test]
fn every_rejection_has_its_words() {
    let releases =
        "3.4.0 k=1.20-1.33, 3.5.0 k=1.30-1.32 v=9.0-, 3.6.0 revoked, 3.7.0 cpi from=3.4.0, 3.8.0-rc.1";
    let mut surroundings = surroundings("1.33.1", "8.0.3 7.0.1");
    surroundings.has_cpi = false;
    let installed = Version::new(3, 3, 0);
    let choice = choose(
        &matrix(Driver::Csi, releases),
        Driver::Csi,
        &surroundings,
        &Policy::Latest,
        &History::of(Some(&installed)),
    );
    assert_eq!(
        choice.explain(),
        "CSI 3.4.0 is the highest version that fits\n\
         3.8.0-rc.1: is a version for trial, whose images are not kept\n\
         3.7.0: needs CPI, and none is configured: fill in spec.cloudProvider.vsphereCloudConfigs; can replace 3.4.0 or later, \
         and 3.3.0 is installed: upgrade in steps\n\
         3.6.0: was revoked: it loses data\n\
         3.5.0: works with Kubernetes 1.30 to 1.32, and the cluster has 1.33.1; works with vSphere 9.0 or later, and vc0 has 8.0.3; \
         works with vSphere 9.0 or later, and vc1 has 7.0.1"
    );
    let explain = |releases: &str, wish: &str, installed: &str| {
        let installed = (!installed.is_empty()).then(|| installed.parse::<Version>().unwrap());
        let matrix = matrix(Driver::Csi, releases);
        choose(&matrix, Driver::Csi, &surroundings, &policy(wish), &History::of(installed.as_ref())).explain()
    };
    assert_eq!(explain("", "latest", ""), "the matrix has no version of CSI");
    assert_eq!(explain("3.6.0, 3.7.0", "=3.5.0", ""), "CSI 3.5.0 is pinned, and the matrix does not have it");
    assert_eq!(
        explain("3.6.0", "latest", "3.7.0"),
        "no version of CSI fits\n3.6.0: is older than 3.7.0, which is installed: pin it to go back"
    );
    assert_eq!(
        explain("3.5.0, 3.6.0 revoked", "=3.6.0", ""),
        "no version of CSI fits\n3.6.0: was revoked: it loses data\n3.5.0: is not 3.6.0, which is pinned"
    );
    assert_eq!(
        explain("3.6.0", "lts", ""),
        "no version of CSI fits\n3.6.0: is not marked as lts in the matrix, and the policy is LTS"
    );
    assert_eq!(
        explain("3.6.0", "patch", "3.5.2"),
        "no version of CSI fits\n3.6.0: is no patch of 3.5.2, and the policy is Patch"
    );
}

#[test]
fn auto_upgrade_of_the_original_is_a_policy() {
    let installed = Version::new(3, 6, 0);
    assert_eq!(Policy::of_auto_upgrade(true, Some(&installed)), Policy::Latest);
    assert_eq!(Policy::of_auto_upgrade(true, None), Policy::Latest);
    assert_eq!(Policy::of_auto_upgrade(false, None), Policy::Latest);
    assert_eq!(Policy::of_auto_upgrade(false, Some(&installed)), Policy::Pinned(installed.clone()));
}

/// What the built-in matrix answers today, for a cluster on vSphere 8.
#[test]
fn the_matrix_that_is_built_in_has_a_version_for_each_supported_kubernetes() {
    let matrix = Matrix::built_in().unwrap();
    let rows = [
        ("1.36", "1.36.0", "3.8.0"),
        ("1.35", "1.35.1", "3.8.0"),
        ("1.34", "1.34.0", "3.8.0"),
        ("1.33", "1.33.1", "3.7.3"),
        ("1.32", "1.32.3", "3.6.3"),
        ("1.31", "1.31.1", "3.5.1"),
        ("1.30", "1.30.2", "3.4.0"),
        ("1.29", "1.29.2", "3.3.1"),
        ("1.28", "1.28.1", "3.3.1"),
    ];
    for (kubernetes, cpi, csi) in rows {
        let surroundings = surroundings(kubernetes, "8.0.3");
        let version = |driver| {
            choose(&matrix, driver, &surroundings, &Policy::Latest, &History::default())
                .version
                .unwrap()
                .to_string()
        };
        assert_eq!(
            (version(Driver::Cpi).as_str(), version(Driver::Csi).as_str()),
            (cpi, csi),
            "{kubernetes}"
        );
        assert_eq!(version(Driver::Cni), "2.7.0");
    }
}
