//! The operator's flags.

use std::path::PathBuf;
use std::time::Duration;

use operator_kit::CommonArgs;

use crate::command::duration;
use crate::installer::UPGRADE_TIMEOUT;

/// The operator's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory with manifests and matrices, for sources such as `file:antrea/v2.7.0.yaml`
    #[arg(long, env = "VDO_FILES", value_name = "DIRECTORY")]
    pub files: Option<PathBuf>,

    /// Name of a Secret of the type kubernetes.io/dockerconfigjson in the operator's namespace, with the logins of registries
    #[arg(long, env = "VDO_PULL_SECRET", value_name = "NAME")]
    pub pull_secret: Option<String>,

    /// How long a driver may take to become available after an upgrade, such as `15m`: then the version that ran before is applied again
    #[arg(long, env = "VDO_UPGRADE_TIMEOUT", value_name = "DURATION", default_value = UPGRADE_TIMEOUT, value_parser = duration)]
    pub upgrade_timeout: Duration,

    /// Flags all operators have.
    #[command(flatten)]
    pub common: CommonArgs,
}
