//! Addresses of an AKODeploymentConfig, as AKO reads them.

use std::fmt;

use ipnet::IpNet;

use crate::api::reason::INVALID_SPEC;
use crate::problem::Problem;

/// Returns the controller's address without its scheme, which AKO puts before it.
pub(super) fn host(controller: &str) -> Result<&str, Problem> {
    let host = match controller.split_once("://") {
        None => controller,
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => host,
        Some((scheme, _)) => {
            let message = format!(
                "spec.controller: AKO does not speak {scheme}: write https://address[:port], or no scheme"
            );
            return Err(Problem { reason: INVALID_SPEC, message });
        }
    };
    let host = host.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', ' ']) {
        let message = format!("spec.controller: {controller:?} is no address: write address[:port]");
        return Err(Problem { reason: INVALID_SPEC, message });
    }
    Ok(host)
}

/// A subnet. Formats as its network address and the length of its prefix, whatever address of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet(IpNet);

impl Subnet {
    pub(super) fn parse(field: &str, text: &str) -> Result<Self, Problem> {
        text.parse::<IpNet>().map(|net| Self(net.trunc())).map_err(|_| Problem {
            reason: INVALID_SPEC,
            message: format!("{field}: {text:?} is no subnet: write one such as 10.0.0.0/24"),
        })
    }

    pub(super) fn address(self) -> String {
        self.0.addr().to_string()
    }

    pub(super) fn prefix(self) -> String {
        self.0.prefix_len().to_string()
    }

    /// Returns the key that AKO reads a subnet of this family from.
    pub(super) fn key(self) -> &'static str {
        match self.0 {
            IpNet::V4(_) => "cidr",
            IpNet::V6(_) => "v6cidr",
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
