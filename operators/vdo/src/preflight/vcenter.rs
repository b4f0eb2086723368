//! Checks of the vCenters.

use super::{Check, Facts, Finding, Known, Severity};
use crate::version::{Numbers, Version, Vsphere};

/// Difference of clocks, in seconds, at which tokens may be refused.
const CLOCK: i64 = 60;
/// The oldest vCenter and ESXi that a driver works with.
pub(super) const OLDEST: Vsphere = Vsphere { major: 6, minor: 7, update: 3 };
/// The oldest that newer drivers will work with.
pub(super) const UPGRADEABLE: Vsphere = Vsphere { major: 7, minor: 0, update: 2 };
/// The first CSI that uses file services which vCenter 6.7 does not have: CSI issues 3000 and 3041.
const FILE_SERVICES: Version = Version::new(3, 2, 0);

pub(super) fn run(facts: &Facts, findings: &mut Vec<Finding>) {
    for vcenter in &facts.vcenters {
        let server = &vcenter.server;
        if vcenter.is_insecure {
            findings.push(Finding::new(
                Check::Certificate,
                Severity::Warning,
                server,
                "its certificate is not checked, so that anyone on the network in between can read the password",
                "name its thumbprint or its certificate authority in place of insecure",
            ));
        }
        match &vcenter.known {
            Ok(known) => answers(facts, server, known, findings),
            Err(why) => findings.push(Finding::new(
                Check::Connection,
                Severity::BlockInstall,
                server,
                format!("it does not answer: {why}"),
                "check its address, the network in between, and user name and password of the account",
            )),
        }
    }
    zones_are_distinct(facts, findings);
}

/// Returns whether a version is older than another.
pub(super) fn is_older(version: Vsphere, than: Vsphere) -> bool {
    version.numbers() < than.numbers()
}

fn answers(facts: &Facts, server: &str, known: &Known, findings: &mut Vec<Finding>) {
    let seconds = known.clock.as_secs();
    if seconds.abs() > CLOCK {
        let word = if seconds > 0 { "ahead" } else { "behind" };
        findings.push(Finding::new(
            Check::Clock,
            Severity::Warning,
            server,
            format!("its clock is {} seconds {word} of the cluster's", seconds.abs()),
            "let both use the same time servers (NTP)",
        ));
    }
    if let Some(version) = known.version {
        findings.extend(old_version(server, version, facts.csi.as_ref()));
    }
    for name in &known.missing_datacenters {
        findings.push(Finding::new(
            Check::Datacenters,
            Severity::BlockInstall,
            server,
            format!("the account sees no datacenter {name:?}"),
            "correct its name, which is case-sensitive, or grant the account the role Read-only on it",
        ));
    }
    for lacking in &known.lacking {
        let (check, severity) = lacking.kind.check();
        findings.push(Finding::new(
            check,
            severity,
            format!("{server} {}", lacking.object),
            format!(
                "the account lacks {}, without which searches find nothing and report no error",
                lacking.privileges.join(", ")
            ),
            "have a vCenter administrator grant the account a role with these privileges on the object",
        ));
    }
}

fn old_version(server: &str, version: Vsphere, csi: Option<&Version>) -> Option<Finding> {
    let find = |severity, message| {
        Finding::new(
            Check::VcenterVersion,
            severity,
            server,
            message,
            "upgrade the vCenter, or choose an older version of the driver",
        )
    };
    let needs_newer = csi.filter(|csi| **csi >= FILE_SERVICES && version.major < 7);
    if is_older(version, OLDEST) {
        let message =
            format!("its version {version} is older than {OLDEST}, the oldest that drivers work with");
        Some(find(Severity::BlockInstall, message))
    } else if let Some(csi) = needs_newer {
        let message = format!("CSI {csi} ends on its version {version}, which lacks file services");
        Some(find(Severity::BlockInstall, message))
    } else if is_older(version, UPGRADEABLE) {
        let message = format!("its version {version} is older than {UPGRADEABLE}, which newer drivers need");
        Some(find(Severity::BlockUpgrade, message))
    } else {
        None
    }
}

/// A zone that two vCenters have leaves claims pending: CSI looks for the volume's place in only one of them.
fn zones_are_distinct(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut seen = std::collections::BTreeMap::new();
    for node in &facts.nodes {
        let super::Seen::Yes(machine) = &node.machine else { continue };
        let Some(tags) = &machine.tags else { continue };
        let zone: Vec<_> = facts
            .categories
            .iter()
            .filter_map(|category| {
                tags.iter().find(|tag| tag.category == *category).map(|tag| tag.name.clone())
            })
            .collect();
        if zone.is_empty() || zone.len() < facts.categories.len() {
            continue;
        }
        let first: &mut (String, bool) =
            seen.entry(zone.clone()).or_insert_with(|| (machine.server.clone(), false));
        if first.0 != machine.server && !first.1 {
            first.1 = true;
            findings.push(Finding::new(
                Check::ZonesDistinct,
                Severity::BlockInstall,
                &machine.server,
                format!("the zone {} is in {} as well, which leaves claims pending", zone.join("/"), first.0),
                "give the hosts of each vCenter tags of their own",
            ));
        }
    }
}
