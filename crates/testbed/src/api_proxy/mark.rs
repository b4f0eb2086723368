//! What a request or a watch event is about, and which of its kind it is.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;

/// A request or a watch event of a run: what it is about, and its number among those that are about the same.
///
/// Two runs of one scenario in two namespaces have the same marks, in whatever order the requests are sent. Its text is
/// `VERB/RESOURCE/NAME#NUMBER`, such as `create/vminstances/web-0#1` or `modified/vmgroups/web#2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// What it is about.
    pub subject: Subject,
    /// 1 for the first of its subject.
    pub number: u32,
}

/// What a request or a watch event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// `create`, `update`, `apply`, `patch`, `delete`, `get`, `list` or `watch`; of an event `added`, `modified` or `deleted`.
    pub verb: String,
    /// The plural, with the subresource after a dot: `vmgroups.status`.
    pub resource: String,
    /// The object's name; empty for `list` and `watch`.
    pub name: String,
}

impl Subject {
    /// Returns whether it is an event.
    #[must_use]
    pub fn is_event(&self) -> bool {
        matches!(self.verb.as_str(), "added" | "modified" | "deleted")
    }

    /// Returns whether it is a request that changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !self.is_event() && !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Returns the subject of a request; `None` if it is not about a resource, or about a Lease or an Event, whose number
    /// and names differ between equal runs.
    pub(super) fn of_request(
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Self> {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        match segments.next()? {
            "api" => segments.nth(0)?,
            "apis" => segments.nth(1)?,
            _ => return None,
        };
        let mut rest: Vec<&str> = segments.collect();
        if rest.len() > 2 && rest.first() == Some(&"namespaces") {
            rest.drain(..2);
        }
        let (plural, name) = (*rest.first()?, rest.get(1).copied());
        if matches!(plural, "leases" | "events") {
            return None;
        }
        let watches = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let verb = match method.as_str() {
            "GET" if watches => "watch",
            "GET" if name.is_none() => "list",
            "GET" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" if content_type.is_some_and(|kind| kind.starts_with(b"application/apply-patch")) => {
                "apply"
            }
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => return None,
        };
        let created = || {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            body["metadata"]["name"].as_str().unwrap_or_default().to_owned()
        };
        let resource = rest.get(2).map_or_else(|| plural.to_owned(), |sub| format!("{plural}.{sub}"));
        Some(Self {
            verb: verb.to_owned(),
            resource,
            name: name
                .map_or_else(|| if verb == "create" { created() } else { String::new() }, str::to_owned),
        })
    }

    /// Returns the subject of a line of a watch's response; `None` for bookmarks and errors.
    pub(super) fn of_event(resource: &str, event: &Value) -> Option<Self> {
        let verb = event["type"].as_str()?.to_lowercase();
        let name = event["object"]["metadata"]["name"].as_str()?.to_owned();
        let subject = Self { verb, resource: resource.to_owned(), name };
        subject.is_event().then_some(subject)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { verb, resource, name } = &self.subject;
        write!(f, "{verb}/{resource}/{name}#{}", self.number)
    }
}

impl FromStr for Mark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (path, number) = text.rsplit_once('#')?;
            let mut parts = path.splitn(3, '/').map(str::to_owned);
            let subject = Subject { verb: parts.next()?, resource: parts.next()?, name: parts.next()? };
            Some(Self { subject, number: number.parse().ok()? })
        };
        parse().with_context(|| format!("{text:?} is not a mark; write VERB/RESOURCE/NAME#NUMBER"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_request(method: &Method, url: &str, content_type: &'static str, body: &str) -> Option<String> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        let subject = Subject::of_request(method, path, query, &headers, body.as_bytes())?;
        Some(Mark { subject, number: 1 }.to_string())
    }

    #[test]
    fn a_request_is_named_by_what_it_is_about() {
        let things = "/apis/example.com/v1/namespaces/team/things";
        for (method, url, content_type, wanted) in [
            (Method::GET, things.to_owned(), "", "list/things/#1"),
            (Method::GET, format!("{things}?limit=1&watch=true"), "", "watch/things/#1"),
            (Method::GET, format!("{things}/a"), "", "get/things/a#1"),
            (Method::GET, "/api/v1/namespaces/kube-system".to_owned(), "", "get/namespaces/kube-system#1"),
            (Method::GET, "/api/v1/pods".to_owned(), "", "list/pods/#1"),
            (Method::POST, things.to_owned(), "application/json", "create/things/b#1"),
            (Method::PATCH, format!("{things}/a"), "application/json-patch+json", "patch/things/a#1"),
            (
                Method::PATCH,
                format!("{things}/a/status"),
                "application/apply-patch+yaml",
                "apply/things.status/a#1",
            ),
            (Method::DELETE, format!("{things}/a"), "", "delete/things/a#1"),
        ] {
            let mark = of_request(&method, &url, content_type, r#"{"metadata":{"name":"b"}}"#).unwrap();
            assert_eq!(mark, wanted);
            assert_eq!(mark.parse::<Mark>().unwrap().to_string(), wanted);
        }
        let lease = "/apis/coordination.k8s.io/v1/namespaces/team/leases/operator";
        for other in [lease, "/apis/events.k8s.io/v1/namespaces/team/events", "/version", "/apis"] {
            assert_eq!(of_request(&Method::GET, other, "", ""), None, "{other}");
        }
    }

    #[test]
    fn an_event_is_named_by_its_object() {
        let event = |kind: &str| json!({ "type": kind, "object": { "metadata": { "name": "a" } } });
        let modified = Subject::of_event("things", &event("MODIFIED")).unwrap();
        assert_eq!(Mark { subject: modified, number: 2 }.to_string(), "modified/things/a#2");
        assert_eq!(Subject::of_event("things", &event("BOOKMARK")), None);
    }
}
