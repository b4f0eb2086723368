//! Reads what decides how a driver is to run: connections, matrix, manifests.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use operator_kit::Key;
use operator_kit::names::check_object_name;

use super::super::aim::{Aim, Basis, Link, Sight};
use super::super::files::{self, Chosen, Lack};
use super::super::known::Known;
use super::super::seen::File;
use super::super::{Asks, Shared};
use crate::api::{ManagementState, reason};
use crate::checkup::Order;
use crate::choose::{Choice, Rejection, Step};
use crate::config::{CSI_NAMESPACE, CSI_SECRET, ClusterId, Vcenter};
use crate::connection::Connection as _;
use crate::desired::Desired;
use crate::error::Error;
use crate::matrix::Driver;
use crate::plan::{Drivers, Hold};
use crate::problem::Problem;
use crate::render::{Rendered, render};
use crate::version::{Kubernetes, Version};

/// ConfigMap with the cluster id that CSI has made itself.
const OWN_CLUSTER_ID: &str = "vsphere-csi-cluster-id";

/// The objects of a version, or what is wrong with its settings.
type Rendering = Result<Result<Rendered, Vec<Problem>>, Lack>;

/// Finds out how drivers are to run.
pub(super) struct Aims<'a, K: Asks> {
    shared: &'a Shared,
    object: &'a K,
    desired: &'a Desired,
    known: &'a Known<'a>,
    links: BTreeMap<String, Option<Link>>,
    chosen: Option<Result<Chosen, Lack>>,
    kubernetes: Option<Kubernetes>,
    /// The version of CSI that was chosen.
    csi: Option<Version>,
    /// What has to be downloaded first.
    pub(super) files: Vec<File>,
}

impl<'a, K: Asks> Aims<'a, K> {
    pub(super) fn new(shared: &'a Shared, object: &'a K, known: &'a Known<'a>) -> Self {
        let (links, chosen, kubernetes, files) = (BTreeMap::new(), None, None, Vec::new());
        let (desired, csi) = (known.desired, None);
        Self { shared, object, desired, known, links, chosen, kubernetes, csi, files }
    }

    /// Returns how a driver is to run.
    pub(super) async fn aim(&mut self, driver: Driver, is_deleted: bool) -> Result<Aim, Error> {
        if is_deleted || self.desired.drivers.get(driver).state != ManagementState::Managed {
            return Ok(Aim::unasked());
        }
        match Box::pin(self.find(driver)).await? {
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
        let kubernetes = match self.kubernetes {
            Some(kubernetes) => kubernetes,
            None => self.shared.kubernetes().await?,
        };
        self.kubernetes = Some(kubernetes);
        if self.chosen.is_none() {
            self.chosen = Some(files::matrix(self.shared, self.object).await?);
        }
        let chosen = match self.chosen.as_ref() {
            Some(Ok(chosen)) => chosen,
            Some(Err(Lack::Hold(hold))) => return Ok(Err(hold.clone().into())),
            Some(Err(Lack::Files(files))) => return Ok(Err(Lack::Files(files.clone()))),
            None => return Ok(Ok(Aim::unasked())),
        };
        let basis = Basis {
            desired: self.desired,
            records: self.known.records,
            failing: self.known.failing,
            foreign: self.known.foreign,
            kubernetes,
            matrix: &chosen.matrix,
            auto_upgrade: chosen.auto_upgrade,
        };
        let mut chosen = self.choose(&basis, driver, &links, None).await?;
        if let Ok((Choice { step: Step::Rollback, .. }, Ok(Ok(rendered)))) = &chosen
            && let Some(no_way_back) = stored(&self.shared.client, rendered).await?
        {
            chosen = self.choose(&basis, driver, &links, Some(&no_way_back)).await?;
        }
        let (choice, rendered) = match chosen {
            Ok(chosen) => chosen,
            Err(hold) => return Ok(Err(hold.into())),
        };
        if driver == Driver::Csi {
            self.csi.clone_from(&choice.version);
        }
        Ok(rendered.and_then(|rendered| basis.aim(&choice, rendered, &links).map_err(Lack::Hold)))
    }

    /// Chooses the version of a driver, and renders its objects.
    async fn choose(
        &self,
        basis: &Basis<'_>,
        driver: Driver,
        links: &[Link],
        no_way_back: Option<&Rejection>,
    ) -> Result<Result<(Choice, Rendering), Hold>, Error> {
        let choice = match basis.choose(driver, links, no_way_back) {
            Ok(choice) => choice,
            Err(hold) => return Ok(Err(hold)),
        };
        let rendered = self.rendered(basis, &choice, links).await?;
        Ok(Ok((choice, rendered)))
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
                let kind = K::Connection::KIND;
                return Ok(Err(match check_object_name(name) {
                    Ok(()) => Hold {
                        reason: reason::CONNECTION_MISSING,
                        message: format!(
                            "the {kind} {name:?} does not exist: create it, or name another one"
                        ),
                    },
                    Err(why) => Hold {
                        reason: reason::INVALID_SETTINGS,
                        message: format!("the name of a {kind}: {why}"),
                    },
                }));
            };
            if let Err(Hold { reason, message }) = &link.login.vcenter {
                let message = format!("{} {name}: {message}", K::Connection::KIND);
                return Ok(Err(Hold { reason, message }));
            }
            links.push(link.clone());
        }
        Ok(Ok(links))
    }

    /// Returns the objects of the version that was chosen.
    async fn rendered(&self, basis: &Basis<'_>, choice: &Choice, links: &[Link]) -> Result<Rendering, Error> {
        let driver = choice.driver;
        let Some((version, release)) = choice
            .version
            .as_ref()
            .and_then(|version| Some((version.clone(), basis.matrix.release(driver, version)?)))
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
        Ok(Ok(render(manifests, configuration, &basis.settings(driver, &version, control_plane))))
    }

    /// Returns the objects that the driver reads.
    async fn configuration(
        &self,
        driver: Driver,
        version: &Version,
        vcenters: Vec<Vcenter>,
    ) -> Result<Result<Vec<DynamicObject>, Vec<Problem>>, Error> {
        Ok(match driver {
            Driver::Cni | Driver::Snapshots => Ok(Vec::new()),
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
        let Desired { skipped, zones, shares, drivers, .. } = self.desired;
        let adopts = Driver::ALL.map(|driver| drivers.get(driver).adopts);
        let mut about = format!("{:?}", (skipped, zones, shares, adopts));
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
            ours: Drivers::of(|driver| self.known.records.get(driver).is_some()),
            vcenters,
        };
        Some(order).filter(|order| !order.vcenters.is_empty())
    }

    /// Returns what the vCenters of CPI show of the Nodes' machines.
    pub(super) fn sight(&self) -> Sight {
        let names = &self.desired.drivers.get(Driver::Cpi).connections;
        let links: Vec<_> = names.iter().filter_map(|name| self.links.get(name)?.as_ref()).collect();
        let nodes = self.shared.nodes.all();
        let nodes = nodes.iter().map(|node| (node.name_any(), node.uuid()));
        Sight::of(&links, names.len(), nodes, self.shared.clock.now())
    }
}

/// Returns which versions of a kind objects lack in which the API server keeps some: it would refuse the objects.
async fn stored(client: &Client, rendered: &Rendered) -> Result<Option<Rejection>, Error> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for object in rendered.waves.iter().flatten().filter(|object| is_definition(object)) {
        let definition = object.name_any();
        let there = definitions.get_opt(&definition).await?.and_then(|there| there.status);
        let served: Vec<_> =
            object.data["spec"]["versions"].as_array().into_iter().flatten().map(|of| &of["name"]).collect();
        let stored = there.and_then(|status| status.stored_versions).unwrap_or_default();
        let versions: Vec<_> =
            stored.into_iter().filter(|version| !served.iter().any(|name| *name == version)).collect();
        if !versions.is_empty() {
            return Ok(Some(Rejection::Stored { definition, versions }));
        }
    }
    Ok(None)
}

fn is_definition(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition")
}

async fn link<K: Asks>(shared: &Shared, object: &K, name: &str) -> Result<Option<Link>, Error> {
    let key = Key::new(&object.namespace().unwrap_or_default(), name);
    let Some(connection) = K::connections(&shared.caches).valid(&key) else { return Ok(None) };
    let uid = connection.uid().unwrap_or_default();
    let login = shared.logins.read(&*connection).await?;
    let (answer, is_asked) = (shared.answers.get(&uid), shared.answers.is_stale(&uid));
    Ok(Some(Link { name: name.to_owned(), uid, login, answer, is_asked }))
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
