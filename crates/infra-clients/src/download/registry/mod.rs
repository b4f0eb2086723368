//! Artifacts of OCI registries that are one file: pulled by digest or tag, without credentials or with those of the registry.
//!
//! Owns the two requests of a pull, the token that a registry may want before, and the checks of both digests. Never pushes.

mod challenge;
mod reference;

use data_encoding::HEXLOWER;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use challenge::Challenge;
pub use reference::Reference;

use super::login::{secret, sensitive};
use super::{Address, Answer, Downloader, Error, Get, Kind, Login};
use crate::Secret;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Digest of the artifact's manifest, `sha256:…`: what a tag stands for now.
    pub digest: String,
    /// The file.
    pub file: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    #[serde(default)]
    media_type: String,
    digest: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default, deserialize_with = "secret")]
    token: Secret,
    #[serde(default, deserialize_with = "secret")]
    access_token: Secret,
}

/// Pulls the file of an artifact. `login` is sent to the registry, and to the server of its domain that gives tokens for it.
///
/// # Errors
/// [`Kind::Refused`] without sufficient credentials, [`Kind::Corrupt`] if a digest is wrong or the artifact is not one file.
pub async fn pull(
    downloader: &Downloader,
    reference: &Reference,
    login: Option<&Login>,
) -> Result<Artifact, Error> {
    let mut pull = Pull { downloader, reference, login, authorization: None };
    let address = reference.manifest();
    let text = pull.get(&address, Some(MANIFEST)).await?;
    let corrupt = |message: String| Error::new(Kind::Corrupt, &address, message);
    let digest = digest_of(&text);
    if let Some(wanted) = reference.digest().filter(|wanted| *wanted != digest) {
        return Err(corrupt(format!("it has the digest {digest}, not {wanted}")));
    }
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| corrupt(format!("it is no manifest of an artifact ({error})")))?;
    let layer = manifest.only_layer().map_err(corrupt)?;
    let address = reference.blob(&layer.digest).ok_or_else(|| {
        Error::new(
            Kind::Corrupt,
            &address,
            format!("its layer has the digest {:?}, which is none", layer.digest),
        )
    })?;
    let file = pull.get(&address, None).await?;
    let found = digest_of(&file);
    if found != layer.digest {
        return Err(Error::new(Kind::Corrupt, &address, format!("it has the digest {found}")));
    }
    Ok(Artifact { digest, file })
}

fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(content)))
}

impl Manifest {
    /// Returns the layer that is the file.
    fn only_layer(&self) -> Result<&Layer, String> {
        let push = "push the file alone, such as with `oras push REFERENCE manifest.yaml`";
        if self.media_type.ends_with("index.v1+json") || self.media_type.ends_with("manifest.list.v2+json") {
            return Err("it is an index of several artifacts: name one of them by its digest".to_owned());
        }
        match self.layers.as_slice() {
            [layer] if layer.media_type.contains("tar") => {
                Err(format!("its layer is an archive ({}): {push}", layer.media_type))
            }
            [layer] => Ok(layer),
            layers => Err(format!("it has {} layers: {push}", layers.len())),
        }
    }
}

/// A pull, and how the registry wants to be asked.
struct Pull<'a> {
    downloader: &'a Downloader,
    reference: &'a Reference,
    login: Option<&'a Login>,
    authorization: Option<HeaderValue>,
}

impl Pull<'_> {
    async fn get(&mut self, address: &Address, accept: Option<&str>) -> Result<Vec<u8>, Error> {
        let mut answer = self.send(address, accept).await?;
        if answer.status == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            let challenge = Challenge::read(&answer.headers);
            let challenge = challenge.ok_or_else(|| Error::of_status(address, answer.status))?;
            self.authorization = Some(self.answer(address, challenge).await?);
            answer = self.send(address, accept).await?;
        }
        if answer.status.is_success() {
            Ok(answer.body)
        } else {
            Err(Error::of_status(address, answer.status))
        }
    }

    async fn send(&self, address: &Address, accept: Option<&str>) -> Result<Answer, Error> {
        let get = Get { address: address.clone(), accept, authorization: self.authorization.clone() };
        self.downloader.send(get).await
    }

    /// Returns the value of `Authorization` that the registry wants.
    async fn answer(&self, address: &Address, challenge: Challenge) -> Result<HeaderValue, Error> {
        let refused = |message: String| Error::new(Kind::Refused, address, message);
        let basic = self.login.and_then(Login::basic);
        let (realm, query) = match challenge {
            Challenge::Basic => {
                return basic
                    .ok_or_else(|| refused("the registry wants a user name and password".to_owned()));
            }
            Challenge::Bearer { realm, query } => (realm, query),
        };
        let token_address =
            challenge::token_address(&realm, &query, &self.reference.repository).ok_or_else(|| {
                refused(format!("the registry wants a token of {realm:?}, which is no https address"))
            })?;
        if basic.is_some() && !challenge::may_see_login(self.reference.host(), token_address.host()) {
            let host = token_address.host();
            return Err(refused(format!(
                "the registry wants its login to be sent to {host}, which is of another domain: pull it without a login, or from another registry"
            )));
        }
        let get = Get { address: token_address.clone(), accept: None, authorization: basic };
        let answer = self.downloader.send(get).await?;
        if !answer.status.is_success() {
            return Err(Error::of_status(&token_address, answer.status));
        }
        let token: Token = serde_json::from_slice(&answer.body)
            .map_err(|_| Error::new(Kind::Corrupt, &token_address, "it answers without a token"))?;
        let text = if token.token.expose().is_empty() { token.access_token } else { token.token };
        let bearer = Secret::new(format!("Bearer {}", text.expose()));
        sensitive(bearer.expose())
            .filter(|_| !text.expose().is_empty())
            .ok_or_else(|| Error::new(Kind::Corrupt, &token_address, "it answers without a token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_one_file() {
        let manifest = |media_type: &str, layers: &[&str]| {
            let layers: Vec<_> =
                layers.iter().map(|of| serde_json::json!({"mediaType": of, "digest": "sha256:a"})).collect();
            let text = serde_json::json!({"mediaType": media_type, "layers": layers}).to_string();
            serde_json::from_str::<Manifest>(&text).unwrap()
        };
        assert!(manifest(MANIFEST, &["application/yaml"]).only_layer().is_ok());
        assert!(manifest("", &["application/vnd.cncf.helm.chart.content.v1"]).only_layer().is_ok());
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (media_type, layers, why) in [
            ("application/vnd.oci.image.index.v1+json", &[][..], "is an index of several artifacts"),
            (MANIFEST, &[], "it has 0 layers: push the file alone"),
            (MANIFEST, &["a", "b"], "it has 2 layers: push the file alone"),
            (MANIFEST, &[tar], "its layer is an archive"),
        ] {
            let error = manifest(media_type, layers).only_layer().err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
