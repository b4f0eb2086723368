//! How a driver is to run: its version, and its objects.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use operator_kit::Key;

use super::super::files::{self, Chosen, Lack};
use super::super::record::Record;
use super::super::seen::File;
use super::super::{Asks, Shared};
use crate::api::{ManagementState, reason};
use crate::checkup::Order;
use crate::choose::{self, Choice, Policy, Surroundings, choose};
use crate::config::{CSI_NAMESPACE, CSI_SECRET, ClusterId, Vcenter};
use crate::connection::{Answer, Connection as _, Login};
use crate::desired::Desired;
use crate::error::Error;
use crate::matrix::Driver;
use crate::plan::{Drivers, Hold, Target};
use crate::problem::Problem;
use crate::render::{Rendered, render};
use crate::version::{Kubernetes, Version};

/// A vCenter that does not show machines is asked again after this time.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// ConfigMap with the cluster id that CSI has made itself.
const OWN_CLUSTER_ID: &str = "vsphere-csi-cluster-id";

/// How a driver is to run.
pub(super) struct Aim {
    /// Its version, or why it is not known how it is to run.
    pub(super) target: Result<Target, Hold>,
    pub(super) choice: Option<Choice>,
    pub(super) rendered: Option<Arc<Rendered>>,
}

impl Aim {
    /// Returns that it is not known how the driver is to run.
    pub(super) fn none(hold: Hold) -> Self {
        Self { target: Err(hold), choice: None, rendered: None }
    }
}

/// Finds out how drivers are to run.
pub(super) struct Aims<'a, K: Asks> {
    shared: &'a Shared,
    object: &'a K,
    desired: &'a Desired,
    records: &'a Drivers<Option<Record>>,
    /// Whether another tool has installed CPI.
    has_foreign_cpi: bool,
    links: BTreeMap<String, Option<Link>>,
    chosen: Option<Result<Chosen, Lack>>,
    kubernetes: Option<Kubernetes>,
    /// The version of CSI that was chosen.
    csi: Option<Version>,
    /// What has to be downloaded first.
    pub(super) files: Vec<File>,
}

/// A connection, with what is known of its vCenter.
#[derive(Clone)]
struct Link {
    name: String,
    uid: String,
    login: Login,
    answer: Option<Arc<Answer>>,
}

impl<'a, K: Asks> Aims<'a, K> {
    pub(super) fn new(
        shared: &'a Shared,
        object: &'a K,
        desired: &'a Desired,
        records: &'a Drivers<Option<Record>>,
        has_foreign_cpi: bool,
    ) -> Self {
        let (links, chosen, kubernetes, files) = (BTreeMap::new(), None, None, Vec::new());
        let csi = None;
        Self { shared, object, desired, records, has_foreign_cpi, links, chosen, kubernetes, csi, files }
    }

    /// Returns how a driver is to run.
    pub(super) async fn aim(&mut self, driver: Driver, is_deleted: bool) -> Result<Aim, Error> {
        if is_deleted || self.desired.drivers.get(driver).state != ManagementState::Managed {
            return Ok(Aim::none(waits_for_nothing()));
        }
        match self.find(driver).await? {
            Ok(aim) => Ok(aim),
            Err(Lack::Hold(hold)) => Ok(Aim::none(hold)),
            Err(Lack::Files(files)) => {
                self.files.extend(files);
                let message = "its files are being fetched".to_owned();
                Ok(Aim::none(Hold { reason: reason::FILE_UNREACHABLE, message }))
            }
        }
    }

    async fn find(&mut self, driver: Driver) -> Result<Result<Aim, Lack>, Error> {
        let links = match self.links(driver).await? {
            Ok(links) => links,
            Err(hold) => return Ok(Err(hold.into())),
        };
        let surroundings = self.surroundings(&links).await?;
        if self.chosen.is_none() {
            self.chosen = Some(files::matrix(self.shared, self.object).await?);
        }
        let chosen = match self.chosen.as_ref() {
            Some(Ok(chosen)) => chosen,
            Some(Err(Lack::Hold(hold))) => return Ok(Err(hold.clone().into())),
            Some(Err(Lack::Files(files))) => return Ok(Err(Lack::Files(files.clone()))),
            None => return Ok(Err(waits_for_nothing().into())),
        };
        let installed = self.records.get(driver).as_ref().map(|record| &record.version);
        let mut policy = self.desired.drivers.get(driver).policy.policy(chosen.auto_upgrade, installed);
        if surroundings.vcenters.len() < links.len() {
            // A driver that runs is maintained also while a vCenter has not said which version it has.
            let Some(installed) = installed else { return Ok(Err(not_ready(&links).into())) };
            policy = Policy::Pinned(installed.clone());
        }
        let choice = choose(&chosen.matrix, driver, &surroundings, &policy, installed);
        if driver == Driver::Csi {
            self.csi.clone_from(&choice.version);
        }
        let rendered = match self.rendered(chosen, &choice, &links).await? {
            Ok(rendered) => rendered,
            Err(lack) => return Ok(Err(lack)),
        };
        // What a Secret is made of is not in the hash of its driver by itself.
        let mut sources: Vec<_> = links.iter().map(|link| link.login.identity.clone()).collect();
        if driver == Driver::Csi {
            sources.push(self.desired.in_secret());
        }
        let target = self.desired.target(&chosen.matrix, &choice, &rendered, &sources);
        // No driver gets an account that the vCenter has not accepted. One that runs with the account that it has is maintained.
        let is_verified =
            |link: &Link| link.answer.as_ref().is_some_and(|answer| answer.verifies(&link.login));
        let record = self.records.get(driver).as_ref();
        let is_same = |target: &Target| record.is_some_and(|record| record.digest == target.digest);
        if target.as_ref().is_ok_and(|target| !is_same(target)) && !links.iter().all(is_verified) {
            return Ok(Err(not_ready(&links).into()));
        }
        Ok(Ok(Aim { target, choice: Some(choice), rendered: rendered.ok().map(Arc::new) }))
    }

    /// Returns the connections of a driver.
    async fn links(&mut self, driver: Driver) -> Result<Result<Vec<Link>, Hold>, Error> {
        let mut links = Vec::new();
        for name in &self.desired.drivers.get(driver).connections {
            if !self.links.contains_key(name) {
                let link = link(self.shared, self.object, name).await?;
                self.links.insert(name.clone(), link);
            }
            let Some(Some(link)) = self.links.get(name) else {
                let message = format!(
                    "the {} {name:?} does not exist: create it, or name another one",
                    K::Connection::KIND
                );
                return Ok(Err(Hold { reason: reason::CONNECTION_MISSING, message }));
            };
            if let Err(Hold { reason, message }) = &link.login.vcenter {
                let message = format!("{} {name}: {message}", K::Connection::KIND);
                return Ok(Err(Hold { reason, message }));
            }
            links.push(link.clone());
        }
        Ok(Ok(links))
    }

    async fn surroundings(&mut self, links: &[Link]) -> Result<Surroundings, Error> {
        let kubernetes = match self.kubernetes {
            Some(kubernetes) => kubernetes,
            None => self.shared.kubernetes().await?,
        };
        self.kubernetes = Some(kubernetes);
        let vcenters = links.iter().filter_map(|link| {
            let server = link.login.vcenter.as_ref().ok()?.server.clone();
            Some(choose::Vcenter { server, version: link.answer.as_ref()?.version? })
        });
        let wants_cpi = self.desired.drivers.cpi.state == ManagementState::Managed;
        let has_cpi = wants_cpi || self.has_foreign_cpi || self.records.cpi.is_some();
        Ok(Surroundings { kubernetes, vcenters: vcenters.collect(), has_cpi })
    }

    /// Returns the objects of the version that was chosen.
    async fn rendered(
        &self,
        chosen: &Chosen,
        choice: &Choice,
        links: &[Link],
    ) -> Result<Result<Result<Rendered, Vec<Problem>>, Lack>, Error> {
        let driver = choice.driver;
        let Some((version, release)) = choice
            .version
            .as_ref()
            .and_then(|version| Some((version.clone(), chosen.matrix.release(driver, version)?)))
        else {
            return Ok(Ok(Err(Vec::new())));
        };
        let namespace = self.object.namespace().unwrap_or_default();
        let manifests = match files::manifests(self.shared, &namespace, release).await? {
            Ok(manifests) => manifests,
            Err(lack) => return Ok(Err(lack)),
        };
        let vcenters = links.iter().filter_map(|link| link.login.vcenter.clone().ok()).collect();
        let configuration = match self.configuration(driver, &version, vcenters).await? {
            Ok(objects) => objects,
            Err(problems) => return Ok(Ok(Err(problems))),
        };
        let nodes = self.shared.nodes.all();
        let control_plane = nodes.iter().filter(|node| node.is_control_plane()).count();
        let mut settings = self.desired.settings(driver, version.clone(), control_plane);
        settings.is_upgrade =
            self.records.get(driver).as_ref().is_some_and(|record| record.version != version);
        Ok(Ok(render(manifests, configuration, &settings)))
    }

    /// Returns the objects that the driver reads.
    async fn configuration(
        &self,
        driver: Driver,
        version: &Version,
        vcenters: Vec<Vcenter>,
    ) -> Result<Result<Vec<DynamicObject>, Vec<Problem>>, Error> {
        Ok(match driver {
            Driver::Cni => Ok(Vec::new()),
            Driver::Cpi => self.desired.cpi(vcenters).files().map(|files| {
                [dynamic(&files.config), dynamic(&files.accounts.object())].into_iter().flatten().collect()
            }),
            Driver::Csi => {
                let id = self.shared.cluster_id().await?;
                let files = self.desired.csi(version.clone(), vcenters, id).files();
                files.map(|files| dynamic(&files.object()).into_iter().collect())
            }
        })
    }

    /// Returns what the preflight checks look at; `None` while an account has not been verified, or without a vCenter.
    pub(super) fn order(&self) -> Option<Order> {
        let links: Vec<_> = self.links.values().map(Option::as_ref).collect::<Option<_>>()?;
        let mut vcenters = Vec::new();
        let mut answered = Timestamp::UNIX_EPOCH;
        let mut about = format!("{:?}", (&self.desired.skipped, &self.desired.zones, &self.desired.shares));
        for link in links {
            let answer = link.answer.as_ref().filter(|answer| answer.verifies(&link.login))?;
            answered = answered.max(answer.at);
            about = format!("{about},{}", answer.identity);
            vcenters.push((link.uid.clone(), link.name.clone(), link.login.vcenter.clone().ok()?));
        }
        let mut hasher = DefaultHasher::new();
        let mut uuids: Vec<_> = self.shared.nodes.all().iter().map(|node| node.uuid().to_owned()).collect();
        uuids.sort_unstable();
        uuids.hash(&mut hasher);
        let order = Order {
            uid: self.object.meta().uid.clone().unwrap_or_default(),
            about,
            nodes: hasher.finish(),
            answered,
            desired: Arc::new(self.desired.clone()),
            csi: self.csi.clone(),
            ours: Drivers::of(|driver| self.records.get(driver).is_some()),
            vcenters,
        };
        Some(order).filter(|order| !order.vcenters.is_empty())
    }

    /// Returns the Nodes whose machine no account of CPI sees, if that is known; and the connections to ask again.
    pub(super) fn invisible(&self) -> (Option<Vec<String>>, Vec<(String, String)>) {
        let names = &self.desired.drivers.get(Driver::Cpi).connections;
        let links: Vec<_> = names.iter().filter_map(|name| self.links.get(name)?.as_ref()).collect();
        let current: Vec<_> = links
            .iter()
            .filter_map(|link| link.answer.as_ref().filter(|answer| answer.identity == link.login.identity))
            .collect();
        if current.is_empty() || current.len() < names.len() {
            return (None, Vec::new());
        }
        let nodes = self.shared.nodes.all();
        let is_seen = |uuid: &str| current.iter().any(|answer| answer.sees(uuid));
        let unseen = nodes.iter().filter(|node| !is_seen(node.uuid()));
        let mut unseen: Vec<_> = unseen.map(|node| node.name_any()).collect();
        unseen.sort_unstable();
        let now = self.shared.clock.now();
        let is_old = |link: &&&Link| {
            let answer = link.answer.as_ref();
            let is_asked = self.shared.answers.is_stale(&link.uid);
            !is_asked && answer.is_some_and(|answer| now.duration_since(answer.at) >= AGAIN)
        };
        let old = links.iter().filter(|_| !unseen.is_empty()).filter(is_old);
        let old = old.map(|link| (link.uid.clone(), link.name.clone())).collect();
        (Some(unseen), old)
    }
}

async fn link<K: Asks>(shared: &Shared, object: &K, name: &str) -> Result<Option<Link>, Error> {
    let key = Key::new(&object.namespace().unwrap_or_default(), name);
    let Some(connection) = K::connections(&shared.caches).valid(&key) else { return Ok(None) };
    let uid = connection.uid().unwrap_or_default();
    let login = shared.logins.read(&*connection).await?;
    let answer = shared.answers.get(&uid);
    Ok(Some(Link { name: name.to_owned(), uid, login, answer }))
}

impl Shared {
    async fn kubernetes(&self) -> Result<Kubernetes, Error> {
        let version = self.client.apiserver_version().await?;
        let numbers = format!("{}.{}", version.major, version.minor);
        let kubernetes = version.git_version.parse().or_else(|_| numbers.parse());
        // An API server whose version cannot be read gets no driver that names the ones it works with.
        Ok(kubernetes.unwrap_or_default())
    }

    /// Returns by which id the vCenter knows the volumes of this cluster.
    async fn cluster_id(&self) -> Result<ClusterId, Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let uid = namespaces.get("kube-system").await?.uid().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), CSI_NAMESPACE);
        let data = secrets.get_opt(CSI_SECRET).await?.and_then(|secret| secret.data).unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), CSI_NAMESPACE);
        let has_own = maps.get_opt(OWN_CLUSTER_ID).await?.is_some();
        Ok(ClusterId::of(&uid, ClusterId::in_file(&data).as_deref(), has_own))
    }
}

fn dynamic(object: &(impl serde::Serialize + kube::Resource<DynamicType = ()>)) -> Option<DynamicObject> {
    serde_json::from_value(serde_json::to_value(object).ok()?).ok()
}

/// What is said of a driver that is not to run.
fn waits_for_nothing() -> Hold {
    Hold { reason: reason::AS_ASKED, message: String::new() }
}

fn not_ready(links: &[Link]) -> Hold {
    let is_ready = |link: &&Link| {
        let answer = link.answer.as_ref();
        answer.is_some_and(|answer| answer.verifies(&link.login) && answer.version.is_some())
    };
    let open = links.iter().filter(|link| !is_ready(link));
    let names: Vec<_> = open.map(|link| link.name.clone()).collect();
    let message =
        format!("the accounts of {} have not been verified: their conditions say why", names.join(", "));
    Hold { reason: reason::CONNECTION_NOT_READY, message }
}
