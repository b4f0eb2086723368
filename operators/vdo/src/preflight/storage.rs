//! Checks of what volumes are made on.

use super::{Check, Facts, Finding, Known, Severity};

pub(super) fn run(facts: &Facts, findings: &mut Vec<Finding>) {
    // Those of several vCenters are judged each by itself.
    let known: Vec<_> =
        facts.vcenters.iter().filter_map(|of| Some((of.server.as_str(), of.known.as_ref().ok()?))).collect();
    for (server, known) in &known {
        let usable = known.shared.iter().filter(|store| store.is_accessible).count();
        // With topology, a volume need not be reached by all.
        if usable == 0 && facts.categories.is_empty() && !facts.nodes.is_empty() {
            findings.push(Finding::new(
                Check::SharedDatastore,
                Severity::BlockInstall,
                *server,
                "no accessible datastore is mounted by the hosts of all Nodes, those of the control plane included",
                "mount one on all of these hosts, or configure topology categories",
            ));
        }
        for store in &known.shared {
            if let Some(cluster) = &store.moved_by {
                findings.push(Finding::new(
                    Check::StorageDrs,
                    Severity::Warning,
                    format!("{server} {}", store.name),
                    format!("the storage cluster {cluster} moves disks by itself, and volumes are lost where their path changes"),
                    "switch Storage DRS off for the cluster, or keep volumes off its datastores",
                ));
            }
        }
    }
    if known.len() == facts.vcenters.len() {
        storage_classes(facts, &known, findings);
    }
    for (attachment, node) in &facts.lost_attachments {
        findings.push(Finding::new(
            Check::Attachments,
            Severity::Warning,
            format!("VolumeAttachment {attachment}"),
            format!("the Node {node} does not exist any more, so that CSI cannot detach the volume"),
            "if its machine is gone for good, detach the disk in the vCenter, and remove the finalizer of the attachment",
        ));
    }
}

fn storage_classes(facts: &Facts, known: &[(&str, &Known)], findings: &mut Vec<Finding>) {
    for class in &facts.storage_classes {
        let mut add = |message: String, remediation| {
            let name = format!("StorageClass {}", class.name);
            findings.push(Finding::new(Check::StorageClasses, Severity::Warning, name, message, remediation));
        };
        if let Some(policy) = &class.policy
            && known.iter().all(|(_, of)| of.policies.as_ref().is_some_and(|all| !all.contains(policy)))
            && !known.is_empty()
        {
            add(
                format!("no vCenter has the storage policy {policy:?}"),
                "correct storagepolicyname, or create the policy; the account needs StorageProfile.View",
            );
        }
        if let Some(url) = &class.datastore_url
            && facts.categories.is_empty()
            && !known.iter().any(|(_, of)| of.shared.iter().any(|store| is_same(&store.url, url)))
        {
            add(
                format!("the hosts of the Nodes do not share a datastore with the URL {url}"),
                "correct datastoreurl, or mount the datastore on all hosts",
            );
        }
    }
}

/// Returns whether two URLs of datastores are the same, with or without the slash at the end.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
