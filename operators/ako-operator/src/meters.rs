//! What is counted and timed while the operator works: calls of AVI controllers, and logins.

use infra_clients::avi::{Exchange, Observer};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Buckets of the duration of calls, in seconds.
const BUCKETS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// The meters. Clones share them.
#[derive(Clone, Debug)]
pub struct Meters {
    calls: IntCounterVec,
    durations: HistogramVec,
    logins: IntCounterVec,
}

impl Meters {
    /// Registers the meters.
    ///
    /// # Errors
    /// A metric of the name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let calls = Opts::new("ako_operator_avi_calls_total", "Calls of AVI controllers, by how they ended");
        let durations =
            HistogramOpts::new("ako_operator_avi_call_duration_seconds", "Time until the answer of a call");
        let logins =
            Opts::new("ako_operator_avi_logins_total", "Logins at AVI controllers, by how they ended");
        let meters = Self {
            calls: IntCounterVec::new(calls, &["method", "resource", "status"])?,
            durations: HistogramVec::new(durations.buckets(BUCKETS.to_vec()), &["resource"])?,
            logins: IntCounterVec::new(logins, &["result"])?,
        };
        for result in ["ok", "refused", "failed"] {
            meters.logins.with_label_values(&[result]);
        }
        registry.register(Box::new(meters.calls.clone()))?;
        registry.register(Box::new(meters.durations.clone()))?;
        registry.register(Box::new(meters.logins.clone()))?;
        Ok(meters)
    }

    /// Returns the observer of the clients.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let meters = self.clone();
        Observer::new(move |exchange| meters.observe(exchange))
    }

    fn observe(&self, exchange: &Exchange<'_>) {
        let status = exchange.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        self.calls.with_label_values(&[exchange.method, exchange.resource, &status]).inc();
        self.durations.with_label_values(&[exchange.resource]).observe(exchange.elapsed.as_secs_f64());
        if exchange.resource == "login" {
            let result = match exchange.status {
                Some(200..=299) => "ok",
                Some(401 | 403) => "refused",
                _ => "failed",
            };
            self.logins.with_label_values(&[result]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_and_logins_are_counted_by_how_they_ended() {
        let meters = Meters::register(&Registry::new()).unwrap();
        let exchange = |resource, status| {
            meters.observe(&Exchange { method: "POST", resource, status, elapsed: Duration::from_millis(1) });
        };
        for status in [Some(200), Some(401), None] {
            exchange("login", status);
        }
        exchange("network", Some(412));
        let count = |labels: &[&str]| meters.calls.with_label_values(labels).get();
        assert_eq!(count(&["POST", "login", "none"]), 1);
        assert_eq!(count(&["POST", "network", "412"]), 1);
        for result in ["ok", "refused", "failed"] {
            assert_eq!(meters.logins.with_label_values(&[result]).get(), 1, "{result}");
        }
    }
}
