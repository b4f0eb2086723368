//! Certificates: made, read from a Secret, and checked as the API server checks them.
//!
//! Owns the keys. Each certificate has an authority of its own, whose key is not kept: a client that reads the Secret can serve in
//! place of the webhook, but cannot make another certificate. Never writes; `upkeep` does.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Keys of a Secret with a certificate, as the type `kubernetes.io/tls` has them, and that of the authorities.
pub(super) const CERTIFICATE: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
pub(super) const AUTHORITIES: &str = "ca.crt";

const DAY: Duration = Duration::from_hours(24);
/// How long a certificate is valid.
const LIFETIME: Duration = DAY.saturating_mul(365);

/// A new certificate, as PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) authority: String,
}

/// Makes a certificate for these names and addresses. It is valid from the day before.
pub(super) fn make(names: &[String], now: Timestamp) -> Result<Made, rcgen::Error> {
    let day = |time: Result<Timestamp, jiff::Error>| {
        let date = time.unwrap_or(now).to_zoned(TimeZone::UTC).date();
        let part = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    let (begin, end) = (day(now.checked_sub(DAY)), day(now.checked_add(LIFETIME)));

    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "webhook authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (authority.not_before, authority.not_after) = (begin, end);
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut served = CertificateParams::new(names.to_vec())?;
    served.distinguished_name.push(DnType::CommonName, "webhook");
    served.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    served.use_authority_key_identifier_extension = true;
    (served.not_before, served.not_after) = (begin, end);
    let key = KeyPair::generate()?;
    let certificate = served.signed_by(&key, &issuer)?.pem();
    Ok(Made { certificate, key: key.serialize_pem(), authority: authority_pem })
}

/// A certificate with its key, and the authorities that clients are to trust.
pub(super) struct Pair {
    certified: Arc<CertifiedKey>,
    authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// Reads a Secret. Fails with what is wrong with it.
    pub(super) fn of(secret: &Secret) -> Result<Self, String> {
        let part = |key: &str| {
            let part = secret.data.as_ref().and_then(|data| data.get(key));
            part.map(|ByteString(bytes)| bytes.as_slice()).ok_or_else(|| format!("it has no {key}"))
        };
        let chain = certificates(part(CERTIFICATE)?);
        if chain.is_empty() {
            return Err(format!("{CERTIFICATE} has no certificate"));
        }
        // Its error may quote the key.
        let key =
            PrivateKeyDer::from_pem_slice(part(KEY)?).map_err(|_| format!("{KEY} is no private key"))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("{CERTIFICATE} and {KEY} do not fit: {error}"))?;
        let authorities = certificates(part(AUTHORITIES).unwrap_or_default());
        Ok(Self { certified: Arc::new(certified), authorities })
    }

    /// Checks the certificate as a client does that calls it by each of these names at that time and trusts the
    /// authorities.
    pub(super) fn check(&self, names: &[String], at: Timestamp) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities.iter().cloned());
        let at = Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
        let at = UnixTime::since_unix_epoch(at);
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let (first, rest) = self.certified.cert.split_first().ok_or("there is no certificate")?;
        let parsed = ParsedCertificate::try_from(first).map_err(|error| format!("{CERTIFICATE}: {error}"))?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, rest, at, algorithms)
            .map_err(|error| format!("the certificate is not good: {error}"))?;
        for name in names {
            let server = ServerName::try_from(name.as_str()).map_err(|error| format!("{name}: {error}"))?;
            verify_server_name(&parsed, &server)
                .map_err(|error| format!("the certificate is not good for {name}: {error}"))?;
        }
        Ok(())
    }

    /// Returns whether the Secret names authorities at all.
    pub(super) fn has_authorities(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// Returns whether a client that trusts these authorities (PEM) trusts all that the Secret names.
    pub(super) fn is_trusted_by(&self, authorities: &[u8]) -> bool {
        let trusted = certificates(authorities);
        self.authorities.iter().all(|authority| trusted.contains(authority))
    }
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// Returns the first of several certificates: that of the authority of the present certificate.
pub(super) fn first(pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    pem.find(END).and_then(|at| pem.get(..at + END.len())).unwrap_or_default()
}

/// The certificate that is served, which changes without a restart.
#[derive(Debug, Default)]
pub(super) struct Served(RwLock<Option<Arc<CertifiedKey>>>);

impl Served {
    /// Serves a certificate from the next handshake on. Returns whether it is another one than before.
    pub(super) fn set(&self, pair: &Pair) -> bool {
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = served.as_ref().is_none_or(|served| served.cert != pair.certified.cert);
        *served = Some(Arc::clone(&pair.certified));
        is_new
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn secret(parts: &[(&str, &str)]) -> Secret {
        let data = parts.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    fn of(made: &Made) -> Pair {
        let parts = [(CERTIFICATE, &*made.certificate), (KEY, &*made.key), (AUTHORITIES, &*made.authority)];
        Pair::of(&secret(&parts)).unwrap()
    }

    #[test]
    fn a_certificate_is_good_for_its_names_and_its_time() {
        let now = Timestamp::now();
        let pair = of(&make(&names(&["op.ns.svc", "127.0.0.1"]), now).unwrap());
        let days = |days: i64| now.saturating_add(jiff::SignedDuration::from_hours(24 * days)).unwrap();
        for at in [days(0), days(300), days(364)] {
            pair.check(&names(&["op.ns.svc", "127.0.0.1"]), at).unwrap();
        }
        for (name, at, wanted) in [
            ("op.ns.svc", days(366), "expired"),
            ("op.ns.svc", days(-3), "not valid yet"),
            ("other.ns.svc", now, "not good for other.ns.svc"),
            ("127.0.0.2", now, "not good for 127.0.0.2"),
        ] {
            let error = pair.check(&names(&[name]), at).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_certificate_of_another_authority_is_refused() {
        let (one, other) = (
            make(&names(&["a"]), Timestamp::now()).unwrap(),
            make(&names(&["a"]), Timestamp::now()).unwrap(),
        );
        let mixed = Made { authority: other.authority.clone(), ..one };
        of(&mixed).check(&names(&["a"]), Timestamp::now()).unwrap_err();
        let both = format!("{}{}", other.authority, mixed.authority);
        assert!(of(&mixed).is_trusted_by(both.as_bytes()) && !of(&mixed).is_trusted_by(b""));
        assert_eq!(first(&format!("{}{both}", other.authority)), other.authority.trim());
        assert_eq!(first("none"), "");
    }

    #[test]
    fn a_secret_that_cannot_be_served_says_why_and_shows_no_key() {
        let (one, other) = (
            make(&names(&["a"]), Timestamp::now()).unwrap(),
            make(&names(&["a"]), Timestamp::now()).unwrap(),
        );
        for (parts, wanted) in [
            (vec![], "it has no tls.crt"),
            (vec![(CERTIFICATE, "x"), (KEY, &*one.key)], "tls.crt has no certificate"),
            (vec![(CERTIFICATE, &*one.certificate), (KEY, "x")], "tls.key is no private key"),
            (vec![(CERTIFICATE, &*one.certificate), (KEY, &*other.key)], "tls.crt and tls.key do not fit"),
        ] {
            let error = Pair::of(&secret(&parts)).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
        assert_eq!(format!("{:?}", of(&one)), "Pair { .. }");
    }

    #[test]
    fn another_certificate_is_served_at_once() {
        let served = Served::default();
        let made = make(&names(&["a"]), Timestamp::now()).unwrap();
        assert!(served.set(&of(&made)) && !served.set(&of(&made)));
        assert!(served.set(&of(&make(&names(&["a"]), Timestamp::now()).unwrap())));
    }
}
