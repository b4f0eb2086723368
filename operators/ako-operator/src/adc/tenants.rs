//! The tenants of Clusters: which ones are needed, whether AKO can work in them, and which are the operator's to remove. Pure.
//!
//! A tenant is removed only if the record names it, its description has the mark, and nothing is in it. One that others made is used as it
//! is, and one whose mark a person removed is that person's. One that is in use stays in the record and holds nothing else up: the user of
//! one Cluster decides what is in it.

mod apply;
mod ask;

use std::collections::BTreeSet;

use operator_kit::conditions::{self, Status};
use operator_kit::names::first_few;
use operator_kit::{Key, Notice};

pub use self::ask::{ask, new};
use super::seen::{Facts, Tenant};
use crate::api::{
    AkoDeploymentConfig, AkoDeploymentConfigSpec, AkoDeploymentConfigStatus, Place, TENANT_MARK,
    TenantContext, condition, reason,
};
use crate::problem::Problem;

/// The service engine group that AVI makes in a tenant whose service engines are its own, and removes with it.
const OWN_GROUP: &str = "Default-Group";

/// Tenants that are made and removed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantChange {
    /// Those that AVI lacks.
    pub missing: BTreeSet<String>,
    /// Those that no Cluster needs any more.
    pub removed: BTreeSet<String>,
}

impl TenantChange {
    /// Returns the change in words, for an event.
    #[must_use]
    pub fn describe(&self) -> String {
        let made = self.missing.iter().map(|name| format!("added tenant {name}"));
        made.chain(self.removed.iter().map(|name| format!("removed tenant {name}")))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Returns the tenants that Clusters need, which are given as `namespace/name`. One that all share is needed without any, too.
#[must_use]
pub fn needed(spec: &AkoDeploymentConfigSpec, clusters: &[String]) -> BTreeSet<String> {
    let place = Place::from(spec);
    if place.scope.is_none() {
        return [place.tenant].into();
    }
    let keys = clusters.iter().filter_map(|key| key.parse::<Key>().ok());
    keys.map(|key| place.tenant_of(key.namespace(), key.name())).collect()
}

/// Returns whether AVI was asked about all tenants that are needed, or in the record, and for what is in those that may have to go.
#[must_use]
pub fn are_known(facts: &Facts, needed: &BTreeSet<String>, mine: &BTreeSet<String>) -> bool {
    needed.iter().chain(mine).all(|name| {
        facts.tenants.get(name).is_some_and(|found| {
            let Some(tenant) = found else { return true };
            needed.contains(name) || !tenant.is_marked || tenant.content.is_some()
        })
    })
}

/// Returns whether a tenant was made by others, or a person removed its mark.
#[must_use]
pub fn is_of_others(facts: &Facts, name: &str) -> bool {
    facts.tenants.get(name).and_then(Option::as_ref).is_some_and(|tenant| !tenant.is_marked)
}

/// Returns the tenants to make and to remove; `None` if there are none. `record` names those that the operator may make and remove.
#[must_use]
pub fn change(facts: &Facts, needed: &BTreeSet<String>, record: &BTreeSet<String>) -> Option<TenantChange> {
    let found = |name: &str| facts.tenants.get(name).and_then(Option::as_ref);
    let (wanted, surplus): (Vec<_>, Vec<_>) = record.iter().partition(|name| needed.contains(*name));
    let is_free = |tenant: &Tenant| tenant.is_marked && tenant.content.is_some() && kept_by(tenant).is_none();
    let change = TenantChange {
        missing: wanted.into_iter().filter(|name| found(name).is_none()).cloned().collect(),
        removed: surplus.into_iter().filter(|name| found(name).is_some_and(is_free)).cloned().collect(),
    };
    (change != TenantChange::default()).then_some(change)
}

/// Returns why AKO cannot work in a tenant.
#[must_use]
pub fn refusal(
    spec: &AkoDeploymentConfigSpec,
    name: &str,
    tenant: &Tenant,
    facts: &Facts,
) -> Option<Problem> {
    let (cloud, group) = (&spec.cloud_name, &spec.service_engine_group);
    let refused = |reason, message| Some(Problem { reason, message });
    if Place::from(spec).scope.is_some() && !tenant.is_marked {
        // Who may create Clusters chooses the end of its name.
        let message = format!(
            "spec.tenant: the tenant {name:?} was made by others, and its objects are not for the Clusters whose names lead to it: add \
             [{TENANT_MARK}] to its description if they are, or choose another spec.tenant.name in a new AKODeploymentConfig"
        );
        return refused(reason::TENANT_OF_OTHERS, message);
    }
    match tenant.has_group {
        Some(false) => {
            let message = format!(
                "spec.serviceEngineGroup: the tenant {name:?} has service engines of its own, and no service engine group {group:?} of the \
                 cloud {cloud:?}: create it there"
            );
            return refused(reason::SE_GROUP_NOT_FOUND, message);
        }
        None if !facts.has_group => return refused(reason::SE_GROUP_NOT_FOUND, no_group(spec)),
        _ => {}
    }
    let own = tenant.contexts.as_ref()?;
    let outside = spec
        .networks()
        .find(|network| facts.contexts.get(*network).is_some_and(|context| !own.contains(context)))?;
    let message = format!(
        "the tenant {name:?} has routing contexts of its own, and the network {outside:?} is in none of them: write a network that is, or \
         use a tenant with those of the provider (tenant_vrf false)"
    );
    refused(reason::TENANT_CONTEXT_DIFFERS, message)
}

/// Returns what is wrong where the provider has no service engine group of the spec's name.
#[must_use]
pub fn no_group(spec: &AkoDeploymentConfigSpec) -> String {
    format!(
        "spec.serviceEngineGroup: the cloud {:?} has no service engine group {:?}: correct the name, or create it",
        spec.cloud_name, spec.service_engine_group
    )
}

/// Returns why AKO could not work in a tenant that AVI lacks. One of a Cluster or of a namespace is made, as [`new`] says.
#[must_use]
pub fn refusal_of_missing(spec: &AkoDeploymentConfigSpec, name: &str) -> Option<Problem> {
    if Place::from(spec).scope.is_none() {
        let message = format!("spec.tenant.name: AVI has no tenant {name:?}: correct the name, or create it");
        return Some(Problem { reason: reason::TENANT_NOT_FOUND, message });
    }
    let group = &spec.service_engine_group;
    if spec.tenant_context() == TenantContext::Provider || group == OWN_GROUP {
        return None;
    }
    let message = format!(
        "spec.serviceEngineGroup: the tenant {name:?} does not exist yet, and AVI gives a new one with service engines of its own no other \
         group than {OWN_GROUP:?}: write that; or create the tenant with [{TENANT_MARK}] in its description and without \
         se_in_provider_context, and the group {group:?} of the cloud {:?} in it",
        spec.cloud_name
    );
    Some(Problem { reason: reason::SE_GROUP_NOT_FOUND, message })
}

/// Returns the tenants that no Cluster needs and that stay, as they are in use; in words.
#[must_use]
pub fn in_use(facts: &Facts, needed: &BTreeSet<String>, record: &BTreeSet<String>) -> Option<String> {
    let kept = record.difference(needed).filter_map(|name| {
        let tenant = facts.tenants.get(name)?.as_ref().filter(|tenant| tenant.is_marked)?;
        Some(format!("the tenant {name:?} {}", kept_by(tenant)?))
    });
    let kept: Vec<_> = kept.collect();
    (!kept.is_empty()).then(|| {
        format!(
            "no Cluster needs these tenants any more, as theirs were deleted or have moved, and they are in use: {}; remove by hand what is \
             in them, and the operator removes the tenants; or keep one by removing [{TENANT_MARK}] from its description",
            first_few(&kept)
        )
    })
}

/// Returns what is in the way of a removal, in words; `None`: nothing that is known.
fn kept_by(tenant: &Tenant) -> Option<String> {
    let content = tenant.content.as_ref().filter(|content| !content.is_empty());
    let refused = || tenant.refusal.as_ref().map(|why| format!("is not removed by AVI ({why})"));
    content.map(|content| format!("has {}", first_few(content))).or_else(refused)
}

/// Returns whether something is in the way of the removal of a tenant.
#[must_use]
pub fn has_content(facts: &Facts) -> bool {
    facts.tenants.values().flatten().any(|tenant| kept_by(tenant).is_some())
}

/// Returns whether the operator makes tenants for an AKODeploymentConfig, or did.
#[must_use]
pub fn concern(adc: &AkoDeploymentConfig) -> bool {
    let added = adc.status.as_ref().and_then(|status| status.added.as_ref());
    Place::from(&adc.spec).scope.is_some() || added.is_some_and(|added| !added.tenants.is_empty())
}

/// Returns what the condition about tenants is to say: status, reason and message. `None` while AVI is asked, and tenants are made.
#[must_use]
pub fn state(
    adc: &AkoDeploymentConfig,
    clusters: &[String],
    facts: &Facts,
) -> Option<(Status, &'static str, String)> {
    let record = adc.status.as_ref().and_then(|status| status.added.as_ref());
    let record: BTreeSet<_> = record.into_iter().flat_map(|added| added.tenants.iter().cloned()).collect();
    let is_deleting = adc.metadata.deletion_timestamp.is_some();
    let needed = if is_deleting { BTreeSet::new() } else { needed(&adc.spec, clusters) };
    if !are_known(facts, &needed, &record) || change(facts, &needed, &record).is_some() {
        return None;
    }
    let mut found = needed.iter().filter_map(|name| Some((name, facts.tenants.get(name)?.as_ref()?)));
    let refused = found.find_map(|(name, tenant)| refusal(&adc.spec, name, tenant, facts));
    if let Some(Problem { reason, message }) = refused {
        return Some((Status::False, reason, message));
    }
    Some(match in_use(facts, &needed, &record) {
        Some(message) => (Status::False, reason::TENANT_IN_USE, message),
        None => (Status::True, reason::AS_ASKED, String::new()),
    })
}

/// Returns the event for tenants that stay as they are in use: Ready does not say it.
#[must_use]
pub fn news(old: Option<&AkoDeploymentConfigStatus>, new: &AkoDeploymentConfigStatus) -> Option<Notice> {
    let said = |status: &AkoDeploymentConfigStatus| {
        let said = conditions::get(&status.conditions, condition::TENANTS_READY);
        said.filter(|said| said.reason == reason::TENANT_IN_USE).map(|said| said.message.clone())
    };
    let message = said(new).filter(|_| old.and_then(said).is_none())?;
    Some(Notice::warning(reason::TENANT_IN_USE, message))
}

#[cfg(test)]
mod tests;
