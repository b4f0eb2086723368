//! Asks about tenants beside the rest, makes them, and removes them.

use infra_clients::avi::{Scope, TENANT};
use kube::ResourceExt;
use operator_kit::{KitError, Notice};

use super::super::Adcs;
use super::super::plan::needed;
use super::super::record::Items;
use super::super::seen::{Facts, Tenant};
use super::{TenantChange, ask, new};
use crate::api::{AkoDeploymentConfig, Place, reason};
use crate::error::{Error, is_refused};

impl Adcs {
    /// Asks AVI about tenants, adds that to the answer, and wakes the Clusters whose tenants are new in it.
    pub(in super::super) async fn ask_tenants(&self, adc: &AkoDeploymentConfig) -> Result<(), Error> {
        let uid = adc.uid().unwrap_or_default();
        let status = adc.status.clone().unwrap_or_default();
        let record = status.added.as_ref().map(Items::from).unwrap_or_default().tenants;
        let mut facts = Facts::default();
        let avi = self.avi_of(adc).await?;
        ask(&avi, &adc.spec, &needed(adc, &status.delivered_to), &record, &mut facts).await?;
        let before = self.memory.answer(&uid);
        let is_new = |name: &String| {
            let known = before.as_ref().and_then(|answer| answer.facts.tenants.get(name)?.as_ref());
            known.is_none() && facts.tenants.get(name).is_some_and(Option::is_some)
        };
        let place = Place::from(&adc.spec);
        self.memory.tenants_answered(&uid, &facts);
        for cluster in status.clusters() {
            if is_new(&place.tenant_of(cluster.namespace(), cluster.name())) {
                self.cluster_triggers.wake(&cluster);
            }
        }
        Ok(())
    }

    /// Makes and removes tenants. Which ones there are afterwards is asked next. One that AVI refuses to remove stays.
    pub(in super::super) async fn change_tenants(
        &self,
        adc: &AkoDeploymentConfig,
        change: TenantChange,
    ) -> Result<Option<Notice>, Error> {
        let uid = adc.uid().unwrap_or_default();
        let answer = self.memory.answer(&uid).ok_or(KitError::StillChanging)?;
        let api = self.avi_of(adc).await?.api(Scope::admin());
        // Whatever becomes of the requests: what is remembered is outdated.
        self.memory.forget_tenants(&uid, change.missing.iter().chain(&change.removed));
        let mut done = change;
        for name in &done.missing {
            api.create_or_find(TENANT, &new(name, &adc.name_any(), &adc.spec)).await?;
        }
        for name in std::mem::take(&mut done.removed) {
            let Some(Some(known)) = answer.facts.tenants.get(&name) else { continue };
            match api.delete(TENANT, &known.uuid).await {
                Err(error) if is_refused(&error) => {
                    let refusal = Some(error.text().to_owned());
                    self.memory.tenant_refused(&uid, &name, Tenant { refusal, ..known.clone() });
                }
                removed => {
                    removed?;
                    done.removed.insert(name);
                }
            }
        }
        if done == TenantChange::default() {
            return Ok(None);
        }
        let described = done.describe();
        if self.memory.changes_tenants(&uid, &done) {
            return Err(Error::NotKept(described));
        }
        Ok(Some(Notice::normal(reason::AVI_CONFIGURED, described)))
    }
}
