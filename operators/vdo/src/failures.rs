//! What the drivers say when they fail, and what to do about it.
//!
//! The texts are those of the drivers' sources: CSI 3.7.3, CPI 1.36.0. One that is not known is no explanation: then the last line of the log
//! speaks for itself.

use crate::matrix::Driver;

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The driver that writes it.
    pub driver: Driver,
    /// Part of the text, in lower case.
    text: &'static str,
    /// What is wrong.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn failure(driver: Driver, text: &'static str, cause: &'static str, remedy: &'static str) -> Failure {
    Failure { driver, text, cause, remedy }
}

/// The failures that are known. Of those that match a line, the first one counts: special texts stand before general ones.
static FAILURES: &[Failure] = &[
    failure(
        Driver::Csi,
        "username is invalid, make sure it is a fully qualified domain username",
        "the user name has no domain",
        "write one such as csi@vsphere.local into the Secret",
    ),
    failure(
        Driver::Csi,
        "please remove the cluster id from vsphere config secret",
        "the cluster id is in the Secret and in the ConfigMap vsphere-csi-cluster-id",
        "let vdo write the Secret, which leaves the id out where the ConfigMap exists",
    ),
    failure(
        Driver::Csi,
        "unknown escape sequence",
        "the configuration was written by hand, and a password in it is not escaped",
        "let vdo write the Secret",
    ),
    failure(
        Driver::Csi,
        "failed to fetch datacenters",
        "a datacenter does not exist in the vCenter, or the account does not see it",
        "correct its name, or grant the account the right to read it",
    ),
    failure(
        Driver::Csi,
        "no shared datastores found",
        "no datastore is mounted by the hosts of all Nodes, those of the control plane included",
        "mount one, or configure topology categories",
    ),
    failure(
        Driver::Csi,
        "requires topology-categories to be specified for multi vcenter deployment",
        "several vCenters are configured without topology categories",
        "name the tag categories",
    ),
    failure(
        Driver::Csi,
        "the server could not find the requested resource (get volumesnapshot",
        "the kinds of snapshots do not exist in the cluster",
        "install the snapshot CRDs and controller",
    ),
    failure(
        Driver::Cpi,
        "no virtual center hosts defined",
        "the configuration names no vCenter, or its lines are not indented as they should be",
        "let vdo write the ConfigMap cloud-config",
    ),
    failure(
        Driver::Cpi,
        "no vm found",
        "CPI does not see the machine of a Node in the datacenters that are named",
        "the name of the Node must be the host name of its machine; name its datacenter, and grant the account the right to read it",
    ),
    failure(
        Driver::Cpi,
        "unable to find suitable ip address for node",
        "a machine has no address that CPI may use",
        "let VMware Tools run on it, or correct the subnets and networks of the addresses",
    ),
    failure(
        Driver::Cpi,
        "certificate signed by unknown authority",
        "the certificate of a vCenter is signed by an authority that CPI does not trust",
        "set the thumbprint or the certificate authority",
    ),
    failure(
        Driver::Csi,
        "certificate signed by unknown authority",
        "the certificate of a vCenter is signed by an authority that CSI does not trust",
        "set the thumbprint or the certificate authority",
    ),
    failure(
        Driver::Cpi,
        "cannot complete login due to an incorrect user name or password",
        "a vCenter refuses the account",
        "correct user name and password in the Secret",
    ),
    failure(
        Driver::Csi,
        "cannot complete login due to an incorrect user name or password",
        "a vCenter refuses the account",
        "correct user name and password in the Secret",
    ),
    failure(
        Driver::Csi,
        "serverfaultcode: login failure",
        "a vCenter refuses the account",
        "correct user name and password in the Secret",
    ),
    failure(
        Driver::Cpi,
        "serverfaultcode: login failure",
        "a vCenter refuses the account",
        "correct user name and password in the Secret",
    ),
];

/// Returns what the log of a driver says is wrong: by the last line that is known.
#[must_use]
pub fn explain(driver: Driver, log: &str) -> Option<Failure> {
    log.lines().rev().find_map(|line| {
        let line = line.to_lowercase();
        FAILURES.iter().find(|failure| failure.driver == driver && line.contains(failure.text)).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_drivers_wrote_are_explained() {
        let rows = [
            (
                Driver::Csi,
                "error: username is invalid, make sure it is a fully qualified domain username",
                "no domain",
            ),
            (
                Driver::Csi,
                "failed to get VirtualCenterManager. Err: ServerFaultCode: Login failure",
                "refuses the account",
            ),
            (
                Driver::Cpi,
                "Failed to create govmomi client. err: ServerFaultCode: Cannot complete login due to an incorrect user name or password.",
                "refuses the account",
            ),
            (
                Driver::Csi,
                "failed to fetch datacenters for vc 10.0.0.1: datacenter 'NOPE' not found",
                "datacenter does not exist",
            ),
            (
                Driver::Csi,
                "Post \"https://vc/sdk\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "authority that CSI does not trust",
            ),
            (Driver::Csi, "error while reading config file: 5:12: unknown escape sequence", "not escaped"),
            (
                Driver::Csi,
                "Please remove the cluster ID from vSphere Config Secret.",
                "cluster id is in the Secret",
            ),
            (Driver::Cpi, "validateConfig failed: no Virtual Center hosts defined", "names no vCenter"),
        ];
        for (driver, line, wanted) in rows {
            let log = format!("I1128 starting\n{line}\nI1128 goodbye\n");
            let found = explain(driver, &log).unwrap_or_else(|| panic!("{line}"));
            assert!(found.cause.contains(wanted) && !found.remedy.is_empty(), "{line}: {found:?}");
        }
    }

    #[test]
    fn the_last_line_counts_and_other_texts_say_nothing() {
        let log = "ServerFaultCode: Login failure\nx509: certificate signed by unknown authority\n";
        assert!(explain(Driver::Csi, log).unwrap().cause.contains("authority"));
        assert_eq!(explain(Driver::Csi, "everything is fine"), None);
        assert_eq!(explain(Driver::Cni, log), None, "it is no text of Antrea");
    }

    #[test]
    fn texts_are_compared_in_lower_case() {
        for failure in FAILURES {
            assert_eq!(failure.text, failure.text.to_lowercase());
        }
    }
}
