//! Removes what an AKO left on AVI, by AKO's marks, in the vendor's order: children before parents, users of an object before it.
//!
//! For a cleanup that AKO gave up, or that AKO cannot be asked for any more. Never touches an object without the cluster's marks.

use infra_clients::avi::objects::{Any, Label, Marker, Meta, ServiceEngineGroup, VrfContext};
use infra_clients::avi::{
    Api, Avi, CLOUD, Kind, POOL, Query, Ref, Resource, SE_GROUP, Scope, VIRTUAL_SERVICE, VRF_CONTEXT, VSVIP,
};
use serde_json::Value;

use crate::api::{ADMIN_TENANT, FORCE_ANNOTATION, reason};
use crate::delivery::{MARKER, NAMESPACE};
use crate::error::Error;

/// Kinds that have `created_by`, in the order in which they are removed after the virtual services.
const CREATED: [Resource<Any>; 7] = [
    Resource::any("vsdatascriptset"),
    Resource::any("httppolicyset"),
    Resource::any("l4policyset"),
    Resource::any("poolgroup"),
    Resource::any(POOL.kind()),
    Resource::any("sslkeyandcertificate"),
    Resource::any("stringgroup"),
];
/// Kinds that have only markers, in the order in which they are removed after the others.
const MARKED: [Resource<Any>; 4] = [
    Resource::any(VSVIP.kind()),
    Resource::any("healthmonitor"),
    Resource::any("applicationprofile"),
    Resource::any("pkiprofile"),
];

/// The cluster whose objects are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the cluster on the controller.
    pub cluster: String,
    /// Tenant of its objects.
    pub tenant: String,
    /// Name of the cloud.
    pub cloud: String,
}

/// Removes all objects with the marks of a cluster. Returns how many there were.
///
/// # Errors
/// The first request that failed: what was removed before stays removed, and the next call goes on. [`Error::PlaceMissing`] where AVI has
/// no cloud or tenant of that name, and marks of the cluster elsewhere.
pub async fn purge(avi: &Avi, target: &Target) -> Result<usize, Error> {
    let admin = avi.api(Scope::admin());
    let cloud = admin.by_name(CLOUD, &target.cloud, &Query::new()).await?.at_most_one()?;
    let Some(cloud) = cloud else {
        nothing_elsewhere(avi, target, None).await?;
        return Ok(0);
    };
    let purge = Purge { api: avi.api(Scope::Name(target.tenant.clone())), target, cloud: &cloud.meta.uuid };
    let mut removed = match purge.in_tenant().await {
        Err(Error::Avi { error, .. }) if error.kind() == Kind::NotFound => {
            nothing_elsewhere(avi, target, Some(&cloud.meta.uuid)).await?;
            0
        }
        removed => removed?,
    };
    if target.tenant != ADMIN_TENANT {
        removed += purge.of_provider(&admin).await?;
    }
    Ok(removed)
}

/// Checks that a cloud or a tenant that AVI does not have is gone with all that was in it, and has no other name now. `cloud`: the UUID of
/// the cloud, where that is known.
async fn nothing_elsewhere(avi: &Avi, target: &Target, cloud: Option<&str>) -> Result<(), Error> {
    let Target { cluster, .. } = target;
    let api = avi.api(Scope::All);
    for kind in [VIRTUAL_SERVICE.kind(), POOL.kind(), VSVIP.kind()] {
        let all = api.all(Resource::any(kind), &Query::new().label(MARKER, cluster)).await?;
        let is_there = |object: &&Any| {
            let is_in_cloud =
                cloud.is_none_or(|uuid| cloud_of(object).as_ref().and_then(Ref::uuid) == Some(uuid));
            is_in_cloud && Marker::any(&object.markers(), MARKER, cluster)
        };
        let Some(found) = all.iter().find(is_there) else { continue };
        let (reason, what, name) = match cloud {
            None => (reason::CLOUD_NOT_FOUND, "cloud", &target.cloud),
            Some(_) => (reason::TENANT_NOT_FOUND, "tenant", &target.tenant),
        };
        let message = format!(
            "AVI has no {what} {name:?}, where AKO worked, and the {kind} {:?} has the mark {MARKER}={cluster}: give the {what} its name \
             back, or remove what has this mark by hand, then annotate the Cluster with {FORCE_ANNOTATION}=true",
            found.meta.name
        );
        return Err(Error::PlaceMissing { reason, message });
    }
    Ok(())
}

fn cloud_of(object: &Any) -> Option<Ref> {
    object.rest.text("cloud_ref").map(|cloud| Ref::from(cloud.to_owned()))
}

/// What an AKO or its gateway writes into `created_by`.
struct Creator {
    name: String,
    /// Whether no other cluster has it: then an object without the marker is the cluster's, too.
    is_unique: bool,
}

/// Returns the creators that the cluster may have had: a secondary AKO adds its namespace. That of a gateway is also that of a cluster whose
/// name begins with `gw-`, and that of a secondary AKO that of a cluster whose name ends in the namespace.
fn creators(target: &Target) -> [Creator; 4] {
    let (cluster, second) = (&target.cluster, format!("-{NAMESPACE}"));
    let of =
        |prefix: &str, end: &str, is_unique| Creator { name: format!("{prefix}{cluster}{end}"), is_unique };
    let is_unique = !cluster.starts_with("gw-") && !cluster.ends_with(&second);
    [
        of("ako-", "", is_unique),
        of("ako-", &second, false),
        of("ako-gw-", "", false),
        of("ako-gw-", &second, false),
    ]
}

struct Purge<'a> {
    api: Api,
    target: &'a Target,
    /// UUID of the cloud.
    cloud: &'a str,
}

impl Purge<'_> {
    /// Removes what is in the tenant of the cluster.
    async fn in_tenant(&self) -> Result<usize, Error> {
        let mut removed = 0;
        for creator in &creators(self.target) {
            removed += self.virtual_services(creator).await?;
            for kind in CREATED {
                removed += self.created(kind, creator).await?;
            }
        }
        for kind in MARKED {
            removed += self.marked(kind).await?;
        }
        Ok(removed + self.of_provider(&self.api).await?)
    }

    /// Removes what AKO leaves on objects of the provider, or of a tenant that has its own: routes and a label.
    async fn of_provider(&self, api: &Api) -> Result<usize, Error> {
        Ok(self.routes(api).await? + self.label(api).await?)
    }

    /// Returns whether an object can be changed in a tenant: that of the administrators shows in each.
    fn is_of(api: &Api, meta: &Meta) -> bool {
        let is_admins = meta.tenant_ref.as_ref().and_then(Ref::uuid) == Some(ADMIN_TENANT);
        !is_admins || *api.scope() == Scope::admin()
    }

    /// Removes the static routes to the Pods of the cluster.
    async fn routes(&self, api: &Api) -> Result<usize, Error> {
        let mut removed = 0;
        for context in api.all(VRF_CONTEXT, &Query::new().cloud_name(&self.target.cloud)).await? {
            let count = count_routes(&context, &self.target.cluster);
            if count > 0 && Self::is_of(api, &context.meta) {
                let edit = |context: &mut VrfContext| without_routes(context, &self.target.cluster);
                api.update(VRF_CONTEXT, &context.meta.uuid, edit).await?;
                removed += count;
            }
        }
        Ok(removed)
    }

    /// Removes the label with which AKO claims a service engine group: of all groups, as earlier settings may have named another one.
    async fn label(&self, api: &Api) -> Result<usize, Error> {
        let mut removed = 0;
        for group in api.all(SE_GROUP, &Query::new().cloud_name(&self.target.cloud)).await? {
            let is_other = |label: &Label| {
                label.key != MARKER || label.value.as_deref() != Some(self.target.cluster.as_str())
            };
            let count = group.labels.iter().filter(|label| !is_other(label)).count();
            if count > 0 && Self::is_of(api, &group.meta) {
                let edit = |group: &mut ServiceEngineGroup| group.labels.retain(is_other);
                api.update(SE_GROUP, &group.meta.uuid, edit).await?;
                removed += count;
            }
        }
        Ok(removed)
    }

    /// Returns whether an object is in the cloud of the cluster, or in none: clusters of other clouds may have its name.
    fn is_here(&self, cloud: Option<&Ref>) -> bool {
        cloud.and_then(Ref::uuid).is_none_or(|cloud| cloud == self.cloud)
    }

    /// Returns whether an object with the mark of a creator is the cluster's: those of other management clusters may have its name.
    fn is_made_by(&self, creator: &Creator, cloud: Option<&Ref>, markers: &[Marker]) -> bool {
        let is_unmarked = markers.iter().all(|marker| marker.key != MARKER);
        self.is_here(cloud)
            && (creator.is_unique && is_unmarked || Marker::any(markers, MARKER, &self.target.cluster))
    }

    /// Removes virtual services, children first.
    async fn virtual_services(&self, creator: &Creator) -> Result<usize, Error> {
        let mut all = self.api.all(VIRTUAL_SERVICE, &Query::new().created_by(&creator.name)).await?;
        // A controller that ignores the filter returns every object.
        all.retain(|service| {
            service.created_by.as_deref() == Some(&creator.name)
                && self.is_made_by(creator, service.cloud_ref.as_ref(), &service.markers)
        });
        all.sort_by_key(|service| service.vh_parent_vs_ref.is_none());
        let mut removed = 0;
        for service in &all {
            removed += usize::from(self.api.delete(VIRTUAL_SERVICE, &service.meta.uuid).await?);
        }
        Ok(removed)
    }

    async fn created(&self, kind: Resource<Any>, creator: &Creator) -> Result<usize, Error> {
        let mut all = self.api.all(kind, &Query::new().created_by(&creator.name)).await?;
        all.retain(|object| {
            object.created_by() == Some(&creator.name)
                && self.is_made_by(creator, cloud_of(object).as_ref(), &object.markers())
        });
        self.delete(kind, &all).await
    }

    async fn marked(&self, kind: Resource<Any>) -> Result<usize, Error> {
        let cluster = &self.target.cluster;
        let mut all = self.api.all(kind, &Query::new().label(MARKER, cluster)).await?;
        all.retain(|object| {
            self.is_here(cloud_of(object).as_ref()) && Marker::any(&object.markers(), MARKER, cluster)
        });
        self.delete(kind, &all).await
    }

    async fn delete(&self, kind: Resource<Any>, objects: &[Any]) -> Result<usize, Error> {
        let mut removed = 0;
        for object in objects {
            removed += usize::from(self.api.delete(kind, &object.meta.uuid).await?);
        }
        Ok(removed)
    }
}

fn is_route_of(route: &Value, cluster: &str) -> bool {
    let has_label = route["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|label| label["key"] == MARKER && label["value"] == cluster);
    let number = route["route_id"].as_str().and_then(|id| id.strip_prefix(cluster)?.strip_prefix('-'));
    has_label || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn count_routes(context: &VrfContext, cluster: &str) -> usize {
    let routes = context.rest.get("static_routes").and_then(Value::as_array);
    routes.into_iter().flatten().filter(|route| is_route_of(route, cluster)).count()
}

fn without_routes(context: &mut VrfContext, cluster: &str) {
    let routes = context.rest.get("static_routes").and_then(Value::as_array).cloned().unwrap_or_default();
    let left: Vec<_> = routes.into_iter().filter(|route| !is_route_of(route, cluster)).collect();
    context.rest.set("static_routes", left);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            assert_eq!(is_route_of(&route, "default-w1"), wanted, "{route}");
        }
    }
}
