//! `operator_condition`: the conditions of objects, each with the name of its object.
//!
//! Computed for each scrape, so that an object that is gone leaves nothing behind.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntGaugeVec, Opts, core::Collector, core::Desc, proto::MetricFamily};

use super::Metrics;
use crate::{cache::Cache, conditions::Status, key::Key, watch::Kind};

/// A condition as the metric shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownCondition {
    /// Its type.
    pub type_: String,
    /// Its status.
    pub status: Status,
    /// Its reason.
    pub reason: String,
}

/// What the labels of a kind's conditions are read from.
type Source = Box<dyn Fn(&IntGaugeVec) + Send>;

/// The metric. Clones share it.
#[derive(Clone)]
pub(super) struct Conditions {
    gauges: IntGaugeVec,
    sources: Arc<Mutex<Vec<Source>>>,
}

impl Conditions {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let options = Opts::new("operator_condition", "1 for the present status and reason of a condition");
        let labels = &["kind", "object", "type", "status", "reason"];
        Ok(Self { gauges: IntGaugeVec::new(options, labels)?, sources: Arc::default() })
    }
}

impl Collector for Conditions {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held until the end: scrapes at the same time use the same gauges.
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for source in &*sources {
            source(&self.gauges);
        }
        let families = self.gauges.collect();
        self.gauges.reset();
        families
    }
}

impl Metrics {
    /// Shows the conditions of a kind's objects from now on, as `of` returns them, in `operator_condition`. It is the one metric with the
    /// names of objects: one series for each condition of each object, so it is for kinds of which there are not thousands.
    pub fn show_conditions<K: Kind>(
        &self,
        kind: &'static str,
        cache: Cache<K>,
        of: impl Fn(&K) -> Vec<ShownCondition> + Send + 'static,
    ) {
        let source = move |gauges: &IntGaugeVec| {
            for object in cache.all() {
                let name = Key::of(&*object).to_string();
                for ShownCondition { type_, status, reason } in of(&object) {
                    gauges.with_label_values(&[kind, &name, &type_, status.as_str(), &reason]).set(1);
                }
            }
        };
        self.conditions.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(source));
    }
}
