//! Read-only paths that are not objects: the controller's version, the cluster's state, DNS domains.

use http::Method;
use serde_json::{Value, json};

use super::admission::Client;
use super::clock::rfc3339;
use super::directory::text;
use super::state::Controller;
use super::wire::{Reply, Request};
use crate::{ApiError, Store, Version};

/// Returns the version as `/login`, `/api/initial-data` and `/api/cluster/version` show it.
pub(super) fn version_info(version: Version) -> Value {
    json!({
        "Version": version.to_string(),
        "Tag": format!("{version}-9000-simulator"),
        "build": 9000,
        "min_version": 15.2,
        "Product": "controller",
        "ProductName": "Avi Cloud Controller",
        "Date": "2024-01-01T00:00:00+00:00",
    })
}

/// Returns the part of the system configuration that a login response has.
pub(super) fn system_config(store: &Store) -> Value {
    let configuration = store.objects("systemconfiguration").next();
    let field = |name: &str| configuration.and_then(|configuration| configuration.get(name)).cloned();
    json!({
        "default_license_tier": field("default_license_tier"),
        "portal_configuration": field("portal_configuration"),
        "welcome_workflow_complete": true,
    })
}

/// Answers the paths that need no session; `None` for all others.
pub(super) fn answer_anonymous(controller: &Controller, request: &Request, path: &[&str]) -> Option<Reply> {
    let value = match path {
        ["initial-data"] => json!({
            "version": version_info(controller.version),
            "session_cookie_name": "avi-sessionid",
            "user_initialized": true,
            "setup_failed": false,
        }),
        ["cluster", "status"] => cluster_runtime(controller),
        _ => return None,
    };
    Some(if request.method == Method::GET {
        Reply::json(200, value)
    } else {
        ApiError::method_not_allowed(request.method.as_str()).into()
    })
}

/// Answers the paths that need a session; `None` for all others.
pub(super) fn answer_authenticated(
    controller: &Controller,
    request: &Request,
    path: &[&str],
    client: &Client,
) -> Option<Result<Reply, ApiError>> {
    // The version needs no privilege; the other paths need that of the objects they show.
    let required = match path {
        ["cluster", "version"] => None,
        ["cluster", "runtime"] => Some("cluster"),
        ["ipamdnsproviderprofiledomainlist"] => Some("ipamdnsproviderprofile"),
        _ => return None,
    };
    if request.method != Method::GET {
        return Some(Err(ApiError::method_not_allowed(request.method.as_str())));
    }
    if let Some(kind) = required
        && let Err(error) = controller.check_permission(client, kind, false)
    {
        return Some(Err(error));
    }
    Some(Ok(Reply::json(
        200,
        match path {
            ["cluster", "version"] => version_info(controller.version),
            ["cluster", "runtime"] => cluster_runtime(controller),
            _ => {
                let cloud = request.parameter("cloud_uuid").unwrap_or_default();
                json!({ "domains": controller.store.dns_domains(&cloud) })
            }
        },
    )))
}

/// Returns the state of a cluster with one node. AKO restarts itself when the node's name or `up_since` changes.
fn cluster_runtime(controller: &Controller) -> Value {
    let host = controller.base.trim_start_matches("https://");
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let up_since = rfc3339(controller.up_since).replace('T', " ").replace('Z', "");
    let uuid = controller.store.objects("cluster").next().and_then(|cluster| text(cluster, "uuid"));
    json!({
        "node_info": {
            "uuid": uuid,
            "version": controller.version.to_string(),
            "mgmt_ip": host,
        },
        "node_states": [{
            "name": host,
            "mgmt_ip": host,
            "role": "CLUSTER_LEADER",
            "state": "CLUSTER_ACTIVE",
            "up_since": up_since,
        }],
        "cluster_state": {
            "state": "CLUSTER_UP_NO_HA",
            "progress": 100,
            "up_since": up_since,
        },
    })
}
