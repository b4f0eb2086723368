//! Who is logged in: session ids, CSRF tokens and their two time-outs. Knows no passwords.

use std::collections::HashMap;

use uuid::Uuid;

use super::clock::Micros;

/// More sessions than this are not kept: those that are over make room for another, or else the one that is unused for
/// longest.
const MOST: usize = 10_000;

/// How long a session lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Without a request; `None` is for ever.
    pub(super) idle: Option<Micros>,
    /// In all.
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
    fn lives(&self, limits: Limits, now: Micros) -> bool {
        limits.idle.is_none_or(|idle| now < self.used.saturating_add(idle))
            && limits.force.is_none_or(|force| now < self.opened.saturating_add(force))
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    /// Off when the rule is broken on purpose: then no session ever ends.
    expiry: bool,
}

impl Sessions {
    pub(super) fn new(expiry: bool) -> Self {
        Self { by_id: HashMap::new(), expiry }
    }

    pub(super) fn open(&mut self, user: &str, limits: Limits, now: Micros) -> Session {
        if self.by_id.len() >= MOST {
            self.forget(limits, now);
        }
        if self.by_id.len() >= MOST {
            let idlest = self.by_id.values().min_by_key(|session| session.used).map(|session| &session.id);
            if let Some(id) = idlest.cloned() {
                self.by_id.remove(&id);
            }
        }
        let secret = || Uuid::new_v4().simple().to_string();
        let session = Session { id: secret(), csrf: secret(), user: user.to_owned(), opened: now, used: now };
        self.by_id.insert(session.id.clone(), session.clone());
        session
    }

    /// The session that a request's cookies name. Of several the one whose CSRF token the request carries:
    /// a client that logged in again may send its old cookie beside the new one.
    pub(super) fn touch<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a str>,
        csrf: Option<&str>,
        limits: Limits,
        now: Micros,
    ) -> Option<Session> {
        let mut found: Option<&Session> = None;
        for id in ids {
            let live = self.by_id.get(id).filter(|session| !self.expiry || session.lives(limits, now));
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

    /// How many sessions a user has.
    pub(super) fn count(&mut self, user: &str, limits: Limits, now: Micros) -> usize {
        self.forget(limits, now);
        self.by_id.values().filter(|session| session.user == user).count()
    }

    /// Forgets the sessions that are over.
    fn forget(&mut self, limits: Limits, now: Micros) {
        if self.expiry {
            self.by_id.retain(|_, session| session.lives(limits, now));
        }
    }

    pub(super) fn close(&mut self, id: &str) {
        if self.expiry {
            self.by_id.remove(id);
        }
    }

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
    fn a_session_ends_to_the_microsecond() {
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
    fn sessions_that_are_over_make_room() {
        let mut sessions = Sessions::new(true);
        for _ in 0..MOST {
            sessions.open("u", LIMITS, 0);
        }
        let lives = sessions.open("u", LIMITS, 9).id;
        assert_eq!(sessions.by_id.len(), MOST);
        sessions.open("u", LIMITS, 10);
        assert_eq!(sessions.by_id.len(), 2);
        assert!(touch(&mut sessions, &lives, LIMITS, 11));
    }

    #[test]
    fn too_many_make_room_for_the_next() {
        let mut sessions = Sessions::new(true);
        let first = sessions.open("u", NONE, 0).id;
        let second = sessions.open("u", NONE, 1).id;
        for _ in sessions.by_id.len()..MOST {
            sessions.open("u", NONE, 2);
        }
        assert!(touch(&mut sessions, &first, NONE, 3));
        sessions.open("u", NONE, 4);
        assert_eq!(sessions.by_id.len(), MOST);
        assert!(touch(&mut sessions, &first, NONE, 5));
        assert!(!touch(&mut sessions, &second, NONE, 5));
    }
}
