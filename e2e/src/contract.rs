//! What every operator keeps to, whatever it does: each function checks a promise with a [`Rig`].
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
pub use rest::rest_costs_nothing;
pub use secrets::secrets_are_nowhere;
pub(crate) use surface::docs;

use anyhow::Result;

use crate::install::Plane;
use crate::rig::Rig;
use crate::site::PATIENCE;

/// Checks, while and after the operator does all its work, that its rights are those it uses, and that the pages have its settings, reasons
/// and metrics. One run for both, as all its work takes long.
///
/// # Errors
/// If they do not.
pub async fn rights_are_exact_and_surface_documented<R: Rig>() -> Result<()> {
    let rig = R::start_on(Plane::alone(&R::SUBJECT).await?).await?;
    let reasons = surface::Reasons::start(rig.site(), &R::SUBJECT);
    let mut operator = rig.operator_with(&rig.launch().arg("--enable-leader-election")).await?;
    rig.exercise().await?;
    surface::is_documented(&rig, &operator, &reasons).await?;
    operator.process.terminate(PATIENCE).await?;
    rights::are_exact(&rig).await
}

/// Makes a module for each rig, with a test for each promise of the contract: `e2e::rigs!(contract)`.
#[macro_export]
macro_rules! contract {
    ($($name:ident: $rig:ident),*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn its_rights_are_those_it_uses_and_its_surface_is_documented() {
                $crate::contract::rights_are_exact_and_surface_documented::<$crate::$rig>().await.unwrap();
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
            async fn each_value_is_refused_explained_or_carried_out() {
                $crate::mutate::each_value_is_answered::<$crate::$rig>().await.unwrap();
            }
        }
    )*};
}
