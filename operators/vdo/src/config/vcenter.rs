//! A vCenter, and the account with which drivers log in to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use infra_clients::Secret;
use k8s_openapi::ByteString;

use crate::api::{VSphereConnectionSpec, VsphereCloudConfigSpec};
use crate::problem::Problem;

/// Field of the server in a VsphereCloudConfig.
const SERVER: &str = "spec.vcIp";
const DEFAULT_PORT: u16 = 443;
/// Lengths of SHA-1 and SHA-256 fingerprints, in bytes.
const FINGERPRINTS: [usize; 2] = [20, 32];

/// User name and password. Formats without the password.
#[derive(Clone, Debug)]
pub struct Account {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

impl Account {
    /// Reads the keys `username` and `password` of a Secret. A line break at the end belongs to neither: editors and `echo` add it,
    /// and CPI removes it as well.
    ///
    /// # Errors
    /// If one of them is missing, empty or no text.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = |key: &str| {
            let problem = match data.get(key).map(|bytes| std::str::from_utf8(&bytes.0)) {
                Some(Ok(text)) if !trim_end(text).is_empty() => return Secret::new(trim_end(text)),
                Some(Ok(_)) => "is empty",
                Some(Err(_)) => "is no UTF-8 text",
                None => "is missing",
            };
            problems.push(Problem::new(
                key,
                format!("the key of the Secret {problem}: write the account of the vCenter"),
            ));
            Secret::default()
        };
        let (username, password) = (read("username"), read("password"));
        if problems.is_empty() {
            Ok(Self { username: username.expose().to_owned(), password })
        } else {
            Err(problems)
        }
    }
}

fn trim_end(text: &str) -> &str {
    text.trim_end_matches(['\n', '\r'])
}

/// Longest host name, in bytes: `<host>.username` and `<host>.password` are keys of a Secret, which have at most 253.
const LONGEST_HOST: usize = 244;

/// How a driver checks the certificate of a vCenter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Not at all.
    Insecure,
    /// By its fingerprint: hexadecimal, in upper case, with colons.
    Fingerprint(String),
    /// With these authorities, in PEM.
    Authority(String),
    /// With the authorities that the driver's image trusts.
    Image,
}

/// A vCenter.
#[derive(Clone, Debug)]
pub struct Vcenter {
    /// Host name or IP address, without brackets.
    pub server: String,
    /// Port.
    pub port: u16,
    /// Names of the datacenters; empty for all that the account sees.
    pub datacenters: Vec<String>,
    /// With which the driver logs in.
    pub account: Account,
    /// How the driver checks the certificate.
    pub trust: Trust,
}

impl Vcenter {
    /// Reads a VsphereCloudConfig. `authority` holds the authorities, in PEM, that signed the certificate.
    ///
    /// # Errors
    /// What a driver would misread.
    pub fn read(
        spec: &VsphereCloudConfigSpec,
        account: Account,
        authority: Option<&str>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let (server, port) = address(&spec.vc_ip).unwrap_or_else(|message| {
            problems.push(Problem::new(SERVER, message));
            (String::new(), DEFAULT_PORT)
        });
        for (index, name) in spec.datacenters.iter().enumerate() {
            if let Some(message) = unusable_datacenter(name) {
                problems.push(Problem::new(format!("spec.datacenters[{index}]"), message));
            }
        }
        let thumbprint = spec.thumbprint.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let trust = match (spec.insecure, thumbprint, authority) {
            (true, ..) => Trust::Insecure,
            (false, Some(text), _) => fingerprint(text).map_or_else(
                || {
                    let message = format!(
                        "{text:?} is no fingerprint: write the SHA-1 or SHA-256 of the vCenter's certificate, such as 3F:62:…"
                    );
                    problems.push(Problem::new("spec.thumbprint", message));
                    Trust::Image
                },
                Trust::Fingerprint,
            ),
            (false, None, Some(pem)) => Trust::Authority(pem.to_owned()),
            (false, None, None) => Trust::Image,
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { server, port, datacenters: spec.datacenters.clone(), account, trust })
    }

    /// Reads a VSphereConnection. `authority` holds the authorities of its ConfigMap, in PEM.
    ///
    /// # Errors
    /// What a driver would misread.
    pub fn read_connection(
        spec: &VSphereConnectionSpec,
        account: Account,
        authority: Option<&str>,
    ) -> Result<Self, Vec<Problem>> {
        let spec = VsphereCloudConfigSpec {
            vc_ip: spec.server.clone(),
            insecure: spec.insecure.unwrap_or_default(),
            credentials: spec.credentials.clone(),
            thumbprint: spec.thumbprint.clone(),
            datacenters: spec.datacenters.clone(),
        };
        Self::read(&spec, account, authority).map_err(|mut problems| {
            for problem in problems.iter_mut().filter(|problem| problem.field == SERVER) {
                "spec.server".clone_into(&mut problem.field);
            }
            problems
        })
    }

    /// Returns whether the server is an IPv6 address.
    pub(super) fn is_ipv6(&self) -> bool {
        self.server.parse::<Ipv6Addr>().is_ok()
    }

    /// Returns the key of the file with the authorities, if there are any.
    pub(super) fn authority_file(&self) -> Option<(String, &str)> {
        let Trust::Authority(pem) = &self.trust else { return None };
        Some((format!("ca-{}.crt", self.server.replace(':', "-")), pem))
    }
}

/// Returns a problem for each server that is listed again: both drivers would keep one of the two.
pub(super) fn twice(vcenters: &[Vcenter], field: &str) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let again = vcenters.iter().filter(|vcenter| !seen.insert(vcenter.server.as_str()));
    again
        .map(|vcenter| {
            let server = &vcenter.server;
            Problem::new(
                field,
                format!(
                    "the vCenter {server} is named twice: list its datacenters in one VsphereCloudConfig"
                ),
            )
        })
        .collect()
}

/// Reads `host`, `host:port` or `[address]:port`.
fn address(text: &str) -> Result<(String, u16), String> {
    let wrong = || {
        format!("{text:?} is no address: write the host name or IP address of the vCenter, without https://")
    };
    let bare = text.trim();
    if bare.parse::<IpAddr>().is_ok() {
        return Ok((bare.to_owned(), DEFAULT_PORT));
    }
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        None => (bare, DEFAULT_PORT),
    };
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| wrong())?,
        None => host.to_owned(),
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_name = host.len() <= LONGEST_HOST && host.split('.').all(is_label);
    if host.parse::<Ipv6Addr>().is_ok() || is_name { Ok((host, port)) } else { Err(wrong()) }
}

/// Both drivers join the names with commas, split them again, and cut blanks off.
fn unusable_datacenter(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("the name is empty: remove it")
    } else if name.contains(',') {
        Some(
            "the drivers take a comma for the end of the name: list each datacenter by itself, or rename it in the vCenter",
        )
    } else if name.trim() != name {
        Some(
            "the drivers cut the blanks around the name off: remove them, or rename the datacenter in the vCenter",
        )
    } else if name.contains(char::is_control) {
        Some("the name has a control character: remove it")
    } else {
        None
    }
}

/// Returns a fingerprint in the form that the drivers compare.
fn fingerprint(text: &str) -> Option<String> {
    let digits: String =
        text.chars().filter(|c| !matches!(c, ':' | ' ')).collect::<String>().to_ascii_uppercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !FINGERPRINTS.contains(&(digits.len() / 2)) || digits.len() % 2 == 1 {
        return None;
    }
    let pairs: Vec<_> = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]).collect();
    Some(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        let good = [
            ("10.0.0.1", "10.0.0.1", 443),
            (" vc.example.com ", "vc.example.com", 443),
            ("vc_1.example.com:8443", "vc_1.example.com", 8443),
            ("fd01::1", "fd01::1", 443),
            ("[fd01::1]:8443", "fd01::1", 8443),
            ("vc", "vc", 443),
        ];
        for (text, host, port) in good {
            assert_eq!(address(text), Ok((host.to_owned(), port)), "{text}");
        }
        for bad in [
            "",
            " ",
            "https://vc",
            "vc/sdk",
            "vc:0",
            "vc:x",
            "vc:70000",
            "a b",
            "[vc]:443",
            "vc..a",
            "vc\"",
            "[fd01::1]",
            "vc\nvc",
            &"a".repeat(245),
        ] {
            let error = address(bad).unwrap_err();
            assert!(error.contains("without https://"), "{bad}: {error}");
        }
    }

    #[test]
    fn fingerprints_get_one_form() {
        let sha1 = "ab".repeat(20);
        let colons = vec!["AB"; 20].join(":");
        assert_eq!(fingerprint(&sha1).as_ref(), Some(&colons));
        assert_eq!(fingerprint(&colons).as_ref(), Some(&colons));
        assert_eq!(fingerprint(&"0f".repeat(32)).map(|text| text.len()), Some(95));
        for bad in ["", "AA:BB", &"zz".repeat(20), &format!("{sha1}a"), &"é".repeat(10)] {
            assert_eq!(fingerprint(bad), None, "{bad}");
        }
    }

    #[test]
    fn accounts_are_read_from_secrets() {
        let read = |pairs: &[(&str, &[u8])]| {
            let data = pairs.iter().map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec())));
            Account::read(&data.collect())
        };
        let account = read(&[("username", b"a@b\n"), ("password", b" p\"w\r\n"), ("other", b"x")]).unwrap();
        assert_eq!((account.username.as_str(), account.password.expose()), ("a@b", " p\"w"));
        assert!(!format!("{account:?}").contains("p\"w"));
        let problems = read(&[("username", b"\n")]).unwrap_err();
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "username: the key of the Secret is empty: write the account of the vCenter",
                "password: the key of the Secret is missing: write the account of the vCenter",
            ]
        );
        let problems = read(&[("username", b"a"), ("password", b"\xff")]).unwrap_err();
        assert!(problems[0].message.contains("no UTF-8 text"));
    }

    #[test]
    fn what_drivers_would_misread_is_refused_all_at_once() {
        let spec = VsphereCloudConfigSpec {
            vc_ip: "https://vc".to_owned(),
            thumbprint: Some("AA".to_owned()),
            datacenters: ["DC0", "", "a,b", " c", "d\n"].map(str::to_owned).into(),
            ..VsphereCloudConfigSpec::default()
        };
        let account = Account { username: "a@b".to_owned(), password: Secret::new("x") };
        let problems = Vcenter::read(&spec, account.clone(), None).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        let wanted = [
            "spec.vcIp",
            "spec.datacenters[1]",
            "spec.datacenters[2]",
            "spec.datacenters[3]",
            "spec.datacenters[4]",
            "spec.thumbprint",
        ];
        assert_eq!(fields, wanted);
        let trust = |insecure, thumbprint: Option<&str>, authority| {
            let spec = VsphereCloudConfigSpec {
                vc_ip: "vc".to_owned(),
                insecure,
                thumbprint: thumbprint.map(str::to_owned),
                ..VsphereCloudConfigSpec::default()
            };
            Vcenter::read(&spec, account.clone(), authority).unwrap().trust
        };
        let sha1 = "ab".repeat(20);
        assert_eq!(trust(true, Some("anything"), Some("pem")), Trust::Insecure);
        assert!(matches!(trust(false, Some(&sha1), Some("pem")), Trust::Fingerprint(_)));
        assert_eq!(trust(false, Some(" "), Some("pem")), Trust::Authority("pem".to_owned()));
        // The original does not check the certificate then.
        assert_eq!(trust(false, None, None), Trust::Image);
    }
}
