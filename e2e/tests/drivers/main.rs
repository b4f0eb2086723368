//! vdo's binary with the real CPI and CSI, which run from what it makes. `cargo xtask test drivers` runs this: it needs root and programs
//! whose builds take minutes.

#![allow(clippy::unwrap_used, reason = "a test's helper fails the test, as the test itself does")]

use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::{Value, json};
use testbed::{PodRunner, Tools, Vcsim, eventually};

/// All that the drivers' formats have to escape.
const PASSWORD: &str = r#" p"a\ss#;wörd"#;
const NEXT_PASSWORD: &str = "next\\\"#=[x]; ✓ ";

/// Starts a rig whose Pods of CPI and CSI run; `None` where that cannot be.
async fn start() -> Option<(Tools, VdoRig, PodRunner)> {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return None;
    }
    let (tools, rig) = tokio::try_join!(VdoRig::build_drivers(), VdoRig::start()).unwrap();
    let runner = rig.run_drivers(&tools).unwrap();
    Some((tools, rig, runner))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_drivers_are_installed_kept_upgraded_and_removed() {
    let Some((tools, rig, runner)) = start().await else { return };
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    // As the kubelet and the sidecar node-driver-registrar do.
    rig.register_csi().await.unwrap();
    rig.write_matrix(&rig.real_matrix(&tools, &["1.36.0"]).unwrap()).await.unwrap();
    rig.apply_configs().await.unwrap();
    rig.rotate(PASSWORD).await.unwrap();
    rig.settled(PATIENCE).await.unwrap();
    for number in 1..=3 {
        rig.is_set_up(number).await.unwrap();
    }
    rig.claim("data").await.unwrap();

    // From here on only another password logs in.
    rig.rotate(NEXT_PASSWORD).await.unwrap();
    is_written(&rig, "✓").await;
    rig.settled(PATIENCE).await.unwrap();
    rig.vcenter.expire_sessions().await.unwrap();
    rig.claim("more").await.unwrap();

    // A newer version of CPI, which sets a new Node up.
    rig.write_matrix(&rig.real_matrix(&tools, &["1.36.0", "1.36.1"]).unwrap()).await.unwrap();
    rig.cpi_becomes(":v1.36.1", PATIENCE).await.unwrap();
    rig.add_machine(4).await.unwrap();
    rig.join(4).await.unwrap();
    rig.is_set_up(4).await.unwrap();
    rig.register(4).await.unwrap();
    rig.settled(PATIENCE).await.unwrap();

    rig.delete("vdo").await.unwrap();
    let status = rig.reason("vdo", "VolumesInUse").await.unwrap();
    assert!(status.to_string().contains("PersistentVolume pvc-"), "{status}");
    rig.kubectl(&["-n", "default", "delete", "persistentvolumeclaim", "data", "more"]).await.unwrap();
    rig.gone("vdo").await.unwrap();
    assert_eq!(rig.drivers().await.unwrap().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    for container in runner.containers() {
        assert!(!container.log().contains("is forbidden"), "{}: {}", container.container, container.log());
    }
}

/// Waits until the account of CSI has this text.
async fn is_written(rig: &VdoRig, text: &str) {
    eventually("CSI has the password", PATIENCE, async || {
        let drivers = rig.drivers().await?;
        let secret = drivers.get("Secret vmware-system-csi/vsphere-config-secret").map(Value::to_string);
        anyhow::ensure!(secret.is_some_and(|secret| secret.contains(text)), "it has another one");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// One vCenter is checked by its thumbprint and one with its authority, each with its own password.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_cpi_sets_up_nodes_of_two_vcenters() {
    let Some((tools, rig, _runner)) = start().await else { return };
    let second = Vcsim::builder().release("8.0.3", "8.0.3.0", "24022515").password(NEXT_PASSWORD);
    let second = second.start().await.unwrap();
    rig.add_machine_to(&second, 4).await.unwrap();
    rig.join(4).await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    let account = |name: &str, user: &str, password: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"username": user, "password": password}})
    };
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "vdo.vmware.com/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    // CPI tells vCenters apart by their host, and both listen on this machine.
    let host = second.host().replace("127.0.0.1", "localhost");
    let items = [
        account("first", rig.vcenter.user(), rig.vcenter.password()),
        account("second", second.user(), second.password()),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority"},
            "data": {"ca.crt": second.ca_pem()}}),
        object(
            "CompatibilityMatrix",
            "matrix",
            json!({"inline": rig.real_matrix(&tools, &["1.36.0"]).unwrap().to_string()}),
        ),
        object(
            "VSphereConnection",
            "first",
            json!({"server": rig.vcenter.host(), "credentials": "first", "thumbprint": rig.vcenter.thumbprint_sha1(), "datacenters": ["DC0"]}),
        ),
        object(
            "VSphereConnection",
            "second",
            json!({"server": host, "credentials": "second", "certificateAuthority": "authority", "datacenters": ["DC0"]}),
        ),
        object("DriverSet", "set", json!({"matrix": "matrix", "cpi": {"connections": ["first", "second"]}})),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    rig.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &list.to_string()).await.unwrap();
    for number in 1..=4 {
        rig.is_set_up(number).await.unwrap();
    }
}
