//! ClusterBootstrap: which packages TKG installs into a cluster that is created from a ClusterClass. Owns one
//! package's entry and the list of packages that outlive their entry; never the other packages.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Patch;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{patch, tkg};

/// Annotation of a ClusterBootstrap, a list separated by commas: packages whose PackageInstall is not processed when
/// it is deleted.
pub const SKIP_DELETION_ANNOTATION: &str = "run.tanzu.vmware.com/skip-packageinstall-deletion";

const ADDITIONAL_PACKAGES: &str = "/spec/additionalPackages";

/// `run.tanzu.vmware.com/v1alpha3`. It has its Cluster's name and namespace.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ClusterBootstrap {
    /// The metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The packages to install.
    #[serde(default)]
    pub spec: BootstrapSpec,
    /// What TKG made of it.
    #[serde(default)]
    pub status: BootstrapStatus,
}

/// The spec of a ClusterBootstrap.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BootstrapSpec {
    /// Packages besides those that every cluster needs (CNI, CSI, CPI, kapp-controller).
    pub additional_packages: Vec<Package>,
}

/// The status of a ClusterBootstrap.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BootstrapStatus {
    /// Name of the [`TanzuKubernetesRelease`](super::TanzuKubernetesRelease) that the packages are of; empty until it is known.
    #[serde(rename = "resolvedTKR")]
    pub resolved_tkr: String,
}

/// A package to install.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Name and version, `<package>.<version>`, as the Tanzu Kubernetes release lists it.
    #[serde(default)]
    pub ref_name: String,
    /// Where its values come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_from: Option<ValuesFrom>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Where a package's values come from: exactly one of a Secret, `inline` and `providerRef`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuesFrom {
    /// A Secret in the namespace of the ClusterBootstrap: see [`AddonSecret`](super::AddonSecret).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl fmt::Debug for ValuesFrom {
    /// Leaves out inline values, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValuesFrom").field("secret_ref", &self.secret_ref).finish_non_exhaustive()
    }
}

impl Package {
    /// Returns whether it is `package`, in any version.
    #[must_use]
    pub fn is(&self, package: &str) -> bool {
        is_version_of(&self.ref_name, package)
    }
}

/// Returns whether `<package>.<version>` names this package.
pub(super) fn is_version_of(ref_name: &str, package: &str) -> bool {
    ref_name.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl ClusterBootstrap {
    /// Returns the entry of a package, such as `load-balancer-and-ingress-service.tanzu.vmware.com`.
    #[must_use]
    pub fn additional_package(&self, package: &str) -> Option<&Package> {
        self.spec.additional_packages.iter().find(|entry| entry.is(package))
    }

    /// Returns the patch that has `package` installed in the version `ref_name` with the values of a Secret, in place
    /// of its present entry; the other entries stay. `None`: it is so already.
    #[must_use]
    pub fn set_additional_package(
        &self,
        package: &str,
        ref_name: &str,
        secret: &str,
    ) -> Option<Patch<Value>> {
        let mut packages = self.spec.additional_packages.clone();
        let position = packages.iter().position(|entry| entry.is(package)).unwrap_or_else(|| {
            packages.push(Package::default());
            packages.len() - 1
        });
        let entry = &mut packages[position];
        ref_name.clone_into(&mut entry.ref_name);
        // Only one source is allowed.
        entry.values_from = Some(ValuesFrom { secret_ref: Some(secret.to_owned()), rest: Map::new() });
        self.with_packages(&packages)
    }

    fn with_packages(&self, packages: &[Package]) -> Option<Patch<Value>> {
        if packages == self.spec.additional_packages {
            return None;
        }
        Some(patch::list_of_this_version(&self.metadata, ADDITIONAL_PACKAGES, &packages))
    }

    /// Returns the patch that adds a package to those whose PackageInstall is not processed when it is deleted, by its short name such as
    /// `load-balancer-and-ingress-service`. `None`: it is one already.
    #[must_use]
    pub fn skip_deletion(&self, short_name: &str) -> Option<Patch<Value>> {
        patch::add_to_list_annotation(self, SKIP_DELETION_ANNOTATION, short_name)
    }
}

tkg::resource!(ClusterBootstrap, NamespaceResourceScope, "clusterbootstraps");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::patch::tests::list_written;
    use super::*;

    const AKO: &str = "load-balancer-and-ingress-service.tanzu.vmware.com";

    fn bootstrap(packages: &Value) -> ClusterBootstrap {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "resourceVersion": "7"},
            "spec": {"cni": {"refName": "antrea"}, "additionalPackages": packages},
        }))
        .unwrap()
    }

    fn written(patch: Option<Patch<Value>>) -> Value {
        list_written(patch, ADDITIONAL_PACKAGES).expect("something to write")
    }

    #[test]
    fn a_package_is_known_in_every_version() {
        let package = |name: &str| Package { ref_name: name.into(), ..Package::default() };
        assert!(package(AKO).is(AKO));
        assert!(package(&format!("{AKO}.1.12.2+vmware.1-tkg.1")).is(AKO));
        assert!(!package(&format!("{AKO}-extra.1")).is(AKO));
        assert!(!package("metrics-server.tanzu.vmware.com.1").is(AKO));
    }

    #[test]
    fn one_entry_changes_and_the_others_keep_what_we_do_not_know() {
        let other = json!({"refName": "metrics-server.tanzu.vmware.com.1", "valuesFrom": {"inline": {"a": 1}}, "new": true});
        let secret = |name: &str| json!({"refName": format!("{AKO}.2"), "valuesFrom": {"secretRef": name}});

        let without = bootstrap(&json!([other]));
        let added = written(without.set_additional_package(AKO, &format!("{AKO}.2"), "s"));
        assert_eq!(added, json!([other, secret("s")]));

        let with = bootstrap(&added);
        assert_eq!(with.set_additional_package(AKO, &format!("{AKO}.2"), "s"), None);
        assert_eq!(
            written(with.set_additional_package(AKO, &format!("{AKO}.2"), "t")),
            json!([other, secret("t")])
        );
        assert_eq!(
            with.additional_package(AKO).unwrap().values_from.as_ref().unwrap().secret_ref.as_deref(),
            Some("s")
        );
    }

    #[test]
    fn another_source_of_values_gives_way() {
        let inline = bootstrap(
            &json!([{"refName": format!("{AKO}.1"), "valuesFrom": {"inline": {"a": "s3cret"}}, "new": 1}]),
        );
        assert!(!format!("{inline:?}").contains("s3cret"), "{inline:?}");
        assert_eq!(
            written(inline.set_additional_package(AKO, &format!("{AKO}.1"), "s")),
            json!([{"refName": format!("{AKO}.1"), "valuesFrom": {"secretRef": "s"}, "new": 1}])
        );
    }

    #[test]
    fn a_package_can_be_left_alone_in_deletion() {
        let mut bootstrap = bootstrap(&json!([]));
        bootstrap.metadata.annotations =
            Some([(SKIP_DELETION_ANNOTATION.into(), "antrea,csi".into())].into());
        let Some(Patch::Merge(body)) = bootstrap.skip_deletion("ako") else { panic!("no merge patch") };
        assert_eq!(body["metadata"]["annotations"][SKIP_DELETION_ANNOTATION], "antrea,csi,ako");
        assert_eq!(bootstrap.skip_deletion("csi"), None);
    }
}
