//! Requests of clients, from the API server's audit log.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The audit policy: one line for each finished request and for each opened watch, without requests of the control plane
/// itself, which are much more numerous.
pub(super) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "omitManagedFields": true,
  "rules": [
    {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"]},
    {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
    {"level": "None", "nonResourceURLs": ["/readyz"]},
    {"level": "Metadata"}
  ]
}"#;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// `admin`, or `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name of the kind; empty for paths such as `/readyz`.
    pub resource: String,
    /// For example `status`; empty if there is none.
    pub subresource: String,
    /// Namespace of the object; empty if it has none.
    pub namespace: String,
    /// Name of the object; empty for lists and for generated names.
    pub name: String,
    /// The HTTP status of the response; 0 if the request was aborted.
    pub code: u16,
    /// The client's `User-Agent`.
    pub user_agent: String,
}

impl AuditEvent {
    /// Returns whether the verb can change an object.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// Parses the log, or what it has about objects in one namespace. Ignores an incomplete last line, which is still being
/// written.
pub(super) fn parse(log: &str, namespace: Option<&str>) -> Result<Vec<AuditEvent>> {
    // Parsing is slow, and a shared control plane logs the requests of many tests.
    let namespace = namespace.map(|name| format!("\"namespace\":\"{name}\"")).unwrap_or_default();
    let mut events: Vec<AuditEvent> = Vec::new();
    let mut seen = BTreeMap::new();
    let complete = log.rsplit_once('\n').map_or("", |(complete, _)| complete);
    for line in complete.lines().filter(|line| line.contains(&namespace)) {
        let raw: Raw = serde_json::from_str(line).with_context(|| format!("not an audit event: {line}"))?;
        // A watch is logged when it starts and when it ends, with the same id.
        let index = *seen.entry(raw.audit_id.clone()).or_insert(events.len());
        let event = AuditEvent::from(raw);
        match events.get_mut(index) {
            Some(earlier) => *earlier = event,
            None => events.push(event),
        }
    }
    Ok(events)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "auditID")]
    audit_id: String,
    verb: String,
    #[serde(default)]
    user_agent: String,
    user: RawUser,
    #[serde(default)]
    object_ref: RawObject,
    #[serde(default)]
    response_status: RawStatus,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct RawStatus {
    #[serde(default)]
    code: u16,
}

impl From<Raw> for AuditEvent {
    fn from(raw: Raw) -> Self {
        Self {
            verb: raw.verb,
            user: raw.user.username,
            group: raw.object_ref.api_group,
            resource: raw.object_ref.resource,
            subresource: raw.object_ref.subresource,
            namespace: raw.object_ref.namespace,
            name: raw.object_ref.name,
            code: raw.response_status.code,
            user_agent: raw.user_agent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_counts_once_and_an_incomplete_line_is_ignored() {
        let line = |id: &str, verb: &str, code: u16| {
            format!(
                r#"{{"auditID":"{id}","verb":"{verb}","user":{{"username":"u"}},"responseStatus":{{"code":{code}}},"objectRef":{{"resource":"pods","namespace":"{verb}","apiGroup":"g"}}}}"#
            )
        };
        let log =
            [line("1", "watch", 200), line("2", "patch", 409), line("1", "watch", 200), "{\"aud".to_owned()];
        let log = log.join("\n");
        let events = parse(&log, None).unwrap();
        assert_eq!(events.len(), 2);
        assert!(!events[0].is_write() && events[1].is_write());
        assert_eq!(
            (events[1].code, events[1].resource.as_str(), events[1].group.as_str()),
            (409, "pods", "g")
        );
        assert_eq!(parse(&log, Some("patch")).unwrap(), events[1..]);
    }
}
