//! What a Cluster waits for, and how a person ends that.

use infra_clients::capi::secret_name;
use operator_kit::names::first_few;
use operator_kit::{Key, Turn};

use super::{AGAIN, NO_KUBECONFIG, Plan};
use crate::api::{FORCE_ANNOTATION, reason};
use crate::cluster::seen::{Seen, Want};
use crate::delivery::{NAMESPACE, Target};

pub(super) fn wait_for_end() -> Turn<Plan> {
    let message =
        format!("the Pods of AKO end; if that lasts, look at them in {NAMESPACE} of the workload cluster");
    Turn::Wait { reason: reason::AKO_ENDING, message, after: None }
}

/// Waits for objects that are being deleted: a garbage collector may take its time.
pub(super) fn wait_for_deletion(objects: &[Target]) -> Turn<Plan> {
    let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let message = format!(
        "objects of AKO are being deleted: {}; if that lasts, look at their finalizers in the workload cluster",
        first_few(&names)
    );
    Turn::Wait { reason: reason::AKO_ENDING, message, after: Some(AGAIN) }
}

/// Says how a person ends the wait for the AKO of a Cluster.
fn how_to_force(key: &Key) -> String {
    let (namespace, name) = (key.namespace(), key.name());
    format!("kubectl annotate cluster {name} --namespace {namespace} {FORCE_ANNOTATION}=true")
}

/// Says that AKO cannot be asked any more, as the kubeconfig of a Cluster that it leaves is gone. No controller writes it again.
fn without_kubeconfig(seen: &Seen) -> String {
    let key = &seen.key;
    format!(
        "the Secret {}/{} is gone, as where the namespace of the Cluster is being deleted, and without this kubeconfig no client can ask AKO to \
         remove what it made on AVI; to have the operator remove it by its marks and let the Cluster go, run: {}",
        key.namespace(),
        secret_name(key.name()),
        how_to_force(key)
    )
}

/// Waits for a workload cluster that cannot be read.
pub(super) fn wait_for_workload(seen: &Seen, reason: &'static str, message: &str) -> Turn<Plan> {
    if seen.is_deleting && reason == NO_KUBECONFIG {
        return Turn::Wait { reason, message: without_kubeconfig(seen), after: Some(AGAIN) };
    }
    let hint = if seen.is_deleting || seen.want == Want::Nothing {
        let end = if seen.is_deleting && seen.patience.limit.is_some() {
            "--cleanup-deadline of the operator ends that, where its AKODeploymentConfig is known; "
        } else {
            ""
        };
        format!(
            "; {end}if it is never to be reached again, remove what AKO made on AVI by hand, then annotate the Cluster with \
             {FORCE_ANNOTATION}=true"
        )
    } else {
        String::new()
    };
    if seen.needs_watch {
        // Its watch says when it answers again.
        return Turn::LookAgain(Plan::Watch);
    }
    Turn::Wait { reason, message: format!("{message}{hint}"), after: Some(AGAIN) }
}
