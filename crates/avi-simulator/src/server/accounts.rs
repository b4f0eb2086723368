//! What the controller keeps of a user beside the object: passwords, failures, lock-out, tokens. Never shown by
//! the API, the log or `Debug`.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use uuid::Uuid;

use super::clock::Micros;

/// A password or token; prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden(String);

impl Hidden {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The user account profile in force, in the clock's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    /// Sessions at a time; `None` is any number.
    pub(super) sessions: Option<usize>,
    /// Wrong passwords before the account is locked; `None` is any number.
    pub(super) failures: Option<u64>,
    pub(super) lock: Micros,
    /// How many passwords, the present one among them, may not be chosen again.
    pub(super) history: usize,
    /// The age at which a password is too old; `None` is never.
    pub(super) expiry: Option<Micros>,
}

/// A token that stands for a password.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) uuid: String,
    pub(super) value: Hidden,
    pub(super) user: String,
    pub(super) hours: u64,
    pub(super) expires: Micros,
}

#[derive(Debug, Default)]
struct Account {
    /// The present password last, those before it in front.
    passwords: VecDeque<Hidden>,
    set_at: Micros,
    failures: u64,
    locked_until: Micros,
}

/// Why a password was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weak {
    /// Shorter than this.
    Short(usize),
    /// Not of all four kinds of characters.
    Simple,
    /// Used before.
    Used,
}

/// What a user offered at login.
#[derive(Debug)]
pub(super) enum Proof {
    Password(Hidden),
    Token(Hidden),
}

/// The answer to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Right or wrong, the account is locked.
    Locked,
}

/// By the user's uuid.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_user: HashMap<String, Account>,
    tokens: Vec<Token>,
}

impl Accounts {
    /// Sets a password without asking anybody: a seed, or a user just made.
    pub(super) fn set(&mut self, user: &str, password: Hidden, now: Micros) {
        let account = self.by_user.entry(user.to_owned()).or_default();
        if account.passwords.back() == Some(&password) {
            return;
        }
        account.passwords.push_back(password);
        account.set_at = now;
        account.failures = 0;
        account.locked_until = 0;
    }

    /// Whether the password is the present one.
    pub(super) fn is(&self, user: &str, password: &Hidden) -> bool {
        self.by_user.get(user).is_some_and(|account| account.passwords.back() == Some(password))
    }

    /// Whether the password is among the last `history`.
    pub(super) fn used(&self, user: &str, password: &Hidden, history: usize) -> bool {
        self.by_user
            .get(user)
            .is_some_and(|account| account.passwords.iter().rev().take(history).any(|old| old == password))
    }

    /// Judges a login and counts a failure.
    pub(super) fn judge(&mut self, user: &str, proof: &Proof, profile: Profile, now: Micros) -> Verdict {
        let by_token = match proof {
            Proof::Token(token) => self
                .tokens
                .iter()
                .any(|known| known.user == user && known.value == *token && now < known.expires),
            Proof::Password(_) => false,
        };
        let account = self.by_user.entry(user.to_owned()).or_default();
        if now < account.locked_until {
            return Verdict::Locked;
        }
        let right = match proof {
            Proof::Token(_) => by_token,
            Proof::Password(password) => account.passwords.back() == Some(password),
        };
        if right {
            account.failures = 0;
            return Verdict::Right;
        }
        account.failures += 1;
        if profile.failures.is_some_and(|most| account.failures >= most) {
            account.failures = 0;
            account.locked_until = now.saturating_add(profile.lock);
        }
        Verdict::Wrong
    }

    /// Whether the password is older than its profile allows.
    pub(super) fn expired(&self, user: &str, profile: Profile, now: Micros) -> bool {
        let set_at = self.by_user.get(user).map_or(0, |account| account.set_at);
        profile.expiry.is_some_and(|age| now >= set_at.saturating_add(age))
    }

    pub(super) fn issue(&mut self, user: &str, hours: u64, now: Micros) -> Token {
        self.tokens.retain(|token| now < token.expires);
        let token = Token {
            uuid: format!("usertoken-{}", Uuid::new_v4()),
            value: Hidden::new(Uuid::new_v4().simple().to_string()),
            user: user.to_owned(),
            hours,
            expires: now.saturating_add(hours.saturating_mul(3_600_000_000)),
        };
        self.tokens.push(token.clone());
        token
    }

    pub(super) fn tokens(&self, user: &str, now: Micros) -> Vec<&Token> {
        self.tokens.iter().filter(|token| token.user == user && now < token.expires).collect()
    }

    /// Whether there was one to revoke.
    pub(super) fn revoke(&mut self, user: &str, uuid: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|token| !(token.user == user && token.uuid == uuid));
        self.tokens.len() < before
    }

    /// Forgets a user who was deleted.
    pub(super) fn forget(&mut self, user: &str) {
        self.by_user.remove(user);
        self.tokens.retain(|token| token.user != user);
    }
}

/// Holds a new password against the portal's rules.
pub(super) fn weakness(password: &Hidden, at_least: usize, strict: bool) -> Option<Weak> {
    let text = password.expose();
    if text.chars().count() < at_least {
        return Some(Weak::Short(at_least));
    }
    let kinds = [char::is_lowercase, char::is_uppercase, char::is_numeric, |c: char| !c.is_alphanumeric()];
    (strict && !kinds.iter().all(|kind| text.chars().any(*kind))).then_some(Weak::Simple)
}
