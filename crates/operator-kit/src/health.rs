//! Whether the process is ready and alive.
//!
//! Owns the register of named checks; never serves them: that is the admin server's part. A process without checks (a
//! standby waiting for the Lease) is ready.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The register; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// Adds a check that is not ready until its handle says so, and is gone with its handle.
    #[must_use]
    pub fn register(&self, name: impl Into<String>) -> Readiness {
        let readiness = Readiness { health: self.clone(), name: name.into() };
        readiness.not_ready("starting");
        readiness
    }

    /// Whether all checks are ready, and a line for each.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let checks = self.lock();
        let ready = checks.values().all(Option::is_none);
        let lines = checks.iter().map(|(name, problem)| match problem {
            None => format!("[+] {name}\n"),
            Some(problem) => format!("[-] {name}: {problem}\n"),
        });
        (ready, lines.chain([if ready { "ready\n" } else { "not ready\n" }.to_owned()]).collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
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
        self.health.lock().insert(self.name.clone(), None);
    }

    /// From now on not ready, for this reason (one line, no secrets).
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.health.lock().insert(self.name.clone(), Some(reason.into()));
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
        assert!(health.report().0);
        let watch = health.register("watch");
        let system = health.register("system");
        watch.ready();
        assert_eq!(health.report(), (false, "[-] system: starting\n[+] watch\nnot ready\n".to_owned()));
        system.ready();
        assert_eq!(health.report(), (true, "[+] system\n[+] watch\nready\n".to_owned()));
        system.not_ready("unreachable");
        assert!(!health.report().0);
        drop(system);
        assert!(health.report().0);
    }
}
