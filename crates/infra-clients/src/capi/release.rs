//! TanzuKubernetesRelease: which packages a release of TKG has. Read only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ClusterResourceScope;
use serde::Deserialize;

use super::bootstrap::is_version_of;
use super::tkg;

/// `run.tanzu.vmware.com/v1alpha3`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TanzuKubernetesRelease {
    /// The metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: ReleaseSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReleaseSpec {
    bootstrap_packages: Vec<Named>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

impl TanzuKubernetesRelease {
    /// Returns name and version of a package, `<package>.<version>`, as the release has it.
    #[must_use]
    pub fn package(&self, package: &str) -> Option<&str> {
        let mut names = self.spec.bootstrap_packages.iter().map(|named| named.name.as_str());
        names.find(|name| is_version_of(name, package))
    }
}

tkg::resource!(TanzuKubernetesRelease, ClusterResourceScope, "tanzukubernetesreleases");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_package_is_found_by_its_name() {
        let release: TanzuKubernetesRelease = serde_json::from_value(json!({
            "metadata": {"name": "v1.33.1---vmware.1"},
            "spec": {"version": "v1.33.1", "bootstrapPackages": [{"name": "ako.example.com-extra.1"}, {"name": "ako.example.com.1.2"}]},
        }))
        .unwrap();
        assert_eq!(release.package("ako.example.com"), Some("ako.example.com.1.2"));
        assert_eq!(release.package("other.example.com"), None);
    }
}
