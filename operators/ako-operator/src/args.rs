//! The operator's flags and environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use jiff::SignedDuration;
use operator_kit::webhook::WebhookArgs;
use operator_kit::{ClusterIdArgs, CommonArgs};

use crate::delivery::{Ako, AkoMinor, Setting};
use crate::endpoint::{APISERVER_PORT, Settings};

/// The operator's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How AKO gets into the workload clusters
    #[arg(long, env = "AKO_DELIVERY", value_enum, default_value = "auto")]
    pub ako_delivery: Setting,

    /// Image of AKO, such as `registry.example.com/ako:2.2.1`; not needed where TKG's add-on managers install it
    #[arg(long, env = "AKO_IMAGE", value_name = "IMAGE")]
    pub ako_image: Option<String>,

    /// Image of AKO's gateway container, for the feature gate GatewayAPI
    #[arg(long, env = "AKO_GATEWAY_IMAGE", value_name = "IMAGE")]
    pub ako_gateway_image: Option<String>,

    /// Version of AKO in the image
    #[arg(long, env = "AKO_VERSION", value_name = "VERSION", default_value = "2.2.1")]
    pub ako_version: AkoMinor,

    /// Names of Secrets in the namespace of AKO that the images are pulled with
    #[arg(long, env = "AKO_PULL_SECRETS", value_name = "NAME", value_delimiter = ',')]
    pub ako_pull_secrets: Vec<String>,

    /// Directory of YAML files with AKO's CustomResourceDefinitions, such as `helm/ako/crds` of AKO's repository: the operator applies them in
    /// the workload clusters, as AKO waits for its kinds. It reads them again when they change
    #[arg(long, env = "AKO_CRDS", value_name = "DIR")]
    pub ako_crds: Option<PathBuf>,

    /// AVI balances the control planes of Clusters without a topology; those with one say it in their variable aviAPIServerHAProvider
    #[arg(long, env = "AVI_CONTROL_PLANE_HA_PROVIDER", value_parser = BoolishValueParser::new())]
    pub avi_control_plane_ha_provider: bool,

    /// TCP port of the control planes of Clusters without a topology; those with one say it in their variable apiServerPort
    #[arg(
        long,
        env = "CONTROL_PLANE_ENDPOINT_PORT",
        value_name = "PORT",
        default_value_t = APISERVER_PORT,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub control_plane_endpoint_port: u16,

    /// A control-plane Machine that is not Ready gets no traffic while another one is
    #[arg(long, env = "CONTROL_PLANE_READY_ONLY", value_parser = BoolishValueParser::new())]
    pub control_plane_ready_only: bool,

    /// How long a cleanup waits for AKO before the operator removes itself what AKO made, such as `90m`; 0: until a person ends the wait.
    /// AKO gives up by itself after 30 minutes
    #[arg(
        long,
        env = "CLEANUP_DEADLINE",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = parse_duration
    )]
    pub cleanup_deadline: Duration,

    /// Flags of the admission webhook.
    #[command(flatten)]
    pub webhook: WebhookArgs,

    /// The id of the management cluster, in the marks of the users on AVI.
    #[command(flatten)]
    pub cluster: ClusterIdArgs,

    /// Flags all operators have.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Args {
    /// Returns which control planes AVI balances, and how.
    #[must_use]
    pub fn endpoints(&self) -> Settings {
        Settings {
            is_provider: self.avi_control_plane_ha_provider,
            port: self.control_plane_endpoint_port,
            ready_only: self.control_plane_ready_only,
        }
    }

    /// Returns how long a cleanup waits for AKO; `None`: until a person ends it.
    #[must_use]
    pub fn cleanup_deadline(&self) -> Option<Duration> {
        Some(self.cleanup_deadline).filter(|deadline| !deadline.is_zero())
    }

    /// Returns what is to be installed, if an image is named.
    #[must_use]
    pub fn ako(&self) -> Option<Ako> {
        Some(Ako {
            image: self.ako_image.clone().filter(|image| !image.is_empty())?,
            gateway_image: self.ako_gateway_image.clone(),
            pull_secrets: self.ako_pull_secrets.clone(),
            version: self.ako_version,
        })
    }
}

/// Reads a duration with its unit, such as `90m` or `1h 30m`; `0` needs none.
fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed =
        text.trim().parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed.ok_or_else(|| "write a duration such as 90m, 1h30m or 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// The heading of flattened flags is that of all that follow.
    #[test]
    fn the_flags_of_the_operator_are_under_no_heading_of_others() {
        let command = Cli::command();
        let heading =
            |id: &str| command.get_arguments().find(|arg| arg.get_id() == id).unwrap().get_help_heading();
        assert_eq!((heading("ako_image"), heading("cleanup_deadline")), (None, None));
        assert_eq!(heading("webhook_addr"), Some("Webhook options"));
    }

    #[test]
    fn a_version_of_ako_without_a_template_ends_the_process() {
        let parse = |version| Cli::try_parse_from(["op", "--ako-image=ako", "--ako-version", version]);
        for known in ["2.2", "2.2.1", "v2.2.9-patch1"] {
            assert_eq!(parse(known).unwrap().args.ako().unwrap().version, AkoMinor::default());
        }
        for unknown in ["2.3.0", "1.13.4", "latest", "2"] {
            let Err(error) = parse(unknown) else { panic!("{unknown}") };
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(
                text.contains("'--ako-version <VERSION>'") && text.contains("write a version of AKO 2.2"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_has_a_unit_unless_it_is_zero() {
        let minutes = |minutes| Some(Duration::from_mins(minutes));
        for (text, wanted) in [
            ("90m", minutes(90)),
            ("1h", minutes(60)),
            ("1h30m", minutes(90)),
            ("1h 30m", minutes(90)),
            ("120s", minutes(2)),
            (" 0 ", minutes(0)),
            ("0s", minutes(0)),
            ("60", None),
            ("-1h", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(parse_duration(text).ok(), wanted, "{text:?}");
        }
    }
}
