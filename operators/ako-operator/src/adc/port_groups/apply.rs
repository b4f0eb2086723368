//! Reads what is known of port groups, asks the vCenter, changes it, and looks at the tasks of the changes.

use std::collections::BTreeSet;

use infra_clients::vsphere::networks::{Networks, PortGroup as Found};
use infra_clients::vsphere::{Error as VcenterError, Kind, MoRef};
use kube::ResourceExt;
use operator_kit::Notice;
use serde_json::json;

use super::super::Adcs;
use super::super::record::Items;
use super::plan::{asks_for, in_use};
use super::{Answer, Basis, Facts, PortGroupChange, Running, Seen, is_marked};
use crate::api::{AddedPortGroup, AkoDeploymentConfig, reason};
use crate::error::Error;
use crate::problem::Problem;
use crate::secrets::VcenterAccount;
use crate::validation::wrong_references;

impl Adcs {
    /// Reads what is known of the port groups of an AKODeploymentConfig. Asks the vCenter nothing.
    pub(in super::super) async fn look_at_groups(
        &self,
        adc: &AkoDeploymentConfig,
        claimed: &Items,
    ) -> Result<Seen, Error> {
        let uid = adc.uid().unwrap_or_default();
        let record = record_of(adc);
        if adc.spec.port_groups.is_empty() && record.is_empty() {
            return Ok(Seen { uid, ..Seen::default() });
        }
        // The API server would refuse to look for them.
        if let Some((field, message)) = wrong_references(&adc.spec).first() {
            let problem = Problem { reason: reason::INVALID_SPEC, message: format!("{field}: {message}") };
            let basis = Basis { record, ..Basis::default() };
            return Ok(Seen { uid, problem: Some(problem), basis, ..Seen::default() });
        }
        let account = self.account(adc).await?;
        let problem = account.as_ref().err().cloned();
        let credentials = account.map(|account| account.version).unwrap_or_default();
        Ok(Seen {
            problem,
            basis: Basis { generation: adc.metadata.generation, credentials, record },
            answer: self.memory.vcenter(&uid),
            task: self.memory.task(&uid),
            used_on_avi: claimed.networks().into_iter().map(str::to_owned).collect(),
            uid,
        })
    }

    /// Asks the vCenter, and remembers the answer.
    pub(in super::super) async fn ask_vcenter(&self, adc: &AkoDeploymentConfig) -> Result<(), Error> {
        let uid = adc.uid().unwrap_or_default();
        // The next pass says what is missing.
        let Ok(account) = self.account(adc).await? else { return Ok(()) };
        let networks = self.networks(adc, &account)?;
        let basis = Basis {
            generation: adc.metadata.generation,
            credentials: account.version,
            record: record_of(adc),
        };
        let facts = facts(&networks, adc, &basis.record).await?;
        self.memory.vcenter_answered(&uid, Answer { basis, at: self.kit.clock().now(), facts });
        Ok(())
    }

    /// Writes the record.
    pub(in super::super) async fn record_groups(
        &self,
        adc: &AkoDeploymentConfig,
        record: Vec<AddedPortGroup>,
    ) -> Result<(), Error> {
        let record = if record.is_empty() { json!(null) } else { json!(record) };
        Ok(self.adcs.merge_status(&self.manager, adc, json!({ "portGroups": record })).await?)
    }

    /// Submits a change. Nothing is changed that has no mark now, whatever was seen before.
    pub(in super::super) async fn change_group(
        &self,
        adc: &AkoDeploymentConfig,
        change: PortGroupChange,
    ) -> Result<Option<Notice>, Error> {
        let uid = adc.uid().unwrap_or_default();
        let account = self.account(adc).await?.map_err(|problem| Error::Credentials(problem.message))?;
        let networks = self.networks(adc, &account)?;
        let seen = self.memory.vcenter(&uid).map(|answer| answer.facts.vcenter.clone());
        // Whatever becomes of the request: what is remembered is outdated.
        self.memory.forget_vcenter(&uid);
        if seen.as_deref() != Some(&*networks.vcenter().await?) {
            return Ok(None);
        }
        let is_repeated = self.memory.has_changed(&uid, &change);
        let submitted = match submit(&networks, &change, &uid).await {
            Ok(Some(task)) => task,
            Ok(None) => return Ok(None),
            Err(error) => return failed(&networks, &change, &uid, error).await.map(|()| None),
        };
        let now = self.kit.clock().now();
        let running = Running { task: submitted, change: change.clone(), submitted: now, looked: now };
        self.memory.submitted(&uid, running);
        if is_repeated {
            return Err(Error::PortGroupNotKept(change.describe()));
        }
        Ok(Some(Notice::normal(reason::PORT_GROUP_CONFIGURED, change.describe())))
    }

    /// Looks whether the task has ended.
    pub(in super::super) async fn look_at_task(&self, adc: &AkoDeploymentConfig) -> Result<(), Error> {
        let uid = adc.uid().unwrap_or_default();
        let Some(running) = self.memory.task(&uid) else { return Ok(()) };
        let account = self.account(adc).await?.map_err(|problem| Error::Credentials(problem.message))?;
        let networks = self.networks(adc, &account)?;
        let task = networks.task(&running.task).await?;
        if task.as_ref().is_some_and(|task| !task.state.ended()) {
            let looked = self.kit.clock().now();
            self.memory.submitted(&uid, Running { looked, ..running });
            return Ok(());
        }
        self.memory.forget_vcenter(&uid);
        self.memory.ended(&uid);
        if let Some(error) = task.and_then(|task| task.error) {
            return failed(&networks, &running.change, &uid, error).await;
        }
        self.memory.changed(&uid, running.change);
        Ok(())
    }

    /// Reads the account; the inner error says what is missing.
    async fn account(&self, adc: &AkoDeploymentConfig) -> Result<Result<VcenterAccount, Problem>, Error> {
        let Some(of) = &adc.spec.vcenter else {
            let message =
                "spec.vcenter is missing: write it back until status.portGroups is empty".to_owned();
            return Ok(Err(Problem { reason: reason::INVALID_SPEC, message }));
        };
        let account = self.secrets.vcenter(of).await?;
        Ok(account.map_err(|message| Problem { reason: reason::CREDENTIALS_MISSING, message }))
    }

    fn networks(&self, adc: &AkoDeploymentConfig, account: &VcenterAccount) -> Result<Networks, Error> {
        let server = adc.spec.vcenter.as_ref().map(|vcenter| &*vcenter.server).unwrap_or_default();
        Ok(self.vcenters.client(&adc.uid().unwrap_or_default(), server, account)?)
    }
}

fn record_of(adc: &AkoDeploymentConfig) -> Vec<AddedPortGroup> {
    adc.status.as_ref().map(|status| status.port_groups.clone()).unwrap_or_default()
}

/// Submits a change; `None` if what it is about is gone, or has no mark.
async fn submit(
    networks: &Networks,
    change: &PortGroupChange,
    uid: &str,
) -> Result<Option<MoRef>, VcenterError> {
    let submitted = match change {
        PortGroupChange::Create(switch, wanted) => match switch.parse() {
            Ok(switch) => networks.create(&switch, &wanted.spec()).await,
            Err(_) => return Ok(None),
        },
        PortGroupChange::Rename(reference, wanted) => {
            let Some(now) = ours(networks, reference, uid).await? else { return Ok(None) };
            networks.rename(&now.moref, &wanted.name).await
        }
        PortGroupChange::Reconfigure(reference, wanted) => {
            let Some(now) = ours(networks, reference, uid).await? else { return Ok(None) };
            networks.reconfigure(&now.moref, &now.version, &wanted.spec()).await
        }
        PortGroupChange::Destroy(reference, _) => {
            let Some(now) = ours(networks, reference, uid).await? else { return Ok(None) };
            networks.destroy(&now.moref).await
        }
    };
    submitted.map(Some)
}

/// Reads a port group; `None` if it is gone, or is not ours.
async fn ours(networks: &Networks, reference: &str, uid: &str) -> Result<Option<Found>, VcenterError> {
    let Ok(reference) = reference.parse() else { return Ok(None) };
    Ok(networks.port_group(&reference).await?.filter(|found| is_marked(found, uid)))
}

/// Returns the error of a change that failed. One that was made all the same by an earlier request has none.
async fn failed(
    networks: &Networks,
    change: &PortGroupChange,
    uid: &str,
    error: VcenterError,
) -> Result<(), Error> {
    match (change, error.kind()) {
        (PortGroupChange::Create(switch, wanted), Kind::DuplicateName) => {
            let Ok(switch) = switch.parse() else { return Err(error.into()) };
            let found = networks.port_group_named(&switch, &wanted.name).await?;
            if found.is_some_and(|found| is_marked(&found, uid)) { Ok(()) } else { Err(error.into()) }
        }
        (PortGroupChange::Destroy(reference, name), Kind::InUse) => {
            let Ok(reference) = reference.parse() else { return Err(error.into()) };
            Err(Error::PortGroupInUse(in_use(name, &networks.users(&reference).await?)))
        }
        _ => Err(error.into()),
    }
}

/// Asks the vCenter for what the spec and the record name.
async fn facts(
    networks: &Networks,
    adc: &AkoDeploymentConfig,
    record: &[AddedPortGroup],
) -> Result<Facts, VcenterError> {
    let mut facts = Facts { vcenter: networks.vcenter().await?.to_string(), ..Facts::default() };
    let is_deleting = adc.metadata.deletion_timestamp.is_some();
    let declared = if is_deleting { &[] } else { adc.spec.port_groups.as_slice() };
    for switch in declared.iter().map(|group| &group.switch).collect::<BTreeSet<_>>() {
        let found = match networks.switch(switch).await {
            Err(error) if matches!(error.kind(), Kind::Config | Kind::Ambiguous) => Err(error.to_string()),
            found => Ok(found?.moref.as_str().to_owned()),
        };
        facts.switches.insert(switch.clone(), found);
    }
    let mut names = BTreeSet::new();
    for added in record {
        match added.reference.as_deref().map(str::parse::<MoRef>) {
            Some(Ok(reference)) => {
                let Some(found) = networks.port_group(&reference).await? else { continue };
                if is_deleting || !asks_for(&adc.spec, added) {
                    let users = networks.users(&reference).await?;
                    facts.users.insert(reference.as_str().to_owned(), users);
                }
                facts.groups.insert(reference.as_str().to_owned(), found);
            }
            _ => _ = names.insert((added.switch.clone(), added.name.clone())),
        }
    }
    for group in declared {
        if let Some(Ok(switch)) = facts.switches.get(&group.switch)
            && facts.named(switch, &group.name).is_none()
        {
            names.insert((switch.clone(), group.name.clone()));
        }
    }
    for (switch, name) in names {
        let Ok(switch) = switch.parse() else { continue };
        if let Some(found) = networks.port_group_named(&switch, &name).await? {
            facts.groups.insert(found.moref.as_str().to_owned(), found);
        }
    }
    Ok(facts)
}
