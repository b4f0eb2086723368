//! AKO's CustomResourceDefinitions, as the user gives them: a directory of YAML files, such as a ConfigMap that is mounted there.
//!
//! Owns what such files may have. They are AKO's and not this operator's, so none is part of the program. Pure; [`files`] reads them, and
//! the controller of Clusters compares them with what a workload cluster has.

pub mod files;

use data_encoding::HEXLOWER;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::delivery::{AKO_GROUP, MANAGED_BY, MANAGED_BY_LABEL, SERVICES_API_GROUP};

/// Annotation of a CustomResourceDefinition that the operator applied: a hash of what was in the bundle.
pub const HASH_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/definition-hash";

/// Groups of AKO, whose definitions a bundle may have.
const GROUPS: [&str; 2] = [AKO_GROUP, SERVICES_API_GROUP];
const API_VERSION: &str = "apiextensions.k8s.io/v1";
const KIND: &str = "CustomResourceDefinition";
/// What `kubectl` writes for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A file of a bundle.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name in the directory.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// All definitions that the user gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// The definitions, by name.
    pub definitions: Vec<Definition>,
    /// A hash of all of them.
    pub hash: String,
}

/// A CustomResourceDefinition of AKO.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name, such as `hostrules.ako.vmware.com`.
    pub name: String,
    /// A hash of what the user gives of it.
    pub hash: String,
    /// The versions that it has.
    pub versions: Vec<String>,
    /// Those of them that it serves.
    pub served: Vec<String>,
    /// The object as it is applied.
    pub object: Value,
}

impl Bundle {
    /// Reads definitions.
    ///
    /// # Errors
    /// Says which file cannot be used, and what to do.
    pub fn parse(files: &[File]) -> Result<Self, String> {
        let mut named: Vec<(&str, Definition)> = Vec::new();
        for file in files {
            for definition in parse_file(file)? {
                if let Some((other, _)) = named.iter().find(|(_, known)| known.name == definition.name) {
                    let (name, again) = (&definition.name, &file.name);
                    return Err(if *other == again {
                        format!("{again}: the definition {name} is in it twice: remove one of them")
                    } else {
                        format!("{again}: the definition {name} is in {other} as well: remove one of them")
                    });
                }
                named.push((&file.name, definition));
            }
        }
        if named.is_empty() {
            return Err("no file in it has a definition: put those of AKO there, which are in helm/ako/crds of AKO's repository"
                .to_owned());
        }
        let mut definitions: Vec<_> = named.into_iter().map(|(_, definition)| definition).collect();
        definitions.sort_by(|one, other| one.name.cmp(&other.name));
        let hashes: Vec<_> = definitions.iter().map(|definition| &definition.hash).collect();
        let hash = hash_of(&json!(hashes));
        Ok(Self { definitions, hash })
    }
}

fn parse_file(file: &File) -> Result<Vec<Definition>, String> {
    let name = &file.name;
    // An error is for a condition: one line.
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(&file.text, options).map_err(|error| {
            let error = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{name}: it is no YAML: {error}: correct it, or remove it")
        })?;
    if documents.is_empty() {
        return Err(format!("{name}: no document in it: remove it"));
    }
    let numbered = documents.into_iter().enumerate();
    let parse = |(index, document)| {
        definition(document).map_err(|message| format!("{name}: document {} {message}", index + 1))
    };
    numbered.map(parse).collect()
}

/// Reads a document. The error follows its number.
fn definition(document: Value) -> Result<Definition, String> {
    let Value::Object(mut document) = document else {
        return Err(format!("is no object: write a {KIND} of {API_VERSION}, or remove it"));
    };
    let text = |document: &Map<String, Value>, field: &str| {
        document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (version, kind) = (text(&document, "apiVersion"), text(&document, "kind"));
    if (version.as_str(), kind.as_str()) != (API_VERSION, KIND) {
        return Err(format!(
            "is a {kind:?} of {version:?}, and only {KIND}s of {API_VERSION} belong here: remove it"
        ));
    }
    // That of the API server where the definition is from.
    document.remove("status");
    let typed: CustomResourceDefinition = serde_json::from_value(document.clone().into())
        .map_err(|error| format!("is no {KIND}: {error}: take it from AKO's repository as it is"))?;
    let (spec, name) = (&typed.spec, typed.metadata.name.clone().unwrap_or_default());
    if !GROUPS.contains(&spec.group.as_str()) {
        let (group, known) = (&spec.group, GROUPS.join(" and "));
        return Err(format!(
            "defines a kind of the group {group:?}, and those of AKO are {known}: remove it"
        ));
    }
    let wanted = format!("{}.{}", spec.names.plural, spec.group);
    if name != wanted {
        return Err(format!("has the metadata.name {name:?}: write {wanted:?}"));
    }
    let versions = spec.versions.iter().map(|version| version.name.clone()).collect();
    let served = spec.versions.iter().filter(|version| version.served);
    let served: Vec<_> = served.map(|version| version.name.clone()).collect();
    if served.is_empty() {
        return Err(format!("({name}) serves no version: take it from AKO's repository as it is"));
    }
    let (labels, mut annotations) =
        (typed.metadata.labels.unwrap_or_default(), typed.metadata.annotations.unwrap_or_default());
    annotations.remove(LAST_APPLIED);
    let mut object = json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": document.remove("spec"),
    });
    object["metadata"]["labels"][MANAGED_BY_LABEL] = MANAGED_BY.into();
    let hash = hash_of(&object);
    object["metadata"]["annotations"][HASH_ANNOTATION] = hash.clone().into();
    Ok(Definition { name, hash, versions, served, object })
}

fn hash_of(value: &Value) -> String {
    HEXLOWER.encode(&Sha256::digest(value.to_string()))
}

#[cfg(test)]
mod tests;
