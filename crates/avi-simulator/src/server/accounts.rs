//! Credentials: each user's passwords, failed logins, lock-out and tokens. They are not part of the configuration, and
//! neither the API nor the log nor `Debug` shows them.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use uuid::Uuid;

use super::clock::Micros;

/// A password or token; prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text. Never log it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user account profile, with times in the clock's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    /// The maximum number of concurrent sessions; `None`: no limit.
    pub(super) max_sessions: Option<usize>,
    /// The number of wrong passwords that locks the account; `None`: never.
    pub(super) max_failures: Option<u64>,
    /// How long the account stays locked.
    pub(super) lock_time: Micros,
    /// How many of the latest passwords, the current one included, must not be reused.
    pub(super) history: usize,
    /// The age at which a password expires; `None`: never.
    pub(super) max_age: Option<Micros>,
}

/// A token, which a login accepts in place of the password.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) uuid: String,
    pub(super) value: Secret,
    /// The user's uuid.
    pub(super) user: String,
    /// Its lifetime.
    pub(super) hours: u64,
    pub(super) expires: Micros,
}

#[derive(Debug, Default)]
struct Account {
    /// Oldest first; the last one is current.
    passwords: VecDeque<Secret>,
    set_at: Micros,
    failures: u64,
    locked_until: Micros,
}

/// What a client sends to prove its identity.
#[derive(Debug)]
pub(super) enum Credential {
    Password(Secret),
    Token(Secret),
}

/// The result of checking a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialCheck {
    Right,
    Wrong,
    /// The account is locked; the credential was not checked.
    Locked,
}

/// The credentials of all users, by the user's uuid.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_user: HashMap<String, Account>,
    tokens: Vec<Token>,
}

impl Accounts {
    /// Sets a password without checking it, and unlocks the account. The current password changes nothing.
    pub(super) fn set_password(&mut self, user: &str, password: Secret, now: Micros) {
        let account = self.by_user.entry(user.to_owned()).or_default();
        if account.passwords.back() == Some(&password) {
            return;
        }
        account.passwords.push_back(password);
        account.set_at = now;
        account.failures = 0;
        account.locked_until = 0;
    }

    /// Returns whether the password is the current one.
    pub(super) fn is_current(&self, user: &str, password: &Secret) -> bool {
        self.by_user.get(user).is_some_and(|account| account.passwords.back() == Some(password))
    }

    /// Returns whether the password is among the latest `history` passwords.
    pub(super) fn is_reused(&self, user: &str, password: &Secret, history: usize) -> bool {
        self.by_user
            .get(user)
            .is_some_and(|account| account.passwords.iter().rev().take(history).any(|old| old == password))
    }

    /// Checks a credential. Counts a wrong one, and locks the account at the profile's limit.
    pub(super) fn check(
        &mut self,
        user: &str,
        credential: &Credential,
        profile: Profile,
        now: Micros,
    ) -> CredentialCheck {
        let by_token = match credential {
            Credential::Token(token) => self
                .tokens
                .iter()
                .any(|known| known.user == user && known.value == *token && now < known.expires),
            Credential::Password(_) => false,
        };
        let account = self.by_user.entry(user.to_owned()).or_default();
        if now < account.locked_until {
            return CredentialCheck::Locked;
        }
        let right = match credential {
            Credential::Token(_) => by_token,
            Credential::Password(password) => account.passwords.back() == Some(password),
        };
        if right {
            account.failures = 0;
            return CredentialCheck::Right;
        }
        account.failures += 1;
        if profile.max_failures.is_some_and(|max| account.failures >= max) {
            account.failures = 0;
            account.locked_until = now.saturating_add(profile.lock_time);
        }
        CredentialCheck::Wrong
    }

    /// Returns whether the password is older than its profile allows.
    pub(super) fn is_password_expired(&self, user: &str, profile: Profile, now: Micros) -> bool {
        let set_at = self.by_user.get(user).map_or(0, |account| account.set_at);
        profile.max_age.is_some_and(|age| now >= set_at.saturating_add(age))
    }

    /// Issues a token that is valid for `hours`.
    pub(super) fn issue_token(&mut self, user: &str, hours: u64, now: Micros) -> Token {
        self.tokens.retain(|token| now < token.expires);
        let token = Token {
            uuid: format!("usertoken-{}", Uuid::new_v4()),
            value: Secret::new(Uuid::new_v4().simple().to_string()),
            user: user.to_owned(),
            hours,
            expires: now.saturating_add(hours.saturating_mul(3_600_000_000)),
        };
        self.tokens.push(token.clone());
        token
    }

    /// Returns the user's valid tokens.
    pub(super) fn tokens(&self, user: &str, now: Micros) -> Vec<&Token> {
        self.tokens.iter().filter(|token| token.user == user && now < token.expires).collect()
    }

    /// Revokes a token; false if the user has no such token.
    pub(super) fn revoke_token(&mut self, user: &str, uuid: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|token| !(token.user == user && token.uuid == uuid));
        self.tokens.len() < before
    }

    /// Removes a user and the user's tokens.
    pub(super) fn remove_user(&mut self, user: &str) {
        self.by_user.remove(user);
        self.tokens.retain(|token| token.user != user);
    }
}
