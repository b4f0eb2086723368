//! Paths that are no objects: the controller's version, the cluster's state, and what is computed from others.

use http::Method;
use serde_json::{Value, json};

use super::clock::rfc3339;
use super::controller::{Client, Controller};
use super::directory::text;
use super::wire::{Reply, Request};
use crate::{ApiError, Store, Version};

/// The version as `/login`, `/api/initial-data` and `/api/cluster/version` tell it.
pub(super) fn version(version: Version) -> Value {
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

/// The part of the system configuration that a portal shows before and after login.
pub(super) fn system_config(store: &Store) -> Value {
    let configuration = store.objects("systemconfiguration").next();
    let field = |name: &str| configuration.and_then(|configuration| configuration.get(name)).cloned();
    json!({
        "default_license_tier": field("default_license_tier"),
        "portal_configuration": field("portal_configuration"),
        "welcome_workflow_complete": true,
    })
}

/// Paths that need no session; `None` for any other.
pub(super) fn anonymous(controller: &Controller, request: &Request, path: &[&str]) -> Option<Reply> {
    let value = match path {
        ["initial-data"] => json!({
            "version": version(controller.version),
            "session_cookie_name": "avi-sessionid",
            "user_initialized": true,
            "setup_failed": false,
        }),
        ["cluster", "status"] => runtime(controller),
        _ => return None,
    };
    Some(if request.method == Method::GET {
        Reply::json(200, value)
    } else {
        ApiError::method_not_allowed(request.method.as_str()).into()
    })
}

/// The other paths; `None` for objects.
pub(super) fn answer(
    controller: &Controller,
    request: &Request,
    path: &[&str],
    client: &Client,
) -> Option<Result<Reply, ApiError>> {
    // Any account may learn the version; the rest is guarded like the objects it tells of.
    let guarded = match path {
        ["cluster", "version"] => None,
        ["cluster", "runtime"] => Some("cluster"),
        ["ipamdnsproviderprofiledomainlist"] => Some("ipamdnsproviderprofile"),
        _ => return None,
    };
    if request.method != Method::GET {
        return Some(Err(ApiError::method_not_allowed(request.method.as_str())));
    }
    if let Some(kind) = guarded
        && let Err(error) = controller.permit(client, kind, false)
    {
        return Some(Err(error));
    }
    Some(Ok(Reply::json(
        200,
        match path {
            ["cluster", "version"] => version(controller.version),
            ["cluster", "runtime"] => runtime(controller),
            _ => {
                let cloud = request.parameter("cloud_uuid").unwrap_or_default();
                json!({ "domains": controller.store.dns_domains(&cloud) })
            }
        },
    )))
}

/// One node, the leader, since the last start: AKO begins anew when name or time change.
fn runtime(controller: &Controller) -> Value {
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
