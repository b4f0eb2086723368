//! Looks at whether AKO can come to a Cluster from an AKODeploymentConfig of another place, before it leaves the place where it works. Asks AVI
//! and the workload cluster; changes nothing.

use std::collections::BTreeSet;

use infra_clients::capi::Cluster;
use kube::{Client, ResourceExt};

use super::Clusters;
use super::account::{describe_taken, is_set_up, user_of};
use super::definitions::{self, Definitions};
use super::live::Live;
use super::observe::Offered;
use super::plan::find_missing;
use super::seen::Obstacle;
use crate::adc::tenants;
use crate::api::{AkoDeploymentConfig, Place, Works, reason};
use crate::delivery::{Way, awaited_kinds, form_of, try_out};
use crate::error::Error;
use crate::problem::Problem;
use crate::user::account::Account;
use crate::user::avi;
use crate::user::mark::{Marks, Whose};

impl Clusters {
    /// Returns why AKO cannot come from an AKODeploymentConfig that is Ready.
    pub(super) async fn check_arrival(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        offered: &Result<Offered, Obstacle>,
        client: &Client,
    ) -> Result<(), Problem> {
        let lacks = |message| Problem { reason: reason::PLACE_CHANGED, message };
        let offered = offered.as_ref().map_err(|obstacle| lacks(obstacle.problem().message.clone()))?;
        self.check_place(cluster, adc, offered, client).await.map_err(lacks)?;
        if offered.account == Account::Other {
            return Ok(());
        }
        let is_taken = self.is_user_taken(cluster, adc, offered).await;
        if is_taken.map_err(|error| lacks(error.to_string()))? {
            return Err(Problem { reason: reason::USER_TAKEN, message: describe_taken(cluster) });
        }
        Ok(())
    }

    async fn check_place(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        offered: &Offered,
        client: &Client,
    ) -> Result<(), String> {
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

    /// Returns whether the controller has a user of others of the name that the Cluster's is to have. On the one where AKO works, the Secret may
    /// say that a user without a mark is its own; on another one it says nothing.
    async fn is_user_taken(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        offered: &Offered,
    ) -> Result<bool, Error> {
        let known = self.known(cluster);
        let before = known.recorded().map(|adc| adc.place());
        let before = before.as_ref().or(known.works.as_ref().and_then(Works::place));
        let is_here = before.is_some_and(|place| place.is_at(&adc.spec.controller));
        let uid = adc.uid().unwrap_or_default();
        let avi = self.connections.client(&uid, &adc.spec.controller, &offered.admin)?;
        if is_here {
            return self.is_of_others(cluster, adc, &avi).await;
        }
        Ok(avi::whose(&avi, &user_of(cluster), &Marks::new(&self.id)).await? == Whose::Others)
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
