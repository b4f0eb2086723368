//! What AVI's roles allow an AKO: the vendor's published privileges. Pure.
//!
//! In the tenant `admin` one role has all. In another tenant AVI refuses a role that may look at the controller or at tenants, so a user
//! there has three, as with AKO's own code for a user of each cluster: one in `admin`, one in all tenants, and one in its own.

use infra_clients::avi::Version;
use infra_clients::avi::objects::{AccessType, MatchLabel, Meta, Privilege, Role, RoleFilter};

use crate::api::{AkoDeploymentConfigSpec, Place};
use crate::delivery::MARKER;

/// What AKO writes.
const WRITE: [&str; 23] = [
    "VIRTUALSERVICE",
    "POOL",
    "POOLGROUP",
    "HTTPPOLICYSET",
    "NETWORKSECURITYPOLICY",
    "AUTOSCALE",
    "DNSPOLICY",
    "NETWORKPROFILE",
    "APPLICATIONPROFILE",
    "APPLICATIONPERSISTENCEPROFILE",
    "HEALTHMONITOR",
    "ANALYTICSPROFILE",
    "IPAMDNSPROVIDERPROFILE",
    "CUSTOMIPAMDNSPROFILE",
    "TRAFFICCLONEPROFILE",
    "STRINGGROUP",
    "VSDATASCRIPTSET",
    "PKIPROFILE",
    "SSLKEYANDCERTIFICATE",
    "SERVICEENGINEGROUP",
    "NETWORK",
    "VRFCONTEXT",
    "L4POLICYSET",
];
/// What AKO reads, in any tenant.
const READ: [&str; 11] = [
    "IPADDRGROUP",
    "PROTOCOLPARSER",
    "SSLPROFILE",
    "AUTHPROFILE",
    "CERTIFICATEMANAGEMENTPROFILE",
    "HARDWARESECURITYMODULEGROUP",
    "SSOPOLICY",
    "WAFPROFILE",
    "WAFPOLICY",
    "CLOUD",
    "SYSTEMCONFIGURATION",
];
/// What else the role in the tenant `admin` reads. AVI refuses the first two in another tenant.
const READ_IN_ADMIN: [&str; 3] = ["CONTROLLER", "TENANT", REMOVED];
/// What the role in the tenant `admin` says that AKO must not.
const NONE: [&str; 24] = [
    "NATPOLICY",
    "WAFPOLICYPSMGROUP",
    "ERRORPAGEPROFILE",
    "ERRORPAGEBODY",
    "ALERTCONFIG",
    "ALERT",
    "ACTIONGROUPCONFIG",
    "ALERTSYSLOGCONFIG",
    "ALERTEMAILCONFIG",
    "SNMPTRAPPROFILE",
    "TRAFFIC_CAPTURE",
    "SERVICEENGINE",
    "USER_CREDENTIAL",
    "REBOOT",
    "UPGRADE",
    "TECHSUPPORT",
    "INTERNAL",
    "CONTROLLERSITE",
    "IMAGE",
    "USER",
    "ROLE",
    "GSLB",
    "GSLBSERVICE",
    "GSLBGEODBPROFILE",
];
/// A resource that controllers do not have from [`REMOVED_IN`] on.
const REMOVED: &str = "PINGACCESSAGENT";
const REMOVED_IN: &str = "30.2.1";

/// A role of AKO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All that an AKO of the tenant `admin` needs.
    Essential,
    /// What an AKO of another tenant needs in `admin`.
    Admin,
    /// What it needs in all tenants.
    AllTenants,
    /// What it needs in its own.
    Tenant,
}

impl Kind {
    /// The roles that Clusters share.
    pub const SHARED: [Self; 3] = [Self::Essential, Self::Admin, Self::AllTenants];

    /// Returns the name of a role that Clusters share; that of a Cluster's own is [`tenant_role`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Essential => "ako-essential-role",
            Self::Admin => "ako-operator-admin-role",
            Self::AllTenants => "ako-operator-all-tenants-role",
            Self::Tenant => "",
        }
    }

    /// Returns what the role is to allow at a controller of this version.
    #[must_use]
    pub fn privileges(self, version: Version) -> Vec<(String, AccessType)> {
        let with = |kind: AccessType, resources: &[&str]| -> Vec<(String, AccessType)> {
            resources.iter().map(|resource| (format!("PERMISSION_{resource}"), kind.clone())).collect()
        };
        let (write, read) = (AccessType::WRITE, AccessType::READ);
        let mut all = match self {
            Self::Essential => [
                with(write, &WRITE),
                with(read.clone(), &READ),
                with(read, &READ_IN_ADMIN),
                with(AccessType::NONE, &NONE),
            ]
            .concat(),
            Self::Tenant => [with(write, &WRITE), with(read, &READ)].concat(),
            Self::Admin => [
                with(write, &["STRINGGROUP", "SERVICEENGINEGROUP", "VRFCONTEXT"]),
                with(read, &["CLOUD", "NETWORK", "TENANT"]),
            ]
            .concat(),
            Self::AllTenants => with(read, &["CONTROLLER", "TENANT"]),
        };
        if REMOVED_IN.parse().is_ok_and(|removed| version >= removed) {
            all.retain(|(resource, _)| !resource.ends_with(REMOVED));
        }
        all
    }
}

/// Returns the roles in the tenant `admin` that the Clusters of an AKODeploymentConfig share.
#[must_use]
pub fn shared(spec: &AkoDeploymentConfigSpec) -> &'static [Kind] {
    if spec.workload_credential_ref.is_some() { &[] } else { of_users(spec) }
}

/// Returns the same also where new Clusters get credentials that others make: users of before have them.
#[must_use]
pub fn of_users(spec: &AkoDeploymentConfigSpec) -> &'static [Kind] {
    if Place::from(spec).is_admin() { &[Kind::Essential] } else { &[Kind::Admin, Kind::AllTenants] }
}

/// Returns the kind of a role that Clusters share, by its name.
#[must_use]
pub fn of_name(name: &str) -> Option<Kind> {
    Kind::SHARED.into_iter().find(|kind| kind.name() == name)
}

/// Returns the name of a Cluster's own role in its tenant. `cluster`: its name on AVI.
#[must_use]
pub fn tenant_role(cluster: &str) -> String {
    format!("{cluster}-ako-tenant-role")
}

/// Returns a role that is to be created.
#[must_use]
pub fn new(kind: Kind, version: Version) -> Role {
    let mut role = Role { meta: Meta::named(kind.name()), ..Role::default() };
    sync(&mut role, kind, version);
    role
}

/// Returns a Cluster's own role that is to be created: for objects with the cluster's marks, and for those without any.
#[must_use]
pub fn new_for(cluster: &str, version: Version) -> Role {
    let label =
        MatchLabel { key: MARKER.to_owned(), values: vec![cluster.to_owned()], ..MatchLabel::default() };
    let filter = RoleFilter {
        match_label: label,
        match_operation: Some("ROLE_FILTER_EQUALS".to_owned()),
        enabled: Some(true),
        ..RoleFilter::default()
    };
    let mut role = Role {
        meta: Meta::named(tenant_role(cluster)),
        filters: vec![filter],
        allow_unlabelled_access: Some(true),
        ..Role::default()
    };
    sync(&mut role, Kind::Tenant, version);
    role
}

/// Adds what a role lacks, and corrects what it has otherwise. Further privileges stay: a newer controller may have added them. Returns
/// whether the role has changed.
pub fn sync(role: &mut Role, kind: Kind, version: Version) -> bool {
    let mut is_changed = false;
    for (resource, wanted) in kind.privileges(version) {
        let mut is_there = false;
        for privilege in role.privileges.iter_mut().filter(|privilege| privilege.resource == resource) {
            is_there = true;
            if privilege.kind != wanted {
                privilege.kind = wanted.clone();
                is_changed = true;
            }
        }
        if !is_there {
            role.privileges.push(Privilege::new(resource, wanted));
            is_changed = true;
        }
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OLD: &str = "22.1.3";
    const NEW: &str = "30.2.1";

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn role(privileges: &[(&str, AccessType)]) -> Role {
        let one = |(resource, kind): &(&str, AccessType)| {
            Privilege::new(format!("PERMISSION_{resource}"), kind.clone())
        };
        Role { privileges: privileges.iter().map(one).collect(), ..Role::default() }
    }

    fn has(role: &Role, resource: &str) -> Vec<AccessType> {
        let name = format!("PERMISSION_{resource}");
        let of = role.privileges.iter().filter(|privilege| privilege.resource == name);
        of.map(|privilege| privilege.kind.clone()).collect()
    }

    #[test]
    fn privileges_are_those_of_the_vendor() {
        for (kind, wanted) in [
            (Kind::Essential, [23, 14, 24]),
            (Kind::Admin, [3, 3, 0]),
            (Kind::AllTenants, [0, 2, 0]),
            (Kind::Tenant, [23, 11, 0]),
        ] {
            let all = kind.privileges(version(OLD));
            let count = |of: AccessType| all.iter().filter(|(_, is)| *is == of).count();
            assert_eq!(
                [AccessType::WRITE, AccessType::READ, AccessType::NONE].map(count),
                wanted,
                "{kind:?}"
            );
            let names: BTreeSet<_> = all.iter().map(|(resource, _)| resource).collect();
            assert_eq!(names.len(), all.len(), "{kind:?} names a resource twice");
        }
        for (at, wanted) in [(OLD, 61), ("30.2.0", 61), (NEW, 60), ("31.1.1", 60)] {
            assert_eq!(Kind::Essential.privileges(version(at)).len(), wanted, "{at}");
        }
        let refused = ["PERMISSION_CONTROLLER", "PERMISSION_TENANT", "PERMISSION_ROLE", "PERMISSION_USER"];
        let of_tenant = Kind::Tenant.privileges(version(OLD));
        assert!(of_tenant.iter().all(|(resource, _)| !refused.contains(&resource.as_str())));
    }

    /// The original's cases of a role that exists.
    #[test]
    fn a_role_gets_what_it_lacks_and_keeps_what_it_has_beside() {
        let (write, read) = (AccessType::WRITE, AccessType::READ);
        let complete = new(Kind::Essential, version(OLD));
        let mut without_pool = complete.clone();
        without_pool.privileges.retain(|privilege| privilege.resource != "PERMISSION_POOL");
        let mut with_more = complete.clone();
        with_more.privileges.push(Privilege::new("PERMISSION_NEW", write.clone()));
        let rows = [
            ("none", role(&[]), true, 61),
            ("wrong types", role(&[("POOL", read.clone()), ("USER", write.clone())]), true, 61),
            ("too few", without_pool, true, 61),
            ("more", with_more, false, 62),
            ("all of these", role(&[("POOL", read.clone()), ("NEW", write.clone())]), true, 62),
            ("complete", complete, false, 61),
        ];
        for (what, mut role, wanted, count) in rows {
            assert_eq!(sync(&mut role, Kind::Essential, version(OLD)), wanted, "{what}");
            assert_eq!(role.privileges.len(), count, "{what}");
            assert_eq!(has(&role, "POOL"), [AccessType::WRITE], "{what}");
            assert_eq!(has(&role, "USER"), [AccessType::NONE], "{what}");
            assert!(!sync(&mut role, Kind::Essential, version(OLD)), "{what}: nothing is left to do");
        }
        let mut newer = role(&[]);
        sync(&mut newer, Kind::Essential, version(NEW));
        assert!(has(&newer, REMOVED).is_empty());
        // What a controller had before its upgrade is not taken away.
        let mut upgraded = new(Kind::Essential, version(OLD));
        assert!(!sync(&mut upgraded, Kind::Essential, version(NEW)));
        assert_eq!(has(&upgraded, REMOVED), [read]);
    }
}
