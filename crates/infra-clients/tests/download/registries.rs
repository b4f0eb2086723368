//! Artifacts of registries: who is asked with which credentials, and what is accepted.

use std::sync::{Arc, OnceLock};

use data_encoding::HEXLOWER;
use infra_clients::Secret;
use infra_clients::download::registry::{Artifact, pull};
use infra_clients::download::{Error, Kind, Limits, Login};
use serde_json::json;
use sha2::{Digest, Sha256};
use testbed::{FileReply, FileRequest, FileServer};

use crate::downloader;

const FILE: &str = "a: 1\n";
const BASIC: &str = "Basic dXNlcjpwdw==";

fn digest(content: &str) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(content)))
}

fn manifest() -> String {
    let layer = json!({"mediaType": "application/yaml", "digest": digest(FILE), "size": FILE.len()});
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [layer]})
        .to_string()
}

fn login() -> Login {
    Login { username: "user".to_owned(), password: Secret::new("pw") }
}

/// How a registry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    None,
    Basic,
    /// With a token that anyone gets.
    Anonymous,
    /// With a token for the login.
    Token,
    /// With a token of another domain.
    Elsewhere,
}

/// A registry with the artifact `a/b:v1`; blobs are on another server.
struct Rig {
    registry: FileServer,
    storage: FileServer,
}

impl Rig {
    async fn start(auth: Auth, blob: &'static str) -> Self {
        let storage = FileServer::start(move |_| FileReply::file(blob)).await.unwrap();
        let (own, other): (Arc<OnceLock<String>>, _) = (Arc::default(), storage.url().to_owned());
        let host = own.clone();
        let registry = FileServer::start(move |request| answer(auth, host.get().unwrap(), &other, request));
        let registry = registry.await.unwrap();
        own.set(registry.url().to_owned()).unwrap();
        Self { registry, storage }
    }

    async fn pull(&self, name: &str, login: Option<&Login>) -> Result<Artifact, Error> {
        let reference = format!("{}/{name}", self.registry.host()).parse().unwrap();
        pull(&downloader(&[&self.registry, &self.storage], Limits::default()), &reference, login).await
    }
}

fn answer(auth: Auth, own: &str, storage: &str, request: &FileRequest) -> FileReply {
    let sent = request.header("authorization");
    let path = request.path.split('?').next().unwrap_or_default();
    if path == "/token" {
        assert!(request.path.contains("scope=repository%3Aa%2Fb%3Apull"), "{}", request.path);
        return match (auth, sent) {
            (Auth::Anonymous, None) | (Auth::Token, Some(BASIC)) => FileReply::file(r#"{"token": "t"}"#),
            _ => FileReply::new(401, ""),
        };
    }
    let wants = |text: &str| FileReply::new(401, "").header("www-authenticate", text);
    let bearer = |realm: &str| {
        wants(&format!("Bearer realm=\"{realm}/token\",service=\"r\",scope=\"repository:a/b:pull\""))
    };
    match auth {
        Auth::Basic if sent != Some(BASIC) => return wants("Basic realm=\"r\""),
        Auth::Anonymous | Auth::Token if sent != Some("Bearer t") => return bearer(own),
        Auth::Elsewhere => return bearer("https://auth.example.org"),
        _ => {}
    }
    let (manifest_digest, blob) = (digest(&manifest()), digest(FILE));
    match path {
        "/v2/a/b/manifests/v1" => FileReply::file(manifest()),
        path if path == format!("/v2/a/b/manifests/{manifest_digest}") => FileReply::file(manifest()),
        path if path == format!("/v2/a/b/manifests/{}", digest("x")) => FileReply::file(manifest()),
        "/v2/a/b/manifests/index" => {
            FileReply::file(r#"{"mediaType": "application/vnd.oci.image.index.v1+json"}"#)
        }
        "/v2/a/b/manifests/html" => FileReply::file("<html>"),
        "/v2/a/b/manifests/bad" => FileReply::file(r#"{"layers": [{"digest": "sha256:../../x"}]}"#),
        path if path == format!("/v2/a/b/blobs/{blob}") => {
            FileReply::redirect(&format!("{storage}/blob?sig=1"))
        }
        _ => FileReply::not_found(),
    }
}

#[tokio::test]
async fn an_artifact_is_pulled_by_tag_and_by_digest() {
    let rig = Rig::start(Auth::None, FILE).await;
    let wanted = Artifact { digest: digest(&manifest()), file: FILE.into() };
    assert_eq!(rig.pull("a/b:v1", None).await.unwrap(), wanted);
    assert_eq!(rig.pull(&format!("a/b@{}", wanted.digest), None).await.unwrap(), wanted);
    let accept = rig.registry.requests()[0].header("accept").map(str::to_owned);
    assert_eq!(accept.as_deref(), Some("application/vnd.oci.image.manifest.v1+json"));
    for (name, kind, message) in [
        ("a/b:none", Kind::NotFound, "HTTP 404"),
        ("a/b:index", Kind::Corrupt, "name one of them by its digest"),
        ("a/b:html", Kind::Corrupt, "no manifest of an artifact"),
        ("a/b:bad", Kind::Corrupt, "which is none"),
        (&format!("a/b@{}", digest("x")), Kind::Corrupt, "it has the digest"),
    ] {
        let error = rig.pull(name, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let rig = Rig::start(Auth::None, "another file").await;
    let error = rig.pull("a/b:v1", None).await.unwrap_err();
    assert!(error.to_string().contains(&format!("it has the digest {}", digest("another file"))), "{error}");
}

#[tokio::test]
async fn credentials_go_to_the_registry_and_nowhere_else() {
    for (auth, login, tokens) in [
        (Auth::Basic, Some(login()), 0),
        (Auth::Anonymous, None, 1),
        (Auth::Token, Some(login()), 1),
        // Not sent to who does not ask.
        (Auth::None, Some(login()), 0),
    ] {
        let rig = Rig::start(auth, FILE).await;
        let pulled =
            rig.pull("a/b:v1", login.as_ref()).await.unwrap_or_else(|error| panic!("{auth:?}: {error}"));
        assert_eq!(pulled.file, FILE.as_bytes());
        let asked = rig.registry.paths().iter().filter(|path| path.starts_with("/token")).count();
        assert_eq!(asked, tokens, "{auth:?}");
        let storage = rig.storage.requests();
        assert_eq!(storage.len(), 1);
        assert_eq!(storage[0].header("authorization"), None, "{auth:?}");
        if auth == Auth::None {
            assert!(rig.registry.requests().iter().all(|request| request.header("authorization").is_none()));
        }
    }
}

#[tokio::test]
async fn a_registry_that_refuses_is_named() {
    let wrong = Login { password: Secret::new("hunter2"), ..login() };
    for (auth, login, message) in [
        (Auth::Basic, None, "the registry wants a user name and password"),
        (Auth::Basic, Some(wrong.clone()), "HTTP 401"),
        (Auth::Token, None, "HTTP 401"),
        (Auth::Token, Some(wrong), "HTTP 401"),
        (Auth::Elsewhere, Some(login()), "wants its login to be sent to auth.example.org"),
    ] {
        let rig = Rig::start(auth, FILE).await;
        let error = rig.pull("a/b:v1", login.as_ref()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        let text = error.to_string();
        assert!(text.contains(message) && text.contains(rig.registry.host()), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(":pw"), "{text}");
        assert!(rig.registry.requests().len() < 4, "a refused login is not repeated");
    }
}
