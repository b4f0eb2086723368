//! The operator's flags.

use std::path::PathBuf;

use operator_kit::CommonArgs;

/// The operator's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory with manifests and matrices, for sources such as `file:antrea/v2.7.0.yaml`
    #[arg(long, env = "VDO_FILES", value_name = "DIRECTORY")]
    pub files: Option<PathBuf>,

    /// Name of a Secret of the type kubernetes.io/dockerconfigjson in the operator's namespace, with the logins of registries
    #[arg(long, env = "VDO_PULL_SECRET", value_name = "NAME")]
    pub pull_secret: Option<String>,

    /// Flags all operators have.
    #[command(flatten)]
    pub common: CommonArgs,
}
