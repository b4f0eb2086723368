//! What a connection needs to know. Owns the check of host names and thumbprints; reads no
//! environment and no files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::error::{Error, Kind};
use crate::Secret;

/// Settings of one connection to one vCenter.
#[derive(Debug, Clone)]
pub struct Config {
    /// `name`, `name:port`, or the whole `https://name[:port]/sdk`. Port 443 unless given.
    pub host: String,
    /// The account, `user@domain`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How the server's certificate is judged.
    pub trust: Trust,
    /// Name and version of the program, shown in vCenter's list of sessions.
    pub agent: (&'static str, &'static str),
    /// Name or inventory path of the datacenter; not needed when there is one.
    pub datacenter: Option<String>,
    /// Resource pool for new VMs: a cluster's name (its root pool), a pool's name, or
    /// `cluster/Resources/pool`; not needed when there is one cluster.
    pub resource_pool: Option<String>,
    /// Name of the VM folder, directly under `<datacenter>/vm`, that holds everything this client
    /// watches and makes. Made when missing.
    pub root_folder: String,
    /// Only `extraConfig` keys that begin so are kept in the inventory.
    pub marker_prefix: String,
    /// Silence after which the session is kept alive by a call; 5 minutes.
    pub keep_alive: Duration,
    /// Longest wait for the answer of one call (the long poll has its own); 60 s.
    pub call_timeout: Duration,
    /// Calls under way at once, the long poll not counted; 8.
    pub concurrency: usize,
    /// Least time between two polls for changes, in which changes gather; 250 ms.
    pub poll_interval: Duration,
}

impl Config {
    /// Settings with every default, trusting the system's certificate authorities.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        user: impl Into<String>,
        password: Secret,
        root_folder: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            user: user.into(),
            password,
            trust: Trust::System,
            agent: (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            datacenter: None,
            resource_pool: None,
            root_folder: root_folder.into(),
            marker_prefix: String::new(),
            keep_alive: Duration::from_mins(5),
            call_timeout: Duration::from_mins(1),
            concurrency: 8,
            poll_interval: Duration::from_millis(250),
        }
    }
}

/// How the server's certificate is judged.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the certificate authorities of the system.
    System,
    /// By these authorities and no others: PEM, one certificate or more.
    CaBundle(Vec<u8>),
    /// It must be this very certificate; its names, dates and issuer do not matter.
    Thumbprint(Thumbprint),
    /// Not at all. Anyone in between can read and change everything, the password included.
    Insecure,
}

/// The SHA-1 or SHA-256 digest of a certificate, as vCenter and browsers show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Thumbprint {
    /// 20 bytes.
    Sha1([u8; 20]),
    /// 32 bytes.
    Sha256([u8; 32]),
}

impl FromStr for Thumbprint {
    type Err = Error;

    /// Reads 40 or 64 hexadecimal digits in either case, with or without colons.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::new(
                Kind::Config,
                "a certificate thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, with or without colons",
            )
        };
        let digits: Vec<u8> = text
            .trim()
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        if !digits.len().is_multiple_of(2) {
            return Err(bad());
        }
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if let Ok(sha1) = <[u8; 20]>::try_from(bytes.as_slice()) {
            Ok(Self::Sha1(sha1))
        } else {
            bytes.as_slice().try_into().map(Self::Sha256).map_err(|_| bad())
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        for (i, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `name[:port]` from what people write: a URL, a trailing slash, `/sdk`.
pub(super) fn authority(host: &str) -> Result<String, Error> {
    let bad = |why: &str| Error::new(Kind::Config, format!("the vCenter address {host:?} {why}"));
    let text = host.trim();
    let rest = match text.split_once("://") {
        None => text,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return Err(bad("must be a host name or an https URL: a vCenter speaks https only")),
    };
    let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path.trim_end_matches('/'), "" | "sdk") {
        return Err(bad("has a path; write only the host name, and the port if it is not 443"));
    }
    if name.contains('@') {
        return Err(Error::new(
            Kind::Config,
            "the vCenter address holds a user; user and password are settings of their own",
        ));
    }
    if name.is_empty() {
        return Err(Error::new(Kind::Config, "the vCenter address is empty"));
    }
    let name = if name.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    match name.parse::<http::uri::Authority>() {
        // What follows the host is a port that fits, or nothing.
        Ok(authority) if !authority.host().is_empty() => match name.strip_prefix(authority.host()) {
            Some("") => Ok(name),
            Some(_) if authority.port_u16().is_some_and(|port| port > 0) => Ok(name),
            _ => Err(bad("does not end in a port number")),
        },
        _ => Err(bad("is not a host name")),
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
            ("https://vc.example.com", "vc.example.com"),
            ("HTTPS://vc.example.com:8443/sdk", "vc.example.com:8443"),
            ("https://vc.example.com/sdk/", "vc.example.com"),
            ("https://vc.example.com/", "vc.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]:8989", "[::1]:8989"),
            ("fd00::1", "[fd00::1]"),
        ] {
            assert_eq!(authority(given).unwrap(), want, "{given}");
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
        ] {
            let error = authority(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{bad}");
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }

    #[test]
    fn thumbprint_in_every_spelling() {
        let sha1 = "AB:CD:EF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:01";
        let parsed: Thumbprint = sha1.parse().unwrap();
        assert_eq!(parsed.to_string(), sha1);
        assert_eq!(sha1.replace(':', "").to_lowercase().parse::<Thumbprint>().unwrap(), parsed);
        assert!(matches!("ab".repeat(32).parse(), Ok(Thumbprint::Sha256(_))));
        for bad in ["", "ab", "zz", &"ab".repeat(21), &"a".repeat(41), "é"] {
            assert_eq!(bad.parse::<Thumbprint>().unwrap_err().kind(), Kind::Config, "{bad}");
        }
    }
}
