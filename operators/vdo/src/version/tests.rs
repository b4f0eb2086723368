use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn drivers_are_in_the_total_order_of_semantic_versions() {
    let ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-rc.2",
        "1.0.0-rc.10",
        "1.0.0",
        "1.36.0-rc.0",
        "v1.36.0",
        "1.36.10",
        "2.9.0",
        "2.10",
        "3.0",
        "3.7.3",
        "v3.10.0",
        "10",
    ];
    for pair in ordered.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{} is older than {}", pair[0], pair[1]);
    }
    assert_eq!(version("v3.0"), version("3.0.0"));
    assert_eq!(version(" 3 ").to_string(), "3.0.0");
    assert!(version("1.36.0-rc.0").is_pre_release());
    assert!(!version("1.36.0+build.5").is_pre_release());
    for bad in ["", "v", "latest", "1.2.3.4", "1.x", "-1.0.0", "1..2", "1.2.3-"] {
        let error = bad.parse::<Version>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{bad:?} is no version of a driver: write one such as 3.7.3 or 1.36.0-rc.1")
        );
    }
}

#[test]
fn kubernetes_is_read_as_providers_write_it() {
    let cases = [
        ("v1.33.4", (1, 33, 4)),
        ("1.33", (1, 33, 0)),
        ("1.33+", (1, 33, 0)),
        ("v1.33.4-gke.1200", (1, 33, 4)),
        ("v1.33.2+rke2r1", (1, 33, 2)),
        ("v1.34.1-eks-a1b2c3", (1, 34, 1)),
        ("1.36.0-rc.1", (1, 36, 0)),
    ];
    for (text, (major, minor, patch)) in cases {
        assert_eq!(text.parse(), Ok(Kubernetes { major, minor, patch }), "{text}");
    }
    for bad in ["", "1", "v1", "1.x", "1.33.4.5", "1.+"] {
        assert!(bad.parse::<Kubernetes>().is_err(), "{bad:?}");
    }
}

#[test]
fn vsphere_is_read_as_vcenters_and_people_write_it() {
    let cases = [
        ("8.0", (8, 0, 0)),
        ("8.0.3", (8, 0, 3)),
        ("8.0.3.00400", (8, 0, 3)),
        ("8.0 U3", (8, 0, 3)),
        ("8.0U2", (8, 0, 2)),
        ("6.7 Update 3", (6, 7, 3)),
        ("6.7.0 U3f", (6, 7, 3)),
        ("9.0.2.0", (9, 0, 2)),
    ];
    for (text, (major, minor, update)) in cases {
        assert_eq!(text.parse(), Ok(Vsphere { major, minor, update }), "{text}");
    }
    for bad in ["", "8", "8.0.1 U3", "8.0 beta 1", "8.0.0.0.0", "U3"] {
        assert!(bad.parse::<Vsphere>().is_err(), "{bad:?}");
    }
}

/// Version, API version and build that a vCenter says; and what that is.
type About = (&'static str, Option<&'static str>, Option<&'static str>, (u64, u64, u64));

#[test]
fn the_update_of_vsphere_6_7_is_in_its_build_or_api_version() {
    let cases: [About; 11] = [
        ("6.7.0", None, Some("14367737"), (6, 7, 3)),
        ("6.7.0", None, Some("14368073"), (6, 7, 3)),
        ("6.7.0", None, Some("15976728"), (6, 7, 3)),
        ("6.7.0", None, Some("13010631"), (6, 7, 2)),
        ("6.7.0", None, Some("14367736"), (6, 7, 2)),
        ("6.7.0", None, Some("10244745"), (6, 7, 1)),
        ("6.7.0", None, Some("8217866"), (6, 7, 0)),
        ("6.7.0", Some("6.7.3"), None, (6, 7, 3)),
        ("6.7.0", Some("6.5"), Some("x"), (6, 7, 0)),
        ("8.0.0", Some("8.0.2.0"), Some("22617221"), (8, 0, 2)),
        ("7.0.3", Some("7.0.2.0"), Some("14367737"), (7, 0, 3)),
    ];
    for (version, api, build, (major, minor, update)) in cases {
        let found = from_about(version, api, build).unwrap();
        assert_eq!(found, Vsphere { major, minor, update }, "{version} {api:?} {build:?}");
    }
    assert!(from_about("unknown", None, None).is_err());
}

#[test]
fn a_number_that_a_bound_lacks_stands_for_any() {
    let range = |min: &str, max: &str| Range {
        min: (!min.is_empty()).then(|| min.parse().unwrap()),
        max: (!max.is_empty()).then(|| max.parse().unwrap()),
    };
    let cases = [
        (range("1.25", "1.27"), "1.27.9", true, "1.25 to 1.27"),
        (range("1.25", "1.27"), "1.28.0", false, "1.25 to 1.27"),
        (range("1.25.3", ""), "1.25.2", false, "1.25.3 or later"),
        (range("1.25.3", ""), "1.25.3", true, "1.25.3 or later"),
        (range("", "1.27.1"), "1.27.1", true, "1.27.1 or earlier"),
        (range("", "1.27.1"), "1.27.2", false, "1.27.1 or earlier"),
        (range("1.36", "1.36"), "1.36.7", true, "1.36"),
        (range("1", "1"), "1.99.0", true, "1"),
        (range("", ""), "0.0.0", true, "any version"),
    ];
    for (range, version, wanted, text) in cases {
        let version: Kubernetes = version.parse().unwrap();
        assert_eq!(range.contains(&version), wanted, "{version} in {range}");
        assert_eq!(range.to_string(), text);
    }
    assert!(range("1.36", "1.36").is_one_minor());
    assert!(!range("1.35", "1.36").is_one_minor() && !range("1.36.0", "1.36.0").is_one_minor());
    assert!(range("1.27", "1.26").is_empty() && range("8.0.2", "8.0.1").is_empty());
    assert!(!range("1.27", "1.27.3").is_empty() && !range("", "1").is_empty());
    for bad in ["", "1.x", "1.2.3.4.5", "latest"] {
        assert!(bad.parse::<Bound>().is_err(), "{bad:?}");
    }
}
