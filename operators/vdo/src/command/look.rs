//! Looks at the cluster once, as the operator does in each pass: reads it, asks the vCenters, runs the preflight checks. Writes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use infra_clients::download::{Downloader, Limits};
use infra_clients::{Failure as _, Trust};
use jiff::SignedDuration;
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use operator_kit::{Cache, Clock, Guarded, Key, Kind, Triggers};
use serde::Serialize;

use super::access::{Access, Sources};
use super::error::Error;
use crate::api::{CompatibilityMatrix, DriverSet, VSphereConnection, VdoConfig, VsphereCloudConfig};
use crate::checkup::{self, Checkups};
use crate::connection::{Answers, Connection, Login, Logins, Refusal, ask};
use crate::fetch::Fetcher;
use crate::installer::{Asks, Looks, Memory, Record, Seen, Shared, fetch, observe, set};
use crate::metrics::Meters;
use crate::plan::{Drivers, Hold};
use crate::preflight::Finding;
use crate::program::OPERATOR;
use crate::wakes::{Caches, Wakes};
use crate::watched::BriefNode;

/// Rounds in which files are fetched: a matrix names the manifests.
const ROUNDS: usize = 4;

/// A look at the cluster.
pub(super) struct Look {
    pub(super) shared: Shared,
    /// The vCenters, as they have answered now.
    pub(super) vcenters: Vec<VcenterSeen>,
}

/// A vCenter, as it has answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VcenterSeen {
    /// Its object, such as `VsphereCloudConfig default/vdo`.
    pub(super) object: String,
    /// Its address, where the object says it.
    pub(super) server: Option<String>,
    /// Its version.
    pub(super) version: Option<String>,
    /// Machines that the account sees.
    pub(super) machines: usize,
    /// Why no driver can use it.
    pub(super) problem: Option<String>,
}

/// An object that asks for drivers, and what was seen for it.
pub(super) struct Asked {
    /// What it is, such as `DriverSet default/drivers`.
    pub(super) object: String,
    pub(super) seen: Seen,
    /// What the preflight checks have found; `None` if they have not run.
    pub(super) findings: Option<Vec<Finding>>,
}

impl Look {
    /// Reads the cluster and asks the vCenters.
    pub(super) async fn new(client: Client, access: &Access, sources: &Sources) -> Result<Self, Error> {
        Self::with(client, access, sources, |_| ()).await
    }

    /// Reads the cluster, with VDOConfigs as `change` makes them, and asks the vCenters.
    pub(super) async fn with(
        client: Client,
        access: &Access,
        sources: &Sources,
        change: impl Fn(&mut Guarded<VdoConfig>),
    ) -> Result<Self, Error> {
        let mut configs = own::<VdoConfig>(&client).await?;
        configs.iter_mut().for_each(change);
        let caches = Caches {
            vdo_configs: configs.into_iter().collect(),
            clouds: own(&client).await?.into_iter().collect(),
            driver_sets: newer(&client).await?,
            connections: newer(&client).await?,
            matrices: newer(&client).await?,
        };
        let shared = shared(client, caches, access, sources).await?;
        shared.remember().await?;
        let mut look = Self { shared, vcenters: Vec::new() };
        look.ask::<VsphereCloudConfig>(look.shared.caches.clouds.clone()).await?;
        look.ask::<VSphereConnection>(look.shared.caches.connections.clone()).await?;
        Ok(look)
    }

    /// Asks all vCenters of a kind.
    async fn ask<C: Connection>(&mut self, all: Cache<C>) -> Result<(), Error> {
        let mut all = all.all();
        all.sort_by_key(|connection| Key::of(&**connection));
        for connection in all {
            let login = self.shared.logins.read(&*connection).await?;
            let seen = self.verify(&*connection, &login).await;
            self.vcenters.push(seen);
        }
        Ok(())
    }

    async fn verify<C: Connection>(&self, connection: &C, login: &Login) -> VcenterSeen {
        let mut seen = VcenterSeen {
            object: format!("{} {}", C::KIND, Key::of(connection)),
            server: None,
            version: None,
            machines: 0,
            problem: None,
        };
        let vcenter = match &login.vcenter {
            Ok(vcenter) => vcenter,
            Err(hold) => return VcenterSeen { problem: Some(hold.message.clone()), ..seen },
        };
        let (uid, now) = (connection.uid().unwrap_or_default(), self.shared.clock.now());
        seen.server = Some(format!("{}:{}", vcenter.server, vcenter.port));
        match ask(vcenter, login.identity.clone(), now).await {
            Ok(answer) => {
                seen.version = Some(answer.release.clone());
                seen.machines = answer.machines.len();
                let missing = answer.missing.join(", ");
                seen.problem = (!missing.is_empty()).then(|| {
                    format!("the account sees no datacenter with these names: {missing}; correct them, or grant it the right to read them")
                });
                self.shared.answers.set(&uid, answer);
            }
            Err(error) => {
                let message = format!("{error}: {}", error.remedy());
                seen.problem = Some(message.clone());
                if error.kind().is_refused_login() {
                    let hold = Hold { reason: error.reason(), message };
                    let refusal = Refusal { identity: login.identity.clone(), at: now, hold };
                    self.shared.answers.refuse(&uid, refusal);
                }
            }
        }
        seen
    }

    /// Looks at what asks for drivers, each with its files, and runs the preflight checks for it. `is_meant` selects by the key.
    pub(super) async fn asked(&self, is_meant: impl Fn(&Key) -> bool) -> Result<Vec<Asked>, Error> {
        let (configs, sets) = (self.shared.caches.vdo_configs.all(), self.shared.caches.driver_sets.all());
        let mut asked = Vec::new();
        for object in configs.iter().filter(|object| is_meant(&Key::of(&***object))) {
            asked.push(self.one(&**object).await?);
        }
        for object in sets.iter().filter(|object| is_meant(&Key::of(&***object))) {
            asked.push(self.one(&**object).await?);
        }
        asked.sort_by(|a, b| a.object.cmp(&b.object));
        Ok(asked)
    }

    async fn one<K: Asks>(&self, object: &K) -> Result<Asked, Error> {
        let mut seen = observe(&self.shared, object).await?;
        for _ in 0..ROUNDS {
            if seen.files.is_empty() {
                break;
            }
            for file in &seen.files {
                fetch(&self.shared, file).await?;
            }
            seen = observe(&self.shared, object).await?;
        }
        if let Some(order) = seen.checkup_due().cloned() {
            checkup::run(&self.shared, &order).await?;
            seen = observe(&self.shared, object).await?;
        }
        let known = seen.checkup.as_ref().and_then(|(_, known)| known.findings.as_deref());
        let findings = known.cloned();
        Ok(Asked { object: format!("{} {}", K::KIND, Key::of(object)), seen, findings })
    }
}

impl Shared {
    /// Remembers how far the drivers are that are installed, as the operator does after it has applied them.
    async fn remember(&self) -> Result<(), Error> {
        for driver in crate::matrix::Driver::ALL {
            let set = self.sets.get(driver);
            let Some(record) = set.notes().await?.as_ref().map(Record::read) else { continue };
            let waiting = set.health().await?;
            let waiting = waiting.into_iter().find_map(|(member, why)| Some(format!("{member}: {}", why?)));
            self.memory.applying(driver, &record.digest, self.clock.now());
            self.memory.applied(driver, waiting, true);
        }
        Ok(())
    }
}

/// Reads all objects of one of the operator's kinds.
pub(super) async fn own<K: Kind<DynamicType = ()>>(client: &Client) -> Result<Vec<Guarded<K>>, Error> {
    let list = Api::<Guarded<K>>::all(client.clone()).list(&ListParams::default()).await;
    Ok(list.map_err(not_installed::<K>)?.items)
}

/// Reads all objects of a kind that the original does not have.
async fn newer<K: Kind<DynamicType = ()>>(client: &Client) -> Result<Cache<K>, Error> {
    match own(client).await {
        Err(Error::NotInstalled(_)) => Ok(Cache::default()),
        all => Ok(all?.into_iter().collect()),
    }
}

/// Returns that the operator is not installed, where the API server does not know one of its kinds.
pub(super) fn not_installed<K: Kind<DynamicType = ()>>(error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 404 => Error::NotInstalled(K::kind(&()).into_owned()),
        error => error.into(),
    }
}

async fn every<K: Kind<DynamicType = ()>>(client: &Client) -> Result<Cache<K>, Error> {
    let list = Api::<Guarded<K>>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(list.items.into_iter().collect())
}

async fn shared(client: Client, caches: Caches, access: &Access, sources: &Sources) -> Result<Shared, Error> {
    let memory = Arc::new(Memory::default());
    let wakes = Wakes {
        vdo_configs: Triggers::<VdoConfig>::default(),
        driver_sets: Triggers::<DriverSet>::default(),
        clouds: Triggers::<VsphereCloudConfig>::default(),
        connections: Triggers::<VSphereConnection>::default(),
        matrices: Triggers::<CompatibilityMatrix>::default(),
        caches: caches.clone(),
        memory: Arc::clone(&memory),
    };
    let manager = OPERATOR.field_manager("drivers");
    let fetcher = Fetcher {
        client: client.clone(),
        sources: access.operator_namespace.clone(),
        namespace: access.operator_namespace.clone(),
        downloader: Downloader::new(&Trust::System, (OPERATOR.name, OPERATOR.version), Limits::default())?,
        directory: sources.files.clone(),
        pull_secret: sources.pull_secret.clone(),
        aside: Some(Arc::new(Mutex::new(BTreeMap::new()))),
    };
    Ok(Shared {
        asked: None,
        nodes: every::<BriefNode>(&client).await?,
        csi_nodes: every::<CSINode>(&client).await?,
        clock: Clock::default(),
        caches,
        logins: Logins { client: client.clone() },
        answers: Arc::new(Answers::default()),
        sets: Drivers::of(|driver| set(&client, &manager, driver)),
        memory,
        looks: Looks::default(),
        fetcher,
        wakes,
        checkups: Arc::new(Checkups::default()),
        meters: Arc::new(Meters::register(&prometheus::Registry::new())?),
        manager,
        client,
        upgrade_timeout: SignedDuration::try_from(sources.upgrade_timeout).unwrap_or(SignedDuration::MAX),
    })
}
