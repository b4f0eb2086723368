//! CPI: the ConfigMap with `vsphere.conf`, in YAML, and the Secret with the accounts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use infra_clients::Secret;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;

use crate::problem::Problem;

use super::yaml::{Node, document, quoted};
use super::{DIRECTORY, SecretFiles, Trust, Vcenter};

const NAMESPACE: &str = "kube-system";
pub(crate) const SECRET: &str = "cpi-global-secret";
pub(crate) const CONFIG_MAP: &str = "cloud-config";
const FILE: &str = "vsphere.conf";

/// What CPI is configured with.
#[derive(Clone, Debug)]
pub struct Cpi {
    /// The vCenters in which the machines of the Nodes stand.
    pub vcenters: Vec<Vcenter>,
    /// The tag categories of regions and zones, in this order.
    pub labels: Option<(String, String)>,
    /// Which addresses of a machine become those of its Node.
    pub nodes: Nodes,
}

/// Which addresses of a machine become those of its Node. What is empty is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Subnet of internal addresses.
    pub internal_network_subnet_cidr: String,
    /// Subnet of external addresses.
    pub external_network_subnet_cidr: String,
    /// Network of the vCenter with the internal address.
    pub internal_vm_network_name: String,
    /// Network of the vCenter with the external address.
    pub external_vm_network_name: String,
    /// Subnet whose addresses are never internal.
    pub exclude_internal_network_subnet_cidr: String,
    /// Subnet whose addresses are never external.
    pub exclude_external_network_subnet_cidr: String,
}

impl Nodes {
    /// Returns what is written, by its key.
    fn written(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self {
            internal_network_subnet_cidr,
            external_network_subnet_cidr,
            internal_vm_network_name,
            external_vm_network_name,
            exclude_internal_network_subnet_cidr,
            exclude_external_network_subnet_cidr,
        } = self;
        let all = [
            ("internalNetworkSubnetCidr", internal_network_subnet_cidr),
            ("externalNetworkSubnetCidr", external_network_subnet_cidr),
            ("internalVmNetworkName", internal_vm_network_name),
            ("externalVmNetworkName", external_vm_network_name),
            ("excludeInternalNetworkSubnetCidr", exclude_internal_network_subnet_cidr),
            ("excludeExternalNetworkSubnetCidr", exclude_external_network_subnet_cidr),
        ];
        all.into_iter().map(|(key, text)| (key, text.as_str())).filter(|(_, text)| !text.is_empty())
    }

    /// Returns what CPI could not read: it would set up no Node.
    fn problems(&self) -> impl Iterator<Item = Problem> {
        let subnets = self.written().filter(|(key, _)| key.ends_with("Cidr"));
        subnets.filter(|(_, text)| !text.split(',').all(is_subnet)).map(|(key, text)| {
            let message = format!(
                "{text:?} is no subnet: write one such as 10.0.0.0/16, or several with commas and no blanks"
            );
            Problem::new(format!("spec.cpi.nodes.{key}"), message)
        })
    }
}

fn is_subnet(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.chars().all(|c| c.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= longest)
}

/// What CPI reads.
#[derive(Clone, Debug)]
pub struct CpiFiles {
    /// The configuration, and the authorities that certificates are checked with.
    pub config: ConfigMap,
    /// The accounts.
    pub accounts: SecretFiles,
}

impl Cpi {
    /// Returns what CPI reads.
    ///
    /// # Errors
    /// What CPI would misread.
    pub fn files(&self) -> Result<CpiFiles, Vec<Problem>> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut vcenters: Vec<_> = self.vcenters.iter().collect();
        vcenters.sort_by(|a, b| a.server.cmp(&b.server));
        let mut data = BTreeMap::from([(FILE.to_owned(), self.text(&vcenters))]);
        let authorities = vcenters.iter().filter_map(|vcenter| vcenter.authority_file());
        data.extend(authorities.map(|(key, pem)| (key, pem.to_owned())));
        let metadata = ObjectMeta {
            name: Some(CONFIG_MAP.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        };
        Ok(CpiFiles {
            config: ConfigMap { metadata, data: Some(data), ..ConfigMap::default() },
            accounts: SecretFiles { namespace: NAMESPACE, name: SECRET, data: accounts(&vcenters) },
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let field = "spec.cloudProvider.vsphereCloudConfigs";
        let mut problems = Vec::new();
        if self.vcenters.is_empty() {
            problems.push(Problem::new(field, "it names no vCenter: name at least one VsphereCloudConfig"));
        }
        problems.extend(super::vcenter::twice(&self.vcenters, field));
        problems.extend(self.nodes.problems());
        if let Some((region, zone)) = &self.labels {
            for (name, category) in [("region", region), ("zone", zone)] {
                if category.trim().is_empty() {
                    let field = format!("spec.cloudProvider.topology.{name}");
                    problems.push(Problem::new(
                        field,
                        "it is empty: write the name of the vCenter's tag category",
                    ));
                }
            }
        }
        problems
    }

    fn text(&self, vcenters: &[&Vcenter]) -> String {
        // The flag `insecureFlag` of the section `global` would hold for every vCenter: each has its own.
        let mut map = vec![(
            "vcenter".to_owned(),
            Node::Map(
                vcenters
                    .iter()
                    .map(|vcenter| (quoted(&vcenter.server), Node::Map(section(vcenter))))
                    .collect(),
            ),
        )];
        if let Some((region, zone)) = &self.labels {
            let labels = [("region", region), ("zone", zone)];
            map.push(("labels".to_owned(), Node::Map(labels.map(|(key, text)| text_of(key, text)).into())));
        }
        let nodes: Vec<_> = self.nodes.written().map(|(key, text)| text_of(key, text)).collect();
        if !nodes.is_empty() {
            map.push(("nodes".to_owned(), Node::Map(nodes)));
        }
        document(&map)
    }
}

fn text_of(key: &str, text: &str) -> (String, Node) {
    (key.to_owned(), Node::Text(text.to_owned()))
}

fn section(vcenter: &Vcenter) -> Vec<(String, Node)> {
    let mut map = vec![
        text_of("server", &vcenter.server),
        ("port".to_owned(), Node::Number(vcenter.port.into())),
        ("insecureFlag".to_owned(), Node::Bool(vcenter.trust == Trust::Insecure)),
    ];
    if let Trust::Fingerprint(text) = &vcenter.trust {
        map.push(text_of("thumbprint", text));
    }
    if let Some((file, _)) = vcenter.authority_file() {
        map.push(text_of("caFile", &format!("{DIRECTORY}/{file}")));
    }
    if !vcenter.datacenters.is_empty() {
        map.push(("datacenters".to_owned(), Node::List(vcenter.datacenters.clone())));
    }
    map.extend([text_of("secretName", SECRET), text_of("secretNamespace", NAMESPACE)]);
    map
}

/// The keys name the vCenter, but no key of a Secret may have a colon: an IPv6 address is a value, and the keys are numbered.
fn accounts(vcenters: &[&Vcenter]) -> BTreeMap<String, Secret> {
    let mut data = BTreeMap::new();
    for (index, vcenter) in vcenters.iter().enumerate() {
        let account = &vcenter.account;
        let (username, password) = (Secret::new(account.username.as_str()), account.password.clone());
        if vcenter.is_ipv6() {
            data.insert(format!("server_{index}"), Secret::new(vcenter.server.as_str()));
            data.insert(format!("username_{index}"), username);
            data.insert(format!("password_{index}"), password);
        } else {
            data.insert(format!("{}.username", vcenter.server), username);
            data.insert(format!("{}.password", vcenter.server), password);
        }
    }
    data
}
