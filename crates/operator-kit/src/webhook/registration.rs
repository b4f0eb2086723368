//! The registration of the webhook: its ValidatingWebhookConfiguration, and the rights to keep its certificate.
//!
//! Owns the choice of what may fail. A webhook that does not answer must not keep anything from being deleted: deletions are asked
//! about with `failurePolicy: Ignore`; creations and changes of a spec with `Fail`; and every other update, such as the removal of a
//! finalizer, is not asked about.

use std::collections::BTreeSet;

use k8s_openapi::api::{admissionregistration::v1::ValidatingWebhookConfiguration, rbac::v1::PolicyRule};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::{ReviewedKind, Webhook, name_of};
use crate::{
    error::Error,
    manifests::{Account, Documents, cluster_role, role, rule},
};

/// How long the API server waits for an answer, in seconds. An answer takes milliseconds.
const TIMEOUT: u8 = 5;
/// Only what changes the spec of an object that is not being deleted.
const SPEC_CHANGES: &str = "request.operation != 'UPDATE' || (!has(object.metadata.deletionTimestamp) && \
                            (!has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec))";

/// Returns the manifests of an operator's webhook as YAML, without namespaces and bindings, as those of its rights.
pub(crate) fn manifests(account: Account, webhook: &Webhook) -> Result<String, Error> {
    let name = name_of(account.name);
    let named = |rule: PolicyRule| PolicyRule { resource_names: Some(vec![name.clone()]), ..rule };
    let registrations = rule(
        "admissionregistration.k8s.io",
        &["validatingwebhookconfigurations"],
        &["list", "patch", "watch"],
    );
    let secrets = vec![
        // Cannot be bound to a name.
        rule("", &["secrets"], &["create"]),
        named(rule("", &["secrets"], &["list", "update", "watch"])),
    ];
    let webhooks: Vec<Value> =
        webhook.kinds.iter().flat_map(|kind| entries(kind, &name, account.namespace)).collect();
    let registration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": name }, "webhooks": webhooks,
    });
    Documents::default()
        .with(&registration)?
        .with(&cluster_role(&name, vec![named(registrations)]))?
        .with(&role(&name, None, secrets))?
        .yaml()
}

fn entries(kind: &ReviewedKind, service: &str, namespace: &str) -> [Value; 2] {
    let ReviewedKind { group, version, plural, .. } = kind;
    let entry = |name: String, operations: &[&str], policy: &str| {
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "name": service, "namespace": namespace, "path": kind.path() } },
            "rules": [{ "apiGroups": [group], "apiVersions": [version], "resources": [plural],
                "operations": operations }],
            "failurePolicy": policy,
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": TIMEOUT,
        })
    };
    let mut writes = entry(format!("{plural}.{group}"), &["CREATE", "UPDATE"], "Fail");
    writes["matchConditions"] = json!([{ "name": "spec-changes", "expression": SPEC_CHANGES }]);
    [writes, entry(format!("deletion.{plural}.{group}"), &["DELETE"], "Ignore")]
}

/// The names by which the API server calls the webhook, in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Hosts {
    /// Those of its certificate.
    pub(super) usable: Vec<String>,
    /// Those that no certificate can be for. They take nothing from the entries that are right.
    pub(super) unusable: Vec<String>,
}

impl Hosts {
    /// Returns those of a registration.
    pub(super) fn of(registration: &ValidatingWebhookConfiguration) -> Self {
        let configs = registration.webhooks.iter().flatten().map(|webhook| &webhook.client_config);
        let hosts: BTreeSet<String> = configs
            .filter_map(|config| match (&config.service, &config.url) {
                (Some(service), _) => Some(format!("{}.{}.svc", service.name, service.namespace)),
                (None, url) => host(url.as_deref()?),
            })
            .collect();
        let (usable, unusable) =
            hosts.into_iter().partition(|host| ServerName::try_from(host.as_str()).is_ok());
        Self { usable, unusable }
    }
}

fn host(url: &str) -> Option<String> {
    let url: http::Uri = url.parse().ok()?;
    let host = url.host()?.trim_matches(['[', ']']);
    // The API server looks for the name without the last dot.
    Some(host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// Returns whether every entry passes for each authority that `trusts` looks for.
pub(super) fn trusts(registration: &ValidatingWebhookConfiguration, trusts: impl Fn(&[u8]) -> bool) -> bool {
    let mut bundles = registration.webhooks.iter().flatten().map(|webhook| &webhook.client_config.ca_bundle);
    bundles.all(|bundle| bundle.as_ref().is_some_and(|bundle| trusts(&bundle.0)))
}

/// Returns the JSON patch that sets the authorities of every entry, unless the registration has changed meanwhile.
pub(super) fn bundle_patch(registration: &ValidatingWebhookConfiguration, authorities: &str) -> Value {
    let bundle = data_encoding::BASE64.encode(authorities.as_bytes());
    let entries = registration.webhooks.as_ref().map_or(0, Vec::len);
    let version = registration.metadata.resource_version.as_deref();
    let test = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version });
    let add = |entry: usize| {
        let path = format!("/webhooks/{entry}/clientConfig/caBundle");
        json!({ "op": "add", "path": path, "value": bundle })
    };
    std::iter::once(test).chain((0..entries).map(add)).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim as Claim;

    use super::*;

    fn printed() -> String {
        let webhook = Webhook::default().with::<Claim>(|_| Ok(Vec::new()));
        manifests(Account { name: "op", namespace: "system" }, &webhook).unwrap()
    }

    fn registration() -> ValidatingWebhookConfiguration {
        serde_saphyr::from_str(printed().split("---\n").nth(1).unwrap()).unwrap()
    }

    #[test]
    fn a_webhook_that_is_down_stops_no_deletion() {
        let webhooks = registration().webhooks.unwrap();
        for webhook in &webhooks {
            let operations = webhook.rules.as_ref().unwrap()[0].operations.clone().unwrap();
            let policy = webhook.failure_policy.as_deref().unwrap();
            assert_eq!(policy == "Ignore", operations == ["DELETE"], "{operations:?}");
            assert_eq!(policy == "Fail", webhook.match_conditions.is_some(), "{operations:?}");
            assert_eq!(webhook.side_effects, "None");
        }
        assert_eq!(webhooks.len(), 2);
    }

    #[test]
    fn the_manifests_are_a_registration_and_two_roles() {
        let kinds: Vec<_> =
            printed().lines().filter_map(|line| line.strip_prefix("kind: ").map(str::to_owned)).collect();
        assert_eq!(kinds, ["ValidatingWebhookConfiguration", "ClusterRole", "Role"]);
        let text = printed();
        assert!(
            text.contains("path: /validate--v1-persistentvolumeclaim") && !text.contains("caBundle"),
            "{text}"
        );
    }

    #[test]
    fn names_are_those_that_the_api_server_calls() {
        let usable = |registration: &ValidatingWebhookConfiguration| Hosts::of(registration).usable;
        assert_eq!(usable(&registration()), ["op-webhook.system.svc"]);
        let mut other = registration();
        let url = |url: &str| serde_json::from_value(json!({ "url": url })).unwrap();
        let webhooks = other.webhooks.as_mut().unwrap();
        webhooks[0].client_config = url("https://127.0.0.1:1/x");
        webhooks[1].client_config = url("https://[::1]:1/x");
        assert_eq!(usable(&other), ["127.0.0.1", "::1"]);
        let webhooks = other.webhooks.as_mut().unwrap();
        webhooks[0].client_config = url("https://localhost.:1/x");
        webhooks[1].client_config =
            serde_json::from_value(json!({ "service": { "name": "Op Webhook", "namespace": "system" } }))
                .unwrap();
        let hosts = Hosts {
            usable: vec!["localhost".to_owned()],
            unusable: vec!["Op Webhook.system.svc".to_owned()],
        };
        assert_eq!(Hosts::of(&other), hosts);
        other.webhooks = None;
        assert_eq!(Hosts::of(&other), Hosts::default());
    }

    #[test]
    fn authorities_are_set_in_every_entry() {
        let mut registration = registration();
        registration.metadata.resource_version = Some("7".to_owned());
        assert!(!trusts(&registration, |_| true), "it has none yet");
        let patch = bundle_patch(&registration, "pem");
        assert_eq!(patch[0], json!({ "op": "test", "path": "/metadata/resourceVersion", "value": "7" }));
        assert_eq!(patch[2]["path"], "/webhooks/1/clientConfig/caBundle");
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        let mut value = serde_json::to_value(&registration).unwrap();
        json_patch::patch(&mut value, &patch).unwrap();
        let registration: ValidatingWebhookConfiguration = serde_json::from_value(value).unwrap();
        assert!(trusts(&registration, |bundle| bundle == b"pem"));
    }
}
