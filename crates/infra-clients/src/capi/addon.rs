//! The Secret that holds the values for an add-on of a workload cluster in TKG. Owns its name, type, labels and the
//! form of its content; the add-on defines what the values mean.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::error::{Error, Kind};
use crate::Secret;

/// The only key of an add-on Secret.
pub const VALUES_KEY: &str = "values.yaml";
/// Annotation: the add-on, as `<category>/<addon>`.
pub const ADDON_TYPE_ANNOTATION: &str = "tkg.tanzu.vmware.com/addon-type";
/// Label: the add-on's name.
pub const ADDON_NAME_LABEL: &str = "tkg.tanzu.vmware.com/addon-name";
/// Label: the Cluster's name.
pub const ADDON_CLUSTER_LABEL: &str = "tkg.tanzu.vmware.com/cluster-name";
/// Label: `clusterctl move` takes the object along.
pub const MOVE_LABEL: &str = "clusterctl.cluster.x-k8s.io/move";

/// The header of ytt data values.
const LEGACY_HEADER: &str = "#@data/values\n#@overlay/match-child-defaults missing_ok=True\n---\n";

/// Who reads the Secret, which decides on its type and whether the content begins with ytt's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddonForm {
    /// TKG's addons manager, for a Cluster without a ClusterClass.
    Legacy,
    /// A ClusterBootstrap, for a Cluster made from a ClusterClass.
    ClusterBootstrap,
}

impl AddonForm {
    /// Returns the `type` of the Secret.
    #[must_use]
    pub fn secret_type(self) -> &'static str {
        match self {
            Self::Legacy => "tkg.tanzu.vmware.com/addon",
            Self::ClusterBootstrap => "clusterbootstrap-secret",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Legacy => LEGACY_HEADER,
            Self::ClusterBootstrap => "",
        }
    }
}

/// An add-on Secret to create.
#[derive(Debug, Clone)]
pub struct AddonSecret<'a> {
    /// The Cluster's namespace, and so the Secret's.
    pub namespace: &'a str,
    /// The Cluster's name.
    pub cluster: &'a str,
    /// What sort of add-on, such as `networking`.
    pub category: &'a str,
    /// The add-on, such as `load-balancer-and-ingress-service`.
    pub addon: &'a str,
    /// Who reads it.
    pub form: AddonForm,
    /// The values in YAML, without a header.
    pub values: &'a Secret,
}

impl AddonSecret<'_> {
    /// Returns the name of a Cluster's Secret for an add-on.
    #[must_use]
    pub fn name_of(cluster: &str, addon: &str) -> String {
        format!("{cluster}-{addon}-addon")
    }

    /// Returns the whole object, to be applied. Its `Debug` shows the values: never print it.
    #[must_use]
    pub fn to_kubernetes(&self) -> KubernetesSecret {
        let content = [self.form.header(), self.values.expose()].concat();
        let labels = [(ADDON_NAME_LABEL, self.addon), (ADDON_CLUSTER_LABEL, self.cluster), (MOVE_LABEL, "")];
        KubernetesSecret {
            metadata: ObjectMeta {
                name: Some(Self::name_of(self.cluster, self.addon)),
                namespace: Some(self.namespace.to_owned()),
                labels: Some(map(labels)),
                annotations: Some(map([(
                    ADDON_TYPE_ANNOTATION,
                    &*format!("{}/{}", self.category, self.addon),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some(self.form.secret_type().to_owned()),
            data: Some([(VALUES_KEY.to_owned(), ByteString(content.into_bytes()))].into()),
            ..KubernetesSecret::default()
        }
    }
}

/// Reads an add-on Secret: its form by its type, and the values without a header.
///
/// # Errors
/// [`Kind::InvalidSpec`]: it is of another type, or has no values in text form.
pub fn read_addon(secret: &KubernetesSecret) -> Result<(AddonForm, Secret), Error> {
    let type_ = secret.type_.as_deref().unwrap_or_default();
    let form =
        [AddonForm::Legacy, AddonForm::ClusterBootstrap].into_iter().find(|form| form.secret_type() == type_);
    let form = form.ok_or_else(|| {
        Error::new(Kind::InvalidSpec, format!("a Secret of type {type_:?} does not belong to an add-on"))
    })?;
    let content = secret.data.as_ref().and_then(|data| data.get(VALUES_KEY));
    let content = content.and_then(|content| std::str::from_utf8(&content.0).ok());
    let content = content.ok_or_else(|| {
        Error::new(Kind::InvalidSpec, format!("the add-on Secret has no text under {VALUES_KEY}"))
    })?;
    Ok((form, Secret::new(content.strip_prefix(LEGACY_HEADER).unwrap_or(content))))
}

fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn addon(form: AddonForm, values: &Secret) -> KubernetesSecret {
        AddonSecret {
            namespace: "ns",
            cluster: "w1",
            category: "networking",
            addon: "load-balancer-and-ingress-service",
            form,
            values,
        }
        .to_kubernetes()
    }

    #[test]
    fn the_shape_is_what_tkg_reads() {
        let secret = addon(AddonForm::Legacy, &Secret::new("a: 1\n"));
        assert_eq!(
            serde_json::to_value(&secret).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": "w1-load-balancer-and-ingress-service-addon",
                    "namespace": "ns",
                    "labels": {
                        "tkg.tanzu.vmware.com/addon-name": "load-balancer-and-ingress-service",
                        "tkg.tanzu.vmware.com/cluster-name": "w1",
                        "clusterctl.cluster.x-k8s.io/move": "",
                    },
                    "annotations": {
                        "tkg.tanzu.vmware.com/addon-type": "networking/load-balancer-and-ingress-service",
                    },
                },
                "type": "tkg.tanzu.vmware.com/addon",
                "data": {"values.yaml": data_encoding::BASE64.encode(
                    b"#@data/values\n#@overlay/match-child-defaults missing_ok=True\n---\na: 1\n",
                )},
            })
        );
        let secret = addon(AddonForm::ClusterBootstrap, &Secret::new("a: 1\n"));
        assert_eq!(secret.type_.as_deref(), Some("clusterbootstrap-secret"));
        assert_eq!(secret.data.unwrap()["values.yaml"].0, b"a: 1\n");
    }

    #[test]
    fn what_is_written_is_read() {
        for form in [AddonForm::Legacy, AddonForm::ClusterBootstrap] {
            let (read, values) = read_addon(&addon(form, &Secret::new("a: 1\n"))).unwrap();
            assert_eq!((read, values.expose()), (form, "a: 1\n"));
        }
        let mut other = addon(AddonForm::Legacy, &Secret::new("a: 1"));
        other.data = None;
        assert_eq!(read_addon(&other).unwrap_err().kind(), Kind::InvalidSpec);
        other.type_ = Some("Opaque".into());
        assert!(read_addon(&other).unwrap_err().to_string().contains("Opaque"));
    }
}
