//! The operator's own metrics: what each driver is and is to be, what was done with it, what the checks have found, and the conditions of
//! objects.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::conditions::Status;
use operator_kit::{Cache, Metrics, ShownCondition, apply_set};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::checkup::Checkups;
use crate::connection::Connection;
use crate::installer::Asks;
use crate::matrix::Driver;
use crate::nodes::Summary;
use crate::plan::{Change, Drivers};
use crate::preflight;
use crate::version::Version;
use crate::wakes::Caches;

/// What begins with a driver, beside the changes of [`word`].
const REMOVE: &str = "remove";
const RELEASE: &str = "release";

/// What is shown of a driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// The version that was applied last.
    pub(crate) installed: Option<Version>,
    /// The version that was chosen.
    pub(crate) wanted: Option<Version>,
    /// How far the Nodes are with it.
    pub(crate) nodes: Summary,
}

/// The metrics. The counters begin at 0 for each label, in every process.
pub(crate) struct Meters {
    rollouts: IntCounterVec,
    put_backs: IntCounterVec,
    failures: IntCounterVec,
    installed: IntGaugeVec,
    wanted: IntGaugeVec,
    nodes: IntGaugeVec,
    findings: IntGaugeVec,
    shown: Mutex<Drivers<Shown>>,
}

impl Meters {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A metric of the name is registered already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(format!("vdo_{name}"), help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(format!("vdo_{name}"), help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let meters = Self {
            rollouts: counters(
                "rollouts_total",
                "Changes of drivers that have begun",
                &["driver", "change"],
            )?,
            put_backs: counters(
                "put_backs_total",
                "Objects of drivers that others had changed or deleted, and that were put back",
                &["driver"],
            )?,
            failures: counters(
                "driver_failures_total",
                "Attempts to apply or remove the objects of a driver that have failed",
                &["driver", "reason"],
            )?,
            installed: gauges(
                "driver_installed_info",
                "1 for the version that is installed",
                &["driver", "version"],
            )?,
            wanted: gauges("driver_wanted_info", "1 for the version that is chosen", &["driver", "version"])?,
            nodes: gauges("driver_nodes", "Nodes that a driver serves, and others", &["driver", "state"])?,
            findings: gauges(
                "check_findings",
                "What the preflight checks have found",
                &["check", "severity"],
            )?,
            shown: Mutex::default(),
        };
        for driver in Driver::ALL.map(Driver::name) {
            meters.put_backs.with_label_values(&[driver]);
            for change in Change::ALL.into_iter().filter_map(word).chain([REMOVE, RELEASE]) {
                meters.rollouts.with_label_values(&[driver, change]);
            }
            for reason in apply_set::ALL {
                meters.failures.with_label_values(&[driver, reason]);
            }
        }
        Ok(meters)
    }

    /// Sets the gauges at each scrape from now on.
    pub(crate) fn follow(self: &Arc<Self>, metrics: &Metrics, checkups: &Arc<Checkups>) {
        let (meters, checkups) = (Arc::clone(self), Arc::clone(checkups));
        metrics.on_scrape(move || meters.set_gauges(&checkups));
    }

    /// Notes what a driver is, and is to be.
    pub(crate) fn show(&self, driver: Driver, shown: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner).get_mut(driver) = shown;
    }

    /// Counts a change that begins.
    pub(crate) fn begins(&self, driver: Driver, change: Change) {
        if let Some(word) = word(change) {
            self.rollouts.with_label_values(&[driver.name(), word]).inc();
        }
    }

    /// Counts a removal that begins.
    pub(crate) fn removes(&self, driver: Driver) {
        self.rollouts.with_label_values(&[driver.name(), REMOVE]).inc();
    }

    /// Counts a driver that is let go of.
    pub(crate) fn releases(&self, driver: Driver) {
        self.rollouts.with_label_values(&[driver.name(), RELEASE]).inc();
    }

    /// Counts objects that were put back.
    pub(crate) fn puts_back(&self, driver: Driver, objects: u64) {
        self.put_backs.with_label_values(&[driver.name()]).inc_by(objects);
    }

    /// Counts an attempt that has failed.
    pub(crate) fn fails(&self, driver: Driver, reason: &str) {
        self.failures.with_label_values(&[driver.name(), reason]).inc();
    }

    fn set_gauges(&self, checkups: &Checkups) {
        for gauges in [&self.installed, &self.wanted, &self.nodes, &self.findings] {
            gauges.reset();
        }
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for driver in Driver::ALL {
            let (name, Shown { installed, wanted, nodes }) = (driver.name(), shown.get(driver));
            for (gauges, version) in [(&self.installed, installed), (&self.wanted, wanted)] {
                if let Some(version) = version {
                    gauges.with_label_values(&[name, &version.to_string()]).set(1);
                }
            }
            if installed.is_some() {
                let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
                self.nodes.with_label_values(&[name, "ready"]).set(number(nodes.ready));
                let other = number(nodes.total.saturating_sub(nodes.ready));
                self.nodes.with_label_values(&[name, "other"]).set(other);
            }
        }
        for ((check, severity), count) in preflight::counts(&checkups.findings()) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.findings.with_label_values(&[check.name(), severity.word()]).set(count);
        }
    }
}

/// Returns the label of a change; `None` for one that changes nothing.
fn word(change: Change) -> Option<&'static str> {
    match change {
        Change::Install => Some("install"),
        Change::Adopt => Some("adopt"),
        Change::Upgrade => Some("upgrade"),
        Change::Downgrade => Some("downgrade"),
        Change::Rollback => Some("rollback"),
        Change::Configure => Some("configure"),
        Change::Maintain => None,
    }
}

/// Shows the conditions of all objects from now on.
pub(crate) fn show_conditions(metrics: &Metrics, caches: &Caches) {
    show_installer(metrics, &caches.vdo_configs);
    show_installer(metrics, &caches.driver_sets);
    show_connection(metrics, &caches.clouds);
    show_connection(metrics, &caches.connections);
    metrics.show_conditions("CompatibilityMatrix", caches.matrices.clone(), |matrix| {
        matrix.status.iter().flat_map(|status| &status.conditions).map(shown).collect()
    });
}

fn show_installer<K: Asks>(metrics: &Metrics, cache: &Cache<K>) {
    metrics.show_conditions(K::KIND, cache.clone(), |object: &K| {
        object.status().into_iter().flat_map(|status| K::conditions_of(status)).map(shown).collect()
    });
}

fn show_connection<C: Connection>(metrics: &Metrics, cache: &Cache<C>) {
    metrics.show_conditions(C::KIND, cache.clone(), |object: &C| {
        object.status().into_iter().flat_map(|status| C::conditions_of(status)).map(shown).collect()
    });
}

fn shown(condition: &Condition) -> ShownCondition {
    let status = match condition.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    ShownCondition { type_: condition.type_.clone(), status, reason: condition.reason.clone() }
}

#[cfg(test)]
mod tests;
