//! Whether the process is ready and alive.
//!
//! Owns the register of named checks; never serves them: that is the admin server's part. A process without checks (a
//! standby waiting for the Lease) is ready.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The register; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, Check>>>,
}

#[derive(Clone, Debug)]
enum Check {
    Ready,
    NotReady(String),
    /// Ready again at that time, unless it is said once more.
    Disturbed(String, Instant),
}

impl Check {
    fn problem(&self, now: Instant) -> Option<&str> {
        match self {
            Self::NotReady(problem) => Some(problem),
            Self::Disturbed(problem, until) if now < *until => Some(problem),
            Self::Ready | Self::Disturbed(..) => None,
        }
    }
}

impl Health {
    /// Adds a check that is not ready until its handle says so, and is gone with its handle.
    #[must_use]
    pub fn register(&self, name: impl Into<String>) -> Readiness {
        let readiness = Readiness { health: self.clone(), name: name.into() };
        readiness.not_ready("starting");
        readiness
    }

    /// Whether all checks are ready, and a line for each. Before there is one, the process is still starting.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let now = Instant::now();
        let checks = self.lock();
        let mut ready = !checks.is_empty();
        let mut lines = String::from(if ready { "" } else { "[-] start: not everything is set up\n" });
        for (name, check) in checks.iter() {
            let problem = check.problem(now);
            ready &= problem.is_none();
            // Writing to a String cannot fail.
            let _ = match problem {
                None => writeln!(lines, "[+] {name}"),
                Some(problem) => writeln!(lines, "[-] {name}: {problem}"),
            };
        }
        lines.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, lines)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One check; dropping it removes the check.
#[derive(Debug)]
pub struct Readiness {
    health: Health,
    name: String,
}

impl Readiness {
    /// From now on ready.
    pub fn ready(&self) {
        self.set(Check::Ready);
    }

    /// From now on not ready, for this reason (one line, no secrets).
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Check::NotReady(reason.into()));
    }

    /// Not ready for a while, for this reason: for what says when it fails, but not when it works again.
    pub fn disturbed(&self, reason: impl Into<String>, pause: Duration) {
        self.set(Check::Disturbed(reason.into(), Instant::now() + pause));
    }

    fn set(&self, check: Check) {
        self.health.lock().insert(self.name.clone(), check);
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.health.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_check_is() {
        let health = Health::default();
        assert!(!health.report().0, "nothing is set up yet");
        let watch = health.register("watch");
        let system = health.register("system");
        watch.ready();
        assert_eq!(health.report(), (false, "[-] system: starting\n[+] watch\nnot ready\n".to_owned()));
        system.ready();
        assert_eq!(health.report(), (true, "[+] system\n[+] watch\nready\n".to_owned()));
        system.not_ready("unreachable");
        assert!(!health.report().0);
        system.disturbed("interrupted", Duration::from_mins(1));
        assert!(!health.report().0);
        system.disturbed("interrupted", Duration::ZERO);
        assert!(health.report().0);
        system.not_ready("unreachable");
        drop(system);
        assert!(health.report().0);
    }
}
