//! Which AKODeploymentConfig a Cluster takes AKO from, and whether AKO supports its address families.
//!
//! Pure functions of a Cluster and of all AKODeploymentConfigs. They write no label: the value of the user's label is never
//! overwritten, and the label of the later operator is only read.

use std::collections::BTreeMap;
use std::sync::Arc;

use infra_clients::capi::{Cluster, ConditionStatus, Error, IpFamily};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::api::{
    AVI_LABEL, AkoDeploymentConfig, AkoDeploymentConfigSpec, DEFAULT_ADC, LATER_AVI_LABEL, MANAGEMENT_ADC,
    SYSTEM_NAMESPACE, reason,
};

/// Topology variable of a Cluster whose Services kube-vip serves.
const KUBE_VIP_VARIABLE: &str = "kubeVipLoadBalancerProvider";

/// Where a Cluster takes AKO from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// From the AKODeploymentConfig of this name.
    From(String),
    /// From none: no AKODeploymentConfig selects it.
    None,
    /// From none now, although its label or a selector may choose one. Nothing is installed; what is installed because of an earlier
    /// selection stays unless [`Skip::removes`].
    Skipped(Skip),
}

/// Why a Cluster is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// kube-vip serves its Services.
    KubeVip,
    /// It is not ready.
    NotReady,
    /// Its label names an AKODeploymentConfig that does not exist, or that may not select it.
    NoSuchConfig(String),
}

impl Skip {
    /// Returns the reason for conditions and events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::KubeVip => reason::KUBE_VIP,
            Self::NotReady => reason::CLUSTER_NOT_READY,
            Self::NoSuchConfig(_) => reason::NO_SUCH_ADC,
        }
    }

    /// Returns whether AKO is removed from a Cluster that has it. A Cluster that is not ready, or whose label has a typing error, keeps
    /// its virtual services.
    #[must_use]
    pub fn removes(&self) -> bool {
        matches!(self, Self::KubeVip)
    }
}

/// A selector that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// There is no such operator.
    #[error("{0:?} is not a valid label selector operator: write In, NotIn, Exists or DoesNotExist")]
    Operator(String),
    /// `In` or `NotIn` without values.
    #[error("{key}: {operator} needs values")]
    NoValues {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("{key}: {operator} takes no values")]
    Values {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
    },
}

/// Reads the selector of an AKODeploymentConfig. One without requirements matches everything.
///
/// # Errors
/// Says which requirement is wrong.
pub fn parse_selector(spec: &AkoDeploymentConfigSpec) -> Result<Selector, SelectorError> {
    let selector = spec.cluster_selector.clone().unwrap_or_default();
    for requirement in selector.match_expressions.iter().flatten() {
        let (key, operator) = (requirement.key.clone(), requirement.operator.clone());
        let is_empty = requirement.values.as_ref().is_none_or(Vec::is_empty);
        match (operator.as_str(), is_empty) {
            ("In" | "NotIn", true) => return Err(SelectorError::NoValues { key, operator }),
            ("Exists" | "DoesNotExist", false) => return Err(SelectorError::Values { key, operator }),
            ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => {}
            _ => return Err(SelectorError::Operator(operator)),
        }
    }
    Selector::try_from(selector).map_err(|error| SelectorError::Operator(error.to_string()))
}

/// Returns whether an AKODeploymentConfig is the one of a Cluster, ready or not.
#[must_use]
pub fn is_of(adc: &str, cluster: &Cluster, adcs: &[Arc<AkoDeploymentConfig>]) -> bool {
    !uses_kube_vip(cluster) && choose(cluster, adcs) == Selection::From(adc.to_owned())
}

fn uses_kube_vip(cluster: &Cluster) -> bool {
    // A value of another type says nothing, as in the original.
    cluster.variable::<bool>(KUBE_VIP_VARIABLE).ok().flatten() == Some(true)
}

/// Decides where a Cluster takes AKO from.
#[must_use]
pub fn select(cluster: &Cluster, adcs: &[Arc<AkoDeploymentConfig>]) -> Selection {
    if uses_kube_vip(cluster) {
        return Selection::Skipped(Skip::KubeVip);
    }
    let chosen = choose(cluster, adcs);
    let is_unready = readiness(cluster) == Some(ConditionStatus::False);
    if matches!(chosen, Selection::From(_)) && is_unready && !cluster.is_deleting() {
        return Selection::Skipped(Skip::NotReady);
    }
    chosen
}

/// Decides by labels and selectors.
fn choose(cluster: &Cluster, adcs: &[Arc<AkoDeploymentConfig>]) -> Selection {
    // A label that anyone may write never leads to the credentials of the management cluster.
    let is_system = cluster.namespace() == SYSTEM_NAMESPACE;
    let may_select = |adc: &&AkoDeploymentConfig| is_system == (adc.name_any() == MANAGEMENT_ADC);
    let mut adcs: Vec<&AkoDeploymentConfig> = adcs.iter().map(|adc| &**adc).filter(may_select).collect();
    // The order of the API server's lists.
    adcs.sort_by_key(|adc| adc.name_any());
    let named = |name: &str| adcs.iter().copied().find(|adc| adc.name_any() == name);

    let empty = BTreeMap::new();
    let labels = cluster.metadata.labels.as_ref().unwrap_or(&empty);
    let matches = |adc: &AkoDeploymentConfig| {
        !adc.spec.has_empty_selector()
            && parse_selector(&adc.spec).is_ok_and(|selector| selector.matches(labels))
    };
    let default = || named(DEFAULT_ADC).filter(|adc| adc.spec.has_empty_selector());
    if let Some(name) = cluster.label(AVI_LABEL).filter(|name| !name.is_empty()) {
        let may_name = |adc: &&AkoDeploymentConfig| {
            matches(adc) || default().is_some_and(|default| default.name_any() == adc.name_any())
        };
        let known = named(name).filter(may_name).map(|adc| Selection::From(adc.name_any()));
        return known.unwrap_or_else(|| Selection::Skipped(Skip::NoSuchConfig(name.to_owned())));
    }
    // A selection lasts while it is valid: another AKODeploymentConfig that matches as well does not take the Cluster over.
    let kept = cluster.label(LATER_AVI_LABEL).and_then(named).filter(|adc| matches(adc));
    let found = kept.or_else(|| adcs.iter().copied().find(|adc| matches(adc))).or_else(default);
    found.map_or(Selection::None, |adc| Selection::From(adc.name_any()))
}

/// Returns whether Cluster API says that a Cluster is ready; `None` for a new one, which says nothing.
#[must_use]
pub fn readiness(cluster: &Cluster) -> Option<ConditionStatus> {
    let find = |conditions: &[infra_clients::capi::Condition], name: &str| {
        conditions.iter().find(|condition| condition.type_ == name).map(|condition| condition.status)
    };
    find(cluster.conditions.v1beta1(), "Ready").or_else(|| find(cluster.conditions.current(), "Available"))
}

/// Returns why AKO does not support the address families of a Cluster with those of its AKODeploymentConfig; `None` if it does.
/// `is_ha_provider`: AVI balances the Cluster's control plane as well.
#[must_use]
pub fn refuse_ip_family(
    cluster: &Result<IpFamily, Error>,
    adc: IpFamily,
    is_ha_provider: bool,
) -> Option<String> {
    let cluster = match cluster {
        Ok(family) => *family,
        Err(error) => return Some(error.to_string()),
    };
    match cluster {
        IpFamily::V6 | IpFamily::V6V4 => Some(format!(
            "AKO does not support a Cluster whose address families are {cluster}: use V4, or both with V4 first"
        )),
        IpFamily::V4 if adc == IpFamily::V6 => Some(
            "the Cluster has only V4 addresses, and extraConfigs.ipFamily of its AKODeploymentConfig is V6: use another \
             AKODeploymentConfig, or a Cluster with both families"
                .to_owned(),
        ),
        IpFamily::V4V6 if adc == IpFamily::V6 && is_ha_provider => Some(
            "AVI balances the control plane of the Cluster by its first family, V4, and extraConfigs.ipFamily of its \
             AKODeploymentConfig is V6: use an AKODeploymentConfig with V4"
                .to_owned(),
        ),
        IpFamily::V4 | IpFamily::V4V6 => None,
    }
}

#[cfg(test)]
mod tests;
