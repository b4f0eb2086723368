//! The conditions that this operator writes on Clusters.
//!
//! Owns reading and writing them. Cluster API and two controllers of this process write conditions of one object: a write that meets
//! another one is repeated.

use std::sync::Arc;

use infra_clients::capi::{Cluster, ConditionStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::core::Status as Answer;
use operator_kit::conditions::Status;
use operator_kit::{Clock, Foreign, Key, Objects};

use crate::error::Error;

/// How often a write is tried that meets writes of others.
const ATTEMPTS: usize = 3;

/// A condition of a Cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its type.
    pub type_: &'static str,
    /// Its status.
    pub status: Status,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

impl Said {
    /// Creates a condition.
    #[must_use]
    pub fn new(type_: &'static str, status: Status, reason: &str, message: &str) -> Self {
        Self { type_, status, reason: reason.to_owned(), message: message.to_owned() }
    }
}

/// Returns those of a Cluster's conditions that have one of these types.
#[must_use]
pub fn said(cluster: &Cluster, types: &[&'static str]) -> Vec<Said> {
    let known = |type_: &&'static str| {
        let condition = cluster.conditions.get(type_)?;
        let status = match condition.status {
            ConditionStatus::True => Status::True,
            ConditionStatus::False => Status::False,
            ConditionStatus::Unknown => Status::Unknown,
        };
        Some(Said::new(type_, status, &condition.reason, &condition.message))
    };
    types.iter().filter_map(known).collect()
}

/// Reads a Cluster: what the cache has is often a moment old. `None` if it is gone, or does not parse.
///
/// # Errors
/// If the API server refuses the request or does not answer.
pub async fn newest(
    clusters: &Objects<Foreign<Cluster>>,
    cluster: &Cluster,
) -> Result<Option<Arc<Foreign<Cluster>>>, Error> {
    let newest = clusters.read(&Key::of(cluster)).await?;
    let newest = newest.and_then(|newest| newest.valid().cloned());
    Ok(newest.filter(|newest| newest.metadata.uid == cluster.metadata.uid))
}

/// Writes conditions of Clusters, as one controller.
pub struct ConditionWriter<'a> {
    /// All Clusters.
    pub clusters: &'a Objects<Foreign<Cluster>>,
    /// Field manager of what is written.
    pub manager: &'a str,
    /// Time.
    pub clock: &'a Clock,
}

impl ConditionWriter<'_> {
    /// Writes and removes conditions of a Cluster.
    ///
    /// # Errors
    /// If the API server refuses a request or does not answer.
    pub async fn write(&self, cluster: &Cluster, set: &[Said], remove: &[&'static str]) -> Result<(), Error> {
        let now = Time(self.clock.now());
        let condition = |said: &Said| Condition {
            type_: said.type_.to_owned(),
            status: said.status.as_str().to_owned(),
            reason: said.reason.clone(),
            message: said.message.clone(),
            observed_generation: cluster.metadata.generation,
            last_transition_time: now.clone(),
        };
        let set: Vec<_> = set.iter().map(condition).collect();
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let Some(newest) = newest(self.clusters, cluster).await? else { return Ok(()) };
            let Some(patch) = newest.change_conditions(&set, remove) else { return Ok(()) };
            attempts.next();
            match self.clusters.patch_status(self.manager, &newest, &patch).await {
                Err(kube::Error::Api(answer)) if Answer::is_conflict(&answer) && !attempts.is_empty() => {}
                written => return Ok(written?),
            }
        }
    }
}
