//! Credentials for registries. Owns the reading of a docker configuration; sends nothing.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use http::HeaderValue;
use serde::{Deserialize, Deserializer};

use crate::Secret;

/// User name and password of a registry. Formats without the password.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: Secret,
}

#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default, deserialize_with = "secret")]
    password: Secret,
    #[serde(default, deserialize_with = "secret")]
    auth: Secret,
}

/// Reads a text that is secret.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

impl Login {
    /// Reads the entry of a registry (`host` or `host:port`) out of a docker configuration: the key `.dockerconfigjson` of a Secret.
    /// Returns `None` if it has none for that registry.
    ///
    /// # Errors
    /// If it cannot be read: the text says what to write.
    pub fn read(config: &[u8], registry: &str) -> Result<Option<Self>, String> {
        let wrong = |why: &str| {
            format!("the docker configuration {why}: write it with `kubectl create secret docker-registry`")
        };
        let config: Config = serde_json::from_slice(config)
            .map_err(|_| wrong("is not of the form {\"auths\": {\"HOST\": {…}}}"))?;
        let entry = config.auths.iter().find(|(name, _)| host_of(name) == host_of(registry));
        let Some((_, entry)) = entry else { return Ok(None) };
        let auth = entry.auth.expose().trim();
        if auth.is_empty() {
            let (username, password) = (entry.username.clone(), entry.password.clone());
            return Ok(Some(Self { username, password }));
        }
        let pair = BASE64.decode(auth.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.ok_or_else(|| wrong(&format!("has an `auth` for {registry} that is no Base64")))?;
        let pair = Secret::new(pair);
        match pair.expose().split_once(':') {
            Some((username, password)) => {
                Ok(Some(Self { username: username.to_owned(), password: Secret::new(password) }))
            }
            None => Err(wrong(&format!("has an `auth` for {registry} without a colon"))),
        }
    }

    /// Returns the value of `Authorization`.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let pair = Secret::new(format!("{}:{}", self.username, self.password.expose()));
        let text = Secret::new(format!("Basic {}", BASE64.encode(pair.expose().as_bytes())));
        sensitive(text.expose())
    }
}

/// Returns a value that is not shown in logs; `None` if a header cannot hold it.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns host and port of what a docker configuration names a registry, such as `https://index.docker.io/v1/`.
fn host_of(name: &str) -> &str {
    let rest = name.split_once("://").map_or(name, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_host() {
        let config = br#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpwOnc="},
            "registry.example.com:5000": {"username": "a", "password": "b"},
            "bad.example.com": {"auth": "%"}, "short.example.com": {"auth": "dQ=="}}}"#;
        let read = |registry| Login::read(config, registry);
        let docker = read("docker.io").unwrap().unwrap();
        assert_eq!((docker.username.as_str(), docker.password.expose()), ("u", "p:w"));
        assert_eq!(docker.basic().unwrap().to_str().unwrap(), "Basic dTpwOnc=");
        assert!(!format!("{docker:?} {:?}", docker.basic()).contains("p:w"));
        assert_eq!(read("registry.example.com:5000").unwrap().unwrap().username, "a");
        for other in ["registry.example.com", "example.com", "index.docker.io.example.com"] {
            assert!(read(other).unwrap().is_none(), "{other}");
        }
        for (registry, why) in [("bad.example.com", "no Base64"), ("short.example.com", "without a colon")] {
            let error = read(registry).unwrap_err();
            assert!(
                error.contains(why) && error.contains("kubectl create secret docker-registry"),
                "{error}"
            );
        }
        assert!(Login::read(b"{}", "a").unwrap_err().contains("is not of the form"));
    }
}
