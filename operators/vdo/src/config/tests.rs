//! Files, byte for byte; what is refused; and round trips through readers of both formats.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::problem::Problem;
use crate::version::Version;

const PASSWORD: &str = " p\"a\\ss#;wörd";

fn vcenter(server: &str, trust: Trust) -> Vcenter {
    let account = Account { username: "csi@vsphere.local".to_owned(), password: Secret::new(PASSWORD) };
    Vcenter { server: server.to_owned(), port: 443, datacenters: vec!["DC0".to_owned()], account, trust }
}

fn fingerprint() -> Trust {
    Trust::Fingerprint(vec!["AB"; 20].join(":"))
}

fn csi(version: &str, vcenters: Vec<Vcenter>) -> Csi {
    Csi {
        version: version.parse().unwrap(),
        vcenters,
        cluster_id: ClusterId::Write("0a1b2c".to_owned()),
        distribution: None,
        zones: None,
        shares: FileShares::default(),
        global: BTreeMap::new(),
        snapshot: BTreeMap::new(),
    }
}

fn cpi(vcenters: Vec<Vcenter>) -> Cpi {
    Cpi { vcenters, labels: None, nodes: Nodes::default() }
}

fn texts(files: &SecretFiles) -> BTreeMap<&str, &str> {
    files.data.iter().map(|(key, text)| (key.as_str(), text.expose())).collect()
}

fn csi_text(csi: &Csi) -> String {
    csi.files().unwrap().data["csi-vsphere.conf"].expose().to_owned()
}

fn problems(csi: &Csi) -> Vec<String> {
    csi.files().unwrap_err().iter().map(ToString::to_string).collect()
}

fn categories(names: &[&str]) -> Zones {
    let category = |name: &&str| Category { name: (*name).to_owned(), label: None };
    Zones::Categories(names.iter().map(category).collect())
}

#[test]
fn cpi_with_one_vcenter() {
    let files = cpi(vec![vcenter("10.0.0.1", fingerprint())]).files().unwrap();
    let data = files.config.data.unwrap();
    assert_eq!(
        data["vsphere.conf"],
        "vcenter:
    \"10.0.0.1\":
        server: \"10.0.0.1\"
        port: 443
        insecureFlag: false
        thumbprint: \"AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\"
        datacenters:
            - \"DC0\"
        secretName: \"cpi-global-secret\"
        secretNamespace: \"kube-system\"
"
    );
    let metadata = files.config.metadata;
    assert_eq!(
        (metadata.name.as_deref(), metadata.namespace.as_deref()),
        (Some("cloud-config"), Some("kube-system"))
    );
    let accounts = files.accounts;
    assert_eq!((accounts.name, accounts.namespace), ("cpi-global-secret", "kube-system"));
    let wanted = [("10.0.0.1.password", PASSWORD), ("10.0.0.1.username", "csi@vsphere.local")];
    assert_eq!(texts(&accounts), BTreeMap::from(wanted));
    assert!(!format!("{accounts:?}").contains("wörd"));
    let object = accounts.object();
    assert_eq!(object.data.unwrap()["10.0.0.1.password"].0, PASSWORD.as_bytes());
}

#[test]
fn cpi_with_vcenters_that_differ_in_everything() {
    let mut second = vcenter("fd01::1", Trust::Authority("PEM\n".to_owned()));
    second.port = 8443;
    second.datacenters = vec!["DC 1".to_owned(), "DC:2".to_owned()];
    let third = Vcenter { datacenters: Vec::new(), ..vcenter("a.example.com", Trust::Insecure) };
    let nodes = Nodes {
        internal_network_subnet_cidr: "10.0.0.0/16".to_owned(),
        external_vm_network_name: "VM \"Network\"".to_owned(),
        ..Nodes::default()
    };
    let labels = Some(("k8s-region".to_owned(), "k8s-zone".to_owned()));
    let cpi = Cpi { vcenters: vec![vcenter("b.example.com", Trust::Image), second, third], labels, nodes };
    let files = cpi.files().unwrap();
    let data = files.config.data.unwrap();
    assert_eq!(data["ca-fd01--1.crt"], "PEM\n");
    assert_eq!(data["vsphere.conf"], include_str!("tests/cpi.yaml"));
    let accounts = texts(&files.accounts);
    assert_eq!(
        (accounts["server_2"], accounts["username_2"], accounts["password_2"]),
        ("fd01::1", "csi@vsphere.local", PASSWORD)
    );
    assert!(accounts.contains_key("a.example.com.username") && accounts.len() == 7);
    // The order in which they are named means nothing.
    let mut turned = cpi.clone();
    turned.vcenters.reverse();
    assert_eq!(turned.files().unwrap().config.data.unwrap(), data);
}

#[test]
fn what_cpi_would_misread_is_refused() {
    let texts = |cpi: Cpi| cpi.files().unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(texts(cpi(vec![]))[0].contains("names no vCenter"));
    let twice = cpi(vec![vcenter("a", Trust::Image), vcenter("a", Trust::Insecure)]);
    assert!(texts(twice)[0].contains("the vCenter a is named twice"));
    let empty =
        Cpi { labels: Some((String::new(), " ".to_owned())), ..cpi(vec![vcenter("a", Trust::Image)]) };
    let fields: Vec<_> = empty.files().unwrap_err().into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["spec.cloudProvider.topology.region", "spec.cloudProvider.topology.zone"]);
}

#[test]
fn csi_with_one_vcenter() {
    let wanted = "[Global]
cluster-id = \"0a1b2c\"

[VirtualCenter \"10.0.0.1\"]
insecure-flag = \"false\"
user = \"csi@vsphere.local\"
password = \" p\\\"a\\\\ss#;wörd\"
port = \"443\"
thumbprint = \"AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\"
datacenters = \"DC0\"
";
    let files = csi("3.7.3", vec![vcenter("10.0.0.1", fingerprint())]).files().unwrap();
    assert_eq!(texts(&files), BTreeMap::from([("csi-vsphere.conf", wanted)]));
    assert_eq!((files.name, files.namespace), ("vsphere-config-secret", "vmware-system-csi"));
    assert!(!format!("{files:?}").contains("wörd"));
    // Before 3.3.0 the fingerprint holds for all vCenters.
    let old = csi_text(&csi("3.2.0", vec![vcenter("10.0.0.1", fingerprint())]));
    let global = "[Global]\ncluster-id = \"0a1b2c\"\nthumbprint = \"AB:AB:";
    assert!(old.starts_with(global) && old.matches("thumbprint").count() == 1, "{old}");
}

#[test]
fn csi_with_everything() {
    let mut csi = csi(
        "3.7.3",
        vec![
            vcenter("b.example.com", Trust::Authority("PEM\n".to_owned())),
            Vcenter {
                datacenters: vec!["A".to_owned(), "B\"C".to_owned()],
                port: 8443,
                ..vcenter("a.example.com", Trust::Insecure)
            },
        ],
    );
    csi.distribution = Some("Open\"Shift\"".to_owned());
    csi.zones = Some(Zones::Categories(vec![
        Category { name: "k8s-region".to_owned(), label: None },
        Category { name: "k8s zone".to_owned(), label: Some("topology.kubernetes.io/zone".to_owned()) },
    ]));
    csi.shares = FileShares {
        clusters: vec!["domain-c8".to_owned(), "domain-c9".to_owned()],
        permissions: vec![
            Permission {
                ips: "10.0.0.0/8".to_owned(),
                access: Some("READ_ONLY".to_owned()),
                root_squash: true,
            },
            Permission::default(),
        ],
        ..FileShares::default()
    };
    csi.global = BTreeMap::from([("query-limit".to_owned(), "100".to_owned())]);
    csi.snapshot = BTreeMap::from([("global-max-snapshots-per-block-volume".to_owned(), "5".to_owned())]);
    let files = csi.files().unwrap();
    assert_eq!(texts(&files)["csi-vsphere.conf"], include_str!("tests/csi-3.7.3.conf"));
    assert_eq!(texts(&files)["ca-b.example.com.crt"], "PEM\n");
    csi.vcenters.reverse();
    assert_eq!(csi_text(&csi), include_str!("tests/csi-3.7.3.conf"), "the order means nothing");
}

#[test]
fn file_volumes_have_the_key_of_the_version() {
    let url = "ds:///vmfs/volumes/vsan:1/";
    let mut old = csi("3.1.2", vec![vcenter("10.0.0.1", Trust::Image)]);
    old.shares.datastore_urls = vec![url.to_owned()];
    old.zones = Some(Zones::RegionAndZone { region: "k8s-region".to_owned(), zone: "k8s-zone".to_owned() });
    let text = csi_text(&old);
    assert!(text.contains("\ntargetvSANFileShareDatastoreURLs = \"ds:///vmfs/volumes/vsan:1/\"\n"), "{text}");
    assert!(text.ends_with("\n[Labels]\nregion = \"k8s-region\"\nzone = \"k8s-zone\"\n"), "{text}");
    for version in ["3.2.0", "3.3.1", "3.7.3"] {
        let new = Csi { version: version.parse().unwrap(), ..old.clone() };
        let found = problems(&new);
        assert!(
            found[0].starts_with("spec.storageProvider.fileVolumes.vsanDataStoreUrl: CSI 3."),
            "{found:?}"
        );
    }
}

#[test]
fn the_cluster_id_is_the_one_in_use() {
    let rows = [
        (None, false, ClusterId::Write("uid".to_owned())),
        (Some(""), false, ClusterId::Write("uid".to_owned())),
        (Some("10.0.0.1"), false, ClusterId::Write("10.0.0.1".to_owned())),
        (None, true, ClusterId::Driver),
        (Some("10.0.0.1"), true, ClusterId::Driver),
    ];
    for (in_use, has_config_map, wanted) in rows {
        assert_eq!(ClusterId::of("uid", in_use, has_config_map), wanted);
    }
    let driver =
        Csi { cluster_id: ClusterId::Driver, ..csi("3.7.3", vec![vcenter("10.0.0.1", Trust::Image)]) };
    assert!(
        csi_text(&driver).starts_with("[Global]\n\n[VirtualCenter"),
        "it ends where the file has one as well"
    );
}

/// Changes a configuration that is good, and returns the one problem that follows.
fn one_problem(change: impl Fn(&mut Csi)) -> String {
    let mut csi = csi("3.7.3", vec![vcenter("10.0.0.1", Trust::Image)]);
    change(&mut csi);
    let found = problems(&csi);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn what_csi_would_misread_is_refused() {
    let many =
        |count: usize| (0..count).map(|at| vcenter(&format!("vc{at}"), Trust::Image)).collect::<Vec<_>>();
    let rows = [
        (
            one_problem(|csi| csi.version = Version::new(2, 2, 1)),
            "version: the keys of CSI 2.2.1 are not known",
        ),
        (one_problem(|csi| csi.vcenters = vec![]), "it names 0 vCenters"),
        (
            one_problem(|csi| (csi.vcenters, csi.zones) = (many(6), Some(categories(&["a"])))),
            "it names 6 vCenters: name one to 5",
        ),
        (one_problem(|csi| csi.vcenters = many(2)), "several vCenters need topology categories"),
        (
            one_problem(|csi| csi.cluster_id = ClusterId::Write("x".repeat(65))),
            "clusterId: it has 65 characters",
        ),
        (
            one_problem(|csi| csi.cluster_id = ClusterId::Write(String::new())),
            "clusterId: it has 0 characters",
        ),
        (
            one_problem(|csi| (csi.version, csi.cluster_id) = (Version::new(2, 7, 0), ClusterId::Driver)),
            "makes no cluster id",
        ),
        (
            one_problem(|csi| csi.vcenters[0].account.username = "administrator".to_owned()),
            "\"administrator\" of 10.0.0.1 has no domain",
        ),
        (
            one_problem(|csi| csi.vcenters[0].account.username = "a b@c".to_owned()),
            "\"a b@c\" of 10.0.0.1 has no domain",
        ),
        (
            one_problem(|csi| csi.vcenters[0].account.password = Secret::new("a\rb")),
            "the password of 10.0.0.1 has a carriage return",
        ),
    ];
    for (found, wanted) in rows {
        assert!(found.contains(wanted), "{found}");
    }
}

#[test]
fn settings_and_topology_that_csi_would_misread_are_refused() {
    let setting = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let rows = [
        (one_problem(|csi| csi.zones = Some(categories(&[]))), "it has 0 topology categories"),
        (
            one_problem(|csi| csi.zones = Some(categories(&["a", "b", "c", "d", "e", "f"]))),
            "it has 6 topology categories",
        ),
        (one_problem(|csi| csi.zones = Some(categories(&["a,b"]))), "\"a,b\" is no name of a tag category"),
        (
            one_problem(|csi| csi.zones = Some(categories(&["a", "a"]))),
            "the tag category \"a\" is named twice",
        ),
        (
            one_problem(|csi| csi.global = setting("querylimit", "1")),
            "Global.querylimit: it is no setting of CSI: write one of cns",
        ),
        (
            one_problem(|csi| csi.global = setting("password", "1")),
            "Global.password: it is no setting of CSI",
        ),
        (one_problem(|csi| csi.global = setting("query-limit", "many")), "\"many\" is no number"),
        (one_problem(|csi| csi.global = setting("vc-client-timeout", "5")), "is gone since 3.3.1"),
        (
            one_problem(|csi| csi.snapshot = setting("query-limit", "5")),
            "Snapshot.query-limit: it is no setting",
        ),
        (one_problem(|csi| csi.shares.clusters = vec!["a,b".to_owned()]), "CSI splits the list at commas"),
    ];
    for (found, wanted) in rows {
        assert!(found.contains(wanted), "{found}");
    }
}

#[test]
fn what_only_a_later_csi_knows_is_refused() {
    let old = |version: Version, change: fn(&mut Csi)| {
        one_problem(|csi| {
            csi.version = version.clone();
            change(csi);
        })
    };
    let set = |csi: &mut Csi| csi.global = BTreeMap::from([("query-limit".to_owned(), "1".to_owned())]);
    assert!(old(Version::new(2, 5, 1), set).contains("choose 2.6.0 or later"));
    assert!(
        old(Version::new(2, 3, 0), |csi| csi.zones = Some(categories(&["a"])))
            .contains("choose 2.4.0 or later")
    );
    let label = |csi: &mut Csi| {
        let label = Some("topology.csi.vmware.com/zone".to_owned());
        csi.zones = Some(Zones::Categories(vec![Category { name: "a".to_owned(), label }]));
    };
    assert!(old(Version::new(2, 4, 0), label).contains("choose 2.5.0 or later"));
    let elsewhere = |csi: &mut Csi| {
        let label = Some("example.com/zone".to_owned());
        csi.zones = Some(Zones::Categories(vec![Category { name: "a".to_owned(), label }]));
    };
    assert!(old(Version::new(3, 7, 3), elsewhere).contains("must begin with topology.csi.vmware.com/"));
    let trusts = |csi: &mut Csi| {
        csi.vcenters = vec![vcenter("a", Trust::Authority("PEM".to_owned())), vcenter("b", Trust::Insecure)];
        csi.zones = Some(categories(&["a"]));
    };
    assert!(old(Version::new(3, 2, 0), trusts).contains("choose 3.3.0 or later"));
    let access = |csi: &mut Csi| {
        let access = Some("WRITE".to_owned());
        csi.shares.permissions = vec![Permission { access, ..Permission::default() }];
    };
    assert!(old(Version::new(3, 7, 3), access).contains("\"WRITE\" is no access"));
}

#[test]
fn user_names_are_those_that_csi_takes() {
    for good in ["a@b", "csi_1.x-y@vsphere.local", "VSPHERE.LOCAL\\csi"] {
        assert!(one_or_none(good).is_none(), "{good}");
    }
    for bad in ["a", "@b", "a@", "a@b@c", "a\\b\\c", "ä@b", "a+b@c", "a b\\c", ""] {
        assert!(one_or_none(bad).is_some(), "{bad}");
    }
}

fn one_or_none(user: &str) -> Option<Vec<Problem>> {
    let mut csi = csi("3.7.3", vec![vcenter("10.0.0.1", Trust::Image)]);
    user.clone_into(&mut csi.vcenters[0].account.username);
    csi.files().err()
}

proptest! {
    /// Whatever the password and the datacenter are, both drivers read them as they are.
    #[test]
    fn both_drivers_read_what_was_meant(password in "[^\r\0]{1,24}", datacenter in "[!-+\\--~é][ -+\\--~é]{0,8}[!-+\\--~é]") {
        let mut vcenter = vcenter("10.0.0.1", Trust::Insecure);
        vcenter.account.password = Secret::new(password.as_str());
        vcenter.datacenters = vec![datacenter.clone()];
        let text = csi_text(&csi("3.7.3", vec![vcenter.clone()]));
        let values = gcfg::tests::parse(&text).map_err(TestCaseError::fail)?;
        let of = |key: &str| &values[&("VirtualCenter".to_owned(), "10.0.0.1".to_owned(), key.to_owned())];
        prop_assert_eq!(of("password"), &password);
        prop_assert_eq!(of("datacenters"), &datacenter);
        let files = cpi(vec![vcenter]).files().unwrap();
        prop_assert_eq!(texts(&files.accounts)["10.0.0.1.password"], password.as_str());
        let config = files.config.data.unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(&config["vsphere.conf"]).unwrap();
        prop_assert_eq!(read["vcenter"]["10.0.0.1"]["datacenters"][0].as_str(), Some(datacenter.as_str()));
        prop_assert_eq!(read["vcenter"]["10.0.0.1"]["insecureFlag"].as_bool(), Some(true));
    }
}

/// CPI sets up no Node where it cannot read one of them.
#[test]
fn subnets_that_cpi_cannot_read_are_refused() {
    for (text, is_refused) in [
        ("10.0.0.0/16", false),
        ("10.0.0.0/8,fd00::/64", false),
        ("10.0.0.0/33", true),
        ("10.0.0.0", true),
        ("10.0.0.0/16, 10.1.0.0/16", true),
        ("10.0.0.0/+8", true),
        ("no-such-thing", true),
    ] {
        let nodes = Nodes { exclude_external_network_subnet_cidr: text.to_owned(), ..Nodes::default() };
        let cpi = Cpi { vcenters: vec![vcenter("vc.example.com", Trust::Image)], labels: None, nodes };
        let problems = cpi.files().err().unwrap_or_default();
        let is_named =
            problems.iter().any(|problem| problem.field.ends_with("excludeExternalNetworkSubnetCidr"));
        assert_eq!(is_named, is_refused, "{text}: {problems:?}");
    }
}
