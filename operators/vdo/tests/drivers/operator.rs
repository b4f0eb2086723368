//! A small operator: it observes, and carries out what the library decides.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Node as NodeObject, PersistentVolume, Secret};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use operator_kit::apply_set::{ApplySet, Progress};
use vdo::api::{VdoConfigSpec, VsphereCloudConfigSpec};
use vdo::choose::{Choice, Policy, Surroundings, choose};
use vdo::config::{Account, ClusterId, Vcenter};
use vdo::desired::Desired;
use vdo::matrix::{Driver, Matrix};
use vdo::nodes::NodeSeen;
use vdo::plan::{Cluster, Drivers, Found, Health, Installed, Step, plan};
use vdo::problem::Problem;
use vdo::render::{Rendered, parse, render};

const MANAGER: &str = "vdo.vmware.com/drivers";
pub const CSI_DRIVER: &str = "csi.vsphere.vmware.com";

/// What users wrote, what was published, and what the operator remembers.
pub struct Operator {
    pub client: Client,
    pub config: VdoConfigSpec,
    /// The vCenters of CPI; the first is that of CSI.
    pub vcenters: Vec<Connection>,
    pub matrix: Matrix,
    /// Manifests, by driver.
    pub manifests: BTreeMap<Driver, String>,
    pub is_deleted: bool,
    pub found: Drivers<Found>,
    /// Everything but maintenance that was done, in order.
    pub log: Vec<String>,
}

/// A vCenter, and its authorities in PEM.
pub struct Connection {
    pub spec: VsphereCloudConfigSpec,
    pub authority: Option<String>,
}

impl Operator {
    /// Observes, decides, and carries out one step of each driver.
    pub async fn pass(&mut self) -> anyhow::Result<Drivers<Step>> {
        let desired = Desired::of_vdo_config(&self.config);
        let (mut vcenters, mut sources) = (Vec::new(), Vec::new());
        for connection in &self.vcenters {
            let (vcenter, source) = self.read_vcenter(connection).await?;
            vcenters.push(vcenter);
            sources.push(source);
        }
        let (cluster, surroundings) = (self.cluster().await?, self.surroundings().await?);
        let mut rendered = BTreeMap::new();
        let mut wanted = Drivers::default();
        for (driver, slot) in [(Driver::Cpi, &mut wanted.cpi), (Driver::Csi, &mut wanted.csi)] {
            let choice = choose(&self.matrix, driver, &surroundings, &Policy::Latest, None);
            let result = self.rendered(&desired, &choice, &vcenters);
            let target = desired.target(&self.matrix, &choice, &result, &sources);
            *slot = desired.wanted(driver, self.is_deleted, target);
            rendered.insert(driver, (choice, result));
        }
        let steps = plan(&wanted, &self.found, &cluster);
        for driver in [Driver::Cpi, Driver::Csi] {
            let found = match (steps.get(driver), &rendered[&driver]) {
                (Step::Apply(change), (choice, Ok(rendered))) => {
                    self.note(format!("{driver} {change:?}"));
                    let set = self.set(driver);
                    let health = match set.apply(&rendered.waves).await? {
                        Progress::Complete(_) => Health::Available,
                        Progress::Waiting(members) => Health::Progressing(format!("{members:?}")),
                    };
                    let digest = rendered.digest(&sources);
                    Found::Ours(Installed {
                        version: choice.version.clone().unwrap(),
                        digest,
                        needs_cpi: false,
                        health,
                    })
                }
                (Step::Remove, _) => {
                    self.note(format!("{driver} Remove"));
                    let left = self.set(driver).delete().await?;
                    match self.found.get(driver).clone() {
                        Found::Ours(installed) if !left.is_empty() => {
                            let health = Health::Removing(format!("{left:?}"));
                            Found::Ours(Installed { health, ..installed })
                        }
                        _ => Found::Absent,
                    }
                }
                _ => continue,
            };
            match driver {
                Driver::Cpi => self.found.cpi = found,
                _ => self.found.csi = found,
            }
        }
        Ok(steps)
    }

    /// Returns whether the driver is available as it is asked for.
    pub fn is_available(&self, driver: Driver) -> bool {
        matches!(self.found.get(driver), Found::Ours(Installed { health: Health::Available, .. }))
    }

    fn note(&mut self, line: String) {
        if !line.ends_with("Maintain") && self.log.last() != Some(&line) {
            self.log.push(line);
        }
    }

    fn set(&self, driver: Driver) -> ApplySet {
        let name = format!("vdo-{}", driver.name().to_lowercase());
        ApplySet::new(self.client.clone(), "kube-system", &name, MANAGER)
    }

    /// Returns a vCenter, and the version of the Secret with its account.
    async fn read_vcenter(&self, connection: &Connection) -> anyhow::Result<(Vcenter, String)> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), "kube-system");
        let secret = secrets.get(&connection.spec.credentials).await?;
        let data: BTreeMap<String, ByteString> = secret.data.clone().unwrap_or_default();
        let account = Account::read(&data).map_err(|problems| said(&problems))?;
        let vcenter = Vcenter::read(&connection.spec, account, connection.authority.as_deref())
            .map_err(|problems| said(&problems))?;
        Ok((vcenter, secret.resource_version().unwrap_or_default()))
    }

    fn rendered(
        &self,
        desired: &Desired,
        choice: &Choice,
        vcenters: &[Vcenter],
    ) -> Result<Rendered, Vec<Problem>> {
        let version = choice.version.clone().unwrap();
        let files: Vec<DynamicObject> = if choice.driver == Driver::Csi {
            let id = ClusterId::Write("testbed".to_owned());
            vec![object(desired.csi(version.clone(), vcenters[..1].to_vec(), id).files()?.object())]
        } else {
            let files = desired.cpi(vcenters.to_vec()).files()?;
            vec![object(files.config), object(files.accounts.object())]
        };
        let manifests = parse(&self.manifests[&choice.driver]).map_err(|problem| vec![problem])?;
        // One Node of the control plane: the drivers' Pods share the ports of this machine.
        render(manifests, files, &desired.settings(choice.driver, version, 1))
    }

    async fn cluster(&self) -> anyhow::Result<Cluster> {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default()).await?;
        let seen = nodes.iter().map(|node| NodeSeen::read(node, None));
        let uninitialized = seen.filter(|node| node.is_uninitialized).map(|node| node.name).collect();
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volumes = volumes.list(&ListParams::default()).await?.into_iter().filter(|volume| {
            let source = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
            source.is_some_and(|source| source.driver == CSI_DRIVER)
        });
        let volumes = volumes.map(|volume| format!("PersistentVolume {}", volume.name_any())).collect();
        Ok(Cluster {
            uninitialized,
            volumes,
            invisible: Some(Vec::new()),
            is_window_open: true,
            ..Cluster::default()
        })
    }

    async fn surroundings(&self) -> anyhow::Result<Surroundings> {
        let kubernetes = self.client.apiserver_version().await?.git_version.parse()?;
        Ok(Surroundings { kubernetes, vcenters: Vec::new(), has_cpi: true })
    }
}

fn said(problems: &[Problem]) -> anyhow::Error {
    anyhow::anyhow!("{problems:?}")
}

fn object(value: impl serde::Serialize) -> DynamicObject {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}
