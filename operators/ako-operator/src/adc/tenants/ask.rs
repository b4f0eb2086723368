//! Asks AVI about tenants, in as few calls as there may be many of them.

use std::collections::{BTreeMap, BTreeSet};

use infra_clients::avi::objects::{Any, Meta, Tenant as AviTenant, TenantSettings};
use infra_clients::avi::{
    Avi, Error, POOL, Query, ROLE, Ref, Resource, SE_GROUP, Scope, TENANT, VIRTUAL_SERVICE, VRF_CONTEXT,
    VSVIP,
};

use super::super::seen::{Facts, Tenant};
use crate::api::{ADMIN_TENANT, AkoDeploymentConfigSpec, Place, TENANT_MARK, TenantContext};
use crate::error::is_refused;

/// What is looked for in a tenant before it is removed. AVI refuses the removal for whatever else is in it.
const CONTENT: [Resource<Any>; 9] = [
    Resource::any(VIRTUAL_SERVICE.kind()),
    Resource::any(VSVIP.kind()),
    Resource::any(POOL.kind()),
    Resource::any("poolgroup"),
    Resource::any("healthmonitor"),
    Resource::any("sslkeyandcertificate"),
    Resource::any("stringgroup"),
    Resource::any(SE_GROUP.kind()),
    Resource::any(ROLE.kind()),
];

/// Asks about the tenants that are needed and those of the record.
///
/// # Errors
/// The first request that failed.
pub async fn ask(
    avi: &Avi,
    spec: &AkoDeploymentConfigSpec,
    needed: &BTreeSet<String>,
    record: &BTreeSet<String>,
    facts: &mut Facts,
) -> Result<(), Error> {
    let names: BTreeSet<&String> = needed.iter().chain(record).collect();
    let found = find(avi, spec, &names).await?;
    let settings = |tenant: &AviTenant| tenant.config_settings.clone().unwrap_or_default();
    let has_engines = |tenant: &AviTenant| settings(tenant).se_in_provider_context == Some(false);
    let has_contexts = |tenant: &AviTenant| settings(tenant).tenant_vrf == Some(true);
    let everywhere = avi.api(Scope::All);
    let mut with_group = BTreeSet::new();
    if found.values().any(has_engines) {
        let query = Query::new().cloud_name(&spec.cloud_name).name(&spec.service_engine_group);
        let groups = everywhere.all(SE_GROUP, &query).await?;
        // A controller that ignores the filter returns every group.
        let groups = groups.iter().filter(|group| group.meta.name == spec.service_engine_group);
        with_group.extend(groups.filter_map(|group| tenant_of(&group.meta)));
    }
    let mut contexts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if found.values().any(has_contexts) {
        for context in everywhere.all(VRF_CONTEXT, &Query::new().cloud_name(&spec.cloud_name)).await? {
            if let Some(tenant) = tenant_of(&context.meta) {
                contexts.entry(tenant).or_default().insert(context.meta.uuid);
            }
        }
    }
    facts.tenants = names.iter().map(|name| ((*name).clone(), None)).collect();
    for (name, tenant) in found {
        let uuid = tenant.meta.uuid.clone();
        let is_marked = tenant.rest.text("description").is_some_and(|text| text.contains(&mark()));
        let is_surplus = is_marked && record.contains(&name) && !needed.contains(&name);
        let content = if is_surplus { Some(content(avi, &name, &uuid).await) } else { None };
        let (content, refusal) = match content.transpose() {
            Ok(content) => (content, None),
            // It holds up no other tenant.
            Err(error) if is_refused(&error) => {
                (Some(Vec::new()), Some(format!("what is in it cannot be read: {error}")))
            }
            Err(error) => return Err(error),
        };
        let known = Tenant {
            has_group: has_engines(&tenant).then(|| with_group.contains(&uuid)),
            contexts: has_contexts(&tenant).then(|| contexts.remove(&uuid).unwrap_or_default()),
            content,
            refusal,
            is_marked,
            uuid,
        };
        facts.tenants.insert(name, Some(known));
    }
    Ok(())
}

/// Returns the tenants of these names that exist.
async fn find(
    avi: &Avi,
    spec: &AkoDeploymentConfigSpec,
    names: &BTreeSet<&String>,
) -> Result<BTreeMap<String, AviTenant>, Error> {
    let api = avi.api(Scope::admin());
    let mut found = BTreeMap::new();
    let mut left: Vec<&String> = names.iter().copied().collect();
    if names.len() > 1 {
        let part = Place::from(spec).tenant;
        for tenant in api.all(TENANT, &Query::new().name_contains(&part)).await? {
            if names.contains(&tenant.meta.name) {
                found.insert(tenant.meta.name.clone(), tenant);
            }
        }
        left.retain(|name| !name.contains(&part));
    }
    for name in left {
        let tenant = if name == ADMIN_TENANT {
            Some(AviTenant {
                meta: Meta { uuid: ADMIN_TENANT.to_owned(), ..Meta::named(ADMIN_TENANT) },
                ..AviTenant::default()
            })
        } else {
            api.by_name(TENANT, name, &Query::new()).await?.at_most_one()?
        };
        found.extend(tenant.map(|tenant| (name.clone(), tenant)));
    }
    Ok(found)
}

/// Returns what is in a tenant, in words.
async fn content(avi: &Avi, name: &str, uuid: &str) -> Result<Vec<String>, Error> {
    let api = avi.api(Scope::Name(name.to_owned()));
    let mut content = Vec::new();
    for kind in CONTENT {
        let all = api.all(kind, &Query::new()).await?;
        let is_of_avi = |object: &Any| kind.kind() == SE_GROUP.kind() && object.meta.name == super::OWN_GROUP;
        // Those of the tenant `admin` may show in every tenant.
        let is_mine = |object: &Any| tenant_of(&object.meta).as_deref() == Some(uuid) && !is_of_avi(object);
        let mine = all.iter().filter(|object| is_mine(object));
        content.extend(mine.map(|object| format!("{} {:?}", kind.kind(), object.meta.name)));
    }
    Ok(content)
}

fn tenant_of(meta: &Meta) -> Option<String> {
    meta.tenant_ref.as_ref().and_then(Ref::uuid).map(str::to_owned)
}

fn mark() -> String {
    format!("[{TENANT_MARK}]")
}

/// Returns a tenant that is to be created. In the context of the tenant its service engines are its own.
#[must_use]
pub fn new(name: &str, adc: &str, spec: &AkoDeploymentConfigSpec) -> AviTenant {
    let settings = TenantSettings {
        se_in_provider_context: Some(spec.tenant_context() == TenantContext::Provider),
        tenant_access_to_provider_se: Some(true),
        // The networks of virtual services are in the routing context of the provider.
        tenant_vrf: Some(false),
        ..TenantSettings::default()
    };
    let mut tenant = AviTenant {
        meta: Meta::named(name),
        local: Some(true),
        config_settings: Some(settings),
        ..AviTenant::default()
    };
    let description = format!("For Clusters of the AKODeploymentConfig {adc}, by ako-operator {}", mark());
    tenant.rest.set("description", description);
    tenant
}
