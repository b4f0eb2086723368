//! A delivery to no Cluster: says before there is one what would be wrong with it.

use infra_clients::avi::Version;
use infra_clients::capi::AddonForm;

use super::addon::secret;
use super::{Ako, Credentials, Install, Way, objects};
use crate::api::AkoDeploymentConfigSpec;
use crate::problem::Problem;

/// Returns why no Cluster can get AKO as a spec asks, in any of these ways; `bundle`: what is wrong with the definitions of AKO's kinds;
/// `controller`: the version of the controller, where it is known. What is wrong with one way only holds up the Clusters that have it, and
/// is said there. Which kinds a workload cluster has is not known before there is one.
#[must_use]
pub fn refusal(
    spec: &AkoDeploymentConfigSpec,
    ways: &[Way],
    bundle: Option<&Problem>,
    controller: Option<Version>,
) -> Option<Problem> {
    let mut refusals = Vec::new();
    for way in ways {
        refusals.push(try_without_cluster(spec, way, bundle, controller).err()?);
    }
    refusals.into_iter().next()
}

/// Tries a delivery to a Cluster out. `form`: who reads its add-on Secret.
///
/// # Errors
/// Says what of the values cannot be delivered in this way, and what to write instead.
pub fn try_out(install: &Install, way: &Way, form: AddonForm) -> Result<(), Problem> {
    match way {
        Way::Direct(_) => objects(install).map(drop),
        Way::Addon => secret(install, form).map(drop),
    }
}

fn try_without_cluster(
    spec: &AkoDeploymentConfigSpec,
    way: &Way,
    bundle: Option<&Problem>,
    controller: Option<Version>,
) -> Result<(), Problem> {
    let (ako, controller_version) = match way {
        Way::Direct(ako) => {
            let controller = controller.unwrap_or_else(|| ako.version.newest_controller());
            (ako.clone(), controller.to_string())
        }
        Way::Addon => {
            let controller = controller.map(|controller| controller.to_string());
            (Ako::default(), controller.unwrap_or_default())
        }
    };
    let install = Install {
        spec: spec.clone(),
        // Nothing that is wrong depends on these.
        namespace: "namespace".to_owned(),
        name: "cluster".to_owned(),
        credentials: Credentials {
            username: String::new(),
            password: String::new().into(),
            ca_pem: String::new(),
        },
        controller_version,
        kubernetes_version: None,
        ako,
        is_management: false,
        delete_config: false,
    };
    // Both forms have the same values.
    try_out(&install, way, AddonForm::Legacy)?;
    match (way, bundle) {
        (Way::Direct(_), Some(problem)) => Err(problem.clone()),
        _ => Ok(()),
    }
}
