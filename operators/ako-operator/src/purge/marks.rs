//! Which objects of a controller an AKO of a cluster has made, by AKO's marks. Pure.

use infra_clients::avi::Ref;
use infra_clients::avi::objects::{Any, Label, Marker, ServiceEngineGroup, VirtualService, VrfContext};
use serde_json::Value;

use crate::delivery::{MARKER, NAMESPACE};

/// The marks of a cluster's objects.
pub(super) struct Marks<'a> {
    /// Name of the cluster.
    pub(super) cluster: &'a str,
    /// UUID of the cloud, where that is known.
    pub(super) cloud: Option<&'a str>,
}

/// What of an object says whose it is.
pub(super) struct Origin {
    created_by: Option<String>,
    cloud: Option<Ref>,
    markers: Vec<Marker>,
}

impl From<&Any> for Origin {
    fn from(object: &Any) -> Self {
        Self {
            created_by: object.created_by().map(str::to_owned),
            cloud: object.rest.text("cloud_ref").map(|cloud| Ref::from(cloud.to_owned())),
            markers: object.markers(),
        }
    }
}

impl From<&VirtualService> for Origin {
    fn from(service: &VirtualService) -> Self {
        Self {
            created_by: service.created_by.clone(),
            cloud: service.cloud_ref.clone(),
            markers: service.markers.clone(),
        }
    }
}

/// What an AKO or its gateway writes into `created_by`.
pub(super) struct Creator {
    pub(super) name: String,
    /// Whether no other cluster has it: then an object without the marker is the cluster's, too.
    is_unique: bool,
}

impl Marks<'_> {
    /// Returns the creators that the cluster may have had: a secondary AKO adds its namespace. That of a gateway is also that of a cluster
    /// whose name begins with `gw-`, and that of a secondary AKO that of a cluster whose name ends in the namespace.
    pub(super) fn creators(&self) -> [Creator; 4] {
        let (cluster, second) = (self.cluster, format!("-{NAMESPACE}"));
        let of = |prefix: &str, end: &str, is_unique| Creator {
            name: format!("{prefix}{cluster}{end}"),
            is_unique,
        };
        let is_unique = !cluster.starts_with("gw-") && !cluster.ends_with(&second);
        [
            of("ako-", "", is_unique),
            of("ako-", &second, false),
            of("ako-gw-", "", false),
            of("ako-gw-", &second, false),
        ]
    }

    /// Returns whether a creator of the cluster has made an object: those of other management clusters may have its name. A controller that
    /// ignores the filter of a list returns every object.
    pub(super) fn has_made(&self, creator: &Creator, object: &Origin) -> bool {
        let is_unmarked = object.markers.iter().all(|marker| marker.key != MARKER);
        object.created_by.as_ref() == Some(&creator.name)
            && self.is_here(object)
            && (creator.is_unique && is_unmarked || self.is_marked(object))
    }

    /// Returns whether an object has the marker of the cluster.
    pub(super) fn has_marked(&self, object: &Origin) -> bool {
        self.is_here(object) && self.is_marked(object)
    }

    /// Returns whether an object with the marker of the cluster is certainly in its cloud.
    pub(super) fn is_left(&self, object: &Origin) -> bool {
        let cloud = object.cloud.as_ref().and_then(Ref::uuid);
        self.is_marked(object) && self.cloud.is_none_or(|wanted| cloud == Some(wanted))
    }

    /// Returns whether an object is in the cloud of the cluster, or in none: clusters of other clouds may have its name.
    fn is_here(&self, object: &Origin) -> bool {
        let cloud = object.cloud.as_ref().and_then(Ref::uuid);
        self.cloud.is_none_or(|wanted| cloud.is_none_or(|cloud| cloud == wanted))
    }

    fn is_marked(&self, object: &Origin) -> bool {
        Marker::any(&object.markers, MARKER, self.cluster)
    }

    /// Removes the label with which AKO claims a service engine group. Returns how many there were.
    pub(super) fn unlabel(&self, group: &mut ServiceEngineGroup) -> usize {
        let before = group.labels.len();
        let is_other = |label: &Label| label.key != MARKER || label.value.as_deref() != Some(self.cluster);
        group.labels.retain(is_other);
        before - group.labels.len()
    }

    /// Removes the static routes to the Pods of the cluster. Returns how many there were.
    pub(super) fn unroute(&self, context: &mut VrfContext) -> usize {
        let routes = context.rest.get("static_routes").and_then(Value::as_array).cloned().unwrap_or_default();
        let before = routes.len();
        let left: Vec<_> = routes.into_iter().filter(|route| !self.is_route(route)).collect();
        let removed = before - left.len();
        if removed > 0 {
            context.rest.set("static_routes", left);
        }
        removed
    }

    fn is_route(&self, route: &Value) -> bool {
        let has_label = route["labels"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|label| label["key"] == MARKER && label["value"] == self.cluster);
        let id = route["route_id"].as_str();
        let number = id.and_then(|id| id.strip_prefix(self.cluster)?.strip_prefix('-'));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        has_label || number.is_some_and(is_number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARKS: Marks<'_> = Marks { cluster: "default-w1", cloud: Some("cloud-1") };

    fn origin(object: Value) -> Origin {
        let object: Any = serde_json::from_value(object).unwrap();
        Origin::from(&object)
    }

    fn marker(cluster: &str) -> Value {
        json!([{ "key": MARKER, "values": [cluster] }])
    }

    #[test]
    fn an_object_is_a_clusters_by_creator_marker_and_cloud() {
        let (here, there) = ("/api/cloud/cloud-1", "/api/cloud/cloud-2");
        let (ours, other) = (marker("default-w1"), marker("default-w2"));
        let rows = [
            // What it is; created_by, cloud, markers; whether a creator made it, whether it has the marker.
            ("all marks", "ako-default-w1", Some(here), Some(&ours), true, true),
            ("without a marker", "ako-default-w1", Some(here), None, true, false),
            ("in no cloud", "ako-default-w1", None, None, true, false),
            ("in another cloud", "ako-default-w1", Some(there), Some(&ours), false, false),
            ("of another cluster of the name", "ako-default-w1", Some(here), Some(&other), false, false),
            ("by a secondary AKO", "ako-default-w1-avi-system", Some(here), Some(&ours), true, true),
            ("that, or by another cluster", "ako-default-w1-avi-system", Some(here), None, false, false),
            ("by the gateway", "ako-gw-default-w1", Some(here), Some(&ours), true, true),
            ("that, or by another cluster", "ako-gw-default-w1", Some(here), None, false, false),
            ("by another cluster", "ako-default-w10", Some(here), None, false, false),
            ("by a person, with the marker", "admin", Some(here), Some(&ours), false, true),
        ];
        for (what, creator, cloud, markers, is_made, is_marked) in rows {
            let object =
                origin(json!({ "name": "o", "created_by": creator, "cloud_ref": cloud, "markers": markers }));
            let has_made = MARKS.creators().iter().any(|creator| MARKS.has_made(creator, &object));
            assert_eq!((has_made, MARKS.has_marked(&object)), (is_made, is_marked), "{what}");
        }
    }

    #[test]
    fn only_what_is_certainly_in_the_cloud_is_left_of_a_tenant_that_is_gone() {
        let of = |cloud: Option<&str>, cluster: &str| {
            origin(json!({ "name": "o", "cloud_ref": cloud, "markers": marker(cluster) }))
        };
        let anywhere = Marks { cloud: None, ..MARKS };
        let (here, there) = (Some("/api/cloud/cloud-1"), Some("/api/cloud/cloud-2"));
        for (what, object, is_left, is_anywhere) in [
            ("here", of(here, "default-w1"), true, true),
            ("in another cloud", of(there, "default-w1"), false, true),
            ("in no cloud", of(None, "default-w1"), false, true),
            ("of another cluster", of(here, "default-w2"), false, false),
        ] {
            assert_eq!((MARKS.is_left(&object), anywhere.is_left(&object)), (is_left, is_anywhere), "{what}");
        }
    }

    /// What their AKO writes into `created_by` may be that of a part of another cluster's AKO.
    #[test]
    fn clusters_with_ambiguous_names_have_only_what_has_the_marker() {
        for cluster in ["gw-w1", "default-w1-avi-system"] {
            let marks = Marks { cluster, cloud: None };
            let created_by = format!("ako-{cluster}");
            let has_made = |markers: Option<Value>| {
                let object = origin(json!({ "name": "o", "created_by": created_by, "markers": markers }));
                marks.creators().iter().any(|creator| marks.has_made(creator, &object))
            };
            assert!(!has_made(None) && has_made(Some(marker(cluster))), "{cluster}");
        }
    }

    #[test]
    fn a_label_of_another_cluster_stays() {
        let label = |value: &str| json!({ "key": MARKER, "value": value });
        let labels =
            json!([label("default-w1"), label("default-w2"), { "key": "other", "value": "default-w1" }]);
        let mut group: ServiceEngineGroup =
            serde_json::from_value(json!({ "name": "g", "labels": labels })).unwrap();
        assert_eq!(MARKS.unlabel(&mut group), 1);
        assert_eq!((group.labels.len(), MARKS.unlabel(&mut group)), (2, 0));
    }

    #[test]
    fn routes_of_a_cluster_are_no_routes_of_another_whose_name_begins_alike() {
        for (route, wanted) in [
            (json!({"route_id": "default-w1-1"}), true),
            (json!({"route_id": "default-w1-12"}), true),
            (json!({"route_id": "default-w1-2-1"}), false),
            (json!({"route_id": "default-w1-"}), false),
            (json!({"route_id": "default-w10-1"}), false),
            (json!({"route_id": "7"}), false),
            (json!({"route_id": "7", "labels": [{"key": "clustername", "value": "default-w1"}]}), true),
            (json!({"route_id": "7", "labels": [{"key": "clustername", "value": "default-w2"}]}), false),
        ] {
            let context = json!({ "name": "global", "static_routes": [route] });
            let mut context: VrfContext = serde_json::from_value(context).unwrap();
            assert_eq!(MARKS.unroute(&mut context), usize::from(wanted), "{route}");
            assert_eq!(MARKS.unroute(&mut context), 0, "{route}");
        }
    }
}
