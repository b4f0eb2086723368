//! Reads answers: a status, headers and bytes become JSON or an error. Pure, so that tests can try anything; owns the
//! forms of bodies, knows no object.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use super::error::{Error, Kind};
use super::redact::Redact;
use crate::Secret;

/// Longest wait that a `Retry-After` can ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// A cookie's name and value.
pub(super) type Cookie = (String, Option<Secret>);

/// An answer that is not a refusal.
pub(super) struct Reply {
    pub(super) status: u16,
    /// The body; `Null` for an empty one.
    pub(super) body: Value,
    /// The cookies to send from now on; one without a value is not sent any more.
    pub(super) cookies: Vec<Cookie>,
}

/// Reads an answer.
pub(super) fn parse(status: u16, headers: &HeaderMap, body: &[u8], redact: &Redact) -> Result<Reply, Error> {
    let text = String::from_utf8_lossy(body);
    if !(200..300).contains(&status) {
        let said = said(&text, headers).map(|said| redact.hide(&said));
        return Err(Error::refusal(status, said.as_deref(), retry_after(headers, Timestamp::now())));
    }
    let body = if text.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body).map_err(|_| {
            // The status says that the request took effect.
            Error::new(Kind::Protocol, "the answer is not JSON").with_status(status).doubtful()
        })?
    };
    Ok(Reply { status, body, cookies: cookies(headers) })
}

/// Returns the controller's text, or `None` if something else answered: `{"error": …}`, `{"detail": …}`, or plain
/// text in spite of a JSON content type.
fn said(text: &str, headers: &HeaderMap) -> Option<String> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => {
            let words = ["error", "detail"].iter().find_map(|name| fields.get(*name))?;
            Some(words.as_str().map_or_else(|| words.to_string(), str::to_owned))
        }
        Ok(Value::String(words)) => Some(words),
        Ok(_) => None,
        Err(_) => {
            let json = headers
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
            (json && !text.trim_start().starts_with(['<', '{', '['])).then(|| text.to_owned())
        }
    }
}

/// Reads seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(LONGEST_WAIT))
}

/// Returns every cookie for the whole server, or for its API, that is set or removed.
fn cookies(headers: &HeaderMap) -> Vec<Cookie> {
    let pair = |value: &HeaderValue| {
        let mut parts = value.to_str().ok()?.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let mut gone = value.is_empty();
        for (attribute, value) in parts.filter_map(|part| part.split_once('=')) {
            if attribute.eq_ignore_ascii_case("path") && !matches!(value, "" | "/" | "/api" | "/api/") {
                return None;
            }
            gone |= attribute.eq_ignore_ascii_case("max-age") && value.parse().is_ok_and(|age: i64| age <= 0);
        }
        (!name.is_empty()).then(|| (name.to_owned(), (!gone).then(|| Secret::new(value))))
    };
    headers.get_all(SET_COOKIE).iter().filter_map(pair).collect()
}

/// A page of a list.
pub(super) struct Page {
    pub(super) results: Vec<Value>,
    /// The query of the next page. The rest of its URL is ignored: pages come from the controller that was asked,
    /// never from where an answer points to.
    pub(super) next: Option<String>,
}

pub(super) fn page(body: Value) -> Result<Page, Error> {
    let bad = || Error::new(Kind::Protocol, "the answer is not a list of objects");
    let Value::Object(mut fields) = body else { return Err(bad()) };
    let Some(Value::Array(results)) = fields.remove("results") else { return Err(bad()) };
    let next = match fields.remove("next") {
        Some(Value::String(next)) if !next.is_empty() => {
            let query = next.split('#').next().and_then(|url| url.split_once('?'));
            let (_, query) = query.ok_or_else(|| Error::new(Kind::Protocol, "the next page has no query"))?;
            if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Error::new(Kind::Protocol, "the next page's query is not one"));
            }
            Some(query.to_owned())
        }
        _ => None,
    };
    Ok(Page { results, next })
}

/// Reads an object from JSON. The error says what was expected, not what was received.
pub(super) fn typed<T: serde::de::DeserializeOwned>(kind: &str, object: Value) -> Result<T, Error> {
    serde_json::from_value(object).map_err(|error| {
        let text = error.to_string();
        let expected = text.rfind("expected").map_or("a field is missing or twice there", |at| &text[at..]);
        Error::new(Kind::Protocol, format!("a {kind} cannot be read: {expected}"))
    })
}

#[cfg(test)]
mod tests;
