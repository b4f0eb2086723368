//! Two management clusters that share an AVI controller.

use super::*;

/// The other one has a Cluster of the same namespace and name, and another whose user has the role that this operator made.
#[tokio::test]
async fn what_another_management_cluster_has_on_avi_is_left_alone() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    rig.site().ready_within("adc", PATIENCE, |_| true).await.unwrap();
    let access = json!([{ "tenant_ref": "/api/tenant/?name=admin", "role_ref": "/api/role/?name=ako-essential-role" }]);
    let user = |name: &str| json!({ "name": name, "username": name, "password": "Of-the-0ther-one", "access": access });
    let pool = json!({ "name": "theirs", "cloud_ref": "/api/cloud/?name=Default-Cloud", "created_by": "ako-default-w1" });
    avi.seed_value(
        json!({ "user": [user("w1-default-ako-user"), user("x-other-ako-user")], "pool": [pool] }),
    )
    .unwrap();
    let before = avi.snapshot();

    let guest = rig.with_ako(rig.cluster("w1", true).await.unwrap()).await.unwrap();
    let is_taken =
        |condition: &Value| condition["status"] == "False" && condition["reason"] == "AviUserTaken";
    rig.condition_is("w1", "AKOInstalled", is_taken).await.unwrap();
    let changed = avi.diff(&before);
    assert!(changed.is_empty(), "{changed:?}");
    guest.workload.delete().await.unwrap();
    guest.workload.deleted(PATIENCE).await.unwrap();

    rig.site().remove("adc").await.unwrap();
    let removed: Vec<_> = avi.diff(&before).removed.into_iter().map(|object| object.kind).collect();
    assert!(!removed.iter().any(|kind| ["user", "role", "pool"].contains(&kind.as_str())), "{removed:?}");
    let events = ["get", "events", "-A", "--field-selector=reason=AviRoleKept", "-o", "name"];
    assert_ne!(rig.management.kubectl(&events).await.unwrap(), "", "{}", operator.process.log());
}
