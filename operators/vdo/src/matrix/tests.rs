use super::*;
use crate::version::Kubernetes;

/// The form of the original's own matrix.
const ORIGINAL: &str = r#"{
  "CSI" : {
    "3.0.0" : {
      "vSphere": { "min": "6.7.1", "max": "8.2.0" },
      "k8s": { "min": "1.25", "max": "1.27" },
      "isCPIRequired": false,
      "deploymentPath": [ "https://example.com/csi/3.0.0/namespace.yaml", "https://example.com/csi/3.0.0/vsphere-csi-driver.yaml" ]
    }
  },
  "CPI" : {
    "1.24.0": {
      "vSphere": { "min": "6.7.1", "max": "8.0" },
      "k8s": { "skewVersion": "1.24" },
      "deploymentPath": [ "https://example.com/cpi/1.24.0/ds.yaml" ]
    }
  }
}"#;

#[test]
fn the_form_of_the_original_is_read() {
    let matrix = Matrix::parse(ORIGINAL).unwrap();
    let csi = matrix.release(Driver::Csi, &Version::new(3, 0, 0)).unwrap();
    assert_eq!(csi.vsphere.to_string(), "6.7.1 to 8.2.0");
    assert_eq!(csi.kubernetes.to_string(), "1.25 to 1.27");
    assert_eq!((csi.is_cpi_required, csi.manifests.len()), (false, 2));
    let cpi = matrix.release(Driver::Cpi, &Version::new(1, 24, 0)).unwrap();
    assert_eq!((cpi.kubernetes.to_string().as_str(), cpi.kubernetes.is_one_minor()), ("1.24", true));
    assert_eq!(matrix.releases(Driver::Cni).count(), 0);
    assert!(matrix.ignored.is_empty());
    assert_eq!(Matrix::parse("{}").unwrap(), Matrix::default());
}

#[test]
fn what_the_original_does_not_have_is_optional_and_what_is_unknown_is_named() {
    let text = r#"{"CNI": {"v2.7.0": {"deploymentPath": ["a"]}}, "CSI": {"3.7": {"deploymentPath": ["a"], "revoked": "data loss",
        "lts": true, "upgradeFrom": "3.0", "source": "notes", "revokd": "x", "k8s": {"min": "1.33+", "mx": "1"}}}, "CSX": {}}"#;
    let matrix = Matrix::parse(text).unwrap();
    let csi = matrix.release(Driver::Csi, &Version::new(3, 7, 0)).unwrap();
    assert_eq!(csi.revoked.as_deref(), Some("data loss"));
    assert_eq!((csi.is_lts, csi.source.as_deref()), (true, Some("notes")));
    assert_eq!(csi.upgrade_from, Some(Version::new(3, 0, 0)));
    assert_eq!(csi.kubernetes.to_string(), "1.33 or later");
    assert_eq!(matrix.ignored, ["CSX", "CSI.3.7.revokd", "CSI.3.7.k8s.mx"]);
    let cni = matrix.release(Driver::Cni, &Version::new(2, 7, 0)).unwrap();
    assert_eq!(
        (cni.vsphere.to_string().as_str(), cni.kubernetes.to_string().as_str()),
        ("any version", "any version")
    );
}

#[test]
fn what_is_no_matrix_is_refused_with_its_place() {
    let csi = |release: &str| format!(r#"{{"CSI": {{"3.0.0": {release}}}}}"#);
    let cases = [
        (String::new(), "the matrix is not of the form"),
        ("[]".to_owned(), "the matrix is not of the form"),
        (r#"{"CSI": []}"#.to_owned(), "the matrix is not of the form"),
        (
            r#"{"CSI": {"latest": {"deploymentPath": ["a"]}}}"#.to_owned(),
            "CSI.latest of the matrix: \"latest\" is no version of a driver",
        ),
        (
            csi(r#"{"k8s": {"min": "x"}, "deploymentPath": ["a"]}"#),
            "CSI.3.0.0.k8s.min of the matrix: \"x\" is no version of a range",
        ),
        (
            csi(r#"{"vSphere": {"min": "8.0.2", "max": "8.0.1"}, "deploymentPath": ["a"]}"#),
            "CSI.3.0.0.vSphere of the matrix: no version is from 8.0.2 to 8.0.1: swap the two",
        ),
        (csi(r#"{"upgradeFrom": "y", "deploymentPath": ["a"]}"#), "CSI.3.0.0.upgradeFrom of the matrix"),
        (csi("{}"), "CSI 3.0.0 of the matrix has no deploymentPath"),
        (
            r#"{"CSI": {"3.0": {"deploymentPath": ["a"]}, "3.0.0": {"deploymentPath": ["a"]}}}"#.to_owned(),
            "CSI 3.0.0 is twice in the matrix",
        ),
    ];
    for (text, wanted) in cases {
        let error = Matrix::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{text}: {error}");
    }
}

#[test]
fn the_matrix_that_is_built_in_is_whole() {
    let matrix = Matrix::built_in().unwrap();
    assert!(matrix.ignored.is_empty(), "{:?}", matrix.ignored);
    for driver in Driver::ALL {
        assert!(matrix.releases(driver).count() > usize::from(driver != Driver::Snapshots), "{driver}");
        for (version, release) in matrix.releases(driver) {
            let text = version.to_string();
            assert!(!version.is_pre_release(), "{driver} {text}: images of trials are not kept");
            assert!(release.source.is_some(), "{driver} {text} has no source");
            for path in &release.manifests {
                assert!(path.starts_with("https://") && path.contains(&format!("/v{text}/")), "{path}");
            }
        }
    }
    // CPI has the minor version of its Kubernetes.
    for (version, release) in matrix.releases(Driver::Cpi) {
        let (major, minor) = version.minor();
        assert!(release.kubernetes.is_one_minor(), "{version}");
        assert!(release.kubernetes.contains(&Kubernetes { major, minor, patch: 9 }), "{version}");
    }
}

#[test]
fn the_config_map_names_one_matrix() {
    let data = |pairs: &[(&str, &str)]| {
        settings(&pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect())
    };
    let url = Source::Url("https://example.com/m.json".to_owned());
    let of = |source: &Source, auto_upgrade| Ok(Settings { source: source.clone(), auto_upgrade });
    let named = ("versionConfigURL", " https://example.com/m.json\n");
    assert_eq!(data(&[named]), of(&url, false));
    assert_eq!(data(&[named, ("versionConfigContent", ""), ("auto-upgrade", "disabled")]), of(&url, false));
    assert_eq!(data(&[named, ("auto-upgrade", "Enabled")]), of(&url, true));
    assert_eq!(data(&[("versionConfigContent", "{}")]), of(&Source::Content("{}".to_owned()), false));
    assert!(data(&[]).unwrap_err().contains("names no matrix"));
    assert!(data(&[named, ("versionConfigContent", "{}")]).unwrap_err().contains("remove one of the two"));
    assert!(data(&[named, ("auto-upgrade", "perhaps")]).unwrap_err().contains("\"perhaps\""));
}
