//! The operator's flags and environment, also in the original's spelling.

use std::convert::Infallible;
use std::env::VarError;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use clap::ArgAction;
use infra_clients::Secret;
use infra_clients::vsphere::{self, Trust, vms};
use operator_kit::{ClusterIdArgs, CommonArgs};

use crate::api::MARKER_PREFIX;
use crate::visibility;

/// Most clones in flight that can be set: more than any vCenter runs.
const MOST_CLONES: usize = 100_000;
/// Most replicas that can be set: as the CRD has it.
const MOST_REPLICAS: i32 = 100_000;
/// Longest name of a folder in a vCenter, in characters.
const NAME_LIMIT: usize = 80;

/// The operator's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The vCenter: a host name or address, with `:port` where it is not 443
    #[arg(long, env = "VC_HOST", value_name = "HOST")]
    pub vc_host: Option<String>,

    /// The vCenter user, such as `vm-operator@vsphere.local`; the password is read from VC_PASS only
    #[arg(long, env = "VC_USER", value_name = "USER")]
    pub vc_user: Option<String>,

    /// Only to say what to do instead: the value is not kept
    #[arg(long, hide = true, num_args = 0..=1, value_parser = |_: &str| Ok::<_, Infallible>(()))]
    pub vc_pass: Option<Option<()>>,

    /// A PEM file with the certificate authorities of the vCenter, instead of the system's
    #[arg(long, env = "VC_CA_FILE", value_name = "FILE")]
    pub vc_ca_file: Option<String>,

    /// SHA-256 or SHA-1 thumbprint of the vCenter's certificate, which is then the only one trusted
    #[arg(long, env = "VC_THUMBPRINT", value_name = "HEX")]
    pub vc_thumbprint: Option<String>,

    /// Trust any certificate of the vCenter. A server in its place learns the password
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", value_name = "BOOL")]
    pub insecure: bool,

    /// Name of the datacenter; needed only where the vCenter has several
    #[arg(long, env = "VC_DATACENTER", value_name = "NAME")]
    pub vc_datacenter: Option<String>,

    /// Name or path of the resource pool, such as `CLUSTER/Resources/POOL`; needed only where the datacenter has several
    #[arg(long, env = "VC_RESOURCE_POOL", value_name = "POOL")]
    pub vc_resource_pool: Option<String>,

    /// Folder below the datacenter's VM folder for the folders of all groups. Give each cluster that shares a vCenter its
    /// own, such as `vm-operator/cluster-a`
    #[arg(long, env = "VC_FOLDER", default_value = "vm-operator", value_name = "PATH")]
    pub vc_folder: String,

    /// Clones in flight at once, over all groups
    #[arg(long, env = "MAX_CLONES", default_value_t = 100, value_name = "N", allow_negative_numbers = true,
          value_parser = |text: &str| number(text, MOST_CLONES))]
    pub max_clones: usize,

    /// Most virtual machines of one group; a group that asks for more is left as it is, and says so
    #[arg(long, env = "MAX_REPLICAS", default_value_t = 1000, value_name = "N", allow_negative_numbers = true,
          value_parser = |text: &str| number(text, MOST_REPLICAS))]
    pub max_replicas: i32,

    /// Which cluster the machines are of.
    #[command(flatten)]
    pub cluster: ClusterIdArgs,

    /// Flags all operators have.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Args {
    /// Returns how to reach the vCenter.
    ///
    /// # Errors
    /// Says which variables are missing, all at once, or which value cannot be used.
    pub fn vsphere(&self) -> anyhow::Result<vsphere::Config> {
        ensure!(
            self.vc_pass.is_none(),
            "there is no flag for the password, since arguments are visible to everyone on the machine: set the variable VC_PASS"
        );
        let (host, user, password) = (
            given(self.vc_host.as_deref()),
            given(self.vc_user.as_deref()),
            password(std::env::var("VC_PASS"))?,
        );
        let (Some(host), Some(user), Some(password)) = (host, user, password.clone()) else {
            let missing =
                [("VC_HOST", host.is_none()), ("VC_USER", user.is_none()), ("VC_PASS", password.is_none())];
            let missing: Vec<_> =
                missing.iter().filter(|(_, missing)| *missing).map(|(name, _)| *name).collect();
            bail!(
                "{} not set: the vCenter's host name, user and password are read from the environment, in the Deployment from \
                 the Secret vc-creds (kubectl -n codeconnect-vm-operator-system create secret generic vc-creds \
                 --from-literal=VC_HOST=HOST --from-literal=VC_USER=USER --from-literal=VC_PASS=PASSWORD)",
                missing.join(", ")
            );
        };
        let config = vsphere::Config {
            trust: self.trust()?,
            agent: (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            ..vsphere::Config::new(host, user, password)
        };
        config.authority().context("VC_HOST (--vc-host)")?;
        Ok(config)
    }

    /// Returns where in the vCenter to work.
    ///
    /// # Errors
    /// The folder is no path.
    pub fn vms(&self) -> anyhow::Result<vms::Config> {
        let folder = self.vc_folder.trim().trim_end_matches('/');
        ensure!(
            !folder.starts_with('/'),
            "VC_FOLDER (--vc-folder) {:?} begins with a slash: write the path below the datacenter's VM folder, such as `a/b` for \
             /DATACENTER/vm/a/b",
            self.vc_folder
        );
        ensure!(
            folder.split('/').all(|name| !matches!(name.trim(), "" | "." | "..")),
            "VC_FOLDER (--vc-folder) {:?} is not a path: write a folder's name, or names with slashes between them",
            self.vc_folder
        );
        if let Some(long) = folder.split('/').find(|name| name.chars().count() > NAME_LIMIT) {
            bail!(
                "VC_FOLDER (--vc-folder): the name {long:?} has {} characters, and the vCenter takes {NAME_LIMIT}: shorten it",
                long.chars().count()
            );
        }
        Ok(vms::Config {
            datacenter: given(self.vc_datacenter.as_deref()).map(str::to_owned),
            resource_pool: given(self.vc_resource_pool.as_deref()).map(str::to_owned),
            marker_prefix: MARKER_PREFIX.to_owned(),
            remedy: visibility::remedy,
            ..vms::Config::new(folder)
        })
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let ca_file = given(self.vc_ca_file.as_deref());
        let thumbprint = given(self.vc_thumbprint.as_deref());
        let chosen =
            [ca_file.is_some(), thumbprint.is_some(), self.insecure].iter().filter(|chosen| **chosen).count();
        ensure!(
            chosen <= 1,
            "set only one of VC_CA_FILE (--vc-ca-file), VC_THUMBPRINT (--vc-thumbprint) and --insecure"
        );
        Ok(match (ca_file, thumbprint) {
            (Some(file), _) => {
                let setting = || format!("VC_CA_FILE (--vc-ca-file) {file}");
                let pem = std::fs::read(file).with_context(setting)?;
                Trust::ca_bundle(pem).with_context(setting)?
            }
            (None, Some(thumbprint)) => {
                Trust::Thumbprint(thumbprint.parse().context("VC_THUMBPRINT (--vc-thumbprint)")?)
            }
            (None, None) if self.insecure => Trust::Insecure,
            (None, None) => Trust::System,
        })
    }
}

/// Accepts a number from 1 to `most`.
fn number<T: FromStr + PartialOrd + Default + Display + Copy>(text: &str, most: T) -> Result<T, String> {
    let number = text.trim().parse().ok().filter(|number| *number > T::default() && *number <= most);
    number.ok_or_else(|| format!("write a whole number from 1 to {most}, or leave it out for the default"))
}

/// Returns a value without the line break that `kubectl create secret --from-file` leaves at its end; `None` if that is all.
fn given(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// Returns the password, without the line breaks at its end; blanks may belong to it.
fn password(variable: Result<String, VarError>) -> anyhow::Result<Option<Secret>> {
    match variable {
        Ok(text) => {
            let text = text.trim_end_matches(['\r', '\n']);
            Ok((!text.is_empty()).then(|| Secret::new(text)))
        }
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            bail!(
                "VC_PASS is not UTF-8: a vCenter takes passwords as Unicode text; write the Secret's value in UTF-8"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &[&str]) -> Args {
        Cli::try_parse_from([&["vm-operator"], line].concat()).unwrap().args
    }

    #[test]
    fn empty_variables_are_none_and_two_ways_to_trust_are_an_error() {
        assert!(matches!(
            parse(&["--vc-ca-file=", "--vc-thumbprint=", "--insecure"]).trust(),
            Ok(Trust::Insecure)
        ));
        assert!(matches!(parse(&["--vc-ca-file=", "--vc-thumbprint= "]).trust(), Ok(Trust::System)));
        let error = parse(&["--vc-ca-file=/ca", "--insecure"]).trust().unwrap_err();
        assert!(error.to_string().contains("only one of VC_CA_FILE"), "{error}");
    }

    #[test]
    fn a_certificate_that_cannot_be_used_is_named_with_its_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (line, says) in [
            (
                format!("--vc-ca-file={path}"),
                format!("VC_CA_FILE (--vc-ca-file) {path}: the CA bundle holds no"),
            ),
            (
                "--vc-ca-file=/no/such".to_owned(),
                "VC_CA_FILE (--vc-ca-file) /no/such: No such file".to_owned(),
            ),
            ("--vc-thumbprint=12:34".to_owned(), "VC_THUMBPRINT (--vc-thumbprint): a certificate".to_owned()),
        ] {
            let error = parse(&[&line]).trust().unwrap_err();
            assert!(format!("{error:#}").starts_with(&says), "{error:#}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named_with_its_setting() {
        let address = vsphere::Config::new("a b", "user", Secret::new("pass"))
            .authority()
            .context("VC_HOST (--vc-host)");
        let error = format!("{:#}", address.unwrap_err());
        assert!(
            error.starts_with("VC_HOST (--vc-host): the vCenter address \"a b\" is not a host name; write"),
            "{error}"
        );
    }

    #[test]
    fn limits_are_numbers_from_one() {
        assert_eq!(parse(&["--max-clones=1", "--max-replicas=7"]).max_replicas, 7);
        assert_eq!(parse(&["--max-replicas=100000"]).max_replicas, MOST_REPLICAS);
        for bad in [
            &["--max-clones=0"][..],
            &["--max-replicas=-1"],
            &["--max-replicas", "-1"],
            &["--max-replicas="],
            &["--max-replicas=many"],
            &["--max-replicas=3000000000"],
            &["--max-replicas=100001"],
            &["--max-clones=100001"],
        ] {
            let Err(error) = Cli::try_parse_from([&["vm-operator"], bad].concat()) else { panic!("{bad:?}") };
            assert!(error.to_string().contains("write a whole number from 1 to 100000"), "{error}");
        }
    }

    #[test]
    fn line_breaks_at_the_end_are_no_part_of_a_value() {
        assert_eq!(given(Some("vc.example.com\n")), Some("vc.example.com"));
        assert_eq!(given(Some("\n")), None);
    }

    #[test]
    fn a_password_keeps_its_blanks_and_is_unicode() {
        let read = |text: &str| password(Ok(text.to_owned())).unwrap();
        assert_eq!(read(" secret \r\n").unwrap().expose(), " secret ");
        assert!(read("\n").is_none());
        assert!(password(Err(VarError::NotPresent)).unwrap().is_none());
        let error = password(Err(VarError::NotUnicode("x".into()))).unwrap_err();
        assert!(error.to_string().contains("write the Secret's value in UTF-8"), "{error}");
    }

    #[test]
    fn a_password_in_an_argument_is_refused_with_what_to_do() {
        for line in [&["--vc-pass", "x1y"][..], &["--vc-pass=x1y"], &["--vc-pass"]] {
            let args = parse(line);
            let error = args.vsphere().unwrap_err().to_string();
            assert!(error.contains("set the variable VC_PASS") && !error.contains("x1y"), "{error}");
            assert!(!format!("{args:?}").contains("x1y"));
        }
    }

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        use operator_kit::Program as _;
        let mut parsed = 0;
        for line in crate::VmOperator::EXAMPLES.lines().filter(|line| line.contains("vm-operator -")) {
            let words = line.split_whitespace().skip_while(|word| *word != "vm-operator");
            Cli::try_parse_from(words).unwrap();
            parsed += 1;
        }
        assert_eq!(parsed, 2);
        // Help breaks longer lines, and what is pasted then is two commands.
        let long = crate::VmOperator::EXAMPLES.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None);
    }

    /// A page that leaves something out has its reader run a command that fails.
    #[test]
    fn every_command_that_creates_the_secret_is_complete() {
        let mut commands = Vec::new();
        for page in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vm-operator")).unwrap()
        {
            let text = std::fs::read_to_string(page.unwrap().path()).unwrap();
            commands.extend(text.lines().filter(|line| line.contains("create secret")).map(str::to_owned));
        }
        assert!(commands.len() >= 2);
        let values = ["VC_HOST", "VC_USER", "VC_PASS"].map(|name| format!("--from-literal={name}="));
        for command in commands {
            assert!(
                command.starts_with("kubectl -n codeconnect-vm-operator-system create secret"),
                "{command}"
            );
            assert!(values.iter().all(|value| command.contains(value)), "{command}");
        }
    }

    #[test]
    fn the_folder_is_a_path() {
        assert_eq!(parse(&["--vc-folder", "a/b/"]).vms().unwrap().root_folder, "a/b");
        let longest = "ü".repeat(80);
        assert_eq!(parse(&["--vc-folder", &longest]).vms().unwrap().root_folder, longest);
        // As an inventory path it would be created once more below the VM folder.
        let error = parse(&["--vc-folder", "/DC0/vm/a"]).vms().unwrap_err().to_string();
        assert!(error.contains("\"/DC0/vm/a\" begins with a slash: write the path below"), "{error}");
        for bad in ["", "/", "/a", "a//b", "a/ /b", "..", "a/../b", "./a", "a/. ", &format!("a/{longest}b")] {
            let error = parse(&["--vc-folder", bad]).vms().unwrap_err().to_string();
            assert!(error.starts_with("VC_FOLDER (--vc-folder)"), "{error}");
        }
    }
}
