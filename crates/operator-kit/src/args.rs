//! The flags every operator has, also in Go's spelling.
//!
//! Owns the flags and their parsing; never acts on them. Next step: `run`.

use std::{ffi::OsString, net::SocketAddr, path::Path, str::FromStr};

use clap::{ArgAction, Args, ValueEnum, error::ErrorKind};

use crate::logs;

/// File in a pod with the namespace it runs in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Flags shared by all operators; `#[command(flatten)]` them into the operator's own.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Address of the metrics and health endpoints: `:8080`, `127.0.0.1:8080`, or `0` for none
    #[arg(long, env = "METRICS_ADDR", default_value = ":8080", value_name = "ADDR")]
    pub metrics_addr: Listen,

    /// Namespace to watch instead of all; may be repeated; an empty text means all. `rbac --watch-namespace …` prints the matching roles
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',', value_name = "NAMESPACE", global = true,
          value_parser = namespace)]
    pub watch_namespace: Vec<String>,

    /// Run only while holding the leader Lease, so that other replicas can be standbys
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", value_name = "BOOL")]
    pub enable_leader_election: bool,

    /// Namespace of the leader Lease [default: the pod's own, else "default"]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", value_parser = namespace)]
    pub leader_election_namespace: Option<String>,

    /// Format of the log on standard error
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,

    /// What to log: a level, or directives such as `info,vm_operator=debug`; SIGUSR1 toggles debug
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER", value_parser = logs::directives)]
    pub log_level: String,
}

/// The flag of an operator whose marks in an outside system say which cluster they are of; `#[command(flatten)]` it beside [`CommonArgs`].
/// [`Kit::cluster_id`](crate::Kit::cluster_id) reads it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct ClusterIdArgs {
    /// Id of this cluster among those that share an outside system [default: the UID of the namespace kube-system].
    /// Set it for a cluster that was restored from another's backup, which has the same UID
    #[arg(long, env = "CLUSTER_ID", value_name = "ID", value_parser = cluster_id)]
    pub cluster_id: Option<String>,
}

impl CommonArgs {
    /// Refuses a list of namespaces that names none, such as `,`: it would mean all. A text that is empty means that.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        if self.watch_namespace.len() > 1 && self.watched().is_empty() {
            let message = "WATCH_NAMESPACE (--watch-namespace) names no namespace: write names with commas between them, or \
                           leave it out to watch all namespaces";
            return Err(clap::Error::raw(ErrorKind::ValueValidation, message));
        }
        Ok(())
    }

    /// Returns the namespaces to watch; none means all.
    pub(crate) fn watched(&self) -> Vec<String> {
        let mut watched: Vec<_> =
            self.watch_namespace.iter().filter(|name| !name.is_empty()).cloned().collect();
        watched.sort();
        watched.dedup();
        watched
    }

    /// Returns the namespace of the Lease, and of what else the operator keeps: of the flag, else of this pod, else `default`.
    #[must_use]
    pub fn lease_namespace(&self) -> String {
        self.leader_election_namespace
            .clone()
            .filter(|name| !name.is_empty())
            .or_else(|| namespace_from(Path::new(NAMESPACE_FILE)))
            .unwrap_or_else(|| "default".to_owned())
    }
}

/// Accepts a namespace's name; an empty text counts as none.
fn namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let valid = text.len() <= 63 && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-');
    if valid {
        return Ok(text.to_owned());
    }
    Err("not a namespace: its name has lower-case letters, digits and hyphens, no blanks, and at most 63 characters"
        .to_owned())
}

/// Accepts the name of an object; an empty text counts as none.
pub(crate) fn object_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.len() <= 253 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("not the name of an object: use at most 253 lower-case letters, digits, hyphens and dots".to_owned())
}

/// Accepts an id that is safe as part of names and markers; an empty text counts as none.
fn cluster_id(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.len() <= 63 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("use at most 63 letters, digits, hyphens, dots and underscores".to_owned())
}

fn namespace_from(file: &Path) -> Option<String> {
    let namespace = std::fs::read_to_string(file).ok()?.trim().to_owned();
    (!namespace.is_empty()).then_some(namespace)
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people, coloured on a terminal.
    Human,
}

/// An address to listen on, as Go programs spell it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listen {
    /// `0`: do not listen at all.
    Off,
    /// `:8080`: this port on every address, IPv6 and IPv4.
    Any(u16),
    /// `127.0.0.1:8080`, `[::1]:8080`. Port 0 takes a free one.
    On(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = || format!("`{text}` is not an address: write `:8080`, `127.0.0.1:8080` or `0`");
        match text.strip_prefix(':') {
            Some(port) => port.parse().map(Listen::Any).map_err(|_| address()),
            None if text == "0" => Ok(Listen::Off),
            None => text.replace("localhost", "127.0.0.1").parse().map(Listen::On).map_err(|_| address()),
        }
    }
}

/// Rewrites Go's long flags with one dash (`-metrics-addr=:8080`, `-insecure`) to the form with two that clap reads.
///
/// Short flags (`-h`), negative numbers and everything after `--` stay as they are.
pub(crate) fn go_style(arguments: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut literal = false;
    arguments.into_iter().map(move |argument| {
        literal |= argument == "--";
        match argument.to_str() {
            Some(text) if !literal && is_go_flag(text) => format!("-{text}").into(),
            _ => argument,
        }
    })
}

fn is_go_flag(text: &str) -> bool {
    let Some(flag) = text.strip_prefix('-') else { return false };
    let name = flag.split('=').next().unwrap_or_default();
    name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        common: CommonArgs,
        #[command(flatten)]
        cluster: ClusterIdArgs,
    }

    fn parse_all(line: &str) -> Cli {
        let arguments = line.split_whitespace().map(OsString::from);
        Cli::try_parse_from(go_style(arguments)).unwrap()
    }

    fn parse(line: &str) -> CommonArgs {
        parse_all(line).common
    }

    #[test]
    fn namespaces_and_ids_are_checked() {
        let args = parse_all("op --watch-namespace=a,,b-1 --cluster-id=site.1");
        assert_eq!(
            (args.common.watched(), args.cluster.cluster_id),
            (vec!["a".into(), "b-1".into()], Some("site.1".into()))
        );
        let args = args.common;
        let all = parse("op --watch-namespace= --cluster-id=");
        assert_eq!(all.watched(), [""; 0]);
        assert!(args.check().is_ok() && all.check().is_ok() && parse("op").check().is_ok());
        for none in ["op --watch-namespace=,", "op --watch-namespace=,,"] {
            let error = parse(none).check().unwrap_err().to_string();
            assert!(
                error.contains("WATCH_NAMESPACE (--watch-namespace) names no namespace: write"),
                "{error}"
            );
        }
        assert_eq!(parse("op --leader-election-namespace=").lease_namespace(), "default");
        for bad in [
            "--watch-namespace=No_such",
            "--watch-namespace=-a",
            "--leader-election-namespace=Bad_NS",
            "--cluster-id=a/b",
            "--cluster-id=ü",
        ] {
            assert!(Cli::try_parse_from(["op", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn go_spelling_is_understood() {
        let args = parse("op -metrics-addr=:9090 -enable-leader-election");
        assert_eq!(args.metrics_addr, Listen::Any(9090));
        assert!(args.enable_leader_election);
        assert!(!parse("op -enable-leader-election=false").enable_leader_election);
        assert_eq!(parse("op --metrics-addr 0").metrics_addr, Listen::Off);
        assert_eq!(
            parse("op -metrics-addr localhost:1").metrics_addr,
            Listen::On(([127, 0, 0, 1], 1).into())
        );
        assert!(!parse("op").enable_leader_election);
    }

    #[test]
    fn only_long_flags_are_rewritten() {
        let line = ["op", "-h", "-", "-5", "--ok", "-x=1", "-flag", "--", "-kept"];
        let rewritten: Vec<_> = go_style(line.map(OsString::from)).collect();
        assert_eq!(
            rewritten,
            ["op", "-h", "-", "-5", "--ok", "-x=1", "--flag", "--", "-kept"].map(OsString::from)
        );
    }

    #[test]
    fn a_log_level_that_is_none_says_what_to_write() {
        assert_eq!(parse("op --log-level=info,op=debug").log_level, "info,op=debug");
        for bad in ["nonsense", "op=loud", "info,nonsense"] {
            let Err(error) = Cli::try_parse_from(["op", "--log-level", bad]) else { panic!("{bad}") };
            let text = error.to_string();
            assert!(text.contains("--log-level") && text.contains("write error, warn, info"), "{text}");
        }
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for text in ["", ":", ":http", "example:80", "8080"] {
            assert!(text.parse::<Listen>().unwrap_err().contains("127.0.0.1:8080"), "{text}");
        }
    }
}
