//! Reads what is known of an AKODeploymentConfig. Asks AVI nothing, and writes nothing.

use kube::ResourceExt;
use operator_kit::Key;

use super::Adcs;
use super::record::Items;
use super::seen::{Basis, Problem, Seen};
use crate::api::{AkoDeploymentConfig, FORCE_ANNOTATION, reason};
use crate::error::Error;
use crate::secrets::admin;
use crate::selection::{Selection, select};
use crate::validation::{validate, wrong_references};

impl Adcs {
    pub(super) async fn look(&self, adc: &AkoDeploymentConfig) -> Result<Seen, Error> {
        let (name, uid) = (adc.name_any(), adc.uid().unwrap_or_default());
        let is_deleting = adc.metadata.deletion_timestamp.is_some();
        let all = self.adcs.cache().all();
        let mut clusters = Vec::new();
        for cluster in self.clusters.all() {
            if select(&cluster, &all, false) == Selection::From(name.clone()) {
                clusters.push(Key::of(&*cluster).to_string());
            }
        }
        clusters.sort();
        let mut claimed = Items::default();
        for other in all.iter().filter(|other| other.name_any() != name) {
            if other.metadata.deletion_timestamp.is_none()
                && let Some(added) = other.status.as_ref().and_then(|status| status.added.as_ref())
            {
                claimed.extend(added.into());
            }
        }
        let wrong: Vec<_> = validate(&name, &adc.spec, None).iter().map(ToString::to_string).collect();
        // The API server would refuse to look for them.
        let references = wrong_references(&adc.spec);
        let credentials = match references.first() {
            Some((field, message)) => Err(format!("{field}: {message}")),
            None => admin(&self.kit.client(), &adc.spec).await?,
        };
        let problem = match &credentials {
            _ if !wrong.is_empty() && !is_deleting => {
                Some(Problem { reason: reason::INVALID_SPEC, message: wrong.join("; ") })
            }
            Err(message) => Some(Problem { reason: reason::CREDENTIALS_MISSING, message: message.clone() }),
            Ok(_) => None,
        };
        Ok(Seen {
            is_forced: adc.annotations().get(FORCE_ANNOTATION).is_some_and(|value| value == "true"),
            clusters,
            problem,
            basis: basis(adc, credentials.as_ref().map_or("", |admin| &admin.version)),
            answer: self.memory.answer(&uid),
            claimed,
        })
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
