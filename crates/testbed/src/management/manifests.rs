//! Cluster API's own CRDs and webhook configurations, as the module ships them, made fit for a manager that
//! is a process beside the API server.
//!
//! What kustomize adds in a release is added here: contract labels and conversion webhooks; and webhooks are
//! called by URL, for there is no Service. Reading the YAML takes seconds in a debug build, so the outcome is
//! kept as JSON beside it, with placeholders for what differs from plane to plane.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// Stands for the webhook server's `https://127.0.0.1:PORT`.
const URL: &str = "@URL@";
/// Stands for the CA that signed the webhook server's certificate.
const CA: &str = "@CA@";
/// The outcome. Another name whenever the rendering changes.
const RENDERED: &str = "rendered-1.json";
/// The contract versions that a CRD's label of the same name maps to its API versions.
const CONTRACTS: [&str; 2] = ["v1beta1", "v1beta2"];

/// What is applied: in this order, CRDs first.
pub(super) struct Manifests {
    pub(super) crds: Vec<Value>,
    pub(super) webhooks: Vec<Value>,
}

/// The manifests of the module in the tools' cache, for a webhook server at `url`. Blocks.
pub(super) fn load(module: &Path, url: &str, ca_pem: &str) -> Result<Manifests> {
    let file = module.join(RENDERED);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(_) => {
            let text = serde_json::to_string(&render(&module.join("manifests/core/config"))?)?;
            // Whole or not at all: other tests may be reading.
            let scratch = tempfile::NamedTempFile::new_in(module)?;
            fs::write(scratch.path(), &text)?;
            scratch.persist(&file)?;
            text
        }
    };
    let ca = serde_json::to_value(ByteString(ca_pem.as_bytes().to_vec()))?;
    let ca = ca.as_str().context("bytes are a string of base64")?;
    let objects: Vec<Value> = serde_json::from_str(&text.replace(URL, url).replace(CA, ca))?;
    let (crds, webhooks) =
        objects.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
    Ok(Manifests { crds, webhooks })
}

fn render(config: &Path) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    let bases = config.join("crd/bases");
    let bases = fs::read_dir(&bases).with_context(|| format!("no CRDs in {}", bases.display()))?;
    let mut files = bases.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    for file in files {
        for crd in documents(&file)? {
            objects.push(definition(crd));
        }
    }
    for configuration in documents(&config.join("webhook/manifests.yaml"))? {
        objects.push(by_url(configuration)?);
    }
    Ok(objects)
}

fn documents(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // These are files we pinned ourselves, and larger than what is wise to accept from a stranger.
    let options = serde_saphyr::options! { budget: None };
    let documents = serde_saphyr::from_multiple_with_options(&text, options);
    documents.with_context(|| format!("cannot parse {}", file.display()))
}

fn definition(mut crd: Value) -> Value {
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
            "clientConfig": {"url": format!("{URL}/convert"), "caBundle": CA},
        },
    });
    crd
}

fn by_url(mut configuration: Value) -> Result<Value> {
    let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
    configuration["metadata"]["name"] = format!("capi-{name}").into();
    let webhooks = configuration["webhooks"].as_array_mut().context("a configuration without webhooks")?;
    for webhook in webhooks {
        let path = webhook["clientConfig"]["service"]["path"].as_str().context("a webhook without a path")?;
        webhook["clientConfig"] = json!({"url": format!("{URL}{path}"), "caBundle": CA});
    }
    Ok(configuration)
}
