//! The address of a server. Owns the check of what people write as an address; resolves nothing.

use super::SettingError;

const NO_HOST: &str = "is not a host name; write one such as host.example.com, or an IP address, with :port where it is not 443";

/// Returns `name[:port]`, in one spelling, from what people write: a URL, a trailing slash, one of `paths`. `system`
/// names the server in messages.
pub(crate) fn authority(system: &str, paths: &[&str], host: &str) -> Result<String, SettingError> {
    let bad = |why: &str| SettingError::new(format!("the {system} address {host:?} {why}"));
    let text = host.trim();
    let rest = match text.split_once("://") {
        None => text,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return Err(bad("must be a host name or an https URL: it speaks https only")),
    };
    let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    if !path.is_empty() && !paths.contains(&path) {
        return Err(bad("has a path; write only the host name, and the port if it is not 443"));
    }
    if name.contains('@') {
        return Err(SettingError::new(format!(
            "the {system} address holds a user; user and password are settings of their own"
        )));
    }
    if name.is_empty() {
        return Err(SettingError::new(format!("the {system} address is empty")));
    }
    let name = name.to_ascii_lowercase();
    let name = if name.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{name}]") } else { name };
    match name.parse::<http::uri::Authority>() {
        // Accepts nothing but a port behind the host.
        Ok(authority) if !authority.host().is_empty() => match name.strip_prefix(authority.host()) {
            Some(port) if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) => {
                Err(bad("does not end in a port number"))
            }
            // Otherwise the first request would fail.
            Some(_) if reqwest::Url::parse(&format!("https://{name}/")).is_ok() => {
                Ok(name.strip_suffix(":443").unwrap_or(&name).to_owned())
            }
            _ => Err(bad(NO_HOST)),
        },
        _ => Err(bad(NO_HOST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_in_every_spelling() {
        for (given, want) in [
            ("vc.example.com", "vc.example.com"),
            (" vc.example.com ", "vc.example.com"),
            ("vc.example.com:8443", "vc.example.com:8443"),
            ("VC.Example.com:443", "vc.example.com"),
            ("https://vc.example.com", "vc.example.com"),
            ("HTTPS://vc.example.com:8443/sdk", "vc.example.com:8443"),
            ("https://vc.example.com/sdk/", "vc.example.com"),
            ("https://vc.example.com/", "vc.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]:8989", "[::1]:8989"),
            ("FD00::1", "[fd00::1]"),
            ("fd00::443", "[fd00::443]"),
        ] {
            assert_eq!(authority("vCenter", &["sdk"], given).unwrap(), want, "{given}");
        }
        for bad in [
            "",
            "https://",
            "http://vc.example.com",
            "vc/ui",
            "user@vc",
            "root:pw@vc",
            "two words",
            "vc:",
            "vc:port",
            "vc:0",
            "vc:99999",
            "ftp://vc",
            "256.1.1.1",
            "xn--a.example.com",
        ] {
            let error = authority("vCenter", &["sdk"], bad).unwrap_err();
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }
}
