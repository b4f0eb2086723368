//! What every operator keeps to, whatever it does: each function checks one promise with a [`Rig`](crate::Rig).
//!
//! [`contract!`](crate::contract!) makes a test of each.

mod leadership;
mod manifests;
mod rest;
mod rights;
mod secrets;
mod surface;

pub use leadership::one_leader_writes;
pub use manifests::manifests_apply_alone;
pub(crate) use rest::passes;
pub use rest::rest_costs_nothing;
pub use rights::rights_are_exact;
pub use secrets::secrets_are_nowhere;
pub(crate) use surface::docs;
pub use surface::surface_is_documented;

/// Makes a module for each rig, with a test for each promise of the contract: `e2e::rigs!(contract)`.
#[macro_export]
macro_rules! contract {
    ($($name:ident: $rig:ident),*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn its_rights_are_those_it_uses() {
                $crate::contract::rights_are_exact::<$crate::$rig>().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn its_secrets_are_nowhere() {
                $crate::contract::secrets_are_nowhere::<$crate::$rig>().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn at_rest_it_writes_and_calls_nothing() {
                $crate::contract::rest_costs_nothing::<$crate::$rig>().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn one_leader_at_a_time_writes() {
                $crate::contract::one_leader_writes::<$crate::$rig>().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn its_manifests_apply_alone() {
                $crate::contract::manifests_apply_alone::<$crate::$rig>().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn its_flags_reasons_and_metrics_are_documented() {
                $crate::contract::surface_is_documented::<$crate::$rig>().await.unwrap();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn each_value_is_refused_explained_or_carried_out() {
                $crate::mutate::each_value_is_answered::<$crate::$rig>().await.unwrap();
            }
        }
    )*};
}
