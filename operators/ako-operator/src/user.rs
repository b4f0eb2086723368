//! The AVI user of each workload Cluster, its password, and the roles that limit it.
//!
//! ```text
//!   Cluster ──▶ account: pure ──▶ Draw: a password into the Secret ──▶ Ensure: user on AVI, then the Secret says that AVI has it
//!
//!   role: what AVI's roles are to allow; the AKODeploymentConfig's controller makes those that Clusters share
//! ```
//!
//! A password is in the Secret before AVI has it, so that a process that starts in the middle goes on with the same one. The names are
//! the original's: what it made is adopted. Another management cluster may have a Cluster of the same names: the mark of a user says whose it is.

pub mod account;
pub mod avi;
pub mod mark;
pub mod password;
pub mod role;

/// Type of the Secret with the credentials of a Cluster's user.
pub const SECRET_TYPE: &str = "avi.cluster.x-k8s.io/secret";
/// Key of the user name.
pub const USERNAME: &str = "username";
/// Key of the password that AVI has.
pub const PASSWORD: &str = "password";
/// Key of a password that AVI is to get.
pub const NEXT_PASSWORD: &str = "nextPassword";
/// Key of the PEM certificates that the controller's certificate is checked with.
pub const AUTHORITY: &str = "certificateAuthorityData";

/// Annotation of the Secret: the id of the management cluster whose mark the user has on AVI.
pub const MARK_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/user-of";

/// Annotation of the Secret: which of the passwords that the user has had is the newest one of the Secret. Says nothing about the password.
pub const PASSWORD_ID_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/password-id";

/// Returns the name of a Cluster's user on AVI.
#[must_use]
pub fn user_name(namespace: &str, cluster: &str) -> String {
    format!("{cluster}-{namespace}-ako-user")
}

/// Returns the name of the Secret with the credentials of a Cluster's user.
#[must_use]
pub fn secret_name(cluster: &str) -> String {
    format!("{cluster}-avi-credentials")
}
