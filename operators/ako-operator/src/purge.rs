//! Removes what an AKO left on AVI, by AKO's marks, in the vendor's order: children before parents, users of an object before it.
//!
//! For a cleanup that AKO gave up, or that AKO cannot be asked for any more. Never touches an object without the cluster's marks.

mod marks;

use infra_clients::avi::objects::{Any, Meta, ServiceEngineGroup, VrfContext};
use infra_clients::avi::{
    Api, Avi, CLOUD, Kind, POOL, Query, Ref, Resource, SE_GROUP, Scope, VIRTUAL_SERVICE, VRF_CONTEXT, VSVIP,
};

use self::marks::{Creator, Marks, Origin};
use crate::api::{ADMIN_TENANT, FORCE_ANNOTATION, reason};
use crate::delivery::MARKER;
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
    let marks = Marks { cluster: &target.cluster, cloud: Some(&cloud.meta.uuid) };
    let purge = Purge { api: avi.api(Scope::Name(target.tenant.clone())), target, marks };
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
    let (api, marks) = (avi.api(Scope::All), Marks { cluster, cloud });
    for kind in [VIRTUAL_SERVICE.kind(), POOL.kind(), VSVIP.kind()] {
        let all = api.all(Resource::any(kind), &Query::new().label(MARKER, cluster)).await?;
        let is_there = |object: &&Any| marks.is_left(&Origin::from(*object));
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

struct Purge<'a> {
    api: Api,
    target: &'a Target,
    marks: Marks<'a>,
}

impl Purge<'_> {
    /// Removes what is in the tenant of the cluster.
    async fn in_tenant(&self) -> Result<usize, Error> {
        let mut removed = 0;
        for creator in &self.marks.creators() {
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
            let count = self.marks.unroute(&mut context.clone());
            if count > 0 && Self::is_of(api, &context.meta) {
                let edit = |context: &mut VrfContext| {
                    self.marks.unroute(context);
                };
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
            let count = self.marks.unlabel(&mut group.clone());
            if count > 0 && Self::is_of(api, &group.meta) {
                let edit = |group: &mut ServiceEngineGroup| {
                    self.marks.unlabel(group);
                };
                api.update(SE_GROUP, &group.meta.uuid, edit).await?;
                removed += count;
            }
        }
        Ok(removed)
    }

    /// Removes virtual services, children first.
    async fn virtual_services(&self, creator: &Creator) -> Result<usize, Error> {
        let mut all = self.api.all(VIRTUAL_SERVICE, &Query::new().created_by(&creator.name)).await?;
        all.retain(|service| self.marks.has_made(creator, &Origin::from(service)));
        all.sort_by_key(|service| service.vh_parent_vs_ref.is_none());
        let mut removed = 0;
        for service in &all {
            removed += usize::from(self.api.delete(VIRTUAL_SERVICE, &service.meta.uuid).await?);
        }
        Ok(removed)
    }

    async fn created(&self, kind: Resource<Any>, creator: &Creator) -> Result<usize, Error> {
        let mut all = self.api.all(kind, &Query::new().created_by(&creator.name)).await?;
        all.retain(|object| self.marks.has_made(creator, &Origin::from(object)));
        self.delete(kind, &all).await
    }

    async fn marked(&self, kind: Resource<Any>) -> Result<usize, Error> {
        let cluster = &self.target.cluster;
        let mut all = self.api.all(kind, &Query::new().label(MARKER, cluster)).await?;
        all.retain(|object| self.marks.has_marked(&Origin::from(object)));
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
