//! The section of the installation page that verifies the installation is true: its commands, in its order, print what it says.
//!
//! The Deployment is real, and so is the operator; no kubelet is. `Nodes` makes the Pod Ready, the operator runs as a process
//! with the arguments and variables of the Deployment, and a [`Kubelet`] returns its log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use e2e::{Plane, Rig, VmRig};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use testbed::{ControlPlane, Node, Nodes, project_root};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::place;

const SYSTEM: &str = "codeconnect-vm-operator-system";
/// Commands wait up to 10 minutes by themselves.
const PATIENCE: Duration = Duration::from_mins(12);

/// Returns the commands of the section, block by block, each with what it prints.
fn section() -> Vec<(String, String)> {
    let page = project_root().unwrap().join("docs/vm-operator/install.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split_once("\n## Verify\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let mut blocks = section.split("```").skip(1).step_by(2);
    let mut pairs = Vec::new();
    while let Some(commands) = blocks.next() {
        let commands =
            commands.strip_prefix("bash\n").with_context(|| format!("no commands: {commands}")).unwrap();
        let printed = blocks.next().and_then(|block| block.strip_prefix("text\n"));
        let printed =
            printed.with_context(|| format!("the page does not say what this prints: {commands}")).unwrap();
        pairs.push((commands.to_owned(), printed.to_owned()));
    }
    pairs
}

/// Runs commands as in a shell in the project, and stops at the first that fails. Returns what they print.
async fn run(rig: &VmRig, commands: &str) -> String {
    let kubectl = rig.control_plane().kubectl_path().parent().unwrap();
    let path = format!("{}:{}", kubectl.display(), std::env::var("PATH").unwrap());
    let shell = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", commands])
        .current_dir(project_root().unwrap())
        .env("PATH", path)
        .env("KUBECONFIG", rig.control_plane().kubeconfig())
        .env("KUBECACHEDIR", rig.directory().join("kubectl-cache"))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, shell).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{commands}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// Returns the last `count` lines, word by word, without ages and references of machines.
fn end_of(text: &str, count: usize) -> Vec<Vec<&str>> {
    let lines = text.lines().map(|line| line.split_whitespace().filter(|word| !varies(word)).collect());
    let lines: Vec<Vec<&str>> = lines.filter(|line: &Vec<&str>| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// Returns whether a word is an age, such as `1m5s`, or a reference, such as `vm-42`.
fn varies(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_age = word.strip_suffix(['s', 'm']).is_some_and(|age| age.split('m').all(is_number));
    is_age || word.strip_prefix("vm-").is_some_and(is_number)
}

/// A server to which the API server forwards requests for the log of a Pod. It answers each with the text of a file.
struct Kubelet {
    port: u16,
    _connections: JoinSet<()>,
}

impl Kubelet {
    async fn start(rig: &VmRig) -> Self {
        let pki = rig.control_plane().directory().join("pki");
        let certificate = CertificateDer::from_pem_file(pki.join("apiserver.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(pki.join("apiserver.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (acceptor, log) = (TlsAcceptor::from(Arc::new(config)), rig.log_path());
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The API server closes connections that it does not need.
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let _ = answer(stream, log.clone()).await;
            }
        });
        Self { port, _connections: connections }
    }
}

async fn answer(
    mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    log: PathBuf,
) -> std::io::Result<()> {
    let mut request = vec![0; 8192];
    let read = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let is_of_the_pod = request.starts_with(&format!("GET /containerLogs/{SYSTEM}/vm-operator-"));
    let (status, body) =
        if is_of_the_pod { ("200 OK", tokio::fs::read(log).await?) } else { ("404 Not Found", Vec::new()) };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

/// Adds a Node whose kubelet returns the operator's log.
async fn node(rig: &VmRig) -> (Nodes, Kubelet) {
    let (nodes, kubelet) = (Nodes::start(rig.client()).await.unwrap(), Kubelet::start(rig).await);
    nodes.join(Node { addresses: vec!["127.0.0.1".into()], ..Node::named("node") }).await.unwrap();
    let port = json!({ "status": { "daemonEndpoints": { "kubeletEndpoint": { "Port": kubelet.port } } } });
    let patch = ["patch", "node", "node", "--subresource=status", "--type=merge", "-p", &port.to_string()];
    rig.control_plane().kubectl(&patch).await.unwrap();
    (nodes, kubelet)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_verify_the_installation_print_what_the_page_says() {
    let _place = place().await;
    let builder = ControlPlane::builder().audit(true).all_controllers(true);
    let rig = VmRig::start_on(Arc::new(Plane::start(builder).await.unwrap())).await.unwrap();
    let _node = node(&rig).await;

    let deployment = rig.control_plane().kubectl(&["-n", SYSTEM, "get", "deploy/vm-operator", "-o", "json"]);
    let deployment: Value = serde_json::from_str(&deployment.await.unwrap()).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter();
    let launch = arguments.fold(rig.launch(), |launch, argument| launch.arg(argument.as_str().unwrap()));
    let values = container["env"].as_array().unwrap().iter();
    let values = values.filter_map(|env| Some((env["name"].as_str()?, env["value"].as_str()?)));
    let launch = values.fold(launch, |launch, (name, value)| launch.env(name, value));
    let mut operator = rig.spawn(&launch).unwrap();
    operator.ready().await.unwrap();
    assert!(
        operator.process.log().lines().all(|line| line.starts_with('{')),
        "the Deployment has LOG_FORMAT=json"
    );

    for (commands, wanted) in section() {
        let printed = run(&rig, &commands).await;
        let count = end_of(&wanted, usize::MAX).len();
        assert_eq!(end_of(&printed, count), end_of(&wanted, count), "{commands}\n{printed}");
    }
    assert!(rig.machines().await.unwrap().is_empty());
}
