//! The operator's arguments and environment, in today's spelling and the original's.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Parser, Subcommand};
use infra_clients::Secret;
use infra_clients::vsphere::{Config, Trust, vms};
use operator_kit::CommonArgs;

use crate::api::MARKER_PREFIX;

/// The folder under the datacenter's VM folder in which all groups' folders stand.
const ROOT_FOLDER: &str = "vm-operator";

/// vm-operator: keeps groups of virtual machines, cloned from vCenter templates, at their asked count.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    /// What to do instead of running the operator.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run the operator.
    #[command(flatten)]
    pub args: Args,
}

/// What to do instead of running the operator.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Print the CustomResourceDefinitions as YAML
    Crd,
    /// Print the ServiceAccount's roles as YAML: exactly the verbs the operator uses
    Rbac,
    /// Print both
    Manifests,
}

/// How to run the operator.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Flags all operators have.
    #[command(flatten)]
    pub common: CommonArgs,

    /// The vCenter: a host name or address, with `:port` where it is not 443
    #[arg(long, env = "VC_HOST", value_name = "HOST")]
    pub vc_host: Option<String>,

    /// The vCenter user, such as `vm-operator@vsphere.local`; the password comes from VC_PASS only
    #[arg(long, env = "VC_USER", value_name = "USER")]
    pub vc_user: Option<String>,

    /// A PEM file with the certificates that sign the vCenter's, instead of the system's
    #[arg(long, env = "VC_CA_FILE", value_name = "FILE", conflicts_with_all = ["insecure", "vc_thumbprint"])]
    pub vc_ca_file: Option<PathBuf>,

    /// SHA-256 or SHA-1 thumbprint of the vCenter's certificate, which is then the only one trusted
    #[arg(long, env = "VC_THUMBPRINT", value_name = "HEX", conflicts_with = "insecure")]
    pub vc_thumbprint: Option<String>,

    /// Trust whatever certificate the vCenter shows. Who can answer in its place learns the password
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", value_name = "BOOL")]
    pub insecure: bool,

    /// Name of the datacenter; needed only where the vCenter has several
    #[arg(long, env = "VC_DATACENTER", value_name = "NAME")]
    pub vc_datacenter: Option<String>,

    /// Name or inventory path of the resource pool; needed only where the datacenter has several
    #[arg(long, env = "VC_RESOURCE_POOL", value_name = "POOL")]
    pub vc_resource_pool: Option<String>,

    /// Clones under way at once, over all groups
    #[arg(long, env = "MAX_CLONES", default_value_t = 100, value_name = "N")]
    pub max_clones: usize,
}

impl Args {
    /// How to reach the vCenter; says which variables are missing, all at once.
    pub fn vsphere(&self) -> anyhow::Result<(Config, vms::Config)> {
        let password = std::env::var("VC_PASS").ok().filter(|p| !p.is_empty()).map(Secret::from);
        let given = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
        let (Some(host), Some(user), Some(password)) =
            (given(&self.vc_host), given(&self.vc_user), password.clone())
        else {
            let missing = [
                ("VC_HOST", given(&self.vc_host).is_none()),
                ("VC_USER", given(&self.vc_user).is_none()),
                ("VC_PASS", password.is_none()),
            ];
            let missing: Vec<_> = missing.iter().filter(|(_, m)| *m).map(|(name, _)| *name).collect();
            bail!(
                "{} not set: the vCenter's host name, user and password come from the environment, in the \
                 Deployment from the Secret vc-creds (kubectl create secret generic vc-creds \
                 --from-literal=VC_HOST=… --from-literal=VC_USER=… --from-literal=VC_PASS=…)",
                missing.join(", ")
            );
        };
        // An empty key of the Secret means none.
        let ca_file = self.vc_ca_file.as_ref().filter(|file| !file.as_os_str().is_empty());
        let trust = match (ca_file, given(&self.vc_thumbprint)) {
            (Some(file), _) => Trust::CaBundle(
                std::fs::read(file).with_context(|| format!("--vc-ca-file {}", file.display()))?,
            ),
            (None, Some(thumbprint)) => Trust::Thumbprint(thumbprint.parse().context("--vc-thumbprint")?),
            (None, None) if self.insecure => Trust::Insecure,
            (None, None) => Trust::System,
        };
        let session = Config {
            trust,
            agent: (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            ..Config::new(host, user, password)
        };
        let vms = vms::Config {
            datacenter: given(&self.vc_datacenter),
            resource_pool: given(&self.vc_resource_pool),
            marker_prefix: MARKER_PREFIX.to_owned(),
            ..vms::Config::new(ROOT_FOLDER)
        };
        Ok((session, vms))
    }
}
