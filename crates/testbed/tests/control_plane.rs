//! Tests of the control plane: RBAC, restarts, several planes at the same time, cleanup.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use testbed::{ControlPlane, client, eventually};

/// The time limit of a wait, far above the seconds that it takes on an idle machine.
const SOON: Duration = Duration::from_mins(5);

/// Is set in the child process that a test kills.
const OWNER: &str = "TESTBED_TEST_OWNER";

const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
";

#[tokio::test]
async fn a_service_account_has_the_rights_of_its_role_only() {
    let plane = ControlPlane::builder().audit(true).priority_and_fairness(true).start().await.unwrap();
    plane.kubectl(&["create", "serviceaccount", "reader"]).await.unwrap();
    plane.kubectl_stdin(&["apply", "-f", "-"], READER).await.unwrap();
    let kubeconfig = plane.service_account_kubeconfig("default", "reader").await.unwrap();
    let mode = std::fs::metadata(&kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let reader = client(&kubeconfig).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(reader.clone());
    eventually("the root CA is published", SOON, async || Ok(maps.get_opt("kube-root-ca.crt").await?))
        .await
        .unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(reader);
    let error = secrets.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 403), "{error}");

    let forbidden = eventually("the refusal is in the audit log", SOON, async || {
        let events = plane.audit_events()?.into_iter();
        Ok(events
            .filter(|event| event.user == "system:serviceaccount:default:reader")
            .find(|event| event.code == 403))
    });
    let forbidden = forbidden.await.unwrap();
    assert_eq!((forbidden.verb.as_str(), forbidden.resource.as_str()), ("list", "secrets"));
    assert!(!forbidden.is_write());

    let version = plane.kubectl(&["version"]).await.unwrap();
    assert!(version.contains("Server Version: v1.") && !version.contains("WARNING"), "{version}");
    let error = plane.kubectl(&["get", "nothing"]).await.unwrap_err().to_string();
    assert!(error.contains("the server doesn't have a resource type \"nothing\""), "{error}");
}

#[tokio::test]
async fn an_api_server_keeps_its_objects_over_a_restart_and_planes_are_separate() {
    let (first, second) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    let (mut first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.url(), second.url());
    first.kubectl(&["create", "configmap", "kept"]).await.unwrap();
    let url = first.url().to_owned();

    first.stop_apiserver().await.unwrap();
    assert!(first.kubectl(&["get", "configmap", "kept"]).await.is_err());
    second.kubectl(&["create", "configmap", "other"]).await.unwrap();
    first.start_apiserver().await.unwrap();
    assert_eq!(first.url(), url);
    first.kubectl(&["get", "configmap", "kept"]).await.unwrap();
    assert!(first.kubectl(&["get", "configmap", "other"]).await.is_err());

    // The controllers run after the restart: a new namespace gets its ServiceAccount.
    first.kubectl(&["create", "namespace", "later"]).await.unwrap();
    eventually("the new namespace's ServiceAccount", SOON, async || {
        Ok(Some(first.kubectl(&["get", "serviceaccount", "default", "-n", "later"]).await?))
    })
    .await
    .unwrap();

    let mut left = resources_of(&first);
    left.extend(resources_of(&second));
    let directories = [first.directory().to_owned(), second.directory().to_owned()];
    drop((first, second));
    assert!(left.iter().chain(&directories).all(|path| !path.exists()), "{left:?} {directories:?}");
}

#[tokio::test]
async fn nothing_survives_a_killed_owner() {
    if std::env::var_os(OWNER).is_some() {
        own_a_plane().await.unwrap();
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["nothing_survives_a_killed_owner", "--exact", "--nocapture"])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
    let paths =
        |key| lines.iter().filter_map(move |line| line.split_once(key)).map(|(_, path)| PathBuf::from(path));
    let left: Vec<PathBuf> = paths("left: ").collect();
    assert_eq!(left.len(), 4, "etcd, API server, controller manager and etcd's data: {left:?}");
    assert!(left.iter().all(|path| path.exists()), "{left:?}");

    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("processes and data are gone", SOON, async || {
        Ok(left.iter().all(|path| !path.exists()).then_some(()))
    })
    .await
    .unwrap();
    // Logs and keys of a killed owner are kept for a day; this test needs none.
    for logs in paths("logs: ") {
        std::fs::remove_dir_all(logs).unwrap();
    }
}

/// Runs in the child process: starts a control plane and waits until the test kills the process or closes its stdin.
async fn own_a_plane() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for path in resources_of(&plane) {
        println!("left: {}", path.display());
    }
    println!("logs: {}", plane.directory().display());
    println!("ready");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}

/// Returns what must disappear with the plane: its processes and etcd's data.
fn resources_of(plane: &ControlPlane) -> Vec<PathBuf> {
    let mut left: Vec<_> =
        plane.pids().iter().map(|(_, pid)| PathBuf::from(format!("/proc/{pid}"))).collect();
    left.extend(etcd_data(plane));
    left
}

/// Returns the path of etcd's data.
fn etcd_data(plane: &ControlPlane) -> Result<PathBuf> {
    let (_, etcd) =
        plane.pids().into_iter().find(|(name, _)| *name == "etcd").context("etcd does not run")?;
    let arguments = std::fs::read(Path::new("/proc").join(etcd.to_string()).join("cmdline"))?;
    let arguments = String::from_utf8(arguments)?;
    let data = arguments.split('\0').find_map(|argument| argument.strip_prefix("--data-dir="));
    Ok(data.context("etcd has no --data-dir")?.into())
}

/// Objects of a test: of a kind of its own, with a finalizer that no controller removes, in a namespace of its own, and one that refuses requests.
const LEFT: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: left}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: held, namespace: left, finalizers: [example.com/held]}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: held, finalizers: [example.com/held]}
---
apiVersion: v1
kind: Event
metadata: {name: happened, namespace: default}
involvedObject: {kind: Thing, name: held, namespace: default}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: down}
webhooks:
- name: down.example.com
  clientConfig: {url: 'https://127.0.0.1:1/'}
  rules: [{apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: [configmaps, things]}]
  admissionReviewVersions: [v1]
  sideEffects: None
";
const THINGS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {kind: Thing, plural: things, singular: thing}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";

#[tokio::test]
async fn a_plane_goes_back_to_its_baseline_unless_that_has_changed() {
    let plane = ControlPlane::builder().audit(true).all_controllers(true).start().await.unwrap();
    plane.kubectl(&["create", "deployment", "stays", "--image=registry.example.com/stays"]).await.unwrap();
    plane.kubectl_stdin(&["apply", "-f", "-"], READER).await.unwrap();
    let baseline = plane.baseline().await.unwrap();
    plane.kubectl_stdin(&["apply", "-f", "-"], THINGS).await.unwrap();
    plane.kubectl(&["wait", "--for=condition=Established", "crd/things.example.com"]).await.unwrap();
    plane.kubectl_stdin(&["create", "-f", "-"], LEFT).await.unwrap();

    plane.go_back(&baseline).await.unwrap();
    let names = async |kind: &str| plane.kubectl(&["get", kind, "-A", "-o", "name"]).await.unwrap();
    for kind in ["validatingwebhookconfigurations", "crd"] {
        assert_eq!(names(kind).await, "", "{kind}");
    }
    assert!(!names("namespaces").await.contains("left"));
    assert!(!names("events").await.contains("happened"));
    assert_eq!(names("deployments").await.trim(), "deployment.apps/stays");
    let requests = plane.audit_events().unwrap();
    assert!(!requests.iter().any(|request| request.resource == "things"), "{requests:?}");

    let grant = ["patch", "role", "reader", "--type=json", "-p"];
    let rule = r#"[{"op": "add", "path": "/rules/0/verbs/-", "value": "delete"}]"#;
    plane.kubectl(&[&grant[..], &[rule]].concat()).await.unwrap();
    let refusal = plane.go_back(&baseline).await.unwrap_err().to_string();
    assert_eq!(refusal, "rbac.authorization.k8s.io/roles/default/reader has changed");
}
