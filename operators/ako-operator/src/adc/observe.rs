//! Reads what is known of an AKODeploymentConfig. Asks AVI nothing, and writes nothing.

use std::sync::Arc;

use infra_clients::capi::Cluster;
use k8s_openapi::api::core::v1::Service;
use kube::{Resource as _, ResourceExt as _};
use operator_kit::Key;

use super::Adcs;
use super::deliveries::{Deliveries, deliveries};
use super::record::Claims;
use super::seen::{Balanced, Basis, Seen};
use crate::api::{AkoDeploymentConfig, AkoDeploymentConfigSpec, FORCE_ANNOTATION, reason};
use crate::delivery::{Way, refusal};
use crate::endpoint::objects::{INFRA_ANNOTATION, is_ending};
use crate::error::Error;
use crate::infra_setting;
use crate::problem::Problem;
use crate::selection::Configs;
use crate::validation::{validate, wrong_references};

impl Adcs {
    pub(super) async fn look(&self, adc: &AkoDeploymentConfig) -> Result<Seen, Error> {
        let (name, uid) = (adc.name_any(), adc.uid().unwrap_or_default());
        let is_deleting = adc.metadata.deletion_timestamp.is_some();
        let all = Configs::from(self.adcs.cache());
        let is_known = |key: &Key| {
            let is_read = match self.clusters.cache().get(key) {
                Some(cluster) => cluster.valid().is_some(),
                // What it has left may be of an AKODeploymentConfig that does not parse.
                None => all.unread.is_empty(),
            };
            is_read && self.kit.serves(key.namespace())
        };
        let has_left = |key: &Key| self.memory.has_left(key);
        let works = |cluster: &Cluster| self.memory.found(cluster.metadata.uid.as_deref()?);
        let known = self.clusters.cache().all();
        let Deliveries { selected: clusters, delivered, departing } =
            deliveries(adc, &all, known, is_known, has_left, works);
        let Claims { claimed, released, others } = Claims::of(adc, &all.read);
        let wrong: Vec<_> = validate(&name, &adc.spec, None).iter().map(ToString::to_string).collect();
        // The API server would refuse to look for them.
        let references = wrong_references(&adc.spec);
        let credentials = match references.first() {
            Some((field, message)) => Err(format!("{field}: {message}")),
            None => self.secrets.admin(&adc.spec).await?,
        };
        let ways = self.ways_of(&clusters);
        let problem = match &credentials {
            _ if !wrong.is_empty() && !is_deleting => {
                Some(Problem { reason: reason::INVALID_SPEC, message: wrong.join("; ") })
            }
            Err(message) => Some(Problem { reason: reason::CREDENTIALS_MISSING, message: message.clone() }),
            Ok(_) if is_deleting => None,
            Ok(_) => match self.refusal(&adc.spec, &ways) {
                None => self.workload_problem(&adc.spec).await?,
                refusal => refusal,
            },
        };
        let balanced = if is_deleting { self.balanced(&name) } else { Balanced::default() };
        let infra = self.infra_setting(adc, is_deleting).await?;
        Ok(Seen {
            groups: self.look_at_groups(adc, &claimed).await?,
            is_forced: adc.annotations().get(FORCE_ANNOTATION).is_some_and(|value| value == "true"),
            clusters,
            delivered,
            unsettled: self.unsettled(&uid, &departing),
            departing,
            problem,
            ways,
            basis: basis(adc, credentials.as_ref().map_or("", |admin| &admin.version)),
            answer: self.memory.answer(&uid),
            claimed,
            released,
            unread: all.unread,
            others,
            infra,
            balanced,
            kept_roles: self.memory.kept_roles(&uid),
        })
    }

    /// Returns why no Cluster could get AKO, as far as that is known without AVI.
    fn refusal(&self, spec: &AkoDeploymentConfigSpec, ways: &[Way]) -> Option<Problem> {
        let bundle = self.bundle.as_ref().and_then(|files| files.current().err());
        refusal(spec, ways, bundle.as_ref(), None)
    }

    /// Returns how Clusters get AKO, which are given as `namespace/name`.
    fn ways_of(&self, clusters: &[String]) -> Vec<Way> {
        let known = clusters.iter().filter_map(|key| self.clusters.cache().get(&key.parse().ok()?));
        let known: Vec<_> = known.filter_map(|cluster| cluster.valid().cloned()).collect();
        self.ways.of_all(known.iter().map(|cluster| &***cluster))
    }

    /// Returns what the Secret lacks that AKO is to log in with.
    async fn workload_problem(&self, spec: &AkoDeploymentConfigSpec) -> Result<Option<Problem>, Error> {
        let Some(of) = &spec.workload_credential_ref else { return Ok(None) };
        // No authority is needed to look at the account.
        let missing = self.secrets.workload(of, "").await?.err();
        Ok(missing.map(|message| Problem { reason: reason::CREDENTIALS_MISSING, message }))
    }

    /// Returns the Services that name the AviInfraSetting of this AKODeploymentConfig.
    fn balanced(&self, adc: &str) -> Balanced {
        let setting = infra_setting::name_of(adc);
        let named = |service: &Service| service.annotations().get(INFRA_ANNOTATION) == Some(&setting);
        let lives = |key: &Key, uid: &str| {
            self.clusters.cache().get(key).is_some_and(|cluster| {
                let meta = cluster.meta();
                meta.uid.as_deref() == Some(uid) && meta.deletion_timestamp.is_none()
            })
        };
        let services = self.services.all();
        let (ending, lasting): (Vec<_>, _) =
            services.iter().filter(|service| named(service)).partition(|service| is_ending(service, lives));
        let sorted = |services: Vec<&Arc<Service>>| {
            let mut keys: Vec<_> = services.into_iter().map(|of| Key::of(&**of).to_string()).collect();
            keys.sort();
            keys
        };
        Balanced { ending: sorted(ending), lasting: sorted(lasting) }
    }

    /// Returns the AviInfraSetting of an AKODeploymentConfig that asks for one, or is being deleted, as it may have asked for one before.
    async fn infra_setting(
        &self,
        adc: &AkoDeploymentConfig,
        is_deleting: bool,
    ) -> Result<Option<infra_setting::Live>, Error> {
        if !is_deleting && !infra_setting::is_asked_for(&adc.spec) {
            return Ok(None);
        }
        let name = infra_setting::name_of(&adc.name_any());
        Ok(Some(infra_setting::find(&self.kit.client(), &name).await?))
    }
}

/// Returns what an answer of AVI depends on.
pub(super) fn basis(adc: &AkoDeploymentConfig, credentials: &str) -> Basis {
    Basis {
        generation: adc.metadata.generation,
        credentials: credentials.to_owned(),
        is_deleting: adc.metadata.deletion_timestamp.is_some(),
    }
}
