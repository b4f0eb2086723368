//! Where on AVI an AKODeploymentConfig and its Clusters work. Pure.

use std::sync::Arc;

use infra_clients::avi::authority;
use infra_clients::capi::{Cluster, ConditionStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::{Key, conditions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adc::{AkoDeploymentConfig, AkoDeploymentConfigSpec, TenantScope};
use super::{MOVE_ANNOTATION, condition, is_held, reason};
use crate::delivery::cluster_name;
use crate::user::user_name;

/// UUID and name of AVI's tenant of administrators, which every controller has.
pub const ADMIN_TENANT: &str = "admin";

/// Where on AVI an AKODeploymentConfig works. Two are equal if they say the same of a controller, however its address is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub struct Place {
    /// Address of the controller.
    pub controller: String,
    /// Name of the cloud.
    pub cloud: String,
    /// Name of the tenant, or the beginning of the names of all.
    pub tenant: String,
    /// Which Clusters share a tenant, unless all do.
    // Written as null: a merge patch leaves what it does not have.
    #[serde(default)]
    pub scope: Option<TenantScope>,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        let rest = |place: &Self| (place.cloud.clone(), place.tenant.clone(), place.scope);
        self.is_at(&other.controller) && rest(self) == rest(other)
    }
}

impl Eq for Place {}

impl Place {
    /// Returns whether it is on the controller of this address: `avi.example.com`, `https://AVI.example.com/` and `avi.example.com:443`
    /// are one.
    #[must_use]
    pub fn is_at(&self, controller: &str) -> bool {
        // One that no client can use is the same as itself only.
        let id = |controller: &str| authority(controller).unwrap_or_else(|_| controller.to_owned());
        self.controller == controller || id(&self.controller) == id(controller)
    }

    /// Returns whether the tenant of all Clusters is `admin`.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.tenant == ADMIN_TENANT && self.scope.is_none()
    }

    /// Returns whether AKO of a Cluster has the same place in both.
    #[must_use]
    pub fn is_same_for(&self, other: &Self, namespace: &str, cluster: &str) -> bool {
        let of = |place: &Self| (place.cloud.clone(), place.tenant_of(namespace, cluster));
        self.is_at(&other.controller) && of(self) == of(other)
    }

    /// Returns the name of a Cluster's tenant.
    #[must_use]
    pub fn tenant_of(&self, namespace: &str, cluster: &str) -> String {
        let name = &self.tenant;
        match self.scope {
            None | Some(TenantScope::Shared) => name.clone(),
            Some(TenantScope::Namespace) => format!("{name}-{namespace}"),
            Some(TenantScope::Cluster) => format!("{name}-{namespace}-{cluster}"),
        }
    }
}

impl From<&AkoDeploymentConfigSpec> for Place {
    fn from(spec: &AkoDeploymentConfigSpec) -> Self {
        let tenant = spec.tenant.as_ref().map_or(ADMIN_TENANT, |tenant| &tenant.name);
        Self {
            controller: spec.controller.clone(),
            cloud: spec.cloud_name.clone(),
            tenant: tenant.to_owned(),
            scope: spec
                .tenant
                .as_ref()
                .and_then(|tenant| tenant.scope)
                .filter(|scope| *scope != TenantScope::Shared),
        }
    }
}

/// Where on AVI the AKO of a Cluster works, as the workload cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Works {
    /// There is no AKO.
    Nowhere,
    /// There is none that was delivered to the Cluster: another program has installed it, or it is of another Cluster.
    OfOthers,
    /// There is one, or there was and its user on AVI may be left, and nothing says where.
    Unknown,
    /// There.
    At(Place),
}

impl Works {
    /// Returns the place.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::At(place) => Some(place),
            Self::Nowhere | Self::OfOthers | Self::Unknown => None,
        }
    }

    /// Returns whether AKO of a Cluster that is in no record may be delivered from an AKODeploymentConfig: none that is there works elsewhere,
    /// and none that was has left something elsewhere, as far as the Cluster says.
    #[must_use]
    pub fn fits(&self, adc: &AkoDeploymentConfig, cluster: &Cluster) -> bool {
        match self {
            // What others have installed hides what the Cluster had.
            Self::Nowhere | Self::OfOthers => !may_have_had_ako(cluster) || asks_for(cluster, adc),
            Self::Unknown => false,
            Self::At(at) => at.is_same_for(&Place::from(&adc.spec), cluster.namespace(), cluster.name()),
        }
    }
}

/// Returns whether a person has asked for AKO of a Cluster to come from an AKODeploymentConfig.
#[must_use]
pub fn asks_for(cluster: &Cluster, adc: &AkoDeploymentConfig) -> bool {
    let asks = cluster.annotation(MOVE_ANNOTATION);
    asks.is_some() && asks == adc.metadata.name.as_deref()
}

/// Returns whether a person has taken the finalizer off a Cluster with AKO. `clusterctl move` pauses the Cluster before it takes the finalizer.
#[must_use]
pub fn is_stripped(cluster: &Cluster) -> bool {
    has_lost_finalizer(cluster) && !cluster.is_paused()
}

/// Returns whether another program has taken the finalizer off a Cluster with AKO: before the operator does, the condition goes or says that AKO
/// has left.
#[must_use]
pub fn has_lost_finalizer(cluster: &Cluster) -> bool {
    let has_ako = cluster
        .conditions
        .get(condition::AKO_INSTALLED)
        .is_some_and(|said| said.is_true() || [reason::LEAVING, reason::TO_LEAVE].contains(&&*said.reason));
    !cluster.is_deleting() && !is_held(&cluster.metadata) && has_ako
}

/// Returns whether AKO may have made something for a Cluster, as its condition says.
#[must_use]
pub fn may_have_had_ako(cluster: &Cluster) -> bool {
    let said = cluster.conditions.get(condition::AKO_INSTALLED);
    said.is_some_and(|said| !says_nowhere(said.status == ConditionStatus::False, &said.reason))
}

/// Returns whether a condition `AKOInstalled` says that nothing of AKO is anywhere: it has only waited for its beginning, or has left. What
/// waits in between is said with another status than False.
#[must_use]
pub fn says_nowhere(is_false: bool, reason: &str) -> bool {
    let waits = [reason::CLUSTER_NOT_READY, reason::ADC_NOT_READY, reason::USER_TAKEN, reason::LEFT];
    is_false && waits.contains(&reason)
}

/// Returns whether the reason of a condition `AKOInstalled` says that AKO has begun to leave. `is_held`: whether its Cluster has the finalizer;
/// without it, an AKO that has left is done.
#[must_use]
pub fn says_leaving(reason: &str, is_held: bool) -> bool {
    reason == reason::LEAVING || is_held && reason == reason::LEFT
}

impl AkoDeploymentConfig {
    /// Returns where it works on AVI: as its status says, else as it asks.
    #[must_use]
    pub fn place(&self) -> Place {
        let recorded = self.status.as_ref().and_then(|status| status.place.clone());
        recorded.unwrap_or_else(|| Place::from(&self.spec))
    }

    /// Returns the condition Ready, if it answers the present spec.
    #[must_use]
    pub fn ready(&self) -> Option<&Condition> {
        let status = self.status.as_ref();
        let status = status.filter(|status| status.observed_generation == self.metadata.generation)?;
        conditions::get(&status.conditions, conditions::READY)
    }

    /// Returns whether it can be used: AVI has what it asks for.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready().is_some_and(|ready| ready.status == "True")
    }

    /// Returns whether its status says that AKO is delivered to the Cluster of this key, or is about to be.
    #[must_use]
    pub fn has_recorded(&self, cluster: &Key) -> bool {
        let cluster = cluster.to_string();
        self.status.as_ref().is_some_and(|status| status.delivered_to.contains(&cluster))
    }
}

/// Returns the AKODeploymentConfig from which AKO was delivered to a Cluster to work at another place than `adc` says. What AKO made stays
/// there, so it has to leave that place first.
#[must_use]
pub fn find_elsewhere<'a>(
    all: &'a [Arc<AkoDeploymentConfig>],
    adc: &AkoDeploymentConfig,
    cluster: &Key,
) -> Option<&'a Arc<AkoDeploymentConfig>> {
    let place = Place::from(&adc.spec);
    all.iter().filter(|other| other.metadata.uid != adc.metadata.uid).find(|other| {
        other.has_recorded(cluster) && !other.place().is_same_for(&place, cluster.namespace(), cluster.name())
    })
}

/// Returns a Cluster to which AKO was delivered, whose name on AVI, or that of its user there, is the one of this Cluster, too: what the one
/// has there cannot be distinguished from what the other has. The first one keeps the name.
#[must_use]
pub fn find_namesake<'a>(recorded: impl IntoIterator<Item = &'a String>, cluster: &Key) -> Option<Key> {
    let names = |key: &Key| {
        let (namespace, name) = (key.namespace(), key.name());
        (cluster_name(namespace, name), user_name(namespace, name))
    };
    let (on_avi, user) = names(cluster);
    let mut others =
        recorded.into_iter().filter_map(|key| key.parse::<Key>().ok()).filter(|key| key != cluster);
    others.find(|other| {
        let (other_on_avi, other_user) = names(other);
        other_on_avi == on_avi || other_user == user
    })
}

/// Returns the Clusters to which AKO was delivered, as `namespace/name`.
pub fn recorded(adcs: &[Arc<AkoDeploymentConfig>]) -> impl Iterator<Item = &String> {
    adcs.iter().filter_map(|adc| adc.status.as_ref()).flat_map(|status| &status.delivered_to)
}

/// Returns the Clusters that have AKO, and that no AKODeploymentConfig has recorded which can be read, as `namespace/name`: their names on AVI
/// are taken as well.
pub fn unrecorded<'a>(
    clusters: impl IntoIterator<Item = &'a Cluster>,
    adcs: &[Arc<AkoDeploymentConfig>],
) -> Vec<String> {
    let has_ako = |cluster: &&Cluster| {
        // The status is written by controllers only.
        is_held(&cluster.metadata) && cluster.conditions.is_true(condition::AKO_INSTALLED)
    };
    let keys = clusters.into_iter().filter(has_ako).map(Key::of);
    keys.filter(|key| !adcs.iter().any(|adc| adc.has_recorded(key))).map(|key| key.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::AkoDeploymentConfigStatus;

    /// The first with AKO keeps the name: `b-c` of `a` and `c` of `a-b` are one on AVI, `c-a` of `b` has the user of the first.
    #[test]
    fn a_namesake_has_the_same_name_on_avi_or_the_same_user() {
        let known = |key: &str| vec![key.to_owned()];
        for (what, recorded, cluster, wanted) in [
            ("the name on AVI", "a/b-c", Key::new("a-b", "c"), Some("a/b-c")),
            (
                "the user",
                "default/workload-cls",
                Key::new("cls-default", "workload"),
                Some("default/workload-cls"),
            ),
            ("another name", "a/c", Key::new("a-b", "c"), None),
            ("the Cluster itself", "a-b/c", Key::new("a-b", "c"), None),
        ] {
            let found = find_namesake(&known(recorded), &cluster).map(|key| key.to_string());
            assert_eq!(found.as_deref(), wanted, "{what}");
        }
    }

    fn adc(name: &str, tenant: &Value, delivered: &[&str]) -> Arc<AkoDeploymentConfig> {
        let secret = json!({"name": "s", "namespace": "n"});
        let object = json!({
            "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
            "metadata": {"name": name, "uid": name},
            "spec": {
                "controller": "avi", "cloudName": "cloud", "serviceEngineGroup": "group", "tenant": tenant,
                "dataNetwork": {"name": "data", "cidr": "10.0.0.0/24"},
                "adminCredentialRef": secret, "certificateAuthorityRef": secret,
            },
        });
        let mut adc: AkoDeploymentConfig = serde_json::from_value(object).unwrap();
        adc.status = Some(AkoDeploymentConfigStatus {
            delivered_to: delivered.iter().map(|&key| key.to_owned()).collect(),
            place: Some(Place::from(&adc.spec)),
            ..AkoDeploymentConfigStatus::default()
        });
        Arc::new(adc)
    }

    /// Returns `ns/w1`; `said`: status and reason of `AKOInstalled`.
    fn cluster(said: Option<(&str, &str)>, asks: Option<&str>) -> Cluster {
        let said = said.map(|(status, reason)| {
            json!({ "type": "AKOInstalled", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
        });
        serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": { "namespace": "ns", "name": "w1", "annotations": asks.map(|name| json!({ MOVE_ANNOTATION: name })) },
            "status": { "conditions": said.into_iter().collect::<Vec<_>>() },
        }))
        .unwrap()
    }

    #[test]
    fn an_ako_is_taken_over_where_it_works() {
        let at = |controller: &str, cloud: &str, tenant: &str| {
            let [controller, cloud, tenant] = [controller, cloud, tenant].map(str::to_owned);
            Works::At(Place { controller, cloud, tenant, scope: None })
        };
        let of = |scope: &str| {
            let mut one = (*adc("one", &json!({"name": "t", "scope": scope}), &[])).clone();
            (one.spec.controller, one.spec.cloud_name) = ("https://avi".into(), "c".into());
            one
        };
        let (shared, own) = (of("Shared"), of("Cluster"));
        let new = cluster(None, None);
        for (works, fits_shared, fits_own) in [
            (Works::Nowhere, true, true),
            (Works::OfOthers, true, true),
            (Works::Unknown, false, false),
            (at("avi", "c", "t"), true, false),
            (at("AVI:443", "c", "t"), true, false),
            (at("avi", "c", "t-ns-w1"), false, true),
            (at("avi2", "c", "t"), false, false),
            (at("avi", "d", "t"), false, false),
            (at("avi", "c", "admin"), false, false),
        ] {
            let fits = [&shared, &own].map(|adc| works.fits(adc, &new));
            assert_eq!(fits, [fits_shared, fits_own], "{works:?}");
        }
    }

    /// What it made may be at a place that nothing knows.
    #[test]
    fn an_ako_that_is_gone_is_taken_over_where_nothing_of_it_is_anywhere_or_a_person_asks() {
        let one = adc("one", &json!({"name": "t"}), &[]);
        for (said, asks, wanted) in [
            (None, None, true),
            (Some(("False", "ClusterNotReady")), None, true),
            (Some(("False", "AKODeploymentConfigNotReady")), None, true),
            (Some(("False", "AKOLeft")), None, true),
            (Some(("False", "AKOLeaving")), None, false),
            (Some(("True", "AKODeploymentConfigNotReady")), None, false),
            (Some(("Unknown", "ClusterNotReady")), None, false),
            (Some(("Unknown", "AKODeploymentConfigNotReady")), None, false),
            (Some(("Unknown", "ClusterUnreachable")), None, false),
            (Some(("False", "AKODeploymentConfigMissing")), None, false),
            (Some(("False", "AKODeploymentConfigMissing")), Some("other"), false),
            (Some(("False", "AKODeploymentConfigMissing")), Some("one"), true),
        ] {
            for works in [Works::Nowhere, Works::OfOthers] {
                assert_eq!(works.fits(&one, &cluster(said, asks)), wanted, "{works:?} {said:?} {asks:?}");
            }
        }
    }

    #[test]
    fn a_cluster_does_not_move_to_another_tenant_while_it_has_ako() {
        let shared = json!({"name": "t"});
        let of = |scope: &str| json!({"name": "t", "scope": scope});
        let rows = [
            ("the same tenant", &shared, &shared, &["ns/w1"][..], false),
            ("another name", &shared, &json!({"name": "u"}), &["ns/w1"], true),
            ("another scope", &of("Namespace"), &of("Cluster"), &["ns/w1"], true),
            ("a name that comes to the same", &json!({"name": "t-ns"}), &of("Namespace"), &["ns/w1"], false),
            ("not delivered", &shared, &of("Cluster"), &["ns/w2"], false),
        ];
        for (what, before, after, delivered, wanted) in rows {
            let (one, two) = (adc("one", before, delivered), adc("two", after, &["ns/w1"]));
            let all = [one, Arc::clone(&two)];
            assert_eq!(find_elsewhere(&all, &two, &Key::new("ns", "w1")).is_some(), wanted, "{what}");
        }
    }
}
