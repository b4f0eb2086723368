//! Whether the API server has the operator's kinds as the operator knows them.
//!
//! Another program's CustomResourceDefinition of the same name, or one of an earlier version, has the API server drop fields without a word:
//! no status would be stored as it is written. So no controller makes a pass before the definitions are right, unless the account may not
//! look at them. They are looked at when the process starts, and not again after that.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::error::Chain;
use crate::manifests::rule;
use crate::names::first_few;
use crate::run::Kit;
use crate::watch::Progress;

/// Pause between two looks at definitions that are not right.
const PAUSE: Duration = Duration::from_secs(5);

/// What a look at the definitions shows.
enum Look {
    Right,
    /// The account may not look.
    Unknown(String),
    /// What is wrong, and what to do.
    Wrong(String),
}

/// Returns the rights to look at the definitions.
pub(crate) fn rights(crds: &[CustomResourceDefinition]) -> Option<PolicyRule> {
    let names: Vec<_> = crds.iter().map(ResourceExt::name_any).collect();
    let get = rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"]);
    (!names.is_empty()).then_some(PolicyRule { resource_names: Some(names), ..get })
}

/// Looks at the definitions in the background, until they are right. Before that, the process is not ready.
pub(crate) fn check(kit: &Kit, crds: Vec<CustomResourceDefinition>) {
    let (kit, readiness) = (kit.clone(), kit.readiness("custom resources"));
    let right = watch::Sender::new(Progress::default());
    kit.await_cache(right.subscribe());
    kit.clone().spawn("custom resources", async move {
        let mut said = String::new();
        loop {
            match look(&kit, &crds).await {
                Look::Right if said.is_empty() => break,
                Look::Right => {
                    info!("the custom resources are right now");
                    break;
                }
                Look::Unknown(problem) => {
                    warn!(problem, "the custom resources are not checked");
                    break;
                }
                Look::Wrong(problem) if problem == said => {}
                Look::Wrong(problem) => {
                    error!(problem, "nothing is done before the custom resources are right");
                    readiness.not_ready(&*problem);
                    said = problem;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        right.send_replace(Progress::complete());
    });
}

async fn look(kit: &Kit, crds: &[CustomResourceDefinition]) -> Look {
    let (api, program) = (Api::<CustomResourceDefinition>::all(kit.client()), kit.operator().name);
    for crd in crds {
        let name = crd.name_any();
        match api.get_opt(&name).await {
            Ok(Some(served)) => {
                let lacking = lacking(crd, &served);
                if !lacking.is_empty() {
                    return Look::Wrong(format!(
                        "the CustomResourceDefinition {name} is of another program or version, as it lacks {}: apply this one's: \
                         {program} crd | kubectl apply --server-side --force-conflicts -f -",
                        first_few(&lacking)
                    ));
                }
            }
            Ok(None) => {
                return Look::Wrong(format!(
                    "the CustomResourceDefinition {name} is missing: {program} crd | kubectl apply --server-side -f -"
                ));
            }
            Err(kube::Error::Api(answer)) if answer.code == 403 => {
                // Without its namespaces, the command gives a confined operator the rights in all.
                let namespaces = match kit.namespaces() {
                    [] => String::new(),
                    some => format!(" --watch-namespace {}", some.join(",")),
                };
                return Look::Unknown(format!(
                    "{}: apply what `{program} rbac{namespaces}` prints",
                    answer.message
                ));
            }
            Err(error) => {
                return Look::Wrong(format!(
                    "the CustomResourceDefinition {name} cannot be read: {}",
                    Chain(&error)
                ));
            }
        }
    }
    Look::Right
}

/// Returns what the served definition lacks of the operator's.
fn lacking(ours: &CustomResourceDefinition, served: &CustomResourceDefinition) -> Vec<String> {
    let mut lacking = Vec::new();
    for version in ours.spec.versions.iter().filter(|version| version.served) {
        let name = &version.name;
        let same = served.spec.versions.iter().find(|served| served.name == *name && served.served);
        let Some(same) = same else {
            lacking.push(format!("the version {name}"));
            continue;
        };
        if has_status(version) && !has_status(same) {
            lacking.push("the subresource status".to_owned());
        }
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let of_same = same.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        if let (Some(schema), Some(of_same)) = (schema, of_same) {
            add_lacking(schema, of_same, "", &mut lacking);
        }
    }
    lacking
}

fn has_status(version: &CustomResourceDefinitionVersion) -> bool {
    version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some())
}

/// Adds the paths of the fields that the API server would drop.
fn add_lacking(ours: &JSONSchemaProps, served: &JSONSchemaProps, path: &str, lacking: &mut Vec<String>) {
    if served.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    if ours.x_kubernetes_preserve_unknown_fields == Some(true) {
        lacking.push(format!("the further fields of {path}"));
    }
    for (name, ours) in ours.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match served.properties.as_ref().and_then(|properties| properties.get(name)) {
            Some(served) => add_lacking(ours, served, &path, lacking),
            None => lacking.push(path),
        }
    }
    if let (Some(ours), Some(served)) = (item(ours), item(served)) {
        add_lacking(ours, served, &format!("{path}[]"), lacking);
    }
}

/// Returns the schema of what a list or a map has.
fn item(of: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match (&of.items, &of.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(item)), _) | (_, Some(JSONSchemaPropsOrBool::Schema(item))) => {
            Some(item)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn crd() -> Value {
        let text = json!({"type": "string"});
        json!({
            "metadata": {"name": "things.example.com"},
            "spec": {
                "group": "example.com", "scope": "Cluster", "names": {"kind": "Thing", "plural": "things"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "list": {"type": "array", "items": {"type": "object", "properties": {"a": text, "b": text}}},
                            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": text}}},
                            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        }},
                    }}},
                }],
            },
        })
    }

    #[test]
    fn what_the_api_server_would_drop_is_named() {
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let cases: Vec<(String, Value, &[&str])> = vec![
            ("/spec/scope".into(), json!("Cluster"), &[]),
            ("/spec/versions/0/name".into(), json!("v2"), &["the version v1"]),
            ("/spec/versions/0/served".into(), json!(false), &["the version v1"]),
            ("/spec/versions/0/subresources".into(), json!({}), &["the subresource status"]),
            (schema.into(), json!({}), &["spec.any", "spec.list", "spec.map"]),
            (format!("{schema}/list/items/properties"), json!({"a": {}, "more": {}}), &["spec.list[].b"]),
            (format!("{schema}/map/additionalProperties/properties"), json!({}), &["spec.map[].c"]),
            (format!("{schema}/any"), json!({"type": "object"}), &["the further fields of spec.any"]),
            (format!("{schema}/map"), open.clone(), &[]),
            ("/spec/versions/0/schema/openAPIV3Schema".into(), open, &[]),
        ];
        let ours: CustomResourceDefinition = serde_json::from_value(crd()).unwrap();
        for (path, value, wanted) in cases {
            let mut served = crd();
            *served.pointer_mut(&path).unwrap() = value;
            let served = serde_json::from_value(served).unwrap();
            assert_eq!(lacking(&ours, &served), wanted, "{path}");
        }
    }

    #[test]
    fn the_rights_are_for_the_operators_own_definitions() {
        let crd: CustomResourceDefinition = serde_json::from_value(crd()).unwrap();
        let rule = rights(&[crd]).unwrap();
        assert_eq!(
            (rule.resource_names.unwrap(), rule.verbs),
            (vec!["things.example.com".into()], vec!["get".into()])
        );
        assert_eq!(rights(&[]), None);
    }
}
