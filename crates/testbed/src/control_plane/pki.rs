//! The certificate authority of a control plane and its certificates. All keys are P-256, which takes milliseconds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The names and addresses of the API server. 10.96.0.1 is the address of the Service `kubernetes`.
const SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// A directory of keys and certificates as PEM files.
#[derive(Debug)]
pub(super) struct Pki {
    directory: PathBuf,
    ca_pem: String,
}

/// The file of the CAs whose client certificates the API server accepts: the plane's and that of [`HANDED_OUT`].
pub(super) const CLIENT_CAS: &str = "clients.crt";
/// The administrator's client certificate for embedded kubeconfigs. It has its own CA, because Kubernetes can revoke a
/// client certificate only by removing its CA.
pub(super) const HANDED_OUT: &str = "handed-out";

impl Pki {
    /// Creates the CA, the API server's certificate, the key pair that signs ServiceAccount tokens, and client certificates
    /// for the administrator (`admin`) and the controller manager (`kcm`).
    pub(super) fn create(directory: PathBuf) -> Result<Self> {
        fs::create_dir(&directory)?;
        let (ca_pem, issuer) = create_authority("testbed-ca")?;
        fs::write(directory.join("ca.crt"), &ca_pem)?;
        fs::write(directory.join("ca.key"), issuer.key().serialize_pem())?;
        let pki = Self { directory, ca_pem };

        let mut server = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        pki.issue("apiserver", server, &issuer)?;
        pki.issue("admin", client_params("admin", Some("system:masters"))?, &issuer)?;
        pki.issue("kcm", client_params("system:kube-controller-manager", None)?, &issuer)?;

        let tokens = KeyPair::generate()?;
        fs::write(pki.path("sa.key"), tokens.serialize_pem())?;
        fs::write(pki.path("sa.pub"), tokens.public_key_pem())?;
        pki.hand_out()?;
        Ok(pki)
    }

    /// Creates a new [`HANDED_OUT`] certificate. The API server refuses the old one when it has read the new CA file.
    pub(super) fn hand_out(&self) -> Result<()> {
        let (ca_pem, issuer) = create_authority("testbed-handed-out-ca")?;
        self.issue(HANDED_OUT, client_params("admin", Some("system:masters"))?, &issuer)?;
        // By rename, so that the API server never reads an incomplete file.
        let scratch = self.path("clients.new");
        fs::write(&scratch, format!("{}{ca_pem}", self.ca_pem))?;
        fs::rename(scratch, self.path(CLIENT_CAS))?;
        Ok(())
    }

    /// Writes a new key and its certificate.
    fn issue(&self, name: &str, mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        fs::write(self.path(&format!("{name}.crt")), certificate.pem())?;
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// Returns the path of a file.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

/// Creates a CA: its certificate as PEM, and its issuer.
fn create_authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

/// Returns the parameters of a client certificate. Kubernetes reads the user from the common name and the group from the
/// organisation.
fn client_params(user: &str, group: Option<&str>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
