//! What is counted and timed while the operator works: calls of the vCenter, logins, clones. What is computed at each scrape is in
//! `metrics`. Both are registered from the start of the process.

use infra_clients::vsphere::{Error as Fault, Exchange, Kind, Observer};
use k8s_openapi::jiff::Timestamp;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::api::{TaskKind, TaskStatus};
use crate::in_flight::{Entry, RequestState};

/// Buckets of the duration of calls, in seconds. A long poll takes up to 25 s, and longer where the answer is late.
const CALL_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0];
/// Buckets of the duration of clones, in seconds.
const CLONE_BUCKETS: [f64; 9] = [1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0];

/// The meters. Clones share them.
#[derive(Clone, Debug)]
pub struct Meters {
    calls: IntCounterVec,
    call_durations: HistogramVec,
    logins: IntCounterVec,
    session: IntGauge,
    clone_durations: Histogram,
}

impl Meters {
    /// Registers the meters.
    ///
    /// # Errors
    /// A metric of the name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let meters = Self {
            calls: IntCounterVec::new(
                Opts::new("vm_operator_vcenter_calls_total", "Calls of the vCenter, by how they ended"),
                &["method", "result"],
            )?,
            call_durations: HistogramVec::new(
                HistogramOpts::new(
                    "vm_operator_vcenter_call_duration_seconds",
                    "Time until the answer of a call",
                )
                .buckets(CALL_BUCKETS.to_vec()),
                &["method"],
            )?,
            logins: IntCounterVec::new(
                Opts::new("vm_operator_vcenter_logins_total", "Logins at the vCenter, by how they ended"),
                &["result"],
            )?,
            session: IntGauge::new(
                "vm_operator_vcenter_session",
                "1 while the operator has a session that the vCenter has not ended",
            )?,
            clone_durations: Histogram::with_opts(
                HistogramOpts::new(
                    "vm_operator_clone_duration_seconds",
                    "Time from a clone's acceptance by the vCenter to its end",
                )
                .buckets(CLONE_BUCKETS.to_vec()),
            )?,
        };
        for result in ["ok", "refused", "failed"] {
            meters.logins.with_label_values(&[result]);
        }
        registry.register(Box::new(meters.calls.clone()))?;
        registry.register(Box::new(meters.call_durations.clone()))?;
        registry.register(Box::new(meters.logins.clone()))?;
        registry.register(Box::new(meters.session.clone()))?;
        registry.register(Box::new(meters.clone_durations.clone()))?;
        Ok(meters)
    }

    /// Returns the observer of the vCenter's session.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let meters = self.clone();
        Observer::new(move |exchange| meters.observe_call(exchange))
    }

    fn observe_call(&self, exchange: &Exchange<'_>) {
        let result = exchange.error.map_or("ok", result);
        self.calls.with_label_values(&[exchange.method, result]).inc();
        self.call_durations.with_label_values(&[exchange.method]).observe(exchange.elapsed.as_secs_f64());
        match (exchange.method, exchange.error) {
            ("Login", None) => {
                self.logins.with_label_values(&["ok"]).inc();
                self.session.set(1);
            }
            ("Login", Some(error)) => {
                let is_refused = error.kind().is_refused_login();
                self.logins.with_label_values(&[if is_refused { "refused" } else { "failed" }]).inc();
                self.session.set(0);
            }
            ("Logout", _) => self.session.set(0),
            _ if exchange.is_session_lost() => self.session.set(0),
            _ => {}
        }
    }

    /// Observes how long a clone took, if the request that has ended was one.
    pub fn observe_clone(&self, ended: Option<&Entry>) {
        if let Some(Entry { request: Some(RequestState::Task(task)), .. }) = ended
            && let TaskStatus { kind: TaskKind::Clone, submitted_at, .. } = task
        {
            let time = Timestamp::now().duration_since(submitted_at.0);
            self.clone_durations.observe(time.as_secs_f64().max(0.0));
        }
    }
}

/// Returns the label of a call that failed.
fn result(error: &Fault) -> &'static str {
    match error.kind() {
        Kind::Timeout => "timeout",
        Kind::Unreachable | Kind::Tls | Kind::Unavailable => "unreachable",
        Kind::Unauthorized | Kind::SessionEnded => "unauthorized",
        Kind::Protocol | Kind::AnswerTooLarge => "unreadable",
        _ => "fault",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_logins_and_the_session_are_followed() {
        let meters = Meters::register(&Registry::new()).unwrap();
        let call = |method, error: Option<&Fault>| {
            meters.observe_call(&Exchange { method, error, elapsed: Duration::from_millis(1) });
            meters.session.get()
        };
        let refused = Fault::new(Kind::Unauthorized, "as the test wants it");
        let silent = Fault::new(Kind::Timeout, "as the test wants it");
        assert_eq!(call("Login", Some(&silent)), 0);
        assert_eq!(call("Login", Some(&refused)), 0);
        assert_eq!(call("Login", None), 1);
        assert_eq!(call("CloneVM_Task", Some(&silent)), 1, "the session may be alive");
        assert_eq!(call("Logout", None), 0);
        for result in ["ok", "refused", "failed"] {
            assert_eq!(meters.logins.with_label_values(&[result]).get(), 1, "{result}");
        }
        assert_eq!(meters.calls.with_label_values(&["CloneVM_Task", "timeout"]).get(), 1);
        assert_eq!(meters.call_durations.with_label_values(&["Login"]).get_sample_count(), 3);
    }
}
