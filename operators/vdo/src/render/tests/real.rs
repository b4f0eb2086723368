//! The manifests of the projects, where `MANIFESTS_DIR` has them: `<driver>/v<version>.yaml`.

use super::*;

/// Returns the manifests of a driver, with the version that their name says.
fn manifests(driver: Driver) -> Vec<(Version, Vec<DynamicObject>)> {
    let Some(directory) = crate::test_data::directory("MANIFESTS_DIR", "manifests") else {
        return Vec::new();
    };
    let folder = match driver {
        Driver::Cni => "antrea",
        Driver::Cpi => "cpi",
        Driver::Snapshots => "snapshot-controller",
        Driver::Csi => "csi",
    };
    let Ok(files) = std::fs::read_dir(directory.join(folder)) else {
        eprintln!("skipped: {} has no folder {folder}", directory.display());
        return Vec::new();
    };
    let mut found: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter_map(|path| {
            let version: Version = path.file_stem()?.to_str()?.parse().ok()?;
            let text = std::fs::read_to_string(&path).unwrap();
            Some((version, parse(&text).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn count(rendered: &Rendered) -> usize {
    rendered.waves.iter().map(Vec::len).sum()
}

fn kinds(wave: &[DynamicObject]) -> Vec<&str> {
    let mut kinds: Vec<_> = wave.iter().map(kind_of).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// What holds for each driver: nothing is lost, nothing is invented, and a second pass changes nothing.
fn check(
    driver: Driver,
    version: &Version,
    objects: &[DynamicObject],
    dropped: usize,
    added: usize,
) -> Rendered {
    let settings = Settings {
        kubelet: Some("/var/data/kubelet".to_owned()),
        control_plane_nodes: 1,
        ..Settings::new(driver, version.clone(), 1)
    };
    let rendered = render(objects.to_vec(), Vec::new(), &settings)
        .unwrap_or_else(|found| panic!("{version}: {found:?}"));
    assert_eq!(count(&rendered), objects.len() - dropped + added, "{driver} {version}");
    assert_eq!(
        render(rendered.waves.concat(), Vec::new(), &settings).unwrap(),
        rendered,
        "{driver} {version}"
    );
    let text = serde_json::to_string(&rendered.waves).unwrap();
    assert!(!text.contains("/var/lib/kubelet"), "{driver} {version}");
    for object in rendered.waves.iter().flatten().filter(|object| kind_of(object) == "Deployment") {
        assert_eq!(object.data["spec"]["replicas"], 1, "{}", name_of(object));
    }
    rendered
}

#[test]
fn cpi_is_rendered() {
    for (version, objects) in manifests(Driver::Cpi) {
        let rendered = check(Driver::Cpi, &version, &objects, 2, 0);
        assert_eq!(
            rendered.images,
            [format!("registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v{version}")]
        );
        assert_eq!(rendered.waves.len(), 2);
        assert_eq!(kinds(&rendered.waves[1]), ["DaemonSet"]);
        let all = serde_json::to_string(&rendered.waves).unwrap();
        assert!(!all.contains("vsphere-cloud-config") && !all.contains("vsphere-cloud-secret"), "{version}");
        assert!(all.contains(r#""configMap":{"name":"cloud-config"}"#), "{version}");
    }
}

#[test]
fn csi_is_rendered() {
    for (version, objects) in manifests(Driver::Csi) {
        let rendered = check(Driver::Csi, &version, &objects, 0, 1);
        assert_eq!(kinds(&rendered.waves[0]), ["Namespace"]);
        assert_eq!(
            (kinds(&rendered.waves[2]), kinds(&rendered.waves[3])),
            (vec!["Deployment"], vec!["DaemonSet"])
        );
        assert_eq!(rendered.waves.len(), 4);
        let before: Vec<_> = objects.iter().flat_map(images_of).collect();
        for image in &rendered.images {
            let is_own = image.ends_with(&format!("/driver:v{version}"))
                || image.ends_with(&format!("/syncer:v{version}"));
            assert!(
                is_own || before.contains(image),
                "{version}: {image} is a sidecar, and keeps its version"
            );
        }
    }
}

#[test]
fn the_snapshot_controller_is_rendered() {
    for (version, objects) in manifests(Driver::Snapshots) {
        let rendered = check(Driver::Snapshots, &version, &objects, 0, 0);
        assert_eq!(rendered.images, [format!("registry.k8s.io/sig-storage/snapshot-controller:v{version}")]);
        let stages: Vec<_> = rendered.waves.iter().map(|wave| kinds(wave)).collect();
        assert_eq!(stages[0], ["CustomResourceDefinition"]);
        assert_eq!(stages.last().unwrap(), &["Deployment"]);
    }
}

#[test]
fn antrea_is_rendered() {
    for (version, objects) in manifests(Driver::Cni) {
        let rendered = check(Driver::Cni, &version, &objects, 0, 0);
        assert_eq!(
            rendered.images,
            ["agent", "controller"].map(|part| format!("antrea/antrea-{part}-ubuntu:v{version}"))
        );
        let stages: Vec<_> = rendered.waves.iter().map(|wave| kinds(wave)).collect();
        assert_eq!(stages[0], ["CustomResourceDefinition"]);
        assert_eq!(
            stages[2],
            ["DaemonSet", "Deployment"],
            "without a network, the controller waits for the agents"
        );
        assert_eq!(
            stages[3],
            ["APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
        );
        let upgrade = Settings { is_upgrade: true, ..Settings::new(Driver::Cni, version, 3) };
        let upgraded = render(objects, Vec::new(), &upgrade).unwrap();
        let stages: Vec<_> = upgraded.waves.iter().map(|wave| kinds(wave)).collect();
        assert_eq!((stages[2].clone(), stages[3].clone()), (vec!["Deployment"], vec!["DaemonSet"]));
        let controller = find(&upgraded, "Deployment kube-system/antrea-controller");
        let tolerations = controller["spec"]["template"]["spec"]["tolerations"].to_string();
        assert!(tolerations.contains("uninitialized") && tolerations.contains("not-ready"), "{tolerations}");
        let volumes = controller["spec"]["template"]["spec"]["volumes"].to_string();
        assert!(volumes.contains(r#""defaultMode":256"#), "0400 is octal: {volumes}");
    }
}
