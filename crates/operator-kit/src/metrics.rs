//! Metrics in Prometheus' text format.
//!
//! Owns the registry and the metrics every operator has. Labels are constants of the code (controller, kind, result,
//! reason) and the namespaces of `--watch-namespace`, never names of objects or texts of errors, so the number of series is bounded;
//! but see `conditions`.

mod conditions;

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus::{
    Counter, Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

use self::conditions::Conditions;
pub use self::conditions::ShownCondition;
use crate::reasons::KIT;

/// Buckets of the reconcile duration, in seconds.
const BUCKETS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];
/// How a pass ends: see the driver.
const RESULTS: [&str; 7] = ["ok", "wait", "blocked", "held", "invalid", "transient", "needs_help"];
/// What becomes of an event.
const EVENTS: [&str; 3] = ["published", "failed", "dropped"];
/// Clock ticks per second in /proc/<pid>/stat: a constant of Linux.
const TICKS: f64 = 100.0;

/// The registry and the kit's metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGaugeVec,
    depth: IntGaugeVec,
    waits: HistogramVec,
    errors: IntCounterVec,
    halts: IntCounterVec,
    events: IntCounterVec,
    watch_errors: IntCounterVec,
    lacking: IntGaugeVec,
    objects: IntGaugeVec,
    leader: IntGauge,
    process: Process,
    conditions: Conditions,
    refresh: Arc<Mutex<Vec<Refresh>>>,
}

type Refresh = Box<dyn Fn() + Send>;

impl Metrics {
    /// Registers the kit's metrics for the operator of this name and version.
    pub fn new(operator: &str, version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name, help, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauges = |name, help, labels: &[&str]| {
            registered(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let histograms = |name, help| {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            registered(&registry, HistogramVec::new(options, &["controller"])?)
        };
        let build = gauges("operator_build_info", "Always 1", &["operator", "version"])?;
        build.with_label_values(&[operator, version]).set(1);
        let (by_result, by_reason) = (&["controller", "result"], &["controller", "reason"]);
        let metrics = Self {
            reconciles: counters("operator_reconcile_total", "Reconciles ended, by result", by_result)?,
            durations: histograms("operator_reconcile_duration_seconds", "Time a reconcile took")?,
            in_flight: gauges("operator_reconcile_in_flight", "Reconciles in flight", &["controller"])?,
            depth: gauges("operator_workqueue_depth", "Objects that wait to be reconciled", &["controller"])?,
            waits: histograms("operator_workqueue_wait_seconds", "Time from wake-up to reconcile")?,
            errors: counters(
                "operator_reconcile_errors_total",
                "Reconciles ended by an error, by its reason",
                by_reason,
            )?,
            halts: counters(
                "operator_reconcile_waits_total",
                "Reconciles ended by waiting, by what is awaited",
                by_reason,
            )?,
            events: counters(
                "operator_events_total",
                "Kubernetes events, by what became of them",
                &["result"],
            )?,
            watch_errors: counters("operator_watch_errors_total", "Interruptions of a watch", &["kind"])?,
            lacking: gauges(
                "operator_watch_incomplete",
                "1 while the cache lacks the objects of a namespace, or the API server refuses their watch",
                &["kind", "namespace"],
            )?,
            objects: gauges("operator_objects", "Objects in the cache", &["kind"])?,
            leader: registered(&registry, IntGauge::new("operator_leader", "1 while this process leads")?)?,
            process: Process::new(&registry)?,
            conditions: registered(&registry, Conditions::new()?)?,
            refresh: Arc::default(),
            registry,
        };
        for result in EVENTS {
            metrics.events.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// Returns the registry, for an operator's own metrics.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Calls `f` before each scrape, to set gauges that would be wasteful to keep current.
    pub fn on_scrape(&self, f: impl Fn() + Send + 'static) {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(f));
    }

    /// Returns the metrics of one controller, whose passes may fail for `reasons`. Their counters start at 0: of a counter that
    /// appears with its first failure, Prometheus sees no increase.
    #[must_use]
    pub(crate) fn controller(&self, name: &'static str, reasons: &[&str]) -> ControllerMetrics {
        for reason in KIT.iter().chain(reasons) {
            self.errors.with_label_values(&[name, reason]);
        }
        for result in RESULTS {
            self.reconciles.with_label_values(&[name, result]);
        }
        ControllerMetrics { name, metrics: self.clone() }
    }

    /// Counts an event: `published`, `failed` or `dropped`.
    pub(crate) fn event(&self, result: &str) {
        self.events.with_label_values(&[result]).inc();
    }

    pub(crate) fn watch_errors(&self, kind: &str) -> IntCounter {
        self.watch_errors.with_label_values(&[kind])
    }

    /// `namespace`: one of `--watch-namespace`, or an empty text for all.
    pub(crate) fn watch_lacks(&self, kind: &str, namespace: &str, lacks: impl Fn() -> bool + Send + 'static) {
        let gauge = self.lacking.with_label_values(&[kind, namespace]);
        self.on_scrape(move || gauge.set(i64::from(lacks())));
    }

    pub(crate) fn watch_objects(&self, kind: &str, count: impl Fn() -> usize + Send + 'static) {
        let gauge = self.objects.with_label_values(&[kind]);
        self.on_scrape(move || gauge.set(i64::try_from(count()).unwrap_or(i64::MAX)));
    }

    pub(crate) fn watch_queue(&self, controller: &str, depth: impl Fn() -> usize + Send + 'static) {
        let gauge = self.depth.with_label_values(&[controller]);
        self.on_scrape(move || gauge.set(i64::try_from(depth()).unwrap_or(i64::MAX)));
    }

    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Returns all metrics as text.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        self.process.refresh();
        for refresh in self.refresh.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            refresh();
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Registers a metric and returns it.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// The metrics of one controller.
#[derive(Clone)]
pub(crate) struct ControllerMetrics {
    name: &'static str,
    metrics: Metrics,
}

impl ControllerMetrics {
    /// Observes how long an object waited in the queue.
    pub(crate) fn waited(&self, time: Duration) {
        self.metrics.waits.with_label_values(&[self.name]).observe(time.as_secs_f64());
    }

    /// Starts the timer of a reconcile.
    #[must_use]
    pub(crate) fn start(&self) -> Timer {
        let in_flight = self.metrics.in_flight.with_label_values(&[self.name]);
        in_flight.inc();
        Timer { metrics: self.clone(), in_flight, begun: Instant::now() }
    }

    /// Counts a reconcile that ended by waiting for this reason, for something or for a person.
    pub(crate) fn wait(&self, reason: &'static str) {
        self.metrics.halts.with_label_values(&[self.name, reason]).inc();
    }

    /// Counts a reconcile that ended by an error of this reason.
    pub(crate) fn error(&self, reason: &'static str) {
        self.metrics.errors.with_label_values(&[self.name, reason]).inc();
    }
}

/// A reconcile in flight. Dropped without an end, it was cancelled.
pub(crate) struct Timer {
    metrics: ControllerMetrics,
    in_flight: IntGauge,
    begun: Instant,
}

impl Timer {
    pub(crate) fn end(self, result: &'static str) {
        let ControllerMetrics { name, metrics } = &self.metrics;
        metrics.reconciles.with_label_values(&[name, result]).inc();
        metrics.durations.with_label_values(&[name]).observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

/// Figures of the process, read from /proc at each scrape.
#[derive(Clone)]
struct Process {
    resident: IntGauge,
    cpu: Counter,
    started: Gauge,
    files: IntGauge,
}

impl Process {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let cpu = Counter::new("process_cpu_seconds_total", "User and system CPU time")?;
        let started = Gauge::new("process_start_time_seconds", "Start of the process, seconds since 1970")?;
        let process = Self {
            resident: registered(
                registry,
                IntGauge::new("process_resident_memory_bytes", "Resident memory")?,
            )?,
            cpu: registered(registry, cpu)?,
            started: registered(registry, started)?,
            files: registered(registry, IntGauge::new("process_open_fds", "Open file descriptors")?)?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        process.started.set(now.as_secs_f64());
        Ok(process)
    }

    fn refresh(&self) {
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident) {
            self.resident.set(bytes);
        }
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu) {
            // A counter only grows; the kernel may correct its account by a tick.
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.files.set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
    }
}

fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok().map(|kib| kib * 1024)
}

/// Fields 14 and 15 of the line, counted after the parenthesised name, which may contain anything.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::{cache::Cache, conditions::Status};

    #[test]
    fn proc_is_understood() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0";
        assert!((cpu(stat).unwrap() - 4.0).abs() < 1e-9);
        assert_eq!(cpu("42"), None);
    }

    /// An object that is gone, or has another reason, leaves no series behind.
    #[test]
    fn conditions_are_those_that_the_objects_have_now() {
        let metrics = Metrics::new("op", "1").unwrap();
        let cache = Cache::<ConfigMap>::default();
        metrics.show_conditions("Thing", cache.clone(), |thing| {
            let reason = thing.data.clone().unwrap_or_default().remove("reason");
            let status = Status::from(reason.is_none());
            let reason = reason.unwrap_or("AsAsked".to_owned());
            vec![ShownCondition { type_: "Ready".to_owned(), status, reason }]
        });
        let object = |name: &str, version: &str, reason: Option<&str>| {
            let metadata = json!({ "name": name, "namespace": "n", "uid": name, "resourceVersion": version });
            let data = reason.map(|reason| json!({ "reason": reason }));
            serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
        };
        let shown = || {
            let text = metrics.text().unwrap();
            let lines = text.lines().filter(|line| line.starts_with("operator_condition{"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let line = |name: &str, reason: &str, status: &str| {
            let object = format!(r#"kind="Thing",object="n/{name}""#);
            format!(r#"operator_condition{{{object},reason="{reason}",status="{status}",type="Ready"}} 1"#)
        };
        assert_eq!(shown(), Vec::<String>::new());
        cache.watched(object("a", "1", None));
        cache.watched(object("b", "1", Some("Broken")));
        assert_eq!(shown(), [line("a", "AsAsked", "True"), line("b", "Broken", "False")]);
        cache.watched(object("a", "2", Some("Slow")));
        cache.deleted(&object("b", "2", None));
        assert_eq!(shown(), [line("a", "Slow", "False")]);
    }

    #[test]
    fn a_scrape_has_it_all() {
        let metrics = Metrics::new("op", "1").unwrap();
        let controller = metrics.controller("thing", &["Known"]);
        controller.start().end("ok");
        controller.error("Broken");
        controller.wait("Queued");
        metrics.event("dropped");
        let abandoned = controller.start();
        metrics.watch_objects("Thing", || 3);
        let text = metrics.text().unwrap();
        for line in [
            r#"operator_build_info{operator="op",version="1"} 1"#,
            r#"operator_reconcile_total{controller="thing",result="ok"} 1"#,
            r#"operator_reconcile_errors_total{controller="thing",reason="Broken"} 1"#,
            r#"operator_reconcile_waits_total{controller="thing",reason="Queued"} 1"#,
            r#"operator_events_total{result="dropped"} 1"#,
            // What has not happened yet.
            r#"operator_reconcile_total{controller="thing",result="needs_help"} 0"#,
            r#"operator_reconcile_errors_total{controller="thing",reason="InternalError"} 0"#,
            r#"operator_reconcile_errors_total{controller="thing",reason="Known"} 0"#,
            r#"operator_events_total{result="failed"} 0"#,
            r#"operator_reconcile_in_flight{controller="thing"} 1"#,
            r#"operator_objects{kind="Thing"} 3"#,
            "process_resident_memory_bytes ",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
        drop(abandoned);
        assert!(metrics.text().unwrap().contains(r#"in_flight{controller="thing"} 0"#));
    }
}
