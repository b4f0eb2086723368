//! The Secrets and ConfigMaps that a Pod takes files and variables from, as they are now, and its tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, ResourceExt};

use crate::controllers::Steady;

/// The lifetime of tokens, in seconds. A kubelet asks for an hour and asks again; no test is longer than this.
const LIFETIME: i64 = 24 * 60 * 60;

/// A kind with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

/// An object with data in the Pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) name: String,
}

impl Reference {
    pub(super) fn config_map(name: &str) -> Self {
        Self { kind: Kind::ConfigMap, name: name.to_owned() }
    }

    pub(super) fn secret(name: &str) -> Self {
        Self { kind: Kind::Secret, name: name.to_owned() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        };
        write!(f, "{kind} {:?}", self.name)
    }
}

/// The data of an object by key.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// What is known of the objects: `None` for one that does not exist; one that is missing here has not been read yet.
pub(super) type Objects = BTreeMap<Reference, Option<Data>>;

/// A change of an object.
pub(super) type Change = (Reference, Option<Data>);

/// Returns what the volumes and the environment of a Pod refer to.
pub(super) fn references(pod: &Pod) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let Some(spec) = &pod.spec else { return found };
    for volume in spec.volumes.iter().flatten() {
        if let Some(map) = &volume.config_map {
            found.insert(Reference::config_map(&map.name));
        }
        found.extend(
            volume.secret.iter().filter_map(|secret| secret.secret_name.as_deref()).map(Reference::secret),
        );
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            found.extend(source.config_map.iter().map(|map| Reference::config_map(&map.name)));
            found.extend(source.secret.iter().map(|secret| Reference::secret(&secret.name)));
        }
    }
    found.extend(spec.containers.iter().flat_map(of_environment));
    found
}

/// Returns what the environment of a container refers to.
fn of_environment(container: &Container) -> Vec<Reference> {
    let mut found = Vec::new();
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        found.extend(source.config_map_key_ref.iter().map(|key| Reference::config_map(&key.name)));
        found.extend(source.secret_key_ref.iter().map(|key| Reference::secret(&key.name)));
    }
    for source in container.env_from.iter().flatten() {
        found.extend(source.config_map_ref.iter().map(|map| Reference::config_map(&map.name)));
        found.extend(source.secret_ref.iter().map(|secret| Reference::secret(&secret.name)));
    }
    found
}

/// Watches objects of a namespace. The first report of each is its present state.
pub(super) fn watch(
    client: &Client,
    namespace: &str,
    references: BTreeSet<Reference>,
) -> SelectAll<BoxStream<'static, Change>> {
    let stream = |reference: Reference| match reference.kind {
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            changes(watch_object(api, &reference.name).backoff(Steady), reference, of_config_map)
        }
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            changes(watch_object(api, &reference.name).backoff(Steady), reference, of_secret)
        }
    };
    select_all(references.into_iter().map(stream))
}

fn changes<K: Send + 'static>(
    watch: impl Stream<Item = Result<Option<K>, kube::runtime::watcher::Error>> + Send + 'static,
    reference: Reference,
    data: fn(K) -> Data,
) -> BoxStream<'static, Change> {
    // An error is an interruption of the watch, which goes on.
    let seen = watch.filter_map(|object| std::future::ready(object.ok()));
    seen.map(move |object| (reference.clone(), object.map(data))).boxed()
}

fn of_config_map(map: ConfigMap) -> Data {
    let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    text.chain(bytes).collect()
}

fn of_secret(secret: Secret) -> Data {
    secret.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect()
}

/// The audiences of the tokens that a Pod's volumes have; empty for that of the API server.
pub(super) fn audiences(pod: &Pod) -> BTreeSet<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes
        .filter_map(|volume| volume.projected.as_ref())
        .flat_map(|projected| projected.sources.iter().flatten());
    let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    tokens.map(|token| token.audience.clone().unwrap_or_default()).collect()
}

/// Returns a token of the Pod's ServiceAccount, which is valid while the Pod exists, for a day at most.
pub(super) async fn token(client: &Client, pod: &Pod, audience: &str) -> Result<String> {
    let spec = pod.spec.as_ref().context("the Pod has no spec")?;
    let name = spec.service_account_name.as_deref().unwrap_or("default");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: Some(audience)
                .filter(|audience| !audience.is_empty())
                .map(str::to_owned)
                .into_iter()
                .collect(),
            expiration_seconds: Some(LIFETIME),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("no token of ServiceAccount {name}"))?;
    Ok(answer.status.context("the API server answered without a token")?.token)
}
