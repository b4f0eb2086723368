//! A session at the controller: its cookies, and the headers that requests have. Owns the CSRF token; makes no calls.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderMap;
use http::header::{ACCEPT, COOKIE, HeaderName, HeaderValue, REFERER};

use super::error::{Error, Kind};
use super::redact::Redact;
use super::reply::Cookie;
use super::version::Version;
use crate::Secret;

/// Names of the cookie that is the session, unless the answer to the login names another.
const SESSION_COOKIES: [&str; 2] = ["avi-sessionid", "sessionid"];
const CSRF_COOKIE: &str = "csrftoken";
/// Most cookies that are kept: a server could set cookies of ever other names.
const MOST_COOKIES: usize = 32;

/// A session.
pub(super) struct Live {
    /// The number of the session among those of its client, from 1.
    pub(super) epoch: u64,
    pub(super) controller: Version,
    /// The version that requests and answers are in.
    pub(super) api: Version,
    jar: Mutex<BTreeMap<String, Secret>>,
    used: Mutex<Instant>,
}

impl Live {
    /// Creates a session from the cookies in the answer to a login.
    pub(super) fn new(
        epoch: u64,
        cookies: Vec<Cookie>,
        own_name: Option<&str>,
        version: Version,
    ) -> Result<Self, Error> {
        let jar: BTreeMap<String, Secret> =
            cookies.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let is_session = |name: &String| SESSION_COOKIES.contains(&name.as_str()) || own_name == Some(name);
        if !jar.contains_key(CSRF_COOKIE) || !jar.keys().any(is_session) {
            return Err(Error::new(Kind::Protocol, "the answer to the login has no session cookie"));
        }
        Ok(Self {
            epoch,
            controller: version,
            api: version,
            jar: Mutex::new(jar),
            used: Mutex::new(Instant::now()),
        })
    }

    /// Keeps the cookies of an answer for the next request: the controller may set new ones with each.
    pub(super) fn keep(&self, cookies: Vec<Cookie>) {
        let mut jar = locked(&self.jar);
        for (name, value) in cookies {
            match value {
                Some(value) if jar.len() < MOST_COOKIES || jar.contains_key(&name) => {
                    drop(jar.insert(name, value));
                }
                Some(_) => {}
                None => drop(jar.remove(&name)),
            }
        }
    }

    /// Returns the headers of every request of the session.
    pub(super) fn headers(&self, authority: &str) -> Result<HeaderMap, Error> {
        let mut headers = common_headers(authority)?;
        let jar = locked(&self.jar);
        let cookies: Vec<String> =
            jar.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect();
        headers.insert(COOKIE, secret(&cookies.join("; "))?);
        if let Some(csrf) = jar.get(CSRF_COOKIE) {
            headers.insert(HeaderName::from_static("x-csrftoken"), secret(csrf.expose())?);
        }
        Ok(headers)
    }

    pub(super) fn redact(&self, redact: &mut Redact) {
        locked(&self.jar).values().for_each(|cookie| redact.add(cookie));
    }

    /// Records that the session is being used.
    pub(super) fn touch(&self) {
        *locked(&self.used) = Instant::now();
    }

    /// Returns when it was last used.
    pub(super) fn used(&self) -> Instant {
        *locked(&self.used)
    }
}

/// Returns the headers of every request, with a session or without.
pub(super) fn common_headers(authority: &str) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(REFERER, header(format!("https://{authority}/").as_bytes(), "the address")?);
    Ok(headers)
}

/// Returns the value of a header, from text that a person chose.
pub(super) fn header(bytes: &[u8], what: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(bytes)
        .map_err(|_| Error::new(Kind::Invalid, format!("{what} has control characters; remove them")))
}

fn secret(value: &str) -> Result<HeaderValue, Error> {
    let mut value = header(value.as_bytes(), "a cookie")?;
    value.set_sensitive(true);
    Ok(value)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
