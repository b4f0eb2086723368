//! The cache of clients: what it creates, keeps, replaces and refuses. One control plane is the management cluster
//! and all workload clusters.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use infra_clients::capi::{Error, Kind, Limits, Stats, WorkloadClients, connect, secret_name};
use infra_clients::{Class, Failure};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::{ControlPlane, eventually};
use tokio::net::TcpListener;

use crate::proxy::Proxy;
use crate::{PATIENT, SOON};

/// A control plane behind a proxy that counts connections, and its users.
struct Rig {
    plane: ControlPlane,
    proxy: Proxy,
}

impl Rig {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::builder().audit(true).start().await?;
        let accounts: Api<ServiceAccount> = Api::default_namespaced(plane.client());
        for name in ["any", "old", "new"] {
            let account = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            accounts.create(&PostParams::default(), &account).await?;
        }
        let proxy = Proxy::start(plane.url()).await?;
        Ok(Self { plane, proxy })
    }

    /// Returns the kubeconfig of a ServiceAccount, through the proxy.
    async fn kubeconfig(&self, account: &str) -> Result<Value> {
        let file = self.plane.service_account_kubeconfig("default", account).await?;
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
        kubeconfig["clusters"][0]["cluster"]["server"] = self.proxy.url().into();
        Ok(kubeconfig)
    }

    /// Writes a kubeconfig into a Cluster's Secret.
    async fn hand_out(&self, cluster: &str, kubeconfig: &Value) -> Result<Secret> {
        let secrets: Api<Secret> = Api::default_namespaced(self.plane.client());
        let name = secret_name(cluster);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "cluster.x-k8s.io/secret",
            "stringData": {"value": kubeconfig.to_string()},
        });
        Ok(secrets.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await?)
    }

    fn clients(&self) -> WorkloadClients {
        WorkloadClients::new(self.plane.client(), connect).with_limits(PATIENT)
    }

    /// Waits until this many requests of a ServiceAccount are logged: a request may be answered before it is logged.
    async fn logged(&self, account: &str, requests: usize) -> Result<()> {
        eventually(&format!("{requests} requests of {account} are logged"), SOON, async || {
            Ok((self.requests_of(account)? >= requests).then_some(()))
        })
        .await
    }

    /// Returns the number of requests of a ServiceAccount so far.
    fn requests_of(&self, account: &str) -> Result<usize> {
        let user = format!("system:serviceaccount:default:{account}");
        Ok(self.plane.audit_events()?.iter().filter(|event| event.user == user).count())
    }
}

/// Makes a request that every user may make.
async fn ask(client: &Client) -> Result<(), Error> {
    client.apiserver_version().await.map(drop).map_err(Error::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_workload_clusters() {
    let rig = Rig::start().await.unwrap();
    one_client_serves_all(&rig).await.unwrap();
    a_new_secret_is_a_new_client(&rig).await.unwrap();
    no_more_are_held_than_allowed(&rig).await.unwrap();
    bad_kubeconfigs_are_refused(&rig).await.unwrap();
    refusals_have_kinds(&rig).await.unwrap();
}

async fn one_client_serves_all(rig: &Rig) -> Result<()> {
    rig.hand_out("many", &rig.kubeconfig("any").await?).await?;
    let clients = rig.clients();
    ask(&clients.client("default", "many").await?).await?;
    // A connection is free for the next request a moment after its answer.
    eventually("a request needs no connection of its own", SOON, async || {
        let before = rig.proxy.accepted();
        ask(&clients.client("default", "many").await?).await?;
        Ok((rig.proxy.accepted() == before).then_some(()))
    })
    .await?;

    let tasks = (0..50).map(|_| {
        let clients = clients.clone();
        async move { ask(&clients.client("default", "many").await?).await }
    });
    try_join_all(tasks).await?;
    ensure!(clients.stats() == Stats { held: 1, made: 1 }, "{:?}", clients.stats());

    // Again from the start, all at once.
    let clients = rig.clients();
    try_join_all((0..50).map(|_| clients.client("default", "many"))).await?;
    ensure!(clients.stats() == Stats { held: 1, made: 1 }, "{:?}", clients.stats());
    Ok(())
}

async fn a_new_secret_is_a_new_client(rig: &Rig) -> Result<()> {
    rig.hand_out("rotated", &rig.kubeconfig("old").await?).await?;
    let clients = rig.clients();
    let old = clients.client("default", "rotated").await?;
    ask(&old).await?;
    rig.logged("old", 1).await?;

    rig.hand_out("rotated", &rig.kubeconfig("new").await?).await?;
    let new = clients.client("default", "rotated").await?;
    ensure!(clients.stats() == Stats { held: 1, made: 2 }, "{:?}", clients.stats());
    let error = ask(&old).await.unwrap_err();
    ensure!(error.kind() == Kind::Replaced && error.class() == Class::Retry, "{error:?}");
    ask(&new).await?;
    for _ in 0..5 {
        ask(&clients.client("default", "rotated").await?).await?;
    }
    rig.logged("new", 6).await?;
    ensure!(rig.requests_of("old")? == 1, "old credentials were used again");

    // The same name, another object.
    let secrets: Api<Secret> = Api::default_namespaced(rig.plane.client());
    secrets.delete(&secret_name("rotated"), &kube::api::DeleteParams::default()).await?;
    let error = clients.client("default", "rotated").await.err().context("a client of nothing")?;
    ensure!(error.kind() == Kind::NoKubeconfig && error.class() == Class::Retry, "{error:?}");
    ensure!(clients.stats() == Stats { held: 0, made: 2 }, "{:?}", clients.stats());
    ensure!(ask(&new).await.unwrap_err().kind() == Kind::Replaced);
    rig.hand_out("rotated", &rig.kubeconfig("new").await?).await?;
    ask(&clients.client("default", "rotated").await?).await?;
    ensure!(clients.stats() == Stats { held: 1, made: 3 }, "{:?}", clients.stats());
    Ok(())
}

async fn no_more_are_held_than_allowed(rig: &Rig) -> Result<()> {
    let kubeconfig = rig.kubeconfig("any").await?;
    for name in ["a", "b", "c"] {
        rig.hand_out(name, &kubeconfig).await?;
    }
    let clients = rig.clients().with_limits(Limits { clients: 2, ..PATIENT });
    let first = clients.client("default", "a").await?;
    clients.client("default", "b").await?;
    clients.client("default", "a").await?;
    clients.client("default", "c").await?;
    ensure!(clients.stats() == Stats { held: 2, made: 3 }, "{:?}", clients.stats());
    clients.client("default", "a").await?;
    ensure!(clients.stats().made == 3, "the one used last was dropped");
    clients.client("default", "b").await?;
    clients.client("default", "c").await?;
    ensure!(clients.stats() == Stats { held: 2, made: 5 }, "{:?}", clients.stats());
    ask(&first).await.context("a client that had to make room is still good")?;
    Ok(())
}

async fn bad_kubeconfigs_are_refused(rig: &Rig) -> Result<()> {
    let good = rig.kubeconfig("any").await?;
    let token = good["users"][0]["user"]["token"].as_str().context("no token")?.to_owned();
    let proof = rig.plane.directory().join("ran");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let cases = [
        with(&|bad| {
            let touch =
                json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [proof]});
            bad["users"][0]["user"] = json!({"exec": touch});
        }),
        with(&|bad| {
            let config = json!({"cmd-path": "touch", "cmd-args": proof});
            bad["users"][0]["user"] = json!({"auth-provider": {"name": "gcp", "config": config}});
        }),
        with(&|bad| bad["users"][0]["user"] = json!({"tokenFile": rig.plane.kubeconfig()})),
        with(&|bad| bad["users"][0]["user"]["client-key"] = json!(rig.plane.kubeconfig())),
        with(&|bad| bad["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(true)),
        with(&|bad| bad["users"][0]["user"]["token"] = json!(format!("{token}\n"))),
        json!(token),
    ];
    let clients = rig.clients();
    for bad in &cases {
        rig.hand_out("bad", bad).await?;
        let error = clients.client("default", "bad").await.err().context("taken")?;
        let text = format!("{error} {error:?} {clients:?}");
        ensure!(error.kind() == Kind::BadKubeconfig && error.class() != Class::Retry, "{text}");
        ensure!(text.contains("Secret default/bad-kubeconfig: ") && !text.contains(&token), "{text}");
    }
    ensure!(!proof.exists(), "a program was run");

    // A bad kubeconfig that replaces a good one is refused, and ends the old client.
    rig.hand_out("bad", &good).await?;
    let client = clients.client("default", "bad").await?;
    ask(&client).await?;
    let empty = rig.hand_out("bad", &json!("")).await?;
    ensure!(clients.client_from(&empty).err().context("taken")?.kind() == Kind::BadKubeconfig);
    ensure!(ask(&client).await.unwrap_err().kind() == Kind::Replaced);
    let foreign: Secret =
        serde_json::from_value(json!({"metadata": {"name": "other", "namespace": "default"}}))?;
    ensure!(clients.client_from(&foreign).err().context("taken")?.kind() == Kind::BadKubeconfig);
    Ok(())
}

async fn refusals_have_kinds(rig: &Rig) -> Result<()> {
    let good = rig.kubeconfig("any").await?;
    let other = ControlPlane::start().await?;
    let others: Value = serde_json::from_str(&other.embedded_kubeconfig()?)?;

    let mut untrusted = good.clone();
    untrusted["clusters"][0]["cluster"]["certificate-authority-data"] =
        others["clusters"][0]["cluster"]["certificate-authority-data"].clone();
    let mut unknown = good.clone();
    unknown["users"][0]["user"]["token"] = "made-up".into();
    let mut refusing = good.clone();
    refusing["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();

    // The kernel accepts connections, and no server reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let mut mute = good.clone();
    mute["clusters"][0]["cluster"]["server"] = format!("https://{}", silent.local_addr()?).into();

    let impatient = Limits { connect: Duration::from_secs(1), ..PATIENT };
    for (name, kubeconfig, limits, expected) in [
        ("untrusted", untrusted, PATIENT, Kind::Tls),
        ("unknown", unknown, PATIENT, Kind::Unauthorized),
        ("refusing", refusing, PATIENT, Kind::Unreachable),
        ("forbidden", good, PATIENT, Kind::Forbidden),
        ("mute", mute, impatient, Kind::Timeout),
    ] {
        rig.hand_out(name, &kubeconfig).await?;
        let client = rig.clients().with_limits(limits).client("default", name).await?;
        let namespaces: Api<Namespace> = Api::all(client);
        let answer = tokio::time::timeout(SOON, namespaces.list(&ListParams::default())).await;
        let error = answer.context(name)?.map_err(Error::from).unwrap_err();
        ensure!(error.kind() == expected, "{name}: {error:?}");
        ensure!(!format!("{error:?}").contains("made-up"), "{error:?}");
    }
    Ok(())
}
