//! Readiness: the register of named checks.
//!
//! Owns the checks; the admin server serves them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The register. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<Checks>>,
}

#[derive(Debug, Default)]
struct Checks {
    /// By name, and by number where several have the same name.
    by_name: BTreeMap<(String, u64), Check>,
    registered: u64,
}

#[derive(Clone, Debug)]
enum Check {
    /// Ready, with a note for who reads the report, or none.
    Ready(Option<&'static str>),
    NotReady(String),
    /// Ready again at that time, unless it is set once more.
    Disturbed(String, Instant),
    /// Ready, with a note that counts until that time.
    Limited(String, Instant),
}

impl Check {
    fn note(&self, now: Instant) -> Option<&str> {
        match self {
            Self::Ready(note) => *note,
            Self::Limited(note, until) => Some(note.as_str()).filter(|_| now < *until),
            Self::NotReady(_) | Self::Disturbed(..) => None,
        }
    }

    fn problem(&self, now: Instant) -> Option<&str> {
        match self {
            Self::NotReady(problem) => Some(problem),
            Self::Disturbed(problem, until) if now < *until => Some(problem),
            Self::Ready(_) | Self::Disturbed(..) | Self::Limited(..) => None,
        }
    }
}

impl Health {
    /// Adds a check, which is not ready until its handle is set ready, and is removed with its handle.
    #[must_use]
    pub fn register(&self, name: impl Into<String>) -> Readiness {
        let number = {
            let mut checks = self.lock();
            checks.registered += 1;
            checks.registered
        };
        let readiness = Readiness { health: self.clone(), id: (name.into(), number) };
        readiness.not_ready("starting");
        readiness
    }

    /// Returns whether all checks are ready, and a line for each. Before there is one, the process is still starting.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let now = Instant::now();
        let checks = self.lock();
        let mut ready = !checks.by_name.is_empty();
        let mut lines = String::from(if ready { "" } else { "[-] start: not everything is set up\n" });
        for ((name, _), check) in &checks.by_name {
            let problem = check.problem(now);
            ready &= problem.is_none();
            // Writing to a String cannot fail.
            let _ = match (problem, check.note(now)) {
                (Some(problem), _) => writeln!(lines, "[-] {name}: {problem}"),
                (None, Some(note)) => writeln!(lines, "[+] {name}: {note}"),
                (None, None) => writeln!(lines, "[+] {name}"),
            };
        }
        lines.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, lines)
    }

    fn lock(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One check. Dropping it removes the check.
#[derive(Debug)]
pub struct Readiness {
    health: Health,
    id: (String, u64),
}

impl Readiness {
    /// Sets the check ready.
    pub fn ready(&self) {
        self.set(Check::Ready(None));
    }

    /// Sets the check ready, with what it does not say by itself, such as `not tried, standby`.
    pub fn ready_with(&self, note: &'static str) {
        self.set(Check::Ready(Some(note)));
    }

    /// Sets the check not ready, for this reason (one line, no secrets).
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Check::NotReady(reason.into()));
    }

    /// Sets the check not ready temporarily: for what reports failures, but not that it works again.
    pub(crate) fn disturbed(&self, reason: impl Into<String>, pause: Duration) {
        self.set(Check::Disturbed(reason.into(), Instant::now() + pause));
    }

    /// Sets the check ready for a part of what it stands for, with what is missing (one line, no secrets), which counts for `pause`.
    pub(crate) fn limited(&self, missing: impl Into<String>, pause: Duration) {
        self.set(Check::Limited(missing.into(), Instant::now() + pause));
    }

    fn set(&self, check: Check) {
        self.health.lock().by_name.insert(self.id.clone(), check);
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.health.lock().by_name.remove(&self.id);
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
        system.ready_with("not tried");
        assert_eq!(health.report(), (true, "[+] system: not tried\n[+] watch\nready\n".to_owned()));
        system.not_ready("unreachable");
        assert!(!health.report().0);
        system.disturbed("interrupted", Duration::from_mins(1));
        assert!(!health.report().0);
        system.disturbed("interrupted", Duration::ZERO);
        assert!(health.report().0);
        system.limited("not in namespace b", Duration::from_mins(1));
        assert_eq!(health.report(), (true, "[+] system: not in namespace b\n[+] watch\nready\n".to_owned()));
        system.limited("not in namespace b", Duration::ZERO);
        assert_eq!(health.report(), (true, "[+] system\n[+] watch\nready\n".to_owned()));
        system.not_ready("unreachable");
        drop(system);
        assert!(health.report().0);
    }

    #[test]
    fn checks_of_the_same_name_are_two_checks() {
        let health = Health::default();
        let (first, second) = (health.register("watch Secret"), health.register("watch Secret"));
        first.ready();
        assert!(!health.report().0);
        second.ready();
        drop(first);
        assert_eq!(health.report(), (true, "[+] watch Secret\nready\n".to_owned()));
    }
}
