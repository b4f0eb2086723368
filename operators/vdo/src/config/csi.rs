//! CSI: the Secret with `csi-vsphere.conf`, of sections with keys, and the authorities.
//!
//! CSI ignores a key that it does not know. So each key is written only to a version that knows it; a setting that the version
//! cannot have is a problem.

mod keys;

use std::collections::{BTreeMap, BTreeSet};

use infra_clients::Secret;
use k8s_openapi::ByteString;

use super::{DIRECTORY, SecretFiles, Trust, Vcenter, gcfg};
use crate::problem::Problem;
use crate::version::Version;
use keys::Section;

pub use keys::OLDEST_CSI;

pub(crate) const NAMESPACE: &str = "vmware-system-csi";
pub(crate) const SECRET: &str = "vsphere-config-secret";
const FILE: &str = "csi-vsphere.conf";
const MOST_VCENTERS: usize = 5;
const MOST_CATEGORIES: usize = 5;
/// In characters.
const LONGEST_CLUSTER_ID: usize = 64;
/// The version from which on CSI makes a cluster id where the file has none.
const GENERATES_ID: Version = Version::new(3, 0, 0);
/// Domains of the labels that topology categories may be mapped to.
const LABEL_DOMAINS: [&str; 3] =
    ["topology.csi.vmware.com", "topology.kubernetes.io", "failure-domain.beta.kubernetes.io"];
const ACCESS: [&str; 3] = ["READ_WRITE", "READ_ONLY", "NO_ACCESS"];
const CONFIGS: &str = "spec.storageProvider.vsphereCloudConfig";
const SHARES: &str = "spec.storageProvider.fileVolumes";

/// What CSI is configured with.
#[derive(Clone, Debug)]
pub struct Csi {
    /// The version that reads it.
    pub version: Version,
    /// The vCenters in which volumes are made: one to five.
    pub vcenters: Vec<Vcenter>,
    /// By which the vCenter tells the volumes of clusters apart.
    pub cluster_id: ClusterId,
    /// Name of the distribution, which the vCenter shows.
    pub distribution: Option<String>,
    /// How topology is taken from tags. Required with several vCenters.
    pub zones: Option<Zones>,
    /// Volumes that several Nodes can use.
    pub shares: FileShares,
    /// Further keys of the section `Global`, such as `query-limit`.
    pub global: BTreeMap<String, String>,
    /// Keys of the section `Snapshot`.
    pub snapshot: BTreeMap<String, String>,
}

/// By which the vCenter tells the volumes of clusters apart. Two clusters with one id destroy each other's records of volumes, and a
/// cluster that gets another id loses its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterId {
    /// This one: of the namespace kube-system, or the one that the cluster uses already.
    Write(String),
    /// The one that the driver made itself, and keeps in the ConfigMap `vsphere-csi-cluster-id`. It ends where the file has one as well.
    Driver,
}

impl ClusterId {
    /// Returns the id in the file of a Secret, as this operator or another tool wrote it.
    #[must_use]
    pub fn in_file(data: &BTreeMap<String, ByteString>) -> Option<String> {
        let text = std::str::from_utf8(&data.get(FILE)?.0).ok()?;
        gcfg::value_of(text, "cluster-id")
    }

    /// Returns the id: what the cluster uses already wins. `in_use` is the `cluster-id` of the present Secret, and `has_config_map`
    /// whether the ConfigMap `vsphere-csi-cluster-id` exists.
    #[must_use]
    pub fn of(kube_system_uid: &str, in_use: Option<&str>, has_config_map: bool) -> Self {
        match (has_config_map, in_use.filter(|id| !id.is_empty())) {
            (true, _) => Self::Driver,
            (false, Some(id)) => Self::Write(id.to_owned()),
            (false, None) => Self::Write(kube_system_uid.to_owned()),
        }
    }
}

/// How the topology of Nodes and volumes is taken from the vCenter's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zones {
    /// Two categories with fixed meanings.
    RegionAndZone {
        /// Category of regions.
        region: String,
        /// Category of zones.
        zone: String,
    },
    /// One to five categories.
    Categories(Vec<Category>),
}

/// A tag category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its name in the vCenter.
    pub name: String,
    /// Label of the Nodes that it becomes. Default: `topology.csi.vmware.com/<name>`.
    pub label: Option<String>,
}

/// Volumes that several Nodes can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileShares {
    /// URLs of vSAN datastores. Before 3.2.0.
    pub datastore_urls: Vec<String>,
    /// References of vSAN clusters, such as `domain-c8`.
    pub clusters: Vec<String>,
    /// Who may use them.
    pub permissions: Vec<Permission>,
}

/// What clients of an address range may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Address, range or subnet.
    pub ips: String,
    /// `READ_WRITE`, `READ_ONLY` or `NO_ACCESS`.
    pub access: Option<String>,
    /// Whether root of a client has no rights of root on the volume.
    pub root_squash: bool,
}

impl Csi {
    /// Returns what CSI reads.
    ///
    /// # Errors
    /// What CSI would misread or ignore.
    pub fn files(&self) -> Result<SecretFiles, Vec<Problem>> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut data = BTreeMap::from([(FILE.to_owned(), Secret::new(self.text()))]);
        let authorities = self.vcenters.iter().filter_map(Vcenter::authority_file);
        data.extend(authorities.map(|(key, pem)| (key, Secret::new(pem))));
        Ok(SecretFiles { namespace: NAMESPACE, name: SECRET, data })
    }

    fn problems(&self) -> Vec<Problem> {
        if self.version < OLDEST_CSI {
            let message =
                format!("the keys of CSI {} are not known: choose {OLDEST_CSI} or later", self.version);
            return vec![Problem::new("version", message)];
        }
        let mut problems = super::vcenter::twice(&self.vcenters, CONFIGS);
        let mut add = |field: &str, message: String| problems.push(Problem::new(field, message));
        if self.vcenters.is_empty() || self.vcenters.len() > MOST_VCENTERS {
            let count = self.vcenters.len();
            add(CONFIGS, format!("it names {count} vCenters: name one to {MOST_VCENTERS}"));
        }
        if self.vcenters.len() > 1 && !matches!(self.zones, Some(Zones::Categories(_))) {
            add(
                "zones",
                "several vCenters need topology categories, by which volumes find theirs: name one to five"
                    .to_owned(),
            );
        }
        if let ClusterId::Write(id) = &self.cluster_id
            && (id.is_empty() || id.chars().count() > LONGEST_CLUSTER_ID)
        {
            add(
                "clusterId",
                format!("it has {} characters: write 1 to {LONGEST_CLUSTER_ID}", id.chars().count()),
            );
        }
        if self.cluster_id == ClusterId::Driver && self.version < GENERATES_ID {
            add(
                "clusterId",
                format!("CSI {} makes no cluster id: write the one of vsphere-csi-cluster-id", self.version),
            );
        }
        problems.extend(self.vcenters.iter().flat_map(account_problems));
        problems.extend(self.trust_problems());
        problems.extend(self.zone_problems());
        problems.extend(self.share_problems());
        for (section, settings) in [(Section::Global, &self.global), (Section::Snapshot, &self.snapshot)] {
            problems.extend(settings.iter().filter_map(|(key, value)| {
                let message = keys::refuse(&self.version, section, key, value)?;
                Some(Problem::new(format!("{}.{key}", section.name()), message))
            }));
        }
        problems
    }

    /// Before 3.3.0 a fingerprint or an authority holds for every vCenter.
    fn trust_problems(&self) -> Vec<Problem> {
        if keys::knows(&self.version, Section::VirtualCenter, "thumbprint") || self.global_trust().is_some() {
            return Vec::new();
        }
        let checked =
            self.vcenters.iter().any(|vcenter| !matches!(vcenter.trust, Trust::Insecure | Trust::Image));
        let message = format!(
            "CSI {} checks the certificates of all vCenters in one way, and these have several: choose 3.3.0 or later",
            self.version
        );
        if checked { vec![Problem::new(CONFIGS, message)] } else { Vec::new() }
    }

    /// Returns the one way in which all certificates are checked, if there is one.
    fn global_trust(&self) -> Option<&Trust> {
        let first = &self.vcenters.first()?.trust;
        self.vcenters.iter().all(|vcenter| vcenter.trust == *first).then_some(first)
    }

    fn zone_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |message: String| problems.push(Problem::new("zones", message));
        let names: Vec<&String> = match &self.zones {
            None => return problems,
            Some(Zones::RegionAndZone { region, zone }) => vec![region, zone],
            Some(Zones::Categories(categories)) => {
                if categories.is_empty() || categories.len() > MOST_CATEGORIES {
                    add(format!(
                        "it has {} topology categories: name one to {MOST_CATEGORIES}",
                        categories.len()
                    ));
                }
                if !keys::knows(&self.version, Section::Labels, "topology-categories") {
                    add(format!("CSI {} knows no topology categories: choose 2.4.0 or later", self.version));
                }
                for Category { name, label } in categories {
                    let Some(label) = label else { continue };
                    let domain = label.split('/').next().unwrap_or_default();
                    if !keys::knows(&self.version, Section::TopologyCategory, "label") {
                        add(format!(
                            "CSI {} gives the category {name:?} no other label: choose 2.5.0 or later",
                            self.version
                        ));
                    } else if !LABEL_DOMAINS.contains(&domain) || gcfg_name(name).is_none() {
                        add(format!(
                            "the label {label:?} of {name:?} must begin with {}/",
                            LABEL_DOMAINS.join("/, ")
                        ));
                    }
                }
                categories.iter().map(|category| &category.name).collect()
            }
        };
        let mut seen = BTreeSet::new();
        for name in names {
            if name.trim() != name || name.is_empty() || name.contains(',') || !gcfg::can_express(name) {
                add(format!(
                    "{name:?} is no name of a tag category: CSI splits the list at commas and cuts blanks off"
                ));
            }
            if !seen.insert(name) {
                add(format!("the tag category {name:?} is named twice: name it once"));
            }
        }
        problems
    }

    fn share_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let FileShares { datastore_urls, clusters, permissions } = &self.shares;
        for (key, field, values) in [
            (keys::DATASTORE_URLS, "vsanDataStoreUrl", datastore_urls),
            (keys::CLUSTERS, "clusters", clusters),
        ] {
            if !values.is_empty() && !keys::knows(&self.version, Section::VirtualCenter, key) {
                let message = format!(
                    "CSI {} ignores datastores for file volumes: name the vSAN clusters instead, or none for all of them",
                    self.version
                );
                problems.push(Problem::new(format!("{SHARES}.{field}"), message));
            }
            if values
                .iter()
                .any(|value| value.contains(',') || value.trim() != value || !gcfg::can_express(value))
            {
                let message =
                    "CSI splits the list at commas and cuts blanks off: list each by itself, without blanks";
                problems.push(Problem::new(format!("{SHARES}.{field}"), message));
            }
        }
        for (index, permission) in permissions.iter().enumerate() {
            let field = format!("{SHARES}.netPermissions[{index}]");
            if let Some(access) = permission.access.as_deref().filter(|access| !ACCESS.contains(access)) {
                let message = format!("{access:?} is no access: write {}", ACCESS.join(", "));
                problems.push(Problem::new(format!("{field}.permissions"), message));
            }
            if !gcfg::can_express(&permission.ips) {
                problems.push(Problem::new(format!("{field}.ips"), "it has a control character: remove it"));
            }
        }
        problems
    }

    fn text(&self) -> String {
        let mut file = gcfg::File::default();
        file.section(Section::Global.name(), None);
        if let ClusterId::Write(id) = &self.cluster_id {
            file.value("cluster-id", id);
        }
        if let Some(name) = &self.distribution {
            file.value("cluster-distribution", name);
        }
        let per_vcenter = keys::knows(&self.version, Section::VirtualCenter, "thumbprint");
        if !per_vcenter && let Some(first) = self.vcenters.first() {
            write_trust(&mut file, first);
        }
        for (key, value) in &self.global {
            file.value(key, value);
        }
        let mut vcenters: Vec<_> = self.vcenters.iter().collect();
        vcenters.sort_by(|a, b| a.server.cmp(&b.server));
        for vcenter in vcenters {
            self.write_vcenter(&mut file, vcenter, per_vcenter);
        }
        self.write_permissions(&mut file);
        if !self.snapshot.is_empty() {
            file.section(Section::Snapshot.name(), None);
            for (key, value) in &self.snapshot {
                file.value(key, value);
            }
        }
        self.write_zones(&mut file);
        file.text()
    }

    fn write_vcenter(&self, file: &mut gcfg::File, vcenter: &Vcenter, per_vcenter: bool) {
        file.section(Section::VirtualCenter.name(), Some(&vcenter.server));
        // The flag `insecure-flag` of the section `Global` would hold for every vCenter: each has its own.
        file.value("insecure-flag", &(vcenter.trust == Trust::Insecure).to_string());
        file.value("user", &vcenter.account.username);
        file.value("password", vcenter.account.password.expose());
        file.value("port", &vcenter.port.to_string());
        if per_vcenter {
            write_trust(file, vcenter);
        }
        if !vcenter.datacenters.is_empty() {
            file.value("datacenters", &vcenter.datacenters.join(", "));
        }
        for (key, values) in
            [(keys::DATASTORE_URLS, &self.shares.datastore_urls), (keys::CLUSTERS, &self.shares.clusters)]
        {
            if !values.is_empty() {
                file.value(key, &values.join(", "));
            }
        }
    }

    fn write_permissions(&self, file: &mut gcfg::File) {
        for (index, permission) in self.shares.permissions.iter().enumerate() {
            file.section(Section::NetPermissions.name(), Some(&letters(index)));
            file.value("ips", if permission.ips.is_empty() { "*" } else { &permission.ips });
            file.value("permissions", permission.access.as_deref().unwrap_or(ACCESS[0]));
            file.value("rootsquash", &permission.root_squash.to_string());
        }
    }

    fn write_zones(&self, file: &mut gcfg::File) {
        match &self.zones {
            None => {}
            Some(Zones::RegionAndZone { region, zone }) => {
                file.section(Section::Labels.name(), None);
                file.value("region", region);
                file.value("zone", zone);
            }
            Some(Zones::Categories(categories)) => {
                file.section(Section::Labels.name(), None);
                let names: Vec<_> = categories.iter().map(|category| category.name.as_str()).collect();
                file.value("topology-categories", &names.join(","));
                for Category { name, label } in categories {
                    if let Some(label) = label {
                        file.section(Section::TopologyCategory.name(), Some(name));
                        file.value("label", label);
                    }
                }
            }
        }
    }
}

fn write_trust(file: &mut gcfg::File, vcenter: &Vcenter) {
    if let Trust::Fingerprint(text) = &vcenter.trust {
        file.value("thumbprint", text);
    }
    if let Some((key, _)) = vcenter.authority_file() {
        file.value("ca-file", &format!("{DIRECTORY}/{key}"));
    }
}

/// CSI ends where a user name has no domain: it could not ask for the privileges of the account.
fn account_problems(vcenter: &Vcenter) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (user, server) = (&vcenter.account.username, &vcenter.server);
    if !has_domain(user) {
        let message = format!(
            "{user:?} of {server} has no domain, or characters that CSI refuses: write one such as csi@vsphere.local"
        );
        problems.push(Problem::new("username", message));
    }
    if !gcfg::can_express(vcenter.account.password.expose()) {
        let message = format!(
            "the password of {server} has a carriage return or NUL, which CSI cannot read: change it"
        );
        problems.push(Problem::new("password", message));
    }
    problems
}

/// Returns whether CSI takes the user name: `user@domain` or `domain\user`.
fn has_domain(user: &str) -> bool {
    let all = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let (name, domain) = (b"._-", b".-");
    user.split_once('@').is_some_and(|(user, at)| all(user, name) && all(at, domain))
        || user.split_once('\\').is_some_and(|(of, user)| all(of, domain) && all(user, name))
}

/// Returns a name that can be that of a section.
fn gcfg_name(name: &str) -> Option<&str> {
    (!name.contains(char::is_control)).then_some(name)
}

/// Returns A, B, … Z, AA, AB, …
fn letters(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or_default());
    if index < 26 { letter.to_string() } else { format!("{}{letter}", letters(index / 26 - 1)) }
}
