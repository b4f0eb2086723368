//! Manifests and matrices: from servers, registries, ConfigMaps and a directory, through the cache on a real API server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use infra_clients::Trust;
use infra_clients::download::{Downloader, Limits};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::{ControlPlane, FileReply, FileRequest, FileServer};
use vdo::fetch::{Error, Fetched, Fetcher, Source};

const NAMESPACE: &str = "default";

fn sha256(content: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(content))
}

fn zipped(size: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b'a'; size]).unwrap();
    encoder.finish().unwrap()
}

/// The files of a server, by path. Others do not exist.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Files {
    fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().insert(path.to_owned(), content.into());
    }

    fn remove(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    /// Publishes an artifact that is one file.
    fn publish(&self, repository: &str, tag: &str, content: &str) -> String {
        let layer = format!("sha256:{}", sha256(content.as_bytes()));
        let manifest =
            json!({"schemaVersion": 2, "layers": [{"mediaType": "text/yaml", "digest": layer}]}).to_string();
        let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
        self.put(&format!("/v2/{repository}/blobs/{layer}"), content);
        for name in [tag, &digest] {
            self.put(&format!("/v2/{repository}/manifests/{name}"), manifest.as_str());
        }
        digest
    }

    fn answer(&self, request: &FileRequest) -> FileReply {
        if request.path.starts_with("/v2/private/") && request.header("authorization") != Some("Basic dTpw") {
            return FileReply::new(401, "").header("www-authenticate", "Basic realm=\"r\"");
        }
        self.0
            .lock()
            .unwrap()
            .get(&request.path)
            .map_or_else(FileReply::not_found, |file| FileReply::file(file.clone()))
    }
}

struct Rig {
    control_plane: ControlPlane,
    server: FileServer,
    files: Files,
    fetcher: Fetcher,
}

impl Rig {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        let files = Files::default();
        let published = files.clone();
        let server = FileServer::start(move |request| published.answer(request)).await.unwrap();
        let limits = Limits { bytes: 100_000, ..Limits::default() };
        let trust = Trust::CaBundle(server.ca_pem().into());
        let fetcher = Fetcher {
            client: control_plane.client(),
            namespace: NAMESPACE.to_owned(),
            sources: NAMESPACE.to_owned(),
            downloader: Downloader::new(&trust, ("test", "1"), limits).unwrap(),
            directory: None,
            pull_secret: None,
            aside: None,
        };
        Self { control_plane, server, files, fetcher }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.control_plane.client(), NAMESPACE)
    }

    async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap();
    }

    fn url(&self, rest: &str) -> Source {
        format!("{}{rest}", self.server.url()).parse().unwrap()
    }

    fn oci(&self, rest: &str) -> Source {
        format!("oci://{}/{rest}", self.server.host()).parse().unwrap()
    }

    async fn text(&self, source: &Source) -> String {
        self.fetcher.get(source).await.unwrap_or_else(|error| panic!("{source}: {error}")).text
    }

    async fn cached(&self) -> Vec<ConfigMap> {
        self.api::<ConfigMap>()
            .list(&ListParams::default().labels("vdo.vmware.com/cache=file"))
            .await
            .unwrap()
            .items
    }
}

#[tokio::test]
async fn a_file_is_fetched_once() {
    let rig = Rig::start().await;
    let large = "# a manifest\n".repeat(6000);
    rig.files.put("/a.yaml", "a: 1\n");
    rig.files.put("/large.yaml", large.as_str());
    rig.files.put("/a.yaml.gz", zipped(1000));
    let digest = rig.files.publish("vdo/antrea", "v1", "b: 1\n");
    let sources = [
        (rig.url("/a.yaml"), "a: 1\n".to_owned()),
        (rig.url(&format!("/a.yaml#sha256={}", sha256(b"a: 1\n"))), "a: 1\n".to_owned()),
        (rig.url(&format!("/large.yaml#sha256={}", sha256(large.as_bytes()))), large),
        (rig.url(&format!("/a.yaml.gz#sha256={}", sha256(&zipped(1000)))), "a".repeat(1000)),
        (rig.oci("vdo/antrea:v1"), "b: 1\n".to_owned()),
        (rig.oci(&format!("vdo/antrea@{digest}")), "b: 1\n".to_owned()),
    ];
    for (source, text) in &sources {
        assert_eq!(rig.text(source).await, *text, "{source}");
    }
    // The checksum of the second one was in the cache before.
    let asked = rig.server.requests().len();
    assert_eq!(asked, 1 + 1 + 1 + 2 + 2, "{:?}", rig.server.paths());
    assert_eq!(rig.cached().await.len(), 4, "the same content is kept once");
    let calls = rig.server.requests().len();
    for (source, text) in &sources {
        assert_eq!(rig.text(source).await, *text, "{source}");
    }
    assert_eq!(rig.server.requests().len(), calls);

    let Rig { control_plane, server, fetcher, .. } = rig;
    drop(server);
    for (source, text) in &sources {
        assert_eq!(fetcher.get(source).await.unwrap().text, *text, "without the network: {source}");
    }
    let error = fetcher.get(&"https://127.0.0.1:1/b".parse().unwrap()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("check the address"), "{error}");
    assert_eq!(error.hold().reason, "FileUnreachable");
    drop(control_plane);
}

#[tokio::test]
async fn a_file_without_a_checksum_moves_on_when_it_is_asked_for() {
    let rig = Rig::start().await;
    let source = rig.url("/matrix.json");
    rig.files.put("/matrix.json", "one");
    assert_eq!(rig.text(&source).await, "one");
    rig.files.put("/matrix.json", "two");
    assert_eq!(rig.text(&source).await, "one");
    assert_eq!(rig.fetcher.refresh(&source).await.unwrap().text, "two");
    assert_eq!(rig.text(&source).await, "two");
    // Back to what the cache has already.
    rig.files.put("/matrix.json", "one");
    let wanted = Fetched { sha256: sha256(b"one"), text: "one".to_owned() };
    assert_eq!(rig.fetcher.refresh(&source).await.unwrap(), wanted);
    assert_eq!(rig.text(&source).await, "one");
    rig.files.remove("/matrix.json");
    let error = rig.fetcher.refresh(&source).await.unwrap_err();
    assert!(error.to_string().contains("HTTP 404"), "{error}");
    assert_eq!(rig.text(&source).await, "one", "the cache keeps what it has");

    let pinned = rig.url(&format!("/other#sha256={}", sha256(b"two")));
    assert_eq!(rig.text(&pinned).await, "two", "a checksum finds the file whatever its address");
    assert_eq!(rig.fetcher.collect(&[source.clone(), pinned]).await.unwrap(), [""; 0]);
    assert_eq!(
        rig.fetcher.collect(std::slice::from_ref(&source)).await.unwrap(),
        [format!("vdo-file-{}", sha256(b"two"))]
    );
    assert_eq!(rig.text(&source).await, "one");
    assert_eq!(rig.fetcher.collect(&[]).await.unwrap().len(), 1);
    assert!(rig.cached().await.is_empty());
}

#[tokio::test]
async fn the_cache_is_immutable_and_what_was_forged_is_fetched_again() {
    let rig = Rig::start().await;
    rig.files.put("/a", "good");
    let source = rig.url(&format!("/a#sha256={}", sha256(b"good")));
    assert_eq!(rig.text(&source).await, "good");
    let name = format!("vdo-file-{}", sha256(b"good"));
    let mut object = rig.api::<ConfigMap>().get(&name).await.unwrap();
    object.data = Some(BTreeMap::from([("file".to_owned(), "bad".to_owned())]));
    let error = rig.api::<ConfigMap>().replace(&name, &PostParams::default(), &object).await.unwrap_err();
    assert!(error.to_string().contains("immutable"), "{error}");
    rig.api::<ConfigMap>().delete(&name, &DeleteParams::default()).await.unwrap();
    object.metadata.resource_version = None;
    rig.api::<ConfigMap>().create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(rig.text(&source).await, "good");
    let found = rig.api::<ConfigMap>().get(&name).await.unwrap();
    assert_eq!(found.data.unwrap()["file"], "good");
    assert_eq!(rig.server.requests().len(), 2);
}

#[tokio::test]
async fn what_is_not_the_file_is_refused_and_not_kept() {
    let rig = Rig::start().await;
    let sum = sha256(b"a: 1\n");
    rig.files.put("/a.yaml", "a: 2\n");
    rig.files.put("/bomb", zipped(100_001));
    rig.files.put("/large", vec![b'a'; 100_001]);
    rig.files.put("/binary", vec![0xff; 10]);
    for (source, message, reason) in [
        (rig.url(&format!("/a.yaml#sha256={sum}")), "has the SHA-256", "FileUnusable"),
        (rig.url("/bomb"), "larger than 100000 bytes once decompressed: name the manifest", "FileUnusable"),
        (rig.url("/large"), "larger than 100000 bytes: name the manifest itself", "FileUnusable"),
        (rig.url("/binary"), "it is no text in UTF-8", "FileUnusable"),
        (rig.url("/none"), "HTTP 404 Not Found: correct the address", "FileUnusable"),
        (rig.oci("private/a:v1"), "wants a user name and password: name a Secret", "FileUnusable"),
        (
            "configmap:none/key".parse().unwrap(),
            "the ConfigMap default/none does not exist: create it",
            "FileUnusable",
        ),
        ("file:a.yaml".parse().unwrap(), "the operator has no directory of files", "FileUnusable"),
    ] {
        let error = rig.fetcher.get(&source).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{source}: {text}");
        assert_eq!((error.hold().reason, error.hold().message), (reason, text));
    }
    assert!(matches!(
        rig.fetcher.get(&rig.url(&format!("/a.yaml#sha256={sum}"))).await,
        Err(Error::Checksum { wanted, .. }) if wanted == sum
    ));
    assert!(rig.cached().await.is_empty());
}

#[tokio::test]
async fn objects_and_directories_are_read_where_they_are() {
    let mut rig = Rig::start().await;
    let map = json!({"metadata": {"name": "m"}, "data": {"text": "one"}, "binaryData": {"gz": data_encoding::BASE64.encode(&zipped(10))}});
    rig.create::<ConfigMap>(map).await;
    assert_eq!(rig.text(&"configmap:m/text".parse().unwrap()).await, "one");
    assert_eq!(rig.text(&"configmap:m/gz".parse().unwrap()).await, "a".repeat(10));
    let error = rig.fetcher.get(&"configmap:m/other".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("default/m has no key \"other\""), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("files");
    std::fs::create_dir_all(own.join("antrea")).unwrap();
    std::fs::write(own.join("antrea/a.yaml"), "a: 1\n").unwrap();
    std::fs::write(own.join("large"), vec![b'a'; 100_001]).unwrap();
    std::fs::write(directory.path().join("secret"), "s").unwrap();
    std::os::unix::fs::symlink(directory.path().join("secret"), own.join("link")).unwrap();
    std::os::unix::fs::symlink("antrea/a.yaml", own.join("inside")).unwrap();
    rig.fetcher.directory = Some(own);
    let sum = sha256(b"a: 1\n");
    for path in ["antrea/a.yaml", "inside", &format!("antrea/a.yaml#sha256={sum}")] {
        assert_eq!(rig.text(&format!("file:{path}").parse().unwrap()).await, "a: 1\n");
    }
    for (path, message) in [
        ("none", "No such file"),
        ("antrea", "it is no file"),
        ("large", "larger than 100000 bytes"),
        ("link", "outside of the operator's directory"),
        (&format!("large#sha256={sum}"), "larger than 100000 bytes"),
    ] {
        let error = rig.fetcher.get(&format!("file:{path}").parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    assert!(rig.cached().await.is_empty());
}

#[tokio::test]
async fn a_private_artifact_is_pulled_with_the_secret() {
    let mut rig = Rig::start().await;
    rig.files.publish("private/a", "v1", "a: 1\n");
    let source = rig.oci("private/a:v1");
    rig.fetcher.pull_secret = Some("pull".to_owned());
    let error = rig.fetcher.get(&source).await.unwrap_err();
    assert!(
        error.to_string().contains("the pull Secret default/pull cannot be used, as it does not exist"),
        "{error}"
    );
    let config = json!({"auths": {rig.server.host(): {"auth": "dTpw"}}}).to_string();
    let secret = json!({"metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config}});
    rig.create::<Secret>(secret).await;
    assert_eq!(rig.text(&source).await, "a: 1\n");
    assert_eq!(rig.cached().await[0].name_any(), format!("vdo-file-{}", sha256(b"a: 1\n")));
}
