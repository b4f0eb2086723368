//! The group of TKG's kinds, all in one version.

/// Implements [`kube::Resource`] for a kind of `run.tanzu.vmware.com/v1alpha3` whose type has its name.
macro_rules! resource {
    ($kind:ident, $scope:ty, $plural:literal) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                "run.tanzu.vmware.com".into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                "v1alpha3".into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

pub(super) use resource;
