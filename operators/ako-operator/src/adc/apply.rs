//! Carries out a plan: asks AVI, writes the record, changes AVI.

use std::collections::BTreeSet;

use infra_clients::Failure as _;
use infra_clients::avi::objects::{Network, Role};
use infra_clients::avi::{
    Api, Avi, CLOUD, Error as AviError, IPAM_PROFILE, Kind as Refusal, NETWORK, Query, ROLE, Ref, SE_GROUP,
    Scope,
};
use kube::ResourceExt;
use operator_kit::names::first_few;
use operator_kit::{Key, KitError, Notice};
use serde_json::json;

use super::Adcs;
use super::observe::basis;
use super::plan::{Plan, needed};
use super::record::{AviChange, Items};
use super::seen::{self, Answer, Cloud, Facts};
use super::tenants;
use crate::api::{ADMIN_TENANT, Added, AkoDeploymentConfig, AkoDeploymentConfigSpec, Place, reason};
use crate::error::Error;
use crate::infra_setting;
use crate::user::role;

/// The type of clouds that find port groups.
const VCENTER_CLOUD: &str = "CLOUD_VCENTER";

impl Adcs {
    pub(super) async fn carry_out(
        &self,
        adc: &AkoDeploymentConfig,
        plan: Plan,
    ) -> Result<Option<Notice>, Error> {
        let done = match plan {
            Plan::Ask => {
                self.ask(adc).await?;
                None
            }
            Plan::Record(added) => {
                let added = if *added == Added::default() { json!(null) } else { json!(added) };
                self.adcs.merge_status(&self.manager, adc, json!({ "added": added })).await?;
                return Ok(None);
            }
            Plan::Deliver { to, leaving, place } => {
                self.record_deliveries(adc, &to, &leaving, place.as_deref()).await?;
                return Ok(None);
            }
            Plan::Settle(lost) => self.settle(adc, &lost).await?,
            Plan::Infra(change) => {
                let name = infra_setting::name_of(&adc.name_any());
                infra_setting::apply(&self.kit.client(), &self.manager, &name, &change).await?;
                return Ok(None);
            }
            Plan::ReleaseInfra { change, services } => {
                let name = infra_setting::name_of(&adc.name_any());
                infra_setting::apply(&self.kit.client(), &self.manager, &name, &change).await?;
                let message = format!(
                    "the AviInfraSetting {name} stays, as Services of control planes name it: {}; delete it once they are gone",
                    first_few(&services)
                );
                return Ok(Some(Notice::normal(reason::INFRA_SETTING_KEPT, message)));
            }
            Plan::AskVcenter => {
                self.ask_vcenter(adc).await?;
                None
            }
            Plan::RecordGroups(record) => {
                self.record_groups(adc, record).await?;
                return Ok(None);
            }
            Plan::ChangeGroup(change) => self.change_group(adc, change).await?,
            Plan::LookAtTask => {
                self.look_at_task(adc).await?;
                None
            }
            Plan::AskTenants => {
                self.ask_tenants(adc).await?;
                return Ok(None);
            }
            Plan::Tenants(change) => return self.change_tenants(adc, change).await,
            Plan::Configure(change) => Some(self.configure(adc, &change).await?),
        };
        self.triggers.wake(&Key::of(adc));
        Ok(done)
    }

    /// Writes the record of the Clusters that AKO is delivered to.
    pub(super) async fn record_deliveries(
        &self,
        adc: &AkoDeploymentConfig,
        to: &[String],
        leaving: &[String],
        place: Option<&Place>,
    ) -> Result<(), Error> {
        let status = json!({ "deliveredTo": to, "leaving": leaving, "place": place });
        self.adcs.merge_status(&self.manager, adc, status).await?;
        let before = adc.status.iter().flat_map(|status| &status.delivered_to);
        self.memory.forget_left(before.filter(|cluster| !leaving.contains(cluster)));
        Ok(())
    }

    /// Asks AVI, and remembers the answer.
    async fn ask(&self, adc: &AkoDeploymentConfig) -> Result<(), Error> {
        let uid = adc.uid().unwrap_or_default();
        // The next pass says what is missing.
        let Ok(admin) = self.secrets.admin(&adc.spec).await? else { return Ok(()) };
        let avi = self.connections.client(&uid, &adc.spec.controller, &admin)?;
        let added = adc.status.as_ref().and_then(|status| status.added.as_ref());
        let record = added.map(Items::from).unwrap_or_default();
        let basis = basis(adc, &admin.version);
        let spec = (!basis.is_deleting).then_some(&adc.spec);
        let mut facts = facts(&avi, spec, &record).await?;
        let clusters = adc.status.as_ref().map(|status| status.delivered_to.as_slice()).unwrap_or_default();
        tenants::ask(&avi, &adc.spec, &needed(adc, clusters), &record.tenants, &mut facts).await?;
        if self.memory.answered(&uid, Answer { basis, at: self.kit.clock().now(), facts }) {
            // They wait for an answer that suits the present credentials.
            self.cluster_triggers.wake_all(&self.clusters.cache().keys());
        }
        Ok(())
    }

    /// Changes AVI. What it has afterwards is asked in the next pass.
    async fn configure(&self, adc: &AkoDeploymentConfig, change: &AviChange) -> Result<Notice, Error> {
        let uid = adc.uid().unwrap_or_default();
        // The next pass asks AVI again.
        let Some(answer) = self.memory.answer(&uid) else { return Err(KitError::StillChanging.into()) };
        let Facts { names, roles, version, .. } = &answer.facts;
        let avi = self.avi_of(adc).await?;
        // Whatever becomes of the requests: what is remembered is outdated.
        self.memory.forget_answer(&uid);
        let is_repeated = self.memory.changes(&uid, change);
        let api = avi.api(Scope::admin());
        for network in change.networks() {
            let edit = |object: &mut Network| {
                // A range of others that appeared meanwhile is reported by the next pass.
                let _ = change.edit_network(network, object);
            };
            existing(api.update(NETWORK, network, edit).await)?;
        }
        for profile in change.profiles() {
            existing(api.update(IPAM_PROFILE, profile, |object| change.edit_profile(profile, object)).await)?;
        }
        let version = version.unwrap_or(avi.versions().await?.controller);
        for kind in change.missing.roles.iter().filter_map(|name| role::of_name(name)) {
            api.create_or_find(ROLE, &role::new(kind, version)).await?;
        }
        for name in &change.wrong_roles {
            let (Some(known), Some(kind)) = (roles.get(name), role::of_name(name)) else { continue };
            let edit = |object: &mut Role| {
                role::sync(object, kind, version);
            };
            existing(api.update(ROLE, &known.uuid, edit).await)?;
        }
        let mut kept = Vec::new();
        for (name, known) in change.removed.roles.iter().filter_map(|name| Some((name, roles.get(name)?))) {
            match api.delete(ROLE, &known.uuid).await {
                // The Clusters' own users have gone before.
                Err(error) if error.kind() == Refusal::Conflict && !error.in_doubt() => {
                    self.memory.keep_role(&uid, name);
                    kept.push(format!(
                        "the role {name} stays on AVI, as users of others have it ({})",
                        error.text()
                    ));
                }
                deleted => drop(deleted?),
            }
        }
        if !kept.is_empty() {
            return Ok(Notice::warning(reason::ROLE_KEPT, kept.join("; ")));
        }
        let described = change.describe(names);
        if is_repeated {
            return Err(Error::NotKept(described));
        }
        Ok(Notice::normal(reason::AVI_CONFIGURED, described))
    }

    /// Returns the client of the controller.
    pub(super) async fn avi_of(&self, adc: &AkoDeploymentConfig) -> Result<Avi, Error> {
        let admin = self.secrets.admin(&adc.spec).await?.map_err(Error::Credentials)?;
        let uid = adc.uid().unwrap_or_default();
        Ok(self.connections.client(&uid, &adc.spec.controller, &admin)?)
    }
}

/// An object that is gone needs no change.
fn existing<T>(result: Result<T, AviError>) -> Result<(), AviError> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        result => result.map(drop),
    }
}

/// Asks AVI for what the spec names, and for what the record does.
async fn facts(avi: &Avi, spec: Option<&AkoDeploymentConfigSpec>, record: &Items) -> Result<Facts, AviError> {
    let api = avi.api(Scope::admin());
    let mut facts = Facts { version: Some(avi.versions().await?.controller), ..Facts::default() };
    if let Some(spec) = spec {
        ask_for(&api, spec, &mut facts).await?;
    }
    for uuid in record.networks() {
        if facts.asked.insert(uuid.to_owned())
            && let Some(network) = api.find(NETWORK, uuid).await?
        {
            facts.networks.insert(uuid.to_owned(), network.configured_subnets);
        }
    }
    for uuid in record.profiles() {
        ask_profile(&api, uuid, &mut facts).await?;
    }
    for name in &record.roles {
        ask_role(&api, name, &mut facts).await?;
    }
    Ok(facts)
}

async fn ask_for(api: &Api, spec: &AkoDeploymentConfigSpec, facts: &mut Facts) -> Result<(), AviError> {
    let cloud = api.by_name(CLOUD, &spec.cloud_name, &Query::new()).await?.at_most_one()?;
    let Some(cloud) = cloud else { return Ok(()) };
    let profile = cloud.ipam_provider_ref.as_ref().and_then(|profile| profile.uuid()).map(str::to_owned);
    facts.cloud = Some(Cloud { profile: profile.clone(), is_of_vcenter: cloud.vtype == VCENTER_CLOUD });
    if let Some(profile) = profile {
        ask_profile(api, &profile, facts).await?;
    }
    let in_cloud = Query::new().cloud_uuid(&cloud.meta.uuid);
    let group = api.by_name(SE_GROUP, &spec.service_engine_group, &in_cloud).await?.at_most_one()?;
    facts.has_group = group.is_some();
    for kind in role::shared(spec) {
        ask_role(api, kind.name(), facts).await?;
    }
    for name in spec.networks().collect::<BTreeSet<_>>() {
        if let Some(network) = api.by_name(NETWORK, name, &in_cloud).await?.at_most_one()? {
            let uuid = network.meta.uuid;
            facts.asked.insert(uuid.clone());
            facts.names.insert(name.to_owned(), uuid.clone());
            if let Some(context) = network.vrf_context_ref.as_ref().and_then(Ref::uuid) {
                facts.contexts.insert(name.to_owned(), context.to_owned());
            }
            facts.networks.insert(uuid, network.configured_subnets);
        }
    }
    Ok(())
}

async fn ask_role(api: &Api, name: &str, facts: &mut Facts) -> Result<(), AviError> {
    if !facts.asked.insert(name.to_owned()) {
        return Ok(());
    }
    let all = api.all(ROLE, &Query::new().name(name)).await?;
    let is_here = |role: &&Role| {
        let tenant = role.meta.tenant_ref.as_ref().and_then(Ref::uuid);
        role.meta.name == name && tenant.is_none_or(|tenant| tenant == ADMIN_TENANT)
    };
    if let Some(found) = all.iter().find(is_here)
        && let (Some(kind), Some(version)) = (role::of_name(name), facts.version)
    {
        let is_wrong = role::sync(&mut found.clone(), kind, version);
        facts.roles.insert(name.to_owned(), seen::Role { uuid: found.meta.uuid.clone(), is_wrong });
    }
    Ok(())
}

async fn ask_profile(api: &Api, uuid: &str, facts: &mut Facts) -> Result<(), AviError> {
    if !facts.asked.insert(uuid.to_owned()) {
        return Ok(());
    }
    let profile = api.find(IPAM_PROFILE, uuid).await?;
    if let Some(internal) = profile.and_then(|profile| profile.internal_profile) {
        let networks = internal.usable_networks.iter().filter_map(|usable| usable.nw_ref.uuid());
        facts.profiles.insert(uuid.to_owned(), networks.map(str::to_owned).collect());
    }
    Ok(())
}
