//! Which AKODeploymentConfig a Cluster takes AKO from, and whether AKO supports its address families.
//!
//! Pure functions of a Cluster and of all AKODeploymentConfigs. They write no label: the value of the user's label is never
//! overwritten, and the label of the later operator is only read.

use std::collections::BTreeMap;
use std::sync::Arc;

use infra_clients::capi::{Cluster, ConditionStatus, Error, IpFamily};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use operator_kit::names::first_few;
use operator_kit::{Cache, Key};

use crate::api::{
    AVI_LABEL, AkoDeploymentConfig, AkoDeploymentConfigSpec, DEFAULT_ADC, LATER_AVI_LABEL, MANAGEMENT_ADC,
    SYSTEM_NAMESPACE, is_held, reason,
};

/// Topology variable of a Cluster whose Services kube-vip serves.
const KUBE_VIP_VARIABLE: &str = "kubeVipLoadBalancerProvider";

/// All AKODeploymentConfigs.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    /// Those that parse.
    pub read: Vec<Arc<AkoDeploymentConfig>>,
    /// Names of those that do not, in order. Nothing is known of what they select, nor of what they have recorded.
    pub unread: Vec<String>,
}

impl From<&Cache<AkoDeploymentConfig>> for Configs {
    fn from(cache: &Cache<AkoDeploymentConfig>) -> Self {
        let mut configs = Self::default();
        for adc in cache.guarded() {
            match adc.valid() {
                Some(adc) => configs.read.push(Arc::clone(adc)),
                None => configs.unread.push(adc.name_any()),
            }
        }
        configs.unread.sort();
        configs
    }
}

#[cfg(test)]
impl Configs {
    /// Returns those that parse, where all do.
    pub(crate) fn of(read: impl IntoIterator<Item = Arc<AkoDeploymentConfig>>) -> Self {
        Self { read: read.into_iter().collect(), unread: Vec::new() }
    }
}

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
    /// Its label names an AKODeploymentConfig that does not exist, or that is not for its namespace.
    NoSuchConfig(String),
    /// Its label names an AKODeploymentConfig whose selector does not match it.
    NotSelected(String),
    /// One of these AKODeploymentConfigs may select it, or has recorded it: they do not parse, or their selectors are none.
    Unclear(Vec<String>),
    /// It has the finalizer, no AKODeploymentConfig selects it, and none has recorded that AKO was delivered to it: the one that did is gone.
    Unrecorded,
}

impl Skip {
    /// Returns the reason for conditions and events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::KubeVip => reason::KUBE_VIP,
            Self::NotReady => reason::CLUSTER_NOT_READY,
            Self::NoSuchConfig(_) | Self::NotSelected(_) => reason::NO_SUCH_ADC,
            Self::Unclear(_) => reason::ADC_INVALID,
            Self::Unrecorded => reason::ADC_MISSING,
        }
    }

    /// Returns why it is skipped, and what to do.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::KubeVip => "kube-vip serves the Services of the Cluster".to_owned(),
            Self::NotReady => "Cluster API reports the Cluster as not ready".to_owned(),
            Self::NoSuchConfig(name) => format!(
                "the label of the Cluster names the AKODeploymentConfig {name:?}, which does not exist, or is not for Clusters of this \
                 namespace: correct the label, or create it"
            ),
            Self::NotSelected(name) => format!(
                "the label of the Cluster names the AKODeploymentConfig {name:?}, whose clusterSelector does not match the labels of the \
                 Cluster: add the labels that it asks for, or correct the name"
            ),
            Self::Unclear(names) => format!(
                "AKODeploymentConfigs do not parse or have an invalid clusterSelector, and one of them may be that of the Cluster: \
                 {}; correct them, see their events and conditions. Until then the Cluster stays as it is",
                first_few(names)
            ),
            Self::Unrecorded => format!(
                "no AKODeploymentConfig selects the Cluster, and none has recorded that AKO was delivered to it, so AKO stays as it is: create \
                 the AKODeploymentConfig again that it came from. To take AKO away, let that one select the Cluster first, until the \
                 condition has the reason {}",
                reason::INSTALLED
            ),
        }
    }

    /// Returns whether AKO is removed from a Cluster that has it. All others keep their virtual services.
    #[must_use]
    pub fn removes(&self) -> bool {
        matches!(self, Self::KubeVip)
    }

    /// Returns whether a person has to do something.
    #[must_use]
    pub fn needs_help(&self) -> bool {
        matches!(self, Self::NoSuchConfig(_) | Self::NotSelected(_) | Self::Unclear(_) | Self::Unrecorded)
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
    /// No label has such a key, or such a value.
    #[error(
        "{0:?} is no {1} of a label: write up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit{2}"
    )]
    Label(String, &'static str, &'static str),
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
    let expressions = || selector.match_expressions.iter().flatten();
    let labels = || selector.match_labels.iter().flatten();
    for key in labels().map(|(key, _)| key).chain(expressions().map(|requirement| &requirement.key)) {
        if !is_label_key(key) {
            return Err(SelectorError::Label(key.clone(), "key", "; a prefix is a domain and '/'"));
        }
    }
    let listed = expressions().flat_map(|requirement| requirement.values.iter().flatten());
    for value in labels().map(|(_, value)| value).chain(listed) {
        if !value.is_empty() && !is_label_part(value) {
            return Err(SelectorError::Label(value.clone(), "value", ""));
        }
    }
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

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("x", key));
    let is_domain_part = |part: &str| {
        let ends = part.starts_with('-') || part.ends_with('-');
        let is_right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && !ends && part.bytes().all(is_right)
    };
    prefix.len() <= 253 && prefix.split('.').all(is_domain_part) && is_label_part(name)
}

fn is_label_part(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_right = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_right)
}

/// Returns whether an AKODeploymentConfig is the one of a Cluster, ready or not.
#[must_use]
pub fn is_of(adc: &str, cluster: &Cluster, adcs: &Configs) -> bool {
    !uses_kube_vip(cluster) && find(cluster, adcs) == Selection::From(adc.to_owned())
}

fn uses_kube_vip(cluster: &Cluster) -> bool {
    // A value of another type says nothing, as in the original.
    cluster.variable::<bool>(KUBE_VIP_VARIABLE).ok().flatten() == Some(true)
}

/// Decides where a Cluster takes AKO from.
#[must_use]
pub fn select(cluster: &Cluster, adcs: &Configs) -> Selection {
    if uses_kube_vip(cluster) {
        return Selection::Skipped(Skip::KubeVip);
    }
    let found = find(cluster, adcs);
    let is_unready = readiness(cluster) == Some(ConditionStatus::False);
    if matches!(found, Selection::From(_)) && is_unready && !cluster.is_deleting() {
        return Selection::Skipped(Skip::NotReady);
    }
    found
}

/// Decides by labels and selectors, and by what is recorded where these are not enough.
fn find(cluster: &Cluster, adcs: &Configs) -> Selection {
    // A label that anyone may write never leads to the credentials of the management cluster.
    let is_system = cluster.namespace() == SYSTEM_NAMESPACE;
    let may_select = |name: &str| is_system == (name == MANAGEMENT_ADC);
    let (key, is_held) = (Key::of(cluster), is_held(&cluster.metadata));
    // One that is being deleted takes no more Clusters, which it would wait for.
    let stays =
        |adc: &&AkoDeploymentConfig| adc.metadata.deletion_timestamp.is_none() || adc.has_recorded(&key);
    let read = adcs.read.iter().map(|adc| &**adc).filter(|adc| may_select(&adc.name_any()));
    let mut read: Vec<&AkoDeploymentConfig> = read.filter(stays).collect();
    // The order of the API server's lists.
    read.sort_by_key(|adc| adc.name_any());
    let unread: Vec<&String> = adcs.unread.iter().filter(|name| may_select(name)).collect();
    let chosen = choose(cluster, &read);
    let has_recorded = |adc: &&AkoDeploymentConfig| adc.has_recorded(&key);
    // What these have recorded is known: they are the business of no other Cluster.
    let invalid = read.iter().copied().filter(|adc| !selects(adc)).filter(has_recorded);
    let invalid: Vec<String> = invalid.map(ResourceExt::name_any).collect();
    let is_settled = match (&chosen, named(cluster)) {
        (Selection::From(name), by_name) => {
            // What may be delivered already, one that is not read may have recorded for another place.
            let is_free = by_name.is_some() && (unread.is_empty() || !is_held);
            is_free || read.iter().any(|adc| adc.name_any() == *name && has_recorded(adc))
        }
        (_, Some(name)) => {
            unread.iter().all(|unread| *unread != name) && !invalid.iter().any(|adc| adc == name)
        }
        (_, None) => false,
    };
    let unclear: Vec<String> = unread.into_iter().cloned().chain(invalid).collect();
    match chosen {
        // What it says, if anything, no one asked for.
        Selection::None if !is_held => Selection::None,
        _ if !is_settled && !unclear.is_empty() => Selection::Skipped(Skip::Unclear(unclear)),
        Selection::None if !adcs.read.iter().any(|adc| adc.has_recorded(&key)) => {
            Selection::Skipped(Skip::Unrecorded)
        }
        chosen => chosen,
    }
}

/// Returns whether an AKODeploymentConfig has a selector that it may have.
fn selects(adc: &AkoDeploymentConfig) -> bool {
    let may_select_all = adc.name_any() == DEFAULT_ADC;
    parse_selector(&adc.spec).is_ok() && (may_select_all || !adc.spec.has_empty_selector())
}

/// Returns the AKODeploymentConfig that the label of a Cluster names.
fn named(cluster: &Cluster) -> Option<&str> {
    cluster.label(AVI_LABEL).filter(|name| !name.is_empty())
}

/// Decides by labels and selectors. `adcs`: those that may select the Cluster, in order.
fn choose(cluster: &Cluster, adcs: &[&AkoDeploymentConfig]) -> Selection {
    let of_name = |name: &str| adcs.iter().copied().find(|adc| adc.name_any() == name);
    let empty = BTreeMap::new();
    let labels = cluster.metadata.labels.as_ref().unwrap_or(&empty);
    let matches = |adc: &AkoDeploymentConfig| {
        !adc.spec.has_empty_selector()
            && parse_selector(&adc.spec).is_ok_and(|selector| selector.matches(labels))
    };
    let default = || of_name(DEFAULT_ADC).filter(|adc| adc.spec.has_empty_selector());
    if let Some(name) = named(cluster) {
        let may_name = |adc: &&AkoDeploymentConfig| {
            matches(adc) || default().is_some_and(|default| default.name_any() == adc.name_any())
        };
        return match of_name(name) {
            Some(adc) if may_name(&adc) => Selection::From(adc.name_any()),
            Some(adc) => Selection::Skipped(Skip::NotSelected(adc.name_any())),
            None => Selection::Skipped(Skip::NoSuchConfig(name.to_owned())),
        };
    }
    // A selection lasts while it is valid: another AKODeploymentConfig that matches as well does not take the Cluster over.
    let kept = cluster.label(LATER_AVI_LABEL).and_then(of_name).filter(|adc| matches(adc));
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
