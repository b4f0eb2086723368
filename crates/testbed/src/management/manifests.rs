//! Cluster API's CRDs and webhook configurations, as its module ships them, changed for a manager outside of the cluster.
//!
//! Adds what kustomize adds for a release: contract labels and conversion webhooks. The API server calls webhooks by URL,
//! because there is no Service.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// The contract versions. A CRD has a label for each, whose value is the API version that implements it.
const CONTRACTS: [&str; 2] = ["v1beta1", "v1beta2"];

/// The objects to apply: CRDs first, then webhooks.
pub(super) struct Manifests {
    pub(super) crds: Vec<Value>,
    pub(super) webhooks: Vec<Value>,
}

/// The webhook server, for conversion and admission.
pub(super) struct Webhooks {
    /// The URL, `https://127.0.0.1:PORT`.
    pub(super) url: String,
    /// The CA that signed its certificate.
    pub(super) ca_pem: String,
}

/// Loads the manifests from the files of Cluster API's module. Blocks for a quarter of a second in a debug build.
pub(super) fn load(shipped: &Path, webhooks: &Webhooks) -> Result<Manifests> {
    let config = shipped.join("core/config");
    let bases = config.join("crd/bases");
    let bases = fs::read_dir(&bases).with_context(|| format!("no CRDs in {}", bases.display()))?;
    let mut crds = Vec::new();
    for file in bases {
        for crd in read_documents(&file?.path())? {
            crds.push(complete_definition(crd, webhooks));
        }
    }
    let configurations = read_documents(&config.join("webhook/manifests.yaml"))?;
    let webhooks = configurations.into_iter().map(|configuration| set_urls(configuration, webhooks));
    Ok(Manifests { crds, webhooks: webhooks.collect::<Result<_>>()? })
}

/// Parses the YAML documents of a file.
fn read_documents(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // No size limit: the files are pinned, and larger than the default limit for untrusted input.
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

/// Adds the contract labels and the conversion webhook to a CRD.
fn complete_definition(mut crd: Value, webhooks: &Webhooks) -> Value {
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

/// Replaces the Service of each webhook by its URL.
fn set_urls(mut configuration: Value, webhooks: &Webhooks) -> Result<Value> {
    let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
    configuration["metadata"]["name"] = format!("capi-{name}").into();
    for webhook in
        configuration["webhooks"].as_array_mut().context("the webhook configuration has no webhooks")?
    {
        let path = webhook["clientConfig"]["service"]["path"].as_str().context("the webhook has no path")?;
        webhook["clientConfig"] = webhooks.client_config(path);
    }
    Ok(configuration)
}
