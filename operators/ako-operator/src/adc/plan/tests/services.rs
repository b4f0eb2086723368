//! The Services of control planes that name the AviInfraSetting.

use super::*;
use crate::infra_setting::{InfraSettingChange, Live};

/// Else AKO would move the control planes to the network of its own settings.
#[test]
fn the_setting_of_a_deleted_one_stays_where_services_name_it() {
    let (mut adc, mut seen) = (adc(&json!({}), &json!({})), seen(Facts::default()));
    adc.status.as_mut().unwrap().place = None;
    adc.metadata.uid = Some("u".to_owned());
    let owner = |uid: &str| json!({ "apiVersion": "v1", "kind": "k", "name": "n", "uid": uid });
    let live = |owners: &[&str]| {
        let owners: Vec<_> = owners.iter().map(|uid| owner(uid)).collect();
        let metadata = json!({ "resourceVersion": "7", "ownerReferences": owners });
        let metadata = serde_json::from_value(metadata).unwrap();
        Some(Live::Present { metadata, spec: json!({}), status: Value::Null })
    };
    seen.basis.is_deleting = true;
    seen.infra = live(&["u", "other"]);
    assert!(matches!(decide(&adc, &seen, at(0)), Turn::Gone), "nothing names it");
    seen.balanced = vec!["n/n-w1-control-plane".to_owned()];
    for is_forced in [false, true] {
        seen.is_forced = is_forced;
        let turn = decide(&adc, &seen, at(0));
        let Turn::LookAgain(Plan::ReleaseInfra { change: InfraSettingChange::Patch(patch), services }) = turn
        else {
            panic!("{turn:?}")
        };
        assert_eq!(services, seen.balanced);
        let wanted = json!({ "metadata": { "resourceVersion": "7", "ownerReferences": [owner("other")] } });
        assert_eq!(patch, wanted);
    }
    for released in [live(&["other"]), live(&[]), Some(Live::Absent), None] {
        seen.infra = released;
        assert!(matches!(decide(&adc, &seen, at(0)), Turn::Gone), "{:?}", seen.infra);
    }
}
