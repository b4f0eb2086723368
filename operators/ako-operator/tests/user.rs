//! Users of Clusters on a controller that enforces roles: made, adopted, corrected, given other passwords, removed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod controller;

use ako_operator::user::avi::{Done, WantedUser, ensure, remove};
use ako_operator::user::mark::Marks;
use ako_operator::user::role::{self, Kind};
use ako_operator::user::{password, user_name};
use avi_simulator::{Config, Effect, Fault, Simulator};
use infra_clients::avi::objects::{Any, Meta, Pool, Tenant};
use infra_clients::avi::{Avi, CLOUD, POOL, Query, ROLE, Resource, Scope, TENANT, USER, Version};
use infra_clients::{Failure as _, Secret};
use serde_json::json;

const VERSION: Version = Version(30, 2, 1);

struct Controller {
    simulator: Simulator,
    admin: Avi,
}

impl Controller {
    async fn start() -> Self {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let admin = controller::admin(&simulator);
        Self { simulator, admin }
    }

    fn of(&self, wanted: &WantedUser) -> Avi {
        controller::client(&self.simulator, &wanted.name, &wanted.password)
    }

    async fn wanted(&self, tenant: &str) -> WantedUser {
        let api = self.admin.api(Scope::admin());
        let tenant_uuid = if tenant == "admin" {
            tenant.to_owned()
        } else {
            let new = Tenant { meta: Meta::named(tenant), ..Tenant::default() };
            api.create_or_find(TENANT, &new).await.unwrap().into_inner().meta.uuid
        };
        let kinds: &[_] =
            if tenant == "admin" { &[Kind::Essential] } else { &[Kind::Admin, Kind::AllTenants] };
        let mut shared = Vec::new();
        for kind in kinds {
            let role = api.create_or_find(ROLE, &role::new(*kind, VERSION)).await.unwrap().into_inner();
            shared.push((*kind, role.meta.uuid));
        }
        WantedUser {
            name: user_name("default", "w1"),
            cluster: "default-w1".into(),
            tenant: tenant.into(),
            tenant_uuid,
            shared,
            version: VERSION,
            password: password::generate().unwrap(),
            is_changed: true,
            marks: Marks::new("here"),
        }
    }

    /// Returns how often users were written with PUT.
    fn puts(&self) -> u64 {
        let counters = self.simulator.control().counters();
        let puts = counters.iter().filter(|((method, path), _)| method == "PUT" && path.contains("user"));
        puts.map(|(_, count)| *count).sum()
    }
}

fn pool(cluster: &str) -> Pool {
    serde_json::from_value(json!({
        "name": format!("{cluster}-pool"), "cloud_ref": "/api/cloud?name=Default-Cloud",
        "created_by": format!("ako-{cluster}"), "markers": [{ "key": "clustername", "values": [cluster] }],
    }))
    .unwrap()
}

/// AKO works as the user, and can do nothing that it does not need.
#[tokio::test]
async fn a_user_of_the_tenant_admin_has_the_vendors_rights_and_no_more() {
    let controller = Controller::start().await;
    let before = controller.simulator.control().snapshot();
    let wanted = controller.wanted("admin").await;
    assert_eq!(ensure(&controller.admin, &wanted).await.unwrap().done, Done::Made);
    let ako = controller.of(&wanted);
    let api = ako.api(Scope::admin());
    let made = api.create(POOL, &pool("default-w1")).await.unwrap();
    assert!(api.delete(POOL, &made.meta.uuid).await.unwrap());
    for allowed in [CLOUD.kind(), "tenant", "serviceenginegroup", "vrfcontext", "network"] {
        api.all(Resource::<Any>::any(allowed), &Query::new()).await.unwrap();
    }
    assert_eq!(api.all(USER, &Query::new()).await.unwrap_err().reason(), "AviPermissionDenied");
    let role = role::new(Kind::Admin, VERSION);
    assert_eq!(api.create(ROLE, &role).await.unwrap_err().reason(), "AviPermissionDenied");
    ako.close().await.unwrap();

    assert!(remove(&controller.admin, &wanted.name, &wanted.cluster, "admin", &wanted.marks).await.unwrap());
    assert!(
        !remove(&controller.admin, &wanted.name, &wanted.cluster, "admin", &wanted.marks).await.unwrap(),
        "once"
    );
    let admin = controller.admin.api(Scope::admin());
    admin.delete(ROLE, &wanted.shared[0].1).await.unwrap();
    assert!(controller.simulator.control().diff(&before).is_empty());
}

/// AVI refuses the rights over controller and tenants in another tenant than `admin`: three roles have them.
#[tokio::test]
async fn a_user_of_another_tenant_works_there_on_the_objects_of_its_cluster() {
    let controller = Controller::start().await;
    let wanted = controller.wanted("blue").await;
    let before = controller.simulator.control().snapshot();
    assert_eq!(ensure(&controller.admin, &wanted).await.unwrap().done, Done::Made);
    assert_eq!(
        ensure(&controller.admin, &WantedUser { is_changed: false, ..wanted.clone() }).await.unwrap().done,
        Done::Nothing
    );
    let admin = controller.admin.api(Scope::Name("blue".into()));
    let other = admin.create(POOL, &pool("default-w2")).await.unwrap();
    let ako = controller.of(&wanted);
    let api = ako.api(Scope::Name("blue".into()));
    let made = api.create(POOL, &pool("default-w1")).await.unwrap();
    assert!(api.delete(POOL, &made.meta.uuid).await.unwrap());
    let refused = api.delete(POOL, &other.meta.uuid).await.unwrap_err();
    assert_eq!(refused.reason(), "AviPermissionDenied", "it is of another cluster");
    let in_admin = ako.api(Scope::admin());
    assert_eq!(in_admin.create(POOL, &pool("default-w1")).await.unwrap_err().reason(), "AviPermissionDenied");
    in_admin.all(TENANT, &Query::new()).await.unwrap();
    ako.close().await.unwrap();
    admin.delete(POOL, &other.meta.uuid).await.unwrap();
    assert!(remove(&controller.admin, &wanted.name, &wanted.cluster, "blue", &wanted.marks).await.unwrap());
    assert!(controller.simulator.control().diff(&before).is_empty(), "its role goes as well");
}

/// What is on AVI already: the original's user, with the password of its Secret.
#[tokio::test]
async fn a_user_that_exists_is_corrected_and_gets_a_password_only_with_another_one() {
    let controller = Controller::start().await;
    let wanted = controller.wanted("admin").await;
    let old = json!({ "name": wanted.name, "username": wanted.name, "password": "Original-1",
        "access": [{ "role_ref": "/api/role/?name=Application-Operator", "tenant_ref": "/api/tenant/admin" }] });
    controller.simulator.control().seed_value(json!({ "user": [old] })).unwrap();
    // Its Secret has a password.
    let marks = Marks { has_password: true, ..wanted.marks.clone() };
    let adopted =
        WantedUser { password: Secret::new("Original-1"), is_changed: false, marks, ..wanted.clone() };
    assert_eq!(
        ensure(&controller.admin, &adopted).await.unwrap().done,
        Done::Corrected,
        "it had no mark, and its role was wrong"
    );
    assert_eq!(ensure(&controller.admin, &adopted).await.unwrap().done, Done::Nothing);
    assert_eq!(controller.puts(), 1);
    let ako = controller.of(&adopted);
    ako.api(Scope::admin()).create(POOL, &pool("default-w1")).await.unwrap();
    ako.close().await.unwrap();

    assert_eq!(ensure(&controller.admin, &wanted).await.unwrap().done, Done::Corrected);
    let old = controller.of(&adopted);
    assert_eq!(old.versions().await.unwrap_err().reason(), "AviLoginRefused", "the earlier password is void");
    // As after a crash between AVI and the Secret.
    ensure(&controller.admin, &wanted).await.unwrap();
    let ako = controller.of(&wanted);
    ako.versions().await.unwrap();
    ako.close().await.unwrap();
}

/// A policy that asks for all kinds of characters accepts every password.
#[tokio::test]
async fn passwords_satisfy_the_policy_of_the_controller() {
    let controller = Controller::start().await;
    let policy = json!({ "systemconfiguration": [{ "uuid": "default",
        "portal_configuration": { "password_strength_check": true, "minimum_password_length": 16 } }] });
    controller.simulator.control().seed_value(policy).unwrap();
    let wanted = controller.wanted("admin").await;
    let weak = WantedUser { password: Secret::new("weak"), ..wanted.clone() };
    let refused = ensure(&controller.admin, &weak).await.unwrap_err();
    assert_eq!(refused.reason(), "AviRequestInvalid");
    ensure(&controller.admin, &wanted).await.unwrap();
    for _ in 0..6 {
        let next = WantedUser { password: password::generate().unwrap(), ..wanted.clone() };
        assert_eq!(ensure(&controller.admin, &next).await.unwrap().done, Done::Corrected);
    }
}

#[tokio::test]
async fn an_administrator_without_the_right_to_make_users_is_refused() {
    let controller = Controller::start().await;
    let wanted = controller.wanted("admin").await;
    ensure(&controller.admin, &wanted).await.unwrap();
    let ako = controller.of(&wanted);
    let refused = ensure(&ako, &WantedUser { name: "other".into(), ..wanted }).await.unwrap_err();
    assert_eq!(refused.reason(), "AviPermissionDenied");
    ako.close().await.unwrap();
}

/// Of another management cluster, as its mark says, or where nothing says whose it is: also one that appears between the look and the request.
#[tokio::test]
async fn a_user_of_others_is_neither_changed_nor_removed() {
    let controller = Controller::start().await;
    let wanted = controller.wanted("blue").await;
    let theirs = WantedUser { marks: Marks::new("there"), ..wanted.clone() };
    assert_eq!(ensure(&controller.admin, &theirs).await.unwrap().done, Done::Made);
    let before = controller.simulator.control().snapshot();
    let remove_as = async |marks: &Marks| {
        remove(&controller.admin, &wanted.name, &wanted.cluster, &wanted.tenant, marks).await.unwrap()
    };
    for has_password in [false, true] {
        let marks = Marks { has_password, ..wanted.marks.clone() };
        let wanted = WantedUser { marks: marks.clone(), ..wanted.clone() };
        assert_eq!(ensure(&controller.admin, &wanted).await.unwrap().done, Done::Refused);
        assert!(!remove_as(&marks).await);
    }
    assert!(controller.simulator.control().diff(&before).is_empty());

    // The Secret of a Cluster that has moved says whose it is, and the user gets the mark of the new management cluster.
    let moved = Marks { kept: Some("there".into()), ..wanted.marks.clone() };
    let here = WantedUser { marks: moved, is_changed: false, ..wanted.clone() };
    assert_eq!(ensure(&controller.admin, &here).await.unwrap().done, Done::Corrected);
    assert_eq!(ensure(&controller.admin, &theirs).await.unwrap().done, Done::Refused);
    assert!(remove_as(&Marks::new("here")).await);
}

/// The reply to the request that makes it is lost: the next one knows it again.
#[tokio::test]
async fn a_user_is_known_again_whose_reply_was_lost() {
    let controller = Controller::start().await;
    let wanted = controller.wanted("admin").await;
    let avi = controller.simulator.control();
    avi.fault(Fault::new(Effect::CutAfter).on("POST", "/api/user").times(1));
    ensure(&controller.admin, &wanted).await.unwrap_err();
    let there = avi.snapshot();
    assert_eq!(ensure(&controller.admin, &wanted).await.unwrap().done, Done::Corrected);
    assert!(avi.diff(&there).added.is_empty());
    let ako = controller.of(&wanted);
    ako.versions().await.unwrap();
    ako.close().await.unwrap();
}

/// A Secret that was restored from before a change: nothing is written, and the password of the Secret is not that of AVI.
#[tokio::test]
async fn a_user_has_another_password_than_a_secret_of_before_a_change() {
    let controller = Controller::start().await;
    let of = |wanted: &WantedUser, id: Option<&str>, is_changed| {
        let marks = Marks { password: id.map(str::to_owned), has_password: true, ..wanted.marks.clone() };
        WantedUser { marks, is_changed, ..wanted.clone() }
    };
    let wanted = controller.wanted("admin").await;
    let made = ensure(&controller.admin, &of(&wanted, Some("1"), true)).await.unwrap();
    assert_eq!((made.done, made.password.as_deref()), (Done::Made, Some("1")));
    let next = WantedUser { password: password::generate().unwrap(), ..wanted.clone() };
    let changed = ensure(&controller.admin, &of(&next, Some("2"), true)).await.unwrap();
    assert_eq!((changed.done, changed.password.as_deref()), (Done::Corrected, Some("2")));
    for (id, done) in [(Some("2"), Done::Nothing), (Some("1"), Done::Outdated), (None, Done::Outdated)] {
        let ensured = ensure(&controller.admin, &of(&next, id, false)).await.unwrap();
        assert_eq!((ensured.done, ensured.password.as_deref()), (done, Some("2")), "{id:?}");
    }
    assert_eq!(controller.puts(), 1);
}
