//! What is refused, and what the texts say instead.

use infra_clients::capi::AddonForm;

use super::*;
use crate::api::reason::{CONTROLLER_UNSUPPORTED, DEFINITIONS_INVALID, INVALID_SPEC};
use crate::delivery::matrix::support;
use crate::delivery::{refusal, try_out};
use crate::problem::Problem;

fn problem(change: impl FnOnce(&mut Install)) -> (&'static str, String) {
    let mut install = install(MINIMAL);
    change(&mut install);
    let Problem { reason, message } = objects(&install).unwrap_err();
    (reason, message)
}

/// A change of the minimal delivery, the reason, and a part of the text.
type Case = (fn(&mut Install), &'static str, &'static str);

#[test]
fn what_cannot_be_delivered_says_what_to_write() {
    let cases: [Case; 9] = [
        (|i| i.controller_version = "22.1.2".into(), CONTROLLER_UNSUPPORTED, "needs 22.1.3 or later"),
        (|i| i.controller_version = "31.3.0".into(), CONTROLLER_UNSUPPORTED, "controllerVersion to 31.2.1"),
        (|i| i.controller_version = "new".into(), CONTROLLER_UNSUPPORTED, "write one such as 30.1.1"),
        (|i| i.spec.controller = "http://10.1.1.1".into(), INVALID_SPEC, "does not speak http: write https"),
        (|i| i.spec.controller = "https://".into(), INVALID_SPEC, "write address[:port]"),
        (|i| i.spec.data_network.cidr = "10.0.0.0".into(), INVALID_SPEC, "write one such as 10.0.0.0/24"),
        (|i| extra(i).replica_count = Some(3), INVALID_SPEC, "1 or 2 replicas, not 3"),
        (|i| extra(i).api_server_port = Some(70_000), INVALID_SPEC, "from 1 to 65535"),
        (
            |i| (extra(i).replica_count, extra(i).primary_instance) = (Some(2), Some(false)),
            INVALID_SPEC,
            "write 1, or primaryInstance: true",
        ),
    ];
    for (change, reason, text) in cases {
        let (found, message) = problem(change);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

/// What holds up Clusters of one way only is not said by the AKODeploymentConfig.
#[test]
fn a_delivery_is_tried_out_in_the_way_of_its_cluster() {
    let with_port = |port| {
        let mut install = install(MINIMAL);
        extra(&mut install).api_server_port = Some(port);
        install
    };
    for (port, direct, addon) in [(8080, true, true), (70_000, false, true)] {
        let install = with_port(port);
        let ways = [Way::Direct(install.ako.clone()), Way::Addon];
        let works = ways.map(|way| try_out(&install, &way, AddonForm::ClusterBootstrap).is_ok());
        assert_eq!(works, [direct, addon], "{port}");
    }
}

#[test]
fn the_gate_needs_an_image() {
    let (reason, message) = problem(|install| {
        install.ako.gateway_image = None;
        extra(install).feature_gates = Some(crate::api::FeatureGates { gateway_api: Some(true) });
    });
    assert_eq!(reason, INVALID_SPEC);
    assert!(
        message.contains("start it with AKO_GATEWAY_IMAGE (--ako-gateway-image), or write false"),
        "{message}"
    );
}

/// Whatever a delivery is refused for is said before there is a Cluster, unless it depends on one.
#[test]
fn what_no_cluster_can_get_is_said_before_there_is_one() {
    let ways = |install: &Install| vec![Way::Direct(install.ako.clone())];
    let good = install(MINIMAL);
    assert_eq!(refusal(&good.spec, &ways(&good), None, None), None);
    assert_eq!(refusal(&good.spec, &ways(&good), None, good.controller_version.parse().ok()), None);
    let cases: [fn(&mut Install); 5] = [
        |i| i.spec.controller = "http://10.1.1.1".into(),
        |i| extra(i).api_server_port = Some(0),
        |i| i.spec.controller_version = Some("22.1.2".into()),
        |i| (extra(i).replica_count, extra(i).primary_instance) = (Some(2), Some(false)),
        |i| {
            i.ako.gateway_image = None;
            extra(i).feature_gates = Some(crate::api::FeatureGates { gateway_api: Some(true) });
        },
    ];
    for change in cases {
        let mut install = install(MINIMAL);
        change(&mut install);
        let wanted = objects(&install).unwrap_err();
        assert!(wanted.message.contains("spec."), "names the field: {wanted}");
        let direct = ways(&install);
        assert_eq!(refusal(&install.spec, &direct, None, None), Some(wanted));
        // TKG's add-on manager has its own AKO.
        let mixed = [direct, vec![Way::Addon]].concat();
        assert_eq!(refusal(&install.spec, &mixed, None, None), None);
    }
    let old = "22.1.2".parse().ok();
    let reason = refusal(&good.spec, &ways(&good), None, old).map(|problem| problem.reason);
    assert_eq!(reason, Some(CONTROLLER_UNSUPPORTED));
    assert_eq!(refusal(&good.spec, &[Way::Addon], None, old), None);
    // So it has its own definitions.
    let bundle = Problem { reason: DEFINITIONS_INVALID, message: "a.yaml".to_owned() };
    let refused = |ways: &[Way]| refusal(&good.spec, ways, Some(&bundle), None);
    assert_eq!(refused(&ways(&good)), Some(bundle.clone()));
    assert_eq!(refused(&[Way::Addon]), None);
}

fn extra(install: &mut Install) -> &mut crate::api::ExtraConfigs {
    install.spec.extra_configs.get_or_insert_default()
}

#[test]
fn a_version_in_the_spec_wins_over_that_of_the_controller() {
    let mut newer = install(MINIMAL);
    newer.controller_version = "31.3.0".to_owned();
    newer.spec.controller_version = Some("31.2.1".to_owned());
    assert_eq!(objects(&newer).unwrap().support, Support::Documented);
    assert_eq!(settings(&newer).unwrap()["controllerVersion"], "31.2.1");
}

#[test]
fn the_matrix_at_its_edges() {
    let documented = [("30.1.1", Some("v1.29.0")), ("31.2.1", Some("1.34.9+vmware.1")), ("30.2.1-2p1", None)];
    let ako = AkoMinor::default();
    for (controller, kubernetes) in documented {
        assert_eq!(support(ako, controller, kubernetes), Ok(Support::Documented), "{controller}");
    }
    let undocumented = [
        ("22.1.3", Some("1.29"), "AKO 2.2 is documented for controllers 30.1.1 to 31.2.1 (this is 22.1.3)"),
        ("30.1.0", None, "AKO 2.2 is documented for controllers 30.1.1 to 31.2.1 (this is 30.1.0)"),
        ("30.2.1", Some("v1.28.9"), "AKO 2.2 is documented for Kubernetes 1.29 to 1.34 (this is v1.28.9)"),
        (
            "22.1.3",
            Some("1.35.0"),
            "AKO 2.2 is documented for controllers 30.1.1 to 31.2.1 (this is 22.1.3) and for Kubernetes 1.29 to 1.34 (this is 1.35.0)",
        ),
    ];
    for (controller, kubernetes, text) in undocumented {
        let text = format!("{text}: see buildsettings.json and docs/README.md of AKO 2.2.1");
        assert_eq!(support(ako, controller, kubernetes), Ok(Support::Undocumented(text)));
    }
    for (controller, refused) in [("22.1.2", true), ("22.1.3", false), ("31.2.1", false), ("31.2.2", true)] {
        assert_eq!(support(ako, controller, None).is_err(), refused, "{controller}");
    }
}
