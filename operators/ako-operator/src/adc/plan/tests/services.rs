//! The Services of control planes that name the AviInfraSetting.

use super::*;
use crate::delivery::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::infra_setting::{InfraSettingChange, Live};

/// Returns an AviInfraSetting of the operator. `owners`: UIDs of its owners.
fn live(owners: &[&str]) -> Live {
    let owner = |uid: &&str| json!({ "apiVersion": "v1", "kind": "k", "name": "n", "uid": uid });
    let owners: Vec<_> = owners.iter().map(owner).collect();
    let labels = json!({ MANAGED_BY_LABEL: MANAGED_BY });
    let metadata = json!({ "resourceVersion": "7", "ownerReferences": owners, "labels": labels });
    let metadata = serde_json::from_value(metadata).unwrap();
    Live::Present { metadata, spec: json!({}), status: Value::Null }
}

fn owned() -> AkoDeploymentConfig {
    let mut adc = adc(&json!({}), &json!({}));
    adc.status.as_mut().unwrap().place = None;
    adc.metadata.uid = Some("u".to_owned());
    adc
}

/// Else AKO would move the control planes to the network of its own settings.
#[test]
fn the_setting_of_a_deleted_one_stays_where_services_name_it() {
    let (adc, mut seen) = (owned(), seen(Facts::default()));
    seen.basis.is_deleting = true;
    seen.infra = Some(live(&[]));
    let turn = decide(&adc, &seen, at(0));
    assert!(matches!(turn, Turn::LookAgain(Plan::Infra(InfraSettingChange::Delete(_)))), "{turn:?}");
    let service = "n/n-w1-control-plane".to_owned();
    seen.balanced.ending = vec![service.clone()];
    let turn = decide(&adc, &seen, at(0));
    assert!(matches!(turn, Turn::Wait { reason: reason::INFRA_SETTING_IN_USE, .. }), "{turn:?}");
    for (is_forced, balanced) in [
        (true, Balanced { ending: vec![service.clone()], lasting: Vec::new() }),
        (false, Balanced { ending: vec!["n/n-w2-control-plane".to_owned()], lasting: vec![service.clone()] }),
        (true, Balanced { ending: Vec::new(), lasting: vec![service.clone()] }),
    ] {
        seen.balanced = balanced;
        seen.is_forced = is_forced;
        let turn = decide(&adc, &seen, at(0));
        let Turn::LookAgain(Plan::ReleaseInfra { change: InfraSettingChange::Patch(patch), services }) = turn
        else {
            panic!("{turn:?}")
        };
        assert_eq!(services, [&*service]);
        assert_eq!(patch["metadata"]["labels"], json!({ MANAGED_BY_LABEL: null }));
    }
    for released in [Some(Live::Absent), Some(Live::NotInstalled), None] {
        seen.infra = released;
        assert!(matches!(decide(&adc, &seen, at(0)), Turn::Gone), "{:?}", seen.infra);
    }
}

/// A foreground deletion removes what it owns at once, whatever takes AKO from it.
#[test]
fn the_setting_has_no_owner_before_its_deletion_is_waited_for() {
    let (adc, mut seen) = (owned(), seen(Facts::default()));
    seen.delivered = vec!["n/c".to_owned()];
    for is_deleting in [false, true] {
        seen.basis.is_deleting = is_deleting;
        seen.infra = Some(live(&["other", "u"]));
        let turn = decide(&adc, &seen, at(0));
        let Turn::LookAgain(Plan::Infra(InfraSettingChange::Patch(patch))) = turn else { panic!("{turn:?}") };
        let owners = patch["metadata"]["ownerReferences"].as_array().unwrap();
        assert_eq!((owners.len(), &owners[0]["uid"]), (1, &json!("other")));
    }
    let mut recorded = adc;
    recorded.status.as_mut().unwrap().delivered_to.clone_from(&seen.delivered);
    recorded.status.as_mut().unwrap().place = Some(Place::from(&recorded.spec));
    seen.infra = Some(live(&[]));
    let turn = decide(&recorded, &seen, at(0));
    assert!(matches!(turn, Turn::Blocked { reason: reason::IN_USE, .. }), "{turn:?}");
}
