//! Cluster API's own CRDs and webhook configurations, as the module ships them, made fit for a manager that
//! is a process beside the API server.
//!
//! What kustomize adds in a release is added here: contract labels and conversion webhooks; and webhooks are
//! called by URL, for there is no Service.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// The contract versions that a CRD's label of the same name maps to its API versions.
const CONTRACTS: [&str; 2] = ["v1beta1", "v1beta2"];

/// What is applied: in this order, CRDs first.
pub(super) struct Manifests {
    pub(super) crds: Vec<Value>,
    pub(super) webhooks: Vec<Value>,
}

/// The webhook server, for conversion and admission.
pub(super) struct Webhooks {
    /// Its `https://127.0.0.1:PORT`.
    pub(super) url: String,
    /// The CA that signed its certificate.
    pub(super) ca_pem: String,
}

/// From what Cluster API's module ships. Blocks: a quarter of a second in a debug build.
pub(super) fn load(shipped: &Path, webhooks: &Webhooks) -> Result<Manifests> {
    let config = shipped.join("core/config");
    let bases = config.join("crd/bases");
    let bases = fs::read_dir(&bases).with_context(|| format!("no CRDs in {}", bases.display()))?;
    let mut crds = Vec::new();
    for file in bases {
        for crd in documents(&file?.path())? {
            crds.push(definition(crd, webhooks));
        }
    }
    let configurations = documents(&config.join("webhook/manifests.yaml"))?;
    let by_url = configurations.into_iter().map(|configuration| by_url(configuration, webhooks));
    Ok(Manifests { crds, webhooks: by_url.collect::<Result<_>>()? })
}

fn documents(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // These are files we pinned ourselves, and larger than what is wise to accept from a stranger.
    let options = serde_saphyr::options! { budget: None };
    let documents = serde_saphyr::from_multiple_with_options(&text, options);
    documents.with_context(|| format!("cannot parse {}", file.display()))
}

impl Webhooks {
    fn client_config(&self, path: &str) -> Value {
        let ca = ByteString(self.ca_pem.as_bytes().to_vec());
        json!({"url": format!("{}{path}", self.url), "caBundle": ca})
    }
}

fn definition(mut crd: Value, webhooks: &Webhooks) -> Value {
    let versions = crd["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let mut labels = json!({"cluster.x-k8s.io/provider": "cluster-api"});
    for contract in CONTRACTS {
        if versions.iter().any(|version| version["name"] == contract) {
            labels[format!("cluster.x-k8s.io/{contract}")] = contract.into();
        }
    }
    crd["metadata"]["labels"] = labels;
    crd["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": webhooks.client_config("/convert"),
        },
    });
    crd
}

fn by_url(mut configuration: Value, webhooks: &Webhooks) -> Result<Value> {
    let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
    configuration["metadata"]["name"] = format!("capi-{name}").into();
    for webhook in configuration["webhooks"].as_array_mut().context("a configuration without webhooks")? {
        let path = webhook["clientConfig"]["service"]["path"].as_str().context("a webhook without a path")?;
        webhook["clientConfig"] = webhooks.client_config(path);
    }
    Ok(configuration)
}
