//! Which rigs share a control plane.

use std::sync::Arc;

use e2e::{PageRig, Planes, Rig, ShelfRig};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn rigs_of_a_kind_of_cluster_scope_have_a_plane_one_after_the_other() {
    let planes = Planes::default();
    let first = ShelfRig::start_on(planes.take(&ShelfRig::SUBJECT).await.unwrap()).await.unwrap();
    let other = planes.take(&ShelfRig::SUBJECT).await.unwrap();
    assert!(!Arc::ptr_eq(first.site().plane(), &other), "two rigs share a plane");
    let mut left = ShelfRig::samples().remove(0);
    left["metadata"]["finalizers"] = json!(["example.com/left"]);
    first.site().apply(None, &left).await.unwrap();
    let plane = Arc::as_ptr(first.site().plane());
    drop(first);

    let next = ShelfRig::start_on(planes.take(&ShelfRig::SUBJECT).await.unwrap()).await.unwrap();
    assert_eq!(Arc::as_ptr(next.site().plane()), plane, "a free plane is not used again");
    let name = left["metadata"]["name"].as_str().unwrap();
    assert!(next.site().api("Shelf").get_opt(name).await.unwrap().is_none(), "the last rig has left {name}");

    next.site().plane().litter();
    let littered = next.site().control_plane().kubeconfig().to_owned();
    drop(next);
    let fresh = planes.take(&ShelfRig::SUBJECT).await.unwrap();
    assert_ne!(
        fresh.control_plane.kubeconfig(),
        littered,
        "a plane that a failed run has left is used again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rigs_of_namespaced_kinds_share_a_plane_and_no_namespace() {
    let planes = Planes::default();
    let start = async || PageRig::start_on(planes.take(&PageRig::SUBJECT).await.unwrap()).await.unwrap();
    let (one, other) = (start().await, start().await);
    assert!(Arc::ptr_eq(one.site().plane(), other.site().plane()));
    assert_ne!(one.site().namespace(), other.site().namespace());
}
