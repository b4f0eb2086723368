//! The example operator as a process, from start to end, under its own ServiceAccount and the RBAC it prints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod confined;
mod webhook;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use testbed::{ControlPlane, Process, ProcessSpec, Workdir, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PATIENCE: Duration = Duration::from_mins(3);
/// A leader may lose its Lease to an API server that is away for longer than this: half of the renew deadline.
const LEASE_MAY_END: Duration = Duration::from_secs(5);
/// Where the example is installed, and the name of all its parts.
const NAMESPACE: &str = "page-operator-system";
const NAME: &str = "page-operator";

/// Returns the path of the binary; `cargo test` builds the examples.
fn program() -> PathBuf {
    let this = env::current_exe().unwrap();
    let example = this.parent().unwrap().with_file_name("examples").join("page_operator");
    assert!(example.is_file(), "no {}: run `cargo build --workspace --examples`", example.display());
    example
}

/// Returns what the binary prints for a command line.
fn print(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// One replica.
struct Replica {
    process: Process,
    _workdir: Workdir,
}

impl Replica {
    fn start(kubeconfig: &Path, pages: &Path, arguments: &str) -> Self {
        let workdir = Workdir::new(NAME).unwrap();
        let arguments =
            format!("run -metrics-addr=127.0.0.1:0 -log-format=json -log-level=debug {arguments}");
        let arguments: Vec<OsString> = arguments.split_whitespace().map(OsString::from).collect();
        let log = workdir.path().join("log");
        let mut spec = ProcessSpec::new(NAME, program(), arguments, log);
        spec.env = vec![("KUBECONFIG".to_owned(), kubeconfig.into()), ("PAGES".to_owned(), pages.into())];
        Self { process: Process::spawn(spec).unwrap(), _workdir: workdir }
    }

    /// Returns the log lines.
    fn lines(&self) -> Vec<Value> {
        self.process.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    async fn says(&self, message: &str) -> Value {
        let said = async || Ok(self.lines().into_iter().find(|line| line["message"] == message));
        eventually(message, PATIENCE, said).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let address = self.says("admin server listens").await["address"].as_str().unwrap().to_owned();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    async fn is_ready(&self, because: &str) {
        eventually("ready", PATIENCE, async || {
            let response = self.get("/readyz").await;
            Ok((response.starts_with("HTTP/1.1 200") && response.contains(because)).then_some(()))
        })
        .await
        .unwrap();
    }
}

/// A control plane with the example installed as a user would, by what the binary prints.
struct Rig {
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
    pages: Workdir,
}

impl Rig {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        control_plane.kubectl_stdin(&["apply", "-f", "-"], &print(&["crd"])).await.unwrap();
        for namespace in [NAMESPACE, "team", "other"] {
            control_plane.kubectl(&["create", "namespace", namespace]).await.unwrap();
        }
        control_plane.kubectl(&["-n", NAMESPACE, "create", "serviceaccount", NAME]).await.unwrap();
        let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, NAME).await.unwrap();
        Self { control_plane, kubeconfig, pages: Workdir::new("pages").unwrap() }
    }

    /// Installs the roles that the binary prints, and binds them as a kustomize base does.
    async fn grant(&self) {
        let kubectl = &self.control_plane;
        kubectl.kubectl_stdin(&["-n", NAMESPACE, "apply", "-f", "-"], &print(&["rbac"])).await.unwrap();
        let account = format!("--serviceaccount={NAMESPACE}:{NAME}");
        let role = format!("--role={NAME}-leader-election");
        let binding = ["-n", NAMESPACE, "create", "rolebinding", NAME, &role, &account];
        kubectl.kubectl(&binding).await.unwrap();
        // A process that was confined to namespaces has one as well.
        kubectl.kubectl(&["delete", "clusterrolebinding", NAME, "--ignore-not-found"]).await.unwrap();
        let role = format!("--clusterrole={NAME}");
        kubectl.kubectl(&["create", "clusterrolebinding", NAME, &role, &account]).await.unwrap();
    }

    fn replica(&self, arguments: &str) -> Replica {
        Replica::start(&self.kubeconfig, self.pages.path(), arguments)
    }

    async fn page(&self, namespace: &str, name: &str, text: &str) {
        let page = json!({
            "apiVersion": "example.com/v1", "kind": "Page", "metadata": {"name": name, "namespace": namespace},
            "spec": {"text": text},
        });
        self.control_plane.kubectl_stdin(&["apply", "-f", "-"], &page.to_string()).await.unwrap();
    }

    async fn wait(&self, namespace: &str, name: &str, condition: &str) {
        let condition = format!("--for=condition={condition}");
        let wait = ["-n", namespace, "wait", &format!("page/{name}"), &condition, "--timeout=180s"];
        self.control_plane.kubectl(&wait).await.unwrap();
    }

    /// Returns the texts of the files.
    fn texts(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.pages.path()).unwrap();
        let mut texts: Vec<_> =
            files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).collect();
        texts.sort();
        texts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_does_its_work_and_two_replicas_live_and_die() {
    let mut rig = Rig::start().await;
    rig.grant().await;
    let leases: Api<Lease> = Api::namespaced(rig.control_plane.client(), NAMESPACE);

    // Without election: ready at once, does the work, ends well.
    let mut alone = rig.replica("");
    alone.is_ready("[+] watch Page").await;
    assert!(alone.get("/metrics").await.contains("operator_leader 1"));
    the_work_is_done(&rig).await;
    assert!(alone.process.terminate(PATIENCE).await.unwrap().success(), "{}", alone.process.log());
    assert!(leases.get_opt(NAME).await.unwrap().is_none());

    // The leader works, the standby answers its probes.
    let election = format!("-enable-leader-election -leader-election-namespace={NAMESPACE}");
    let mut first = rig.replica(&election);
    first.is_ready("[+] watch Page").await;
    let mut second = rig.replica(&election);
    second.is_ready("[+] leader election").await;
    assert!(second.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(second.get("/metrics").await.contains("operator_leader 0"));

    // At SIGTERM the leader releases the Lease last, and the standby takes over without waiting for it to expire.
    assert!(first.process.terminate(PATIENCE).await.unwrap().success(), "{}", first.process.log());
    first.says("leader Lease released").await;
    second.says("leading").await;
    second.is_ready("[+] watch Page").await;

    // A standby has nothing to end: it would not end well if it were waited for.
    let mut third = rig.replica(&election);
    third.is_ready("[+] leader election").await;
    assert!(third.process.terminate(PATIENCE).await.unwrap().success());

    // SIGUSR1 toggles the log level.
    let pid = second.process.pid().to_string();
    assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    second.says("log level changed by SIGUSR1").await;

    // Deposed, it ends at once and says so.
    let thief = json!({"spec": {"holderIdentity": "thief"}});
    leases.patch(NAME, &PatchParams::default(), &Patch::Merge(thief)).await.unwrap();
    let status = tokio::time::timeout(PATIENCE, second.process.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", second.process.log());
    assert!(second.process.log().contains("the leader Lease was lost"));

    // The thief has gone.
    let released = json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}});
    leases.patch(NAME, &PatchParams::default(), &Patch::Merge(released)).await.unwrap();
    a_restored_api_server_ends_every_replica(&mut rig, &election).await;
}

/// Their watches would wait for versions that the API server has yet to reach. The next processes read everything again.
async fn a_restored_api_server_ends_every_replica(rig: &mut Rig, election: &str) {
    let mut leader = rig.replica(election);
    leader.is_ready("[+] watch Page").await;
    let backup = rig.control_plane.back_up().await.unwrap();
    let leases: Api<Lease> = Api::namespaced(rig.control_plane.client(), NAMESPACE);
    let backed_up = leases.get(NAME).await.unwrap().resource_version();
    let mut standby = rig.replica(election);
    standby.is_ready("[+] leader election").await;
    rig.page("team", "later", "than the backup").await;
    rig.wait("team", "later", "Ready").await;
    eventually("the Lease is renewed", PATIENCE, async || {
        Ok((leases.get(NAME).await?.resource_version() != backed_up).then_some(()))
    })
    .await
    .unwrap();
    let looks = || standby.lines().iter().filter(|line| line["message"] == "another leads").count();
    let before = looks();
    eventually("the standby has seen it", PATIENCE, async || Ok((looks() >= before + 2).then_some(())))
        .await
        .unwrap();
    let start = Instant::now();
    rig.control_plane.restore(&backup).await.unwrap();
    let is_slow = start.elapsed() > LEASE_MAY_END;
    for (replica, is_leader) in [(&mut leader, true), (&mut standby, false)] {
        let status = tokio::time::timeout(PATIENCE, replica.process.wait()).await.unwrap();
        let log = replica.process.log();
        assert_eq!(status.code(), Some(1), "{log}");
        let lost_the_lease = is_slow && is_leader && log.contains("the leader Lease was lost");
        assert!(lost_the_lease || log.contains("the API server went back from version"), "{log}");
    }
    let pages = rig.control_plane.kubectl(&["get", "pages", "-A", "-o", "name"]).await.unwrap();
    assert_eq!(pages, "", "what is later than the backup is gone");
}

async fn the_work_is_done(rig: &Rig) {
    rig.page("team", "greeting", "hello").await;
    rig.wait("team", "greeting", "Ready").await;
    assert_eq!(rig.texts(), ["hello"]);
    rig.page("team", "greeting", "good morning").await;
    eventually("the new text", PATIENCE, async || Ok((rig.texts() == ["good morning"]).then_some(())))
        .await
        .unwrap();
    let kubectl = &rig.control_plane;
    // The file cannot be written where a directory is.
    let uid =
        kubectl.kubectl(&["-n", "team", "get", "page", "greeting", "-o", "jsonpath={.metadata.uid}"]).await;
    let file = rig.pages.path().join(format!("{}.txt", uid.unwrap()));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    rig.page("team", "greeting", "good evening").await;
    rig.wait("team", "greeting", "Ready=False").await;
    eventually("an event says what to do", PATIENCE, async || {
        let events = kubectl.kubectl(&["-n", "team", "get", "events"]).await?;
        let said = events.contains("DirectoryNotWritable") && events.contains("make it writable");
        Ok(said.then_some(()))
    })
    .await
    .unwrap();
    std::fs::remove_dir(&file).unwrap();
    rig.wait("team", "greeting", "Ready").await;
    kubectl.kubectl(&["-n", "team", "delete", "page", "greeting", "--timeout=180s"]).await.unwrap();
    assert!(rig.texts().is_empty());
}

/// The API server would drop what the operator writes. It says so, does nothing, and goes on once the definition is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_before_the_definitions_are_the_operators() {
    let rig = Rig::start().await;
    rig.grant().await;
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let field = format!("{status}/conditions/items/properties/observedGeneration");
    let patch = json!([{"op": "remove", "path": field}]).to_string();
    let crd = "customresourcedefinition/pages.example.com";
    rig.control_plane.kubectl(&["patch", crd, "--type=json", "-p", &patch]).await.unwrap();
    rig.page("team", "page", "waits").await;
    let mut replica = rig.replica("");
    let wanted = "[-] custom resources: the CustomResourceDefinition pages.example.com is of another program or version, as it lacks \
                  status.conditions[].observedGeneration: apply this one's: page-operator crd | kubectl apply --server-side --force-conflicts -f -";
    eventually("it says what is wrong", PATIENCE, async || {
        let response = replica.get("/readyz").await;
        let said = response.starts_with("HTTP/1.1 5") && response.contains(wanted);
        Ok((said && response.contains("[+] watch Page")).then_some(()))
    })
    .await
    .unwrap();
    replica.says("nothing is done before the custom resources are right").await;
    assert!(rig.texts().is_empty());
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    rig.control_plane.kubectl_stdin(&apply, &print(&["crd"])).await.unwrap();
    rig.wait("team", "page", "Ready").await;
    replica.says("the custom resources are right now").await;
    replica.is_ready("[+] watch Page").await;
    assert!(replica.process.terminate(PATIENCE).await.unwrap().success());
}

#[test]
fn the_command_line_explains_itself() {
    let help = print(&["--help"]);
    for word in [
        "crd",
        "rbac",
        "manifests",
        "completions",
        "--watch-namespace",
        "--pages",
        "[env: PAGES=",
        "LOG_FORMAT",
    ] {
        assert!(help.contains(word), "{word} not in\n{help}");
    }
    assert_eq!(print(&["--version"]), "page-operator 1.0.0\n");
    assert!(print(&["manifests"]).starts_with(&print(&["crd"])));
    assert!(print(&["completions", "bash"]).contains("page-operator"));
}

/// An empty key of a Secret or ConfigMap is an empty variable.
#[test]
fn an_empty_variable_counts_as_not_set() {
    let run = |values: &str| {
        let mut command = Command::new(program());
        command.env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST").env("HOME", "/nonexistent");
        for variable in ["LOG_FORMAT", "RUST_LOG", "WATCH_NAMESPACE", "POD_NAMESPACE"] {
            command.env(variable, values);
        }
        command.env("METRICS_ADDR", if values.trim().is_empty() { values } else { "0" });
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for empty in ["", "\n"] {
        let (status, text) = run(empty);
        let ends =
            "no way to reach Kubernetes: failed to read kubeconfig from '\"/nonexistent/.kube/config\"'";
        assert!(status == Some(1) && text.contains(ends), "{text}");
    }
    // Commas only: were it refused by no one, the operator would watch every namespace.
    for arguments in [&["run"][..], &["rbac"]] {
        let mut command = Command::new(program());
        let output = command.args(arguments).env("WATCH_NAMESPACE", ",").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains("names no namespace: write"), "{text}");
    }
    let (status, text) = run("?");
    assert!(status == Some(2) && text.contains("WATCH_NAMESPACE (--watch-namespace"), "{text}");
}

/// The credentials cannot be used, so the process ends when it has read how the API server is reached.
#[test]
fn a_proxy_of_the_environment_is_not_used_and_one_of_the_kubeconfig_is_refused() {
    let workdir = Workdir::new(NAME).unwrap();
    let file = workdir.path().join("kubeconfig");
    let unusable = "Kubernetes client: ";
    let refused = "no way to reach Kubernetes: the kubeconfig names a proxy (proxy-url), and";
    let proxy = "http://127.0.0.1:1";
    for (named, of_environment, wanted) in [
        (None, "", unusable),
        (None, proxy, unusable),
        (None, "not a URL", unusable),
        (Some(proxy), "", refused),
        (Some(proxy), proxy, refused),
        (Some("http://127.0.0.1:2"), proxy, refused),
    ] {
        let text = json!({
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1", "proxy-url": named}}],
            "users": [{"name": "a", "user": {"client-certificate-data": "AAAA", "client-key-data": "AAAA"}}],
        });
        std::fs::write(&file, text.to_string()).unwrap();
        let mut command = Command::new(program());
        command.env("KUBECONFIG", &file).env_remove("KUBERNETES_SERVICE_HOST").env("METRICS_ADDR", "0");
        command.env("HTTPS_PROXY", of_environment).env_remove("https_proxy");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let found = output.status.code() == Some(1) && text.contains(wanted) && !text.contains("feature");
        assert!(found, "{named:?}, {of_environment:?}: {text}");
    }
}

#[test]
fn output_that_cannot_be_written_is_no_panic() {
    let run = |arguments: &[&str], stdout: Stdio, stderr: Stdio| {
        let mut command = Command::new(program());
        let child = command.args(arguments).env_remove("KUBECONFIG").env("HOME", "/nonexistent");
        child.stdout(stdout).stderr(stderr).spawn().unwrap().wait_with_output().unwrap()
    };
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for arguments in [&["crd"][..], &["rbac"], &["manifests"], &["completions", "bash"], &["--help"]] {
        // The reader has gone, as `head` does.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(arguments, writer.into(), Stdio::piped());
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    let output = run(&["crd"], full(), Stdio::piped());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("page-operator: cannot write to standard output: No space left"), "{text}");
    // Nothing can be logged, and the process ends as it would otherwise.
    for format in ["--log-format=json", "--log-format=human"] {
        let output = run(&["--metrics-addr=0", format], Stdio::piped(), full());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(run(&["--no-such", format], Stdio::piped(), full()).status.code(), Some(2));
    }
}
