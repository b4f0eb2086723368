//! Sessions: their ids, CSRF tokens and two time-outs. Knows no passwords.

use std::collections::HashMap;

use uuid::Uuid;

use super::clock::Micros;

/// The maximum number of sessions. At the limit a login evicts the expired sessions or, if there is none, the least recently
/// used one.
const MAX_SESSIONS: usize = 10_000;

/// The time-outs of sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The time without a request after which a session expires; `None`: never.
    pub(super) idle: Option<Micros>,
    /// The age at which a session expires; `None`: never.
    pub(super) force: Option<Micros>,
}

/// One session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) csrf: String,
    /// The user's uuid.
    pub(super) user: String,
    opened: Micros,
    used: Micros,
}

impl Session {
    /// Returns whether the session has not expired.
    fn is_alive(&self, limits: Limits, now: Micros) -> bool {
        limits.idle.is_none_or(|idle| now < self.used.saturating_add(idle))
            && limits.force.is_none_or(|force| now < self.opened.saturating_add(force))
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    /// False if [`Rule::SessionExpiry`](crate::Rule::SessionExpiry) is broken: then no session ends.
    expiry: bool,
}

impl Sessions {
    /// Returns no sessions; with `expiry` false they will never end.
    pub(super) fn new(expiry: bool) -> Self {
        Self { by_id: HashMap::new(), expiry }
    }

    /// Opens a session of the user.
    pub(super) fn open(&mut self, user: &str, limits: Limits, now: Micros) -> Session {
        if self.by_id.len() >= MAX_SESSIONS {
            self.remove_expired(limits, now);
        }
        if self.by_id.len() >= MAX_SESSIONS {
            let least_recent =
                self.by_id.values().min_by_key(|session| session.used).map(|session| &session.id);
            if let Some(id) = least_recent.cloned() {
                self.by_id.remove(&id);
            }
        }
        let secret = || Uuid::new_v4().simple().to_string();
        let session = Session { id: secret(), csrf: secret(), user: user.to_owned(), opened: now, used: now };
        self.by_id.insert(session.id.clone(), session.clone());
        session
    }

    /// Returns the session that a request's cookies name, and records its use. Of several it is the one whose CSRF
    /// token the request has: after a second login a client may send its old cookie together with the new one.
    pub(super) fn touch<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a str>,
        csrf: Option<&str>,
        limits: Limits,
        now: Micros,
    ) -> Option<Session> {
        let mut found: Option<&Session> = None;
        for id in ids {
            let live = self.by_id.get(id).filter(|session| !self.expiry || session.is_alive(limits, now));
            if let Some(session) = live
                && (found.is_none() || csrf == Some(session.csrf.as_str()))
            {
                found = Some(session);
            }
        }
        let id = found?.id.clone();
        let session = self.by_id.get_mut(&id)?;
        session.used = now;
        Some(session.clone())
    }

    /// Returns how many sessions the user has.
    pub(super) fn count(&mut self, user: &str, limits: Limits, now: Micros) -> usize {
        self.remove_expired(limits, now);
        self.by_id.values().filter(|session| session.user == user).count()
    }

    /// Removes the expired sessions.
    fn remove_expired(&mut self, limits: Limits, now: Micros) {
        if self.expiry {
            self.by_id.retain(|_, session| session.is_alive(limits, now));
        }
    }

    /// Ends one session.
    pub(super) fn close(&mut self, id: &str) {
        if self.expiry {
            self.by_id.remove(id);
        }
    }

    /// Ends all sessions.
    pub(super) fn close_all(&mut self) {
        if self.expiry {
            self.by_id.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::*;

    const LIMITS: Limits = Limits { idle: Some(10), force: Some(100) };
    const NONE: Limits = Limits { idle: None, force: None };

    fn touch(sessions: &mut Sessions, id: &str, limits: Limits, now: Micros) -> bool {
        sessions.touch(once(id), None, limits, now).is_some()
    }

    #[test]
    fn a_session_expires_to_the_microsecond() {
        let mut sessions = Sessions::new(true);
        let id = sessions.open("u", LIMITS, 0).id;
        for now in [9, 18, 27] {
            assert!(touch(&mut sessions, &id, LIMITS, now));
        }
        assert!(!touch(&mut sessions, &id, LIMITS, 37));
        let forced = Limits { idle: None, ..LIMITS };
        assert!(touch(&mut sessions, &id, forced, 99));
        assert!(!touch(&mut sessions, &id, forced, 100));
    }

    #[test]
    fn a_login_at_the_limit_evicts_expired_sessions() {
        let mut sessions = Sessions::new(true);
        for _ in 0..MAX_SESSIONS {
            sessions.open("u", LIMITS, 0);
        }
        let alive = sessions.open("u", LIMITS, 9).id;
        assert_eq!(sessions.by_id.len(), MAX_SESSIONS);
        sessions.open("u", LIMITS, 10);
        assert_eq!(sessions.by_id.len(), 2);
        assert!(touch(&mut sessions, &alive, LIMITS, 11));
    }

    #[test]
    fn a_login_at_the_limit_evicts_the_least_recently_used_session() {
        let mut sessions = Sessions::new(true);
        let first = sessions.open("u", NONE, 0).id;
        let second = sessions.open("u", NONE, 1).id;
        for _ in sessions.by_id.len()..MAX_SESSIONS {
            sessions.open("u", NONE, 2);
        }
        assert!(touch(&mut sessions, &first, NONE, 3));
        sessions.open("u", NONE, 4);
        assert_eq!(sessions.by_id.len(), MAX_SESSIONS);
        assert!(touch(&mut sessions, &first, NONE, 5));
        assert!(!touch(&mut sessions, &second, NONE, 5));
    }
}
