use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::cluster::seen::Want;
use crate::selection::Configs;

const ALL: &str = "install-ako-for-all";

/// An AKODeploymentConfig that is Ready.
fn adc(name: &str, selector: &Value, cloud: &str, delivered: &[&str]) -> AkoDeploymentConfig {
    let secret = json!({ "name": "s", "namespace": "n" });
    serde_json::from_value(json!({
        "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
        "metadata": { "name": name, "uid": name },
        "spec": {
            "clusterSelector": selector,
            "controller": "avi", "cloudName": cloud, "serviceEngineGroup": "g",
            "dataNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
            "adminCredentialRef": secret, "certificateAuthorityRef": secret,
        },
        "status": { "deliveredTo": delivered, "conditions": [{
            "type": "Ready", "status": "True", "reason": "AsAsked", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] },
    }))
    .unwrap()
}

fn first(delivered: &[&str]) -> AkoDeploymentConfig {
    adc("first", &json!({ "matchLabels": { "a": "b" } }), "one", delivered)
}

/// The default selects what has no label, so that no label has AKO leave.
fn default(cloud: &str, delivered: &[&str]) -> AkoDeploymentConfig {
    adc(ALL, &json!({}), cloud, delivered)
}

fn not_ready() -> AkoDeploymentConfig {
    let mut adc = default("two", &[]);
    let ready = &mut adc.status.as_mut().unwrap().conditions[0];
    (ready.status, ready.reason) = ("False".to_owned(), "AviCloudNotFound".to_owned());
    adc
}

/// A Cluster with the finalizer. `said`: the reason of `AKOInstalled`.
fn cluster(asks: Option<&str>, is_held: bool, said: Option<&str>) -> Cluster {
    let said = said.map(|reason| {
        json!({ "type": "AKOInstalled", "status": "False", "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
    });
    serde_json::from_value(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "metadata": {
            "name": "c", "namespace": "a-b", "uid": "u",
            "annotations": asks.map(|name| json!({ MOVE_ANNOTATION: name })),
            "finalizers": if is_held { vec![crate::api::FINALIZER] } else { Vec::new() },
        },
        "status": { "initialization": { "controlPlaneInitialized": true }, "conditions": said.into_iter().collect::<Vec<_>>() },
    }))
    .unwrap()
}

fn at(cloud: &str) -> Works {
    let [controller, cloud, tenant] = ["avi", cloud, "admin"].map(str::to_owned);
    Works::At(Place { controller, cloud, tenant, scope: None })
}

fn known<'a>(cluster: &'a Cluster, adcs: &[AkoDeploymentConfig], works: Option<Works>) -> Known<'a> {
    Known {
        cluster,
        adcs: Configs::of(adcs.iter().cloned().map(Arc::new)),
        machines: Vec::new(),
        is_purged: false,
        is_balanced: true,
        has_service: false,
        deadline: None,
        works,
        can_serve: Some(Ok(())),
        unrecorded: Vec::new(),
    }
}

struct Row {
    what: &'static str,
    cluster: Cluster,
    adcs: Vec<AkoDeploymentConfig>,
    works: Option<Works>,
    moves: bool,
}

fn check(rows: Vec<Row>) {
    for Row { what, cluster, adcs, works, moves } in rows {
        let known = known(&cluster, &adcs, works);
        let wanted = if moves { Want::Nothing } else { Want::Ako };
        let seen = known.glance();
        assert_eq!((known.want(), seen.want), (wanted.clone(), wanted), "{what}");
        assert_eq!(seen.moves_to.is_some(), moves, "{what}");
    }
}

#[test]
fn ako_leaves_a_place_that_is_recorded_where_a_person_has_asked() {
    let row = |what, asks, works, moves| Row {
        what,
        cluster: cluster(asks, true, None),
        adcs: vec![first(&["a-b/c"]), default("two", &[])],
        works,
        moves,
    };
    let asked = || row("", Some(ALL), Some(at("one")), false);
    check(vec![
        row("not asked", None, Some(at("one")), false),
        row("asked", Some(ALL), Some(at("one")), true),
        row("asked for another one", Some("third"), Some(at("one")), false),
        row("no pass has looked", Some(ALL), None, false),
        row("nothing says where", Some(ALL), Some(Works::Unknown), true),
        row("there is no AKO, as where a person deleted it", None, Some(Works::Nowhere), false),
        row("the same, and asked", Some(ALL), Some(Works::Nowhere), true),
        row("there is one of another program", None, Some(Works::OfOthers), false),
        Row { what: "at the same place", adcs: vec![first(&["a-b/c"]), default("one", &[])], ..asked() },
        Row {
            what: "it has left",
            cluster: cluster(Some(ALL), false, None),
            adcs: vec![first(&[]), default("two", &[])],
            ..asked()
        },
        Row { what: "it has come", adcs: vec![first(&[]), default("two", &["a-b/c"])], ..asked() },
        Row { what: "it could not come", adcs: vec![first(&["a-b/c"]), not_ready()], ..asked() },
        Row {
            what: "it has a namesake",
            adcs: vec![first(&["a-b/c"]), default("two", &[]), adc("third", &json!({}), "two", &["a/b-c"])],
            ..asked()
        },
    ]);
    // What has begun goes on.
    let begun = |what, asks, adcs| Row {
        cluster: cluster(asks, true, Some("AKOLeaving")),
        adcs,
        moves: true,
        ..row(what, None, Some(at("one")), true)
    };
    check(vec![
        begun("not asked any more", None, vec![first(&["a-b/c"]), default("two", &[])]),
        begun("not ready any more", Some(ALL), vec![first(&["a-b/c"]), not_ready()]),
        Row {
            works: None,
            ..begun("after a start", Some(ALL), vec![first(&["a-b/c"]), default("two", &[])])
        },
        Row {
            cluster: cluster(None, true, Some("AKOLeft")),
            works: Some(Works::Unknown),
            ..begun(
                "it has left, and the finalizer is there",
                None,
                vec![first(&["a-b/c"]), default("two", &[])],
            )
        },
        Row { moves: false, ..begun("it was wanted back", None, vec![default("one", &["a-b/c"])]) },
    ]);
}

/// As where a backup without the record is restored, with an annotation of long ago.
#[test]
fn ako_that_is_in_no_record_leaves_where_it_is_known_to_work_elsewhere() {
    let row = |what, asks, works, moves| Row {
        what,
        cluster: cluster(asks, true, None),
        adcs: vec![default("two", &[])],
        works,
        moves,
    };
    check(vec![
        row("elsewhere", Some(ALL), Some(at("one")), true),
        row("elsewhere, not asked", None, Some(at("one")), false),
        row("where it is to be", Some(ALL), Some(at("two")), false),
        row("no pass has looked", Some(ALL), None, false),
        row("there is no AKO", Some(ALL), Some(Works::Nowhere), false),
        row("there is one of another program", Some(ALL), Some(Works::OfOthers), false),
        row("nothing says where", Some(ALL), Some(Works::Unknown), false),
        Row {
            cluster: cluster(None, true, Some("AKOLeaving")),
            ..row("it had begun to leave, and no pass has looked", None, None, true)
        },
        Row {
            what: "it could not come",
            adcs: vec![not_ready()],
            ..row("", Some(ALL), Some(at("one")), false)
        },
        Row {
            what: "its user is left",
            cluster: cluster(Some(ALL), true, Some("AKOLeaving")),
            ..row("", None, Some(Works::Unknown), true)
        },
    ]);
}

/// Returns reason and message of the refusal, if there is one.
fn refusal(
    asks: Option<&str>,
    adcs: &[AkoDeploymentConfig],
    works: &Works,
) -> Option<(&'static str, String)> {
    let cluster = cluster(asks, true, Some(reason::PLACE_CHANGED));
    let known = known(&cluster, adcs, None);
    let adc = known.adc().unwrap();
    let refused = known.refuse_elsewhere(adc).or_else(|| known.refuse(works, adc));
    refused.map(|refused| (refused.problem().reason, refused.problem().message.clone()))
}

#[test]
fn a_cluster_that_lost_its_ako_or_its_record_says_what_to_do() {
    let missing = refusal(None, &[default("two", &[])], &Works::Nowhere).unwrap();
    let wanted = format!(
        "the marks of ako-a-b-c on AVI by hand, then annotate the Cluster with {MOVE_ANNOTATION}={ALL}"
    );
    assert!(missing.0 == reason::ADC_MISSING && missing.1.contains(&wanted), "{missing:?}");
    assert_eq!(refusal(None, &[default("two", &["a-b/c"])], &at("one")), None, "it is recorded");
}

#[test]
fn a_refusal_says_what_the_annotation_does() {
    let (moved, missing) = (reason::PLACE_CHANGED, reason::ADC_MISSING);
    let to = |name: &str| format!("{MOVE_ANNOTATION}={name}");
    let elsewhere = || at("one");
    let two = || vec![default("two", &[])];
    let recorded = |to| vec![first(&["a-b/c"]), to];
    for (what, asks, adcs, works, wanted) in [
        ("there", None, two(), at("two"), None),
        ("elsewhere", None, two(), elsewhere(), Some((moved, to(ALL)))),
        (
            "nothing says where",
            None,
            two(),
            Works::Unknown,
            Some((missing, "the marks of ako-a-b-c".to_owned())),
        ),
        (
            "recorded",
            None,
            recorded(default("two", &[])),
            elsewhere(),
            Some((moved, "once AKOInstalled has the reason".to_owned())),
        ),
        (
            "asks another",
            Some("third"),
            two(),
            elsewhere(),
            Some((moved, format!("{} in place of \"third\"", to(ALL)))),
        ),
        (
            "not ready",
            Some(ALL),
            vec![not_ready()],
            elsewhere(),
            Some((moved, "is Ready (AviCloudNotFound: )".to_owned())),
        ),
        (
            "recorded, not ready",
            Some(ALL),
            recorded(not_ready()),
            elsewhere(),
            Some((moved, format!("annotation {} has no effect until", to(ALL)))),
        ),
    ] {
        let is = refusal(asks, &adcs, &works);
        assert_eq!(is.as_ref().map(|is| is.0), wanted.as_ref().map(|wanted| wanted.0), "{what}");
        if let (Some((_, message)), Some((_, says))) = (is, wanted) {
            assert!(message.contains(&says), "{what}: {message}");
        }
    }
}

/// What the destination lacks for this Cluster does not show in its condition Ready.
#[test]
fn ako_leaves_once_a_pass_has_found_that_it_can_come() {
    let cluster = cluster(Some(ALL), true, None);
    let adcs = [first(&["a-b/c"]), default("two", &[])];
    let lacks = |reason, message: &str| Problem { reason, message: message.to_owned() };
    for (can_serve, wanted, says) in [
        (None, Want::Ako, "until its workload cluster was read"),
        (
            Some(Err(lacks(reason::PLACE_CHANGED, "no such kinds"))),
            Want::Ako,
            "until AKO can come from \"install-ako-for-all\": no such kinds",
        ),
        (
            Some(Err(lacks(reason::USER_TAKEN, "AVI has a user"))),
            Want::Ako,
            "until AKO can come from \"install-ako-for-all\": AVI has a user",
        ),
        (Some(Ok(())), Want::Nothing, ""),
    ] {
        let is_unwatched = matches!(can_serve, Some(Err(_)));
        let why = can_serve.as_ref().and_then(|can_serve| can_serve.as_ref().err());
        let why = why.map_or(reason::PLACE_CHANGED, |why| why.reason);
        let known = Known { can_serve, ..known(&cluster, &adcs, Some(at("one"))) };
        let adc = known.adc().unwrap();
        assert!(known.may_move_to(adc), "{says}");
        assert_eq!(known.want(), wanted, "{says}");
        let refused = known.refuse_elsewhere(adc).unwrap();
        assert_eq!(matches!(refused, Obstacle::Unwatched(_)), is_unwatched, "{refused:?}");
        assert!(refused.problem().message.contains(says), "{refused:?}");
        assert_eq!(refused.problem().reason, why, "{refused:?}");
    }
    for (what, adcs, works) in [
        ("it was not asked about", vec![first(&["a-b/c"]), not_ready()], Some(at("one"))),
        ("at the same place", vec![first(&["a-b/c"]), default("one", &[])], Some(at("one"))),
        ("no pass has looked", vec![default("two", &[])], None),
        ("it is there", vec![default("two", &[])], Some(at("two"))),
    ] {
        let known = known(&cluster, &adcs, works);
        assert!(!known.may_move_to(known.adc().unwrap()), "{what}");
    }
}

#[test]
fn ako_of_a_management_cluster_does_not_move() {
    let mut cluster = cluster(Some("install-ako-for-management-cluster"), true, None);
    cluster.metadata.namespace = Some(SYSTEM_NAMESPACE.to_owned());
    let adcs = [adc(
        "install-ako-for-management-cluster",
        &json!({ "matchExpressions": [{ "key": "x", "operator": "DoesNotExist" }] }),
        "two",
        &[],
    )];
    let known = known(&cluster, &adcs, Some(at("one")));
    assert_eq!(known.want(), Want::Ako);
    let refused = known.refuse(&at("one"), known.adc().unwrap()).unwrap();
    let message = &refused.problem().message;
    assert!(message.contains("does not move") && !message.contains(MOVE_ANNOTATION), "{message}");
}
