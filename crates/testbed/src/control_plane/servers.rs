//! The processes of a control plane: flags, logs, and directories to remove.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::kubeconfig::{self, Credentials};
use super::pki::{CLIENT_CAS, Pki};
use super::{ControlPlaneBuilder, audit};
use crate::port::Port;
use crate::{ProcessSpec, Tools, Workdir};

/// The default controllers: deletion of namespaces, their default ServiceAccount and root CA, garbage collection. Without
/// them objects behave differently from those in a cluster.
const CONTROLLERS: &str = "serviceaccount-controller,root-ca-certificate-publisher-controller,\
                           namespace-controller,garbage-collector-controller";
/// All controllers except those that need a cloud or a node network.
const ALL_CONTROLLERS: &str = "*,-node-ipam-controller,-node-route-controller,\
                               -cloud-node-lifecycle-controller,-service-lb-controller";

/// Returns the process of etcd, which stores in `data`.
pub(super) fn etcd(
    tools: &Tools,
    workdir: &Workdir,
    data: &Path,
    clients: &Port,
    peers: &Port,
) -> Result<ProcessSpec> {
    let clients = format!("http://127.0.0.1:{}", clients.number());
    let peers = format!("http://127.0.0.1:{}", peers.number());
    let mut args = Arguments::default();
    args.add("name", "testbed")
        .add("data-dir", data)
        .flag("unsafe-no-fsync")
        .add("listen-client-urls", &clients)
        .add("advertise-client-urls", &clients)
        .add("listen-peer-urls", &peers)
        .add("initial-advertise-peer-urls", &peers)
        .add("initial-cluster", format!("testbed={peers}"))
        .add("log-level", "warn");
    let mut spec = ProcessSpec::new("etcd", tools.path("etcd")?, args.0, workdir.path().join("etcd.log"));
    spec.remove.push(data.to_owned());
    Ok(spec)
}

/// Returns the process of the API server.
pub(super) fn api_server(
    options: &ControlPlaneBuilder,
    tools: &Tools,
    workdir: &Workdir,
    pki: &Pki,
    etcd: &Port,
    port: &Port,
    audit_log: Option<&Path>,
) -> Result<ProcessSpec> {
    let mut args = Arguments::default();
    args.add("etcd-servers", format!("http://127.0.0.1:{}", etcd.number()))
        .add("bind-address", "127.0.0.1")
        .add("advertise-address", "127.0.0.1")
        .add("secure-port", port.number().to_string())
        .add("endpoint-reconciler-type", "none")
        .add("cert-dir", pki.directory())
        .add("tls-cert-file", pki.path("apiserver.crt"))
        .add("tls-private-key-file", pki.path("apiserver.key"))
        .add("client-ca-file", pki.path(CLIENT_CAS))
        .add("authorization-mode", "Node,RBAC")
        // The readiness check has no credentials.
        .add("anonymous-auth", "true")
        .add("service-account-issuer", "https://kubernetes.default.svc")
        .add("service-account-key-file", pki.path("sa.pub"))
        .add("service-account-signing-key-file", pki.path("sa.key"))
        .add("service-cluster-ip-range", "10.96.0.0/16")
        .add("enable-priority-and-fairness", options.priority_and_fairness.to_string())
        .add("allow-privileged", "true")
        .add("profiling", "false")
        .add("shutdown-delay-duration", "0s");
    if let Some(log) = audit_log {
        let policy = workdir.path().join("audit-policy.json");
        fs::write(&policy, audit::POLICY)?;
        args.add("audit-policy-file", policy).add("audit-log-path", log);
    }
    let log = workdir.path().join("kube-apiserver.log");
    let mut spec = ProcessSpec::new("kube-apiserver", tools.path("kube-apiserver")?, args.0, log);
    // Its garbage collection takes a fifth of the processor time of the tests; below the limit, memory is cheaper.
    spec.env = vec![("GOGC".to_owned(), "400".into()), ("GOMEMLIMIT".to_owned(), "1GiB".into())];
    Ok(spec)
}

/// Returns the process of the controller manager.
pub(super) fn controller_manager(
    options: &ControlPlaneBuilder,
    tools: &Tools,
    workdir: &Workdir,
    pki: &Pki,
    url: &str,
) -> Result<ProcessSpec> {
    let kubeconfig = workdir.path().join("kcm.kubeconfig");
    kubeconfig::write(&kubeconfig, url, pki, "default", &Credentials::Certificate("kcm"))?;
    let mut args = Arguments::default();
    args.add("kubeconfig", &kubeconfig)
        .add("authentication-kubeconfig", &kubeconfig)
        .add("authorization-kubeconfig", &kubeconfig)
        // Without a port, because no client needs one.
        .add("secure-port", "0")
        .add("leader-elect", "false")
        .add("use-service-account-credentials", "true")
        .add("service-account-private-key-file", pki.path("sa.key"))
        .add("root-ca-file", pki.path("ca.crt"))
        .add("cluster-signing-cert-file", pki.path("ca.crt"))
        .add("cluster-signing-key-file", pki.path("ca.key"))
        .add("kube-api-qps", "200")
        .add("kube-api-burst", "400")
        .add("controllers", if options.all_controllers { ALL_CONTROLLERS } else { CONTROLLERS });
    let log = workdir.path().join("kube-controller-manager.log");
    Ok(ProcessSpec::new("kube-controller-manager", tools.path("kube-controller-manager")?, args.0, log))
}

/// Command-line flags in the form `--name=value`.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(value);
        self.0.push(argument);
        self
    }

    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(format!("--{name}").into());
        self
    }
}
