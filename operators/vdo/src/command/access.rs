//! Flags that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use kube::Client;
use operator_kit::Key;

use super::error::Error;
use crate::installer::UPGRADE_TIMEOUT;
use crate::program::OPERATOR;

/// How the cluster is reached, and how the output looks.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Access {
    /// File that says how the cluster is reached [default: the one that KUBECONFIG names, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Namespace of the operator
    #[arg(long, value_name = "NAMESPACE", default_value = crate::program::NAMESPACE)]
    pub(super) operator_namespace: String,

    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(super) output: Format,
}

/// Format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

impl Access {
    /// Returns a client of the cluster.
    pub(super) async fn client(&self) -> Result<Client, Error> {
        let agent = format!("{}-command/{}", OPERATOR.name, OPERATOR.version);
        Ok(operator_kit::client::connect(self.kubeconfig.as_deref(), self.context.as_deref(), &agent).await?)
    }
}

/// From where manifests and matrices are read, and what else the operator knows by its flags: as the operator's flags of the same names.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Sources {
    /// Directory with manifests and matrices, for sources such as `file:antrea/v2.7.0.yaml`: a copy of the operator's
    #[arg(long, env = "VDO_FILES", value_name = "DIRECTORY")]
    pub(super) files: Option<PathBuf>,

    /// Name of a Secret in the operator's namespace with the logins of registries
    #[arg(long, env = "VDO_PULL_SECRET", value_name = "NAME")]
    pub(super) pull_secret: Option<String>,

    /// How long a driver may take to become available after an upgrade, as the operator has it
    #[arg(long, env = "VDO_UPGRADE_TIMEOUT", value_name = "DURATION", default_value = UPGRADE_TIMEOUT, value_parser = duration)]
    pub(super) upgrade_timeout: Duration,
}

/// Which objects are meant.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Select {
    /// Name of a VDOConfig or DriverSet [default: all]
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Namespace of the VDOConfigs and DriverSets [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
}

impl Select {
    /// Returns whether an object is meant.
    pub(super) fn is_meant(&self, key: &Key) -> bool {
        let is = |wanted: Option<&String>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        is(self.name.as_ref(), key.name()) && is(self.namespace.as_ref(), key.namespace())
    }

    /// Returns that no object is meant, with what to write instead.
    pub(super) fn nothing(&self) -> Error {
        let name = self.name.as_deref().map(|name| format!(" named {name}")).unwrap_or_default();
        let place = self.namespace.as_deref().map(|of| format!(" in the namespace {of}")).unwrap_or_default();
        Error::NothingAsked(format!("no VDOConfig and no DriverSet{name}{place}"))
    }
}

/// Reads a time such as `90s`, `10m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unknown = || format!("{text:?} is no time: write one such as 90s, 10m or 1h");
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(unknown)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(unknown()),
    };
    let number: u64 = number.parse().map_err(|_| unknown())?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3600), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in
            ["", "s", "10", "-1s", "1.5h", "10 m", "1d", "ü", "99999999999999999999h", "9999999999999999999h"]
        {
            assert!(duration(bad).unwrap_err().contains("write one such as 90s"), "{bad}");
        }
    }
}
