//! Tenants for Clusters on a simulated controller: found, made with the mark, and removed when they are empty.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod controller;

use std::collections::BTreeSet;

use ako_operator::adc::seen::{Facts, Tenant};
use ako_operator::adc::tenants::{ask, new, refusal, refusal_of_missing};
use ako_operator::api::AkoDeploymentConfigSpec;
use ako_operator::user::avi::{Done, WantedUser, ensure, remove};
use ako_operator::user::mark::Marks;
use ako_operator::user::role::{self, Kind};
use ako_operator::user::{password, user_name};
use avi_simulator::{Config, Fault, Simulator};
use infra_clients::Failure as _;
use infra_clients::avi::objects::Pool;
use infra_clients::avi::{Avi, Kind as Refusal, POOL, ROLE, Scope, TENANT, Version};
use serde_json::{Value, json};

const VERSION: Version = Version(30, 2, 1);

struct Controller {
    simulator: Simulator,
    avi: Avi,
}

impl Controller {
    async fn start() -> Self {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let avi = controller::admin(&simulator);
        Self { simulator, avi }
    }

    async fn make(&self, name: &str, spec: &AkoDeploymentConfigSpec) -> String {
        let api = self.avi.api(Scope::admin());
        api.create_or_find(TENANT, &new(name, "adc", spec)).await.unwrap().into_inner().meta.uuid
    }

    /// Returns what is known of a tenant that Clusters need.
    async fn needed(&self, name: &str, spec: &AkoDeploymentConfigSpec) -> (Option<Tenant>, Facts) {
        let mut facts = Facts { has_group: true, ..Facts::default() };
        ask(&self.avi, spec, &names(&[name]), &names(&[]), &mut facts).await.unwrap();
        (facts.tenants[name].clone(), facts)
    }

    /// Returns what is in a tenant that none needs any more.
    async fn content(&self, name: &str) -> Vec<String> {
        let mut facts = Facts::default();
        ask(&self.avi, &spec(&json!({})), &names(&[]), &names(&[name]), &mut facts).await.unwrap();
        facts.tenants[name].clone().unwrap().content.unwrap()
    }
}

fn names(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|&name| name.to_owned()).collect()
}

fn spec(tenant: &Value) -> AkoDeploymentConfigSpec {
    let mut spec = json!({
        "controller": "avi", "cloudName": "Default-Cloud", "serviceEngineGroup": "Default-Group",
        "dataNetwork": { "name": "vips", "cidr": "10.92.0.0/24" },
        "tenant": { "name": "t", "scope": "Namespace" },
        "adminCredentialRef": { "name": "a", "namespace": "n" },
        "certificateAuthorityRef": { "name": "b", "namespace": "n" },
    });
    for (field, value) in tenant.as_object().unwrap() {
        spec["tenant"][field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

/// The user of a Cluster keeps its tenant: its role is in it.
#[tokio::test]
async fn a_tenant_goes_after_its_user_and_what_is_in_it() {
    let controller = Controller::start().await;
    let admin = controller.avi.api(Scope::admin());
    let mut shared = Vec::new();
    for kind in [Kind::Admin, Kind::AllTenants] {
        let role = admin.create_or_find(ROLE, &role::new(kind, VERSION)).await.unwrap().into_inner();
        shared.push((kind, role.meta.uuid));
    }
    let before = controller.simulator.control().snapshot();
    let tenant_uuid = controller.make("t-ns", &spec(&json!({}))).await;
    let (found, _) = controller.needed("t-ns", &spec(&json!({}))).await;
    let wanted = Tenant { uuid: tenant_uuid.clone(), is_marked: true, ..Tenant::default() };
    assert_eq!(found, Some(wanted), "it shares what the provider has");
    assert_eq!(controller.content("t-ns").await, <[String; 0]>::default());

    let wanted = WantedUser {
        name: user_name("ns", "w1"),
        cluster: "ns-w1".into(),
        tenant: "t-ns".into(),
        tenant_uuid: tenant_uuid.clone(),
        shared,
        version: VERSION,
        password: password::generate().unwrap(),
        is_changed: true,
        marks: Marks::new("here"),
    };
    assert_eq!(ensure(&controller.avi, &wanted).await.unwrap().done, Done::Made);
    let pool: Pool =
        serde_json::from_value(json!({ "name": "p", "cloud_ref": "/api/cloud?name=Default-Cloud" })).unwrap();
    let in_tenant = controller.avi.api(Scope::Name("t-ns".into()));
    let pool = in_tenant.create(POOL, &pool).await.unwrap().meta.uuid;
    assert_eq!(controller.content("t-ns").await, ["pool \"p\"", "role \"ns-w1-ako-tenant-role\""]);

    in_tenant.delete(POOL, &pool).await.unwrap();
    assert!(remove(&controller.avi, &wanted.name, &wanted.cluster, "t-ns", &wanted.marks).await.unwrap());
    assert_eq!(controller.content("t-ns").await, <[String; 0]>::default());
    assert!(admin.delete(TENANT, &tenant_uuid).await.unwrap());
    let left = controller.simulator.control().diff(&before);
    assert!(left.is_empty(), "{left:?}");
    // As in a second try, after a crash.
    assert!(!remove(&controller.avi, &wanted.name, &wanted.cluster, "t-ns", &wanted.marks).await.unwrap());
    assert!(!admin.delete(TENANT, &tenant_uuid).await.unwrap());
}

/// What the user of a Cluster may make there is named, and AVI names the rest.
#[tokio::test]
async fn what_is_in_a_tenant_is_named() {
    let controller = Controller::start().await;
    let uuid = controller.make("t-ns", &spec(&json!({ "context": "Tenant" }))).await;
    assert_eq!(controller.content("t-ns").await, <[String; 0]>::default(), "Default-Group goes with it");
    let of = "/api/tenant/?name=t-ns";
    let group = json!({ "name": "g", "tenant_ref": of, "cloud_ref": "/api/cloud?name=Default-Cloud" });
    let content = json!({
        "serviceenginegroup": [group],
        "stringgroup": [{ "name": "s", "type": "SG_TYPE_STRING", "tenant_ref": of }],
        "ipaddrgroup": [{ "name": "i", "tenant_ref": of }],
    });
    controller.simulator.control().seed_value(content).unwrap();
    assert_eq!(controller.content("t-ns").await, ["stringgroup \"s\"", "serviceenginegroup \"g\""]);
    let refused = controller.avi.api(Scope::admin()).delete(TENANT, &uuid).await.unwrap_err();
    assert!(refused.kind() == Refusal::Conflict && !refused.in_doubt(), "{refused}");
    assert!(refused.text().contains("IpAddrGroup i"), "{}", refused.text());
}

#[tokio::test]
async fn a_tenant_that_cannot_be_looked_into_holds_up_no_other() {
    let controller = Controller::start().await;
    for name in ["t-old", "t-new"] {
        controller.make(name, &spec(&json!({}))).await;
    }
    controller.simulator.control().fault(Fault::status(403).on("GET", "/api/stringgroup"));
    let mut facts = Facts { has_group: true, ..Facts::default() };
    let (needed, record) = (names(&["t-new"]), names(&["t-old"]));
    ask(&controller.avi, &spec(&json!({})), &needed, &record, &mut facts).await.unwrap();
    let why = facts.tenants["t-old"].clone().unwrap().refusal.unwrap();
    assert!(why.starts_with("what is in it cannot be read: "), "{why}");
    assert_eq!(facts.tenants["t-new"].clone().unwrap().refusal, None);
}

#[tokio::test]
async fn a_tenant_of_others_is_found_as_it_is() {
    let controller = Controller::start().await;
    let foreign = json!({ "tenant": [{ "name": "t-ns", "description": "of a person" }] });
    controller.simulator.control().seed_value(foreign).unwrap();
    let before = controller.simulator.control().snapshot();
    controller.make("t-ns", &spec(&json!({}))).await;
    assert!(controller.simulator.control().diff(&before).is_empty(), "it is not changed");
    let (found, _) = controller.needed("t-ns", &spec(&json!({}))).await;
    assert!(!found.unwrap().is_marked);
    assert_eq!(controller.needed("t-none", &spec(&json!({}))).await.0, None);
    assert_eq!(controller.needed("admin", &spec(&json!({}))).await.0.unwrap().uuid, "admin");
}

/// The group of the provider is not that of a tenant with service engines of its own.
#[tokio::test]
async fn own_service_engine_groups_and_routing_contexts_are_looked_up() {
    let controller = Controller::start().await;
    let own = json!({ "context": "Tenant" });
    controller.make("t-ns", &spec(&own)).await;
    let (found, _) = controller.needed("t-ns", &spec(&own)).await;
    assert_eq!(found.unwrap().has_group, Some(true), "AVI makes Default-Group");
    let group = json!({ "serviceenginegroup": [{ "name": "special", "cloud_ref": "/api/cloud?name=Default-Cloud" }] });
    controller.simulator.control().seed_value(group).unwrap();
    let special = AkoDeploymentConfigSpec { service_engine_group: "special".into(), ..spec(&own) };
    assert_eq!(refusal_of_missing(&spec(&own), "t-ns"), None, "what AVI makes was foreseen");
    assert!(refusal_of_missing(&special, "t-ns").is_some());
    let (found, facts) = controller.needed("t-ns", &special).await;
    let refused = refusal(&special, "t-ns", found.as_ref().unwrap(), &facts).unwrap();
    assert_eq!(refused.reason, "AviServiceEngineGroupNotFound");
    assert!(refused.message.contains("\"t-ns\" has service engines of its own"), "{}", refused.message);

    let routed = json!({ "tenant": [{ "name": "t-routed",
        "description": "[ako-operator.network.tkg.tanzu.vmware.com/tenant]",
        "config_settings": { "tenant_vrf": true, "se_in_provider_context": true } }] });
    controller.simulator.control().seed_value(routed).unwrap();
    let (found, mut facts) = controller.needed("t-routed", &spec(&json!({}))).await;
    let contexts = found.as_ref().unwrap().contexts.clone().unwrap();
    for (context, wanted) in [
        ("vrfcontext-of-the-provider", Some("AviTenantRoutingContextDiffers")),
        (contexts.first().map_or("", String::as_str), None),
    ] {
        facts.contexts = [("vips".to_owned(), context.to_owned())].into();
        let refused = refusal(&spec(&json!({})), "t-routed", found.as_ref().unwrap(), &facts);
        assert_eq!(refused.map(|refused| refused.reason), wanted);
    }
}

#[tokio::test]
async fn many_tenants_are_one_question() {
    let controller = Controller::start().await;
    let all: Vec<String> = (0..20).map(|n| format!("t-{n}")).collect();
    for name in &all[..15] {
        controller.make(name, &spec(&json!({}))).await;
    }
    let count = || controller.simulator.control().counters().values().sum::<u64>();
    let before = count();
    let mut facts = Facts::default();
    let all = all.into_iter().collect();
    ask(&controller.avi, &spec(&json!({})), &all, &names(&["t-1"]), &mut facts).await.unwrap();
    assert_eq!(count() - before, 1);
    assert_eq!((facts.tenants.len(), facts.tenants.values().flatten().count()), (20, 15));
}
