//! Kubeconfig files, written as JSON, which is valid YAML.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::pki::Pki;

/// The credentials in a kubeconfig.
pub(super) enum Credentials<'a> {
    /// The client certificate of this name in the PKI.
    Certificate(&'a str),
    /// A ServiceAccount's token.
    Token(&'a str),
}

/// Returns a kubeconfig with embedded keys, which works on any machine and in a Secret.
pub(super) fn render(url: &str, pki: &Pki, namespace: &str, credentials: &Credentials<'_>) -> Result<String> {
    let user = match credentials {
        Credentials::Certificate(name) => json!({
            "client-certificate-data": base64(pki, &format!("{name}.crt"))?,
            "client-key-data": base64(pki, &format!("{name}.key"))?,
        }),
        Credentials::Token(token) => json!({ "token": token }),
    };
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": { "server": url, "certificate-authority-data": base64(pki, "ca.crt")? },
        }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "user", "namespace": namespace },
        }],
        "current-context": "testbed",
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

/// Reads a file of the PKI; serde writes it in base64.
fn base64(pki: &Pki, file: &str) -> Result<ByteString> {
    let path = pki.path(file);
    Ok(ByteString(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
}

/// Writes a kubeconfig that only its owner can read; replaces an existing file.
pub(super) fn write(
    file: &Path,
    url: &str,
    pki: &Pki,
    namespace: &str,
    credentials: &Credentials<'_>,
) -> Result<()> {
    let mut open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    open.write_all(render(url, pki, namespace, credentials)?.as_bytes())?;
    Ok(())
}
