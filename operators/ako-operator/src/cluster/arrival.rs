//! Looks at whether AKO can come to a Cluster from an AKODeploymentConfig of another place, before it leaves the place where it works. Asks AVI
//! and the workload cluster; changes nothing.

use std::collections::BTreeSet;

use infra_clients::capi::Cluster;
use kube::{Client, ResourceExt};

use super::Clusters;
use super::account::is_set_up;
use super::definitions::{self, Definitions};
use super::live::Live;
use super::observe::Offered;
use super::plan::find_missing;
use super::seen::Obstacle;
use crate::adc::tenants;
use crate::api::{AkoDeploymentConfig, Place};
use crate::delivery::{Way, awaited_kinds, form_of, try_out};
use crate::user::account::Account;

impl Clusters {
    /// Returns why AKO cannot come from an AKODeploymentConfig that is Ready, in words.
    pub(super) async fn check_arrival(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        offered: &Result<Offered, Obstacle>,
        client: &Client,
    ) -> Result<(), String> {
        let offered = offered.as_ref().map_err(|obstacle| obstacle.problem().message.clone())?;
        if let Account::Refused(problem) | Account::Waits(problem, _) = &offered.account {
            return Err(problem.message.clone());
        }
        let way = self.ways.of(cluster);
        // Ready says that one way works, which may be that of other Clusters.
        try_out(&offered.install, way, form_of(cluster)).map_err(|problem| problem.message)?;
        self.check_tenant(cluster, adc, offered).await?;
        if matches!(way, Way::Direct(_)) {
            self.check_kinds(adc, client).await?;
        }
        Ok(())
    }

    /// Asks AVI about the tenant of the Cluster: of one that is not recorded, the last answer says nothing.
    async fn check_tenant(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        offered: &Offered,
    ) -> Result<(), String> {
        let answer = self.answer(adc, &offered.admin.version).ok_or("AVI is being asked")?;
        let uid = adc.uid().unwrap_or_default();
        let avi = self.connections.client(&uid, &adc.spec.controller, &offered.admin);
        let avi = avi.map_err(|error| error.to_string())?;
        let tenant = Place::from(&adc.spec).tenant_of(cluster.namespace(), cluster.name());
        let (needed, mut answer) = (BTreeSet::from([tenant.clone()]), (*answer).clone());
        tenants::ask(&avi, &adc.spec, &needed, &BTreeSet::new(), &mut answer.facts)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(None) = answer.facts.tenants.get(&tenant) {
            let refused = tenants::refusal_of_missing(&adc.spec, &tenant);
            return refused.map_or(Ok(()), |problem| Err(problem.message));
        }
        is_set_up(cluster, adc, &answer, &offered.account).map_err(|problem| problem.message)?;
        Ok(())
    }

    async fn check_kinds(&self, adc: &AkoDeploymentConfig, client: &Client) -> Result<(), String> {
        let (bundle, awaited) = match self.bundle.as_ref().map(|files| files.current()) {
            Some(Err(problem)) => return Err(problem.message),
            Some(Ok(bundle)) => (Some(bundle), awaited_kinds(&adc.spec)),
            None => (None, awaited_kinds(&adc.spec)),
        };
        let targets = definitions::targets(bundle.as_deref(), &awaited);
        let live = Live::find(client, targets).await.map_err(|error| error.to_string())?;
        find_missing(&Definitions::compare(bundle.as_deref(), &awaited, &live)).map_or(Ok(()), Err)
    }
}
