//! Fetches manifests and matrices: once, from where users say they are.
//!
//! ```text
//!   Source ──▶ cache ──not there──▶ URL, artifact ──▶ checksum ──▶ cache ──▶ text
//!         └──▶ ConfigMap, directory ───────────────▶ checksum ──────────▶ text
//! ```
//!
//! What comes over the network is kept in an immutable ConfigMap in the operator's namespace, so that a restart needs no network, and a
//! version that runs can be rendered after its file is gone. ConfigMaps and files of a directory are read where they are. Decides
//! neither which file is used nor when one without a checksum is fetched again: the caller does.

mod cache;
mod error;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::HEXLOWER;
use infra_clients::download::{Downloader, Login, gunzip, registry};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};

pub use error::Error;
pub use source::{Place, Source};

/// First bytes of a gzip file.
const GZIP: &[u8] = &[0x1f, 0x8b];
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// SHA-256 of the file as it is at its source, in hexadecimal.
    pub sha256: String,
    /// Its text, decompressed.
    pub text: String,
}

/// Fetches files, and keeps them.
#[derive(Clone)]
pub struct Fetcher {
    /// Client of the cluster.
    pub client: Client,
    /// The operator's namespace: of the cache, and of the pull Secret.
    pub namespace: String,
    /// Namespace of the ConfigMaps that are sources: that of the object that names them.
    pub sources: String,
    /// For what comes over the network.
    pub downloader: Downloader,
    /// Directory of the sources `file:…`. Default: none can be read.
    pub directory: Option<PathBuf>,
    /// Name of a Secret of the type `kubernetes.io/dockerconfigjson` with the logins of registries. Default: pulls are anonymous.
    pub pull_secret: Option<String>,
    /// Where downloads are kept in place of the cluster, which then is only read. Default: they are kept in the cluster.
    pub aside: Option<Aside>,
}

/// Downloads of this process, by source.
pub type Aside = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

impl Fetcher {
    /// Returns a file: out of the cache, if it was fetched before.
    ///
    /// # Errors
    /// If it cannot be fetched, or has another checksum.
    pub async fn get(&self, source: &Source) -> Result<Fetched, Error> {
        if source.is_remote()
            && let Some(raw) = self.cached(source).await?
        {
            return self.fetched(source, &raw);
        }
        self.refresh(source).await
    }

    /// Returns a file that needs no download: out of the cache, or where it is read in place. `None`: it has to be downloaded first.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub async fn known(&self, source: &Source) -> Result<Option<Fetched>, Error> {
        if !source.is_remote() {
            return self.refresh(source).await.map(Some);
        }
        let raw = self.cached(source).await?;
        raw.map(|raw| self.fetched(source, &raw)).transpose()
    }

    /// Fetches a file, whether it is in the cache or not: for one without a checksum, which may have changed. The cache keeps the newest.
    ///
    /// # Errors
    /// As [`Fetcher::get`]; the cache still has what it had.
    pub async fn refresh(&self, source: &Source) -> Result<Fetched, Error> {
        let raw = self.read(source).await?;
        let fetched = self.fetched(source, &raw)?;
        if source.is_remote() {
            self.store(source, &fetched.sha256, &raw).await?;
        }
        Ok(fetched)
    }

    /// Removes what no source of `used` refers to from the cache; returns the names of the ConfigMaps. To be called with everything that
    /// is in use: that of the versions that run, and of those that are chosen.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn collect(&self, used: &[Source]) -> Result<Vec<String>, Error> {
        let all = self.list(&cache::selector()).await?;
        let mut removed = Vec::new();
        for object in all.iter().filter(|object| !cache::is_used(object, used)) {
            self.delete(object).await?;
            removed.push(object.name_any());
        }
        Ok(removed)
    }

    /// Checks a file, and reads its text.
    fn fetched(&self, source: &Source, raw: &[u8]) -> Result<Fetched, Error> {
        let sha256 = HEXLOWER.encode(&Sha256::digest(raw));
        if let Some(wanted) = source.sha256().filter(|wanted| *wanted != sha256) {
            return Err(Error::Checksum { of: source.to_string(), found: sha256, wanted: wanted.to_owned() });
        }
        let unusable = |why| Error::Unusable { of: source.to_string(), why };
        let limit = self.downloader.limits().bytes;
        let content =
            if raw.starts_with(GZIP) { gunzip(raw, limit).map_err(unusable)? } else { raw.to_vec() };
        let text = String::from_utf8(content).map_err(|_| unusable("it is no text in UTF-8".to_owned()))?;
        Ok(Fetched { sha256, text })
    }

    /// Reads a file at its source.
    async fn read(&self, source: &Source) -> Result<Vec<u8>, Error> {
        match source.place() {
            Place::Url(address) => Ok(self.downloader.get(address).await?),
            Place::Artifact(reference) => {
                let login = self.login(reference.registry()).await?;
                Ok(registry::pull(&self.downloader, reference, login.as_ref()).await?.file)
            }
            Place::ConfigMap { name, key } => self.read_config_map(name, key).await,
            Place::File(path) => self.read_file(source, path).await,
        }
    }

    async fn login(&self, registry: &str) -> Result<Option<Login>, Error> {
        let Some(name) = &self.pull_secret else { return Ok(None) };
        let fail =
            |why: String| Error::PullSecret { namespace: self.namespace.clone(), name: name.clone(), why };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get_opt(name).await.map_err(Error::kube("read the pull Secret"))?;
        let data = secret.ok_or_else(|| fail("it does not exist".to_owned()))?.data.unwrap_or_default();
        let config = data.get(DOCKER_CONFIG).ok_or_else(|| fail(format!("it has no key {DOCKER_CONFIG}")))?;
        Login::read(&config.0, registry).map_err(fail)
    }

    async fn read_config_map(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.sources);
        let found = api.get_opt(name).await.map_err(Error::kube("read a ConfigMap"))?;
        let missing =
            |why: String| Error::ConfigMap { namespace: self.sources.clone(), name: name.to_owned(), why };
        let object = found.ok_or_else(|| missing("does not exist".to_owned()))?;
        let text = object.data.as_ref().and_then(|data| data.get(key)).map(|text| text.clone().into_bytes());
        let bytes = || object.binary_data.as_ref()?.get(key).map(|bytes| bytes.0.clone());
        text.or_else(bytes).ok_or_else(|| missing(format!("has no key {key:?}")))
    }

    async fn read_file(&self, source: &Source, path: &Path) -> Result<Vec<u8>, Error> {
        let fail = |why: &str| Error::File { of: source.to_string(), why: why.to_owned() };
        let directory =
            self.directory.as_ref().ok_or_else(|| fail("the operator has no directory of files"))?;
        let of_io = |error: std::io::Error| fail(&error.to_string());
        let directory = tokio::fs::canonicalize(directory).await.map_err(of_io)?;
        // A link may lead out of it.
        let path = tokio::fs::canonicalize(directory.join(path)).await.map_err(of_io)?;
        if !path.starts_with(&directory) {
            return Err(fail("it is outside of the operator's directory of files"));
        }
        let (meta, limit) =
            (tokio::fs::metadata(&path).await.map_err(of_io)?, self.downloader.limits().bytes);
        if !meta.is_file() {
            return Err(fail("it is no file"));
        }
        if meta.len() > limit as u64 {
            return Err(fail(&format!("it is larger than {limit} bytes")));
        }
        tokio::fs::read(&path).await.map_err(of_io)
    }

    // === cache ===

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn list(&self, selector: &str) -> Result<Vec<ConfigMap>, Error> {
        let list = self.config_maps().list(&ListParams::default().labels(selector)).await;
        Ok(list.map_err(Error::kube("list the cache"))?.items)
    }

    async fn cached(&self, source: &Source) -> Result<Option<Vec<u8>>, Error> {
        let aside = self.aside.as_ref().map(|aside| aside.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(raw) = aside.and_then(|aside| aside.get(&source.to_string()).cloned()) {
            return Ok(Some(raw));
        }
        if let Some(sha256) = source.sha256() {
            let found = self.config_maps().get_opt(&cache::name(sha256)).await;
            return Ok(found.map_err(Error::kube("read the cache"))?.as_ref().and_then(cache::content));
        }
        let mut found = self.list(&cache::label(source)).await?;
        found.sort_by_key(|object| object.metadata.creation_timestamp.as_ref().map(|time| time.0));
        Ok(found.last().and_then(cache::content))
    }

    async fn store(&self, source: &Source, sha256: &str, raw: &[u8]) -> Result<(), Error> {
        if let Some(aside) = &self.aside {
            let mut aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
            aside.insert(source.to_string(), raw.to_vec());
            return Ok(());
        }
        let (api, object) = (self.config_maps(), cache::object(source, sha256, raw));
        let write = || Error::kube("write the cache");
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = api.get(&cache::name(sha256)).await.map_err(write())?;
                if cache::content(&there).is_none() {
                    // It cannot be changed.
                    self.delete(&there).await?;
                    api.create(&PostParams::default(), &object).await.map_err(write())?;
                } else if let Some(labels) = cache::missing_labels(&there, &object) {
                    self.set_labels(&there, &json!(labels)).await?;
                }
            }
            Err(error) => return Err(write()(error)),
        }
        if source.sha256().is_some() {
            return Ok(());
        }
        let label = cache::label(source);
        for older in self.list(&label).await?.iter().filter(|older| older.name_any() != cache::name(sha256)) {
            self.set_labels(older, &json!({label.as_str(): null})).await?;
        }
        Ok(())
    }

    async fn set_labels(&self, object: &ConfigMap, labels: &serde_json::Value) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"metadata": {"uid": object.uid(), "labels": labels}}));
        let patched = self.config_maps().patch(&object.name_any(), &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(Error::kube("label the cache"))
    }

    async fn delete(&self, object: &ConfigMap) -> Result<(), Error> {
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.config_maps().delete(&object.name_any(), &params).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            deleted => deleted.map(drop).map_err(Error::kube("clean the cache")),
        }
    }
}
