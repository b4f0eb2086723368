//! The Services of control planes that name the AviInfraSetting.

use super::*;

/// Else AKO would move the control planes to the network of its own settings.
#[test]
fn a_deleted_one_waits_for_the_services_that_name_its_setting() {
    let (mut adc, mut seen) = (adc(&json!({}), &json!({})), seen(Facts::default()));
    adc.status.as_mut().unwrap().place = None;
    seen.basis.is_deleting = true;
    seen.balanced = vec!["n/n-w1-control-plane".to_owned()];
    let turn = decide(&adc, &seen, at(0));
    let Turn::Wait { reason: reason::IN_USE, message, after: Some(_) } = turn else { panic!("{turn:?}") };
    assert!(message.contains("n/n-w1-control-plane") && message.contains(FORCE_ANNOTATION), "{message}");
    seen.is_forced = true;
    assert!(matches!(decide(&adc, &seen, at(0)), Turn::Gone));
}
