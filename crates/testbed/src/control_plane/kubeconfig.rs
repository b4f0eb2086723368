//! Kubeconfig files. Written as JSON, which is YAML to every reader.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::pki::Pki;

/// How the holder proves who it is.
pub(super) enum Credentials<'a> {
    /// The client certificate of this name in the PKI.
    Certificate(&'a str),
    /// A ServiceAccount's token.
    Token(&'a str),
}

/// Writes a kubeconfig that only its owner can read, replacing one that is there.
pub(super) fn write(
    file: &Path,
    url: &str,
    pki: &Pki,
    namespace: &str,
    credentials: &Credentials<'_>,
) -> Result<()> {
    let user = match credentials {
        Credentials::Certificate(name) => json!({
            "client-certificate": pki.path(&format!("{name}.crt")),
            "client-key": pki.path(&format!("{name}.key")),
        }),
        Credentials::Token(token) => json!({ "token": token }),
    };
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": { "server": url, "certificate-authority": pki.path("ca.crt") },
        }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "user", "namespace": namespace },
        }],
        "current-context": "testbed",
    });
    let mut open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    open.write_all(serde_json::to_string_pretty(&config)?.as_bytes())?;
    Ok(())
}
