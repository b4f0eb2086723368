//! HTTPS for every client: certificates are checked as [`Trust`] says, redirects are refused, dead peers are
//! detected. Owns no connection and no session; never sees a request.

mod address;
mod cut;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha1::Digest;

pub(crate) use address::authority;
pub(crate) use cut::{Cut, Stage};
pub use trust::{Thumbprint, Trust};

/// A setting that cannot work; the message says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError(String);

impl SettingError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

/// Returns the builder of a client for one server. It sets no limit on the time of an answer, which depends on the
/// call.
pub(crate) fn client(
    trust: &Trust,
    connect_timeout: Duration,
) -> Result<reqwest::ClientBuilder, SettingError> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(client_config(trust)?)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        // A peer that is gone is detected within a minute even while only a long poll waits.
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_keepalive_interval(Duration::from_secs(10))
        .tcp_keepalive_retries(3)
        .pool_idle_timeout(Duration::from_secs(50)))
}

/// Builds the client.
pub(crate) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, SettingError> {
    builder.build().map_err(|error| SettingError::new(format!("cannot set up HTTPS: {error}")))
}

fn client_config(trust: &Trust) -> Result<ClientConfig, SettingError> {
    let unusable = |error: &dyn fmt::Display| SettingError::new(format!("cannot set up TLS: {error}"));
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::System => Arc::new(
            rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| unusable(&error))?,
        ),
        Trust::CaBundle(pem) => {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(pem)?), provider.clone())
                .build()
                .map_err(|error| unusable(&error))?
        }
        Trust::Thumbprint(thumbprint) => {
            Arc::new(PinnedVerifier { thumbprint: Some(*thumbprint), provider: provider.clone() })
        }
        Trust::Insecure => Arc::new(PinnedVerifier { thumbprint: None, provider: provider.clone() }),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, SettingError> {
    let bad = |why: &str| SettingError::new(format!("the CA bundle {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| bad("is not valid PEM"))?;
        roots.add(certificate).map_err(|_| bad("holds a certificate that cannot be read"))?;
    }
    if roots.is_empty() {
        return Err(bad("holds no certificate in PEM form"));
    }
    Ok(roots)
}

/// Accepts one certificate, or without a thumbprint any; in both cases the server has to prove that it has the key of
/// the certificate.
#[derive(Debug)]
struct PinnedVerifier {
    thumbprint: Option<Thumbprint>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug, thiserror::Error)]
#[error("the server's certificate has the thumbprint {0}, which is not the one given")]
struct WrongCertificate(Thumbprint);

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(want) = self.thumbprint else { return Ok(ServerCertVerified::assertion()) };
        let is = match want {
            Thumbprint::Sha1(_) => Thumbprint::Sha1(sha1::Sha1::digest(end_entity).into()),
            Thumbprint::Sha256(_) => Thumbprint::Sha256(sha2::Sha256::digest(end_entity).into()),
        };
        if is == want {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(WrongCertificate(is)))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_bundle_is_a_setting_error() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = client(&Trust::CaBundle(bad.into()), Duration::from_secs(1)).unwrap_err();
            assert!(error.to_string().contains("CA bundle"), "{bad}: {error}");
            assert_eq!(Trust::ca_bundle(bad.into()).unwrap_err(), error);
        }
    }
}
