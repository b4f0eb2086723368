//! One certificate authority per control plane, and what it signs. P-256 throughout: made in milliseconds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The names and addresses under which clients know the API server. 10.96.0.1 is the first of its services.
const SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// A directory of keys and certificates, in PEM files named below.
#[derive(Debug)]
pub(super) struct Pki {
    directory: PathBuf,
    ca_pem: String,
}

/// The authorities whose clients the API server lets in: ours, and the one of [`HANDED_OUT`].
pub(super) const CLIENT_CAS: &str = "clients.crt";
/// The administrator's client certificate for others' hands. It has an authority of its own, so that it can be
/// revoked: Kubernetes knows no other way.
pub(super) const HANDED_OUT: &str = "handed-out";

impl Pki {
    /// Makes the authority, the API server's certificate, the key pair that signs ServiceAccount tokens, and
    /// client certificates for the administrator (`admin`) and the controller manager (`kcm`).
    pub(super) fn create(directory: PathBuf) -> Result<Self> {
        fs::create_dir(&directory)?;
        let (ca_pem, issuer) = authority("testbed-ca")?;
        fs::write(directory.join("ca.crt"), &ca_pem)?;
        fs::write(directory.join("ca.key"), issuer.key().serialize_pem())?;
        let pki = Self { directory, ca_pem };

        let mut server = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        pki.issue("apiserver", server, &issuer)?;
        pki.issue("admin", client("admin", Some("system:masters"))?, &issuer)?;
        pki.issue("kcm", client("system:kube-controller-manager", None)?, &issuer)?;

        let tokens = KeyPair::generate()?;
        fs::write(pki.path("sa.key"), tokens.serialize_pem())?;
        fs::write(pki.path("sa.pub"), tokens.public_key_pem())?;
        pki.hand_out()?;
        Ok(pki)
    }

    /// Makes a new [`HANDED_OUT`]; the one before is not let in any more once the API server has noticed.
    pub(super) fn hand_out(&self) -> Result<()> {
        let (ca_pem, issuer) = authority("testbed-handed-out-ca")?;
        self.issue(HANDED_OUT, client("admin", Some("system:masters"))?, &issuer)?;
        // By rename: the API server reads whenever it notices, and must not see half of it.
        let scratch = self.path("clients.new");
        fs::write(&scratch, format!("{}{ca_pem}", self.ca_pem))?;
        fs::rename(scratch, self.path(CLIENT_CAS))?;
        Ok(())
    }

    fn issue(&self, name: &str, mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        fs::write(self.path(&format!("{name}.crt")), certificate.pem())?;
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }

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

/// A new authority: its certificate, and what signs with it.
fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

/// A client's certificate: Kubernetes takes the user from the common name and the group from the organisation.
fn client(user: &str, group: Option<&str>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
