//! What metrics say of objects: their conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::conditions::Status;
use operator_kit::{Cache, Metrics, ShownCondition};

use crate::connection::Connection;
use crate::installer::Asks;
use crate::wakes::Caches;

/// Shows the conditions of all objects from now on.
pub(crate) fn show_conditions(metrics: &Metrics, caches: &Caches) {
    show_installer(metrics, &caches.vdo_configs);
    show_installer(metrics, &caches.driver_sets);
    show_connection(metrics, &caches.clouds);
    show_connection(metrics, &caches.connections);
    metrics.show_conditions("CompatibilityMatrix", caches.matrices.clone(), |matrix| {
        matrix.status.iter().flat_map(|status| &status.conditions).map(shown).collect()
    });
}

fn show_installer<K: Asks>(metrics: &Metrics, cache: &Cache<K>) {
    metrics.show_conditions(K::KIND, cache.clone(), |object: &K| {
        object.status().into_iter().flat_map(|status| K::conditions_of(status)).map(shown).collect()
    });
}

fn show_connection<C: Connection>(metrics: &Metrics, cache: &Cache<C>) {
    metrics.show_conditions(C::KIND, cache.clone(), |object: &C| {
        object.status().into_iter().flat_map(|status| C::conditions_of(status)).map(shown).collect()
    });
}

fn shown(condition: &Condition) -> ShownCondition {
    let status = match condition.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    ShownCondition { type_: condition.type_.clone(), status, reason: condition.reason.clone() }
}
