use serde_json::json;

use super::*;

fn adc(context: &str, recorded: &[&str]) -> AkoDeploymentConfig {
    let secret = json!({"name": "s", "namespace": "n"});
    serde_json::from_value(json!({
        "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
        "metadata": {"name": "a", "generation": 1},
        "spec": {
            "controller": "avi", "cloudName": "cloud", "serviceEngineGroup": "group",
            "controlPlaneNetwork": {"name": "vips", "cidr": "10.1.0.0/24"},
            "dataNetwork": {"name": "data", "cidr": "10.0.0.0/24"},
            "tenant": {"name": "t", "scope": "Namespace", "context": context},
            "adminCredentialRef": secret, "certificateAuthorityRef": secret,
        },
        "status": {"added": {"tenants": recorded}},
    }))
    .unwrap()
}

fn facts(tenants: &[(&str, Option<Tenant>)]) -> Facts {
    Facts {
        has_group: true,
        tenants: tenants.iter().map(|(name, found)| ((*name).to_owned(), found.clone())).collect(),
        contexts: [("data", "one"), ("vips", "two")].map(|(name, uuid)| (name.into(), uuid.into())).into(),
        ..Facts::default()
    }
}

fn marked(content: Option<&[&str]>) -> Tenant {
    let content = content.map(|content| content.iter().map(|&object| object.to_owned()).collect());
    Tenant { is_marked: true, content, ..Tenant::default() }
}

fn keys(of: &[&str]) -> Vec<String> {
    of.iter().map(|&key| key.to_owned()).collect()
}

#[test]
fn tenants_are_named_after_namespaces_and_clusters() {
    for (tenant, clusters, wanted) in [
        (json!(null), &["a/b"][..], &["admin"][..]),
        (json!({"name": "t"}), &[], &["t"]),
        (json!({"name": "t", "scope": "Shared"}), &["a/b", "c/d"], &["t"]),
        (json!({"name": "t", "scope": "Namespace"}), &["a/b", "a/c", "d/e"], &["t-a", "t-d"]),
        (json!({"name": "t", "scope": "Cluster"}), &["a/b", "a/c"], &["t-a-b", "t-a-c"]),
        (json!({"name": "admin", "scope": "Cluster"}), &["a/b"], &["admin-a-b"]),
        (json!({"name": "t", "scope": "Namespace"}), &[], &[]),
    ] {
        let mut adc = adc("Provider", &[]);
        adc.spec.tenant = serde_json::from_value(tenant.clone()).unwrap();
        let wanted: BTreeSet<_> = keys(wanted).into_iter().collect();
        assert_eq!(needed(&adc.spec, &keys(clusters)), wanted, "{tenant}");
    }
}

#[test]
fn a_tenant_needs_the_group_and_the_networks() {
    let own = |contexts: &[&str]| Some(keys(contexts).into_iter().collect());
    let ours = || Tenant { is_marked: true, ..Tenant::default() };
    let group = |has_group| Tenant { has_group: Some(has_group), ..ours() };
    let with = |contexts: &[&str]| Tenant { contexts: own(contexts), ..ours() };
    let all = facts(&[]);
    let without = Facts { has_group: false, ..all.clone() };
    let rows = [
        ("all of the provider", ours(), &all, None),
        ("made by others", Tenant::default(), &all, Some("was made by others")),
        ("no group there", ours(), &without, Some("the cloud \"cloud\" has no service engine group")),
        ("its own group", group(true), &without, None),
        ("no own group", group(false), &all, Some("create it there")),
        ("both networks", with(&["one", "two"]), &all, None),
        ("one network", with(&["one"]), &all, Some("the network \"vips\" is in none of them")),
        ("no network", with(&[]), &all, Some("the network \"data\" is in none of them")),
    ];
    for (what, tenant, facts, wanted) in rows {
        let refused = refusal(&adc("Provider", &[]).spec, "t-ns", &tenant, facts);
        assert_eq!(refused.is_some(), wanted.is_some(), "{what}");
        if let (Some(Problem { reason, message }), Some(words)) = (refused, wanted) {
            assert!(message.contains(words), "{what}: {message}");
            let wanted = match (tenant.is_marked, tenant.contexts.is_some()) {
                (false, _) => "AviTenantOfOthers",
                (true, true) => "AviTenantRoutingContextDiffers",
                (true, false) => "AviServiceEngineGroupNotFound",
            };
            assert_eq!(reason, wanted, "{what}");
        }
    }
}

/// AVI gives a new tenant of the operator what the context says, and no more.
#[test]
fn a_tenant_that_avi_lacks_needs_the_group_that_avi_makes() {
    for (scope, context, group, wanted) in [
        (Some("Cluster"), Some("Tenant"), "group", Some("AviServiceEngineGroupNotFound")),
        (Some("Namespace"), Some("Tenant"), "Default-Group", None),
        (Some("Namespace"), Some("Provider"), "group", None),
        (Some("Namespace"), None, "group", None),
        (None, Some("Tenant"), "Default-Group", Some("AviTenantNotFound")),
        (Some("Shared"), None, "group", Some("AviTenantNotFound")),
    ] {
        let mut spec = adc("Provider", &[]).spec;
        let tenant = json!({"name": "t", "scope": scope, "context": context});
        spec.tenant = serde_json::from_value(tenant.clone()).unwrap();
        group.clone_into(&mut spec.service_engine_group);
        let refused = refusal_of_missing(&spec, "t-ns-w1");
        assert_eq!(refused.as_ref().map(|refused| refused.reason), wanted, "{tenant} {group}");
        if let Some(Problem { message, .. }) = refused {
            assert!(message.contains("\"t-ns-w1\""), "{message}");
        }
    }
}

#[test]
fn the_condition_says_which_tenant_is_in_the_way() {
    let no_group = Tenant { has_group: Some(false), ..marked(None) };
    let full: Vec<_> = (1..8).map(|n| format!("pool \"{n}\"")).collect();
    let full = Tenant { content: Some(full), ..marked(None) };
    let refused = Tenant { refusal: Some("referred by: IpAddrGroup mine".into()), ..marked(Some(&[])) };
    let rows = [
        ("no Cluster", &[][..], facts(&[]), "True AsAsked"),
        ("not asked", &["ns/w1"], facts(&[]), ""),
        ("not made yet", &["ns/w1"], facts(&[("t-ns", None)]), ""),
        ("made", &["ns/w1"], facts(&[("t-ns", Some(marked(None)))]), "True AsAsked"),
        (
            "without a group",
            &["ns/w1"],
            facts(&[("t-ns", Some(no_group))]),
            "False AviServiceEngineGroupNotFound",
        ),
        ("to be removed", &[], facts(&[("t-ns", Some(marked(Some(&[]))))]), ""),
        ("in use", &[], facts(&[("t-ns", Some(full.clone()))]), "False AviTenantInUse"),
        ("refused", &[], facts(&[("t-ns", Some(refused.clone()))]), "False AviTenantInUse"),
    ];
    for (what, clusters, facts, wanted) in rows {
        let recorded: &[&str] = if facts.tenants.is_empty() { &[] } else { &["t-ns"] };
        let said = state(&adc("Provider", recorded), &keys(clusters), &facts);
        let said = said.map(|(status, reason, _)| format!("{} {reason}", status.as_str()));
        assert_eq!(said.unwrap_or_default(), wanted, "{what}");
    }
    for (tenant, words) in [
        (full, &["\"t-ns\" has pool \"1\"", "pool \"5\" and 2 more", TENANT_MARK, "by hand"][..]),
        (refused, &["\"t-ns\" is not removed by AVI (referred by: IpAddrGroup mine)", TENANT_MARK]),
    ] {
        let facts = facts(&[("t-ns", Some(tenant))]);
        let (_, _, message) = state(&adc("Provider", &["t-ns"]), &[], &facts).unwrap();
        for words in words {
            assert!(message.contains(words), "{message}");
        }
    }
}

/// Else a person would have to look for the condition: Ready says nothing of it.
#[test]
fn an_event_says_once_that_a_tenant_stays() {
    let status = |said: Option<(&str, &str)>| -> AkoDeploymentConfigStatus {
        let said = said.map(|(reason, message)| {
            json!({"type": "TenantsReady", "status": "False", "reason": reason, "message": message,
                "lastTransitionTime": "2026-11-29T00:00:00Z"})
        });
        serde_json::from_value(json!({"conditions": said.into_iter().collect::<Vec<_>>()})).unwrap()
    };
    let in_use = |message| Some(("AviTenantInUse", message));
    for (old, new, wanted) in [
        (None, None, None),
        (None, in_use("a"), Some("a")),
        (in_use("a"), in_use("b"), None),
        (in_use("a"), None, None),
        (Some(("AviTenantOfOthers", "a")), in_use("b"), Some("b")),
    ] {
        let event = news(Some(&status(old)), &status(new));
        assert_eq!(event.as_ref().map(Notice::message), wanted, "{old:?} {new:?}");
    }
    assert!(news(None, &status(in_use("a"))).is_some_and(|event| event.reason() == "AviTenantInUse"));
}

#[test]
fn a_tenant_that_is_made_has_the_mark_and_the_context() {
    for (context, is_provider) in [("Provider", true), ("Tenant", false)] {
        let made = new("t-ns", "a", &adc(context, &[]).spec);
        let settings = made.config_settings.unwrap();
        assert_eq!(settings.se_in_provider_context, Some(is_provider));
        assert_eq!(settings.tenant_vrf, Some(false));
        let description = made.rest.text("description").unwrap();
        assert!(description.contains("AKODeploymentConfig a") && description.contains(TENANT_MARK));
    }
}

/// The record and the condition exist for as long as there are tenants.
#[test]
fn shared_tenants_are_no_concern() {
    let mut shared = adc("Provider", &[]);
    assert!(concern(&shared));
    shared.spec.tenant.as_mut().unwrap().scope = None;
    assert!(!concern(&shared));
    assert!(concern(&adc("Provider", &["t-ns"])));
}
