//! Reads what is known of the endpoint of a Cluster. Writes nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use infra_clients::capi::Cluster;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use operator_kit::Key;

use super::Endpoints;
use super::objects::{INFRA_ANNOTATION, MIRROR, SLICE_OWNER_LABEL, address, asked_address, service_name};
use super::seen::{Infra, Member, Seen};
use super::settings::host;
use crate::api::{AkoDeploymentConfig, MANAGEMENT_LABEL, SYSTEM_NAMESPACE, condition};
use crate::conditions::said;
use crate::error::Error;
use crate::infra_setting::{self, Live};
use crate::selection::{Configs, Selection, Skip, is_of, refuse_ip_family, select};

/// How long the look-up of a name may take.
const LOOKUP: Duration = Duration::from_secs(2);

impl Endpoints {
    pub(super) async fn look(&self, cluster: &Cluster) -> Result<Seen, Error> {
        let key = Key::new(cluster.namespace(), &service_name(cluster));
        let adcs = Configs::from(&self.adcs);
        let adc = adcs.read.iter().find(|adc| is_of(&adc.name_any(), cluster, &adcs));
        let family = cluster.ip_family();
        let refused = match adc {
            Some(adc) => refuse_ip_family(&family, adc.spec.ip_family(), true),
            None => family.as_ref().err().map(ToString::to_string),
        };
        let is_v4 = family.as_ref().is_ok_and(|family| family.is_v4_first());
        let machines = self.by_cluster.get(&Key::of(cluster));
        let mut members: Vec<_> = machines.iter().filter_map(|machine| Member::of(machine, is_v4)).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let mut seen = Seen {
            settings: self.settings,
            has_adc: adc.is_some(),
            unclear: match select(cluster, &adcs) {
                Selection::Skipped(skip @ Skip::Unclear(_)) => Some(skip.message()),
                _ => None,
            },
            infra: Infra::Unneeded,
            subnet: adc.and_then(|adc| infra_setting::subnet_apart(&adc.spec)),
            family: family.map_err(|error| error.to_string()),
            service: self.services.cache().valid(&key),
            slice: self.slices.cache().valid(&key),
            is_mirrored: self
                .by_service
                .get(&key)
                .iter()
                .any(|slice| slice.labels().get(SLICE_OWNER_LABEL).is_some_and(|owner| owner == MIRROR)),
            resolved: None,
            members,
            said: said(cluster, &[condition::ENDPOINT_READY]).pop(),
        };
        if let Some(refused) = refused {
            seen.family = Err(refused);
        }
        if !self.settings.is_provider(cluster) || cluster.is_paused() {
            return Ok(seen);
        }
        seen.infra = self.infra(cluster, adc, seen.service.as_deref()).await?;
        if let Some(name) = unresolved(cluster, seen.service.as_deref()) {
            seen.resolved = Some(resolve(&name).await);
        }
        Ok(seen)
    }

    async fn infra(
        &self,
        cluster: &Cluster,
        adc: Option<&Arc<AkoDeploymentConfig>>,
        service: Option<&Service>,
    ) -> Result<Infra, Error> {
        let is_chosen = |service: &Service| {
            service.annotations().contains_key(INFRA_ANNOTATION) || address(service).is_some()
        };
        let wanting = adc.filter(|adc| infra_setting::is_asked_for(&adc.spec));
        let Some(adc) = wanting.filter(|_| !service.is_some_and(is_chosen)) else {
            return Ok(Infra::Unneeded);
        };
        let (name, is_apart) = (infra_setting::name_of(&adc.name_any()), infra_setting::is_apart(&adc.spec));
        Ok(match infra_setting::find(&self.client, &name).await? {
            Live::Present { status, .. }
                if is_apart && !is_management(cluster) && status["status"] != "Accepted" =>
            {
                let refused = status["error"].as_str().filter(|_| status["status"] == "Rejected");
                Infra::Unaccepted { name, refused: refused.map(str::to_owned) }
            }
            Live::Present { .. } => Infra::There(name),
            Live::Absent => Infra::Missing { name, is_apart, is_installed: true },
            Live::NotInstalled => Infra::Missing { name, is_apart, is_installed: false },
        })
    }
}

/// Returns whether a Cluster is a management cluster: its AKO waits for the Service of its control plane.
fn is_management(cluster: &Cluster) -> bool {
    cluster.namespace() == SYSTEM_NAMESPACE || cluster.label(MANAGEMENT_LABEL).is_some()
}

/// Returns the name of a Cluster's control plane whose address is not known yet. Once the Service has one, it never changes.
fn unresolved(cluster: &Cluster, service: Option<&Service>) -> Option<String> {
    let is_known =
        service.is_some_and(|service| asked_address(service).or_else(|| address(service)).is_some());
    host(cluster).filter(|host| !is_known && host.parse::<IpAddr>().is_err())
}

/// Returns the addresses of a name, in order.
async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name, 0))).await;
    let found = found.map_err(|_| "the name server does not answer in time".to_owned())?;
    let mut addresses: Vec<_> = found.map_err(|error| error.to_string())?.map(|at| at.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn names_are_resolved_in_order() {
        let addresses = resolve("localhost").await.unwrap();
        assert!(addresses.is_sorted() && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        assert!(!addresses.is_empty());
        // Never sent to a name server: a label is too long.
        assert!(resolve(&"x".repeat(64)).await.is_err());
    }

    #[test]
    fn a_name_is_resolved_only_while_the_service_has_no_address() {
        let cluster = |host: Option<&str>| -> Cluster {
            let endpoint = json!({ "host": host.unwrap_or_default(), "port": 6443 });
            serde_json::from_value(json!({ "apiVersion": "cluster.x-k8s.io/v1beta2",
                "metadata": { "name": "c", "namespace": "n" }, "spec": { "controlPlaneEndpoint": endpoint } }))
            .unwrap()
        };
        let service = |asks: Option<&str>, has: Option<&str>| -> Service {
            let ingress: Vec<_> = has.iter().map(|ip| json!({ "ip": ip })).collect();
            serde_json::from_value(json!({ "spec": { "loadBalancerIP": asks },
                "status": { "loadBalancer": { "ingress": ingress } } }))
            .unwrap()
        };
        let name = Some("api.example.com");
        for (host, service, wanted) in [
            (None, None, None),
            (Some("10.0.0.1"), None, None),
            (name, None, name),
            (name, Some(service(None, None)), name),
            (name, Some(service(name, None)), name),
            (name, Some(service(Some("10.0.0.1"), None)), None),
            (name, Some(service(None, Some("10.0.0.1"))), None),
        ] {
            assert_eq!(
                unresolved(&cluster(host), service.as_ref()).as_deref(),
                wanted,
                "{host:?} {service:?}"
            );
        }
    }
}
