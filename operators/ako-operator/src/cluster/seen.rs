//! What a pass over a Cluster sees, as plain values.

use std::fmt;

use jiff::Timestamp;
use kube::api::Patch;
use operator_kit::Key;
use serde_json::Value;

use super::definitions::Definitions;
use super::live::value;
use super::patience::Patience;
use crate::conditions::Said;
use crate::delivery::{Object, Target};
use crate::problem::Problem;
use crate::selection::Skip;
use crate::user::account::Account;

/// What a pass sees.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Seen {
    /// Whether the Cluster is being deleted.
    pub is_deleting: bool,
    /// Whether the Cluster has the finalizer.
    pub is_held: bool,
    /// Whether a person has ended the wait for AKO's cleanup.
    pub is_forced: bool,
    /// Whether Cluster API's controllers, and others, are to leave the Cluster alone.
    pub is_paused: bool,
    /// Whether an AKODeploymentConfig has recorded that AKO is delivered to the Cluster.
    pub is_recorded: bool,
    /// Whether the one that selects it has: before that, it does not get the finalizer, which says that it may have AKO.
    pub is_awaited: bool,
    /// Whether a person has taken the finalizer off while AKO was there.
    pub is_stripped: bool,
    /// The AKODeploymentConfig from which AKO is to come once it has left.
    pub moves_to: Option<String>,
    /// Names of AKODeploymentConfigs that do not parse, where none of the others has recorded it.
    pub unread: Vec<String>,
    /// Whether the Cluster is to have AKO.
    pub want: Want,
    /// The pre-terminate hooks of its Machines.
    pub hooks: Hooks,
    /// What is in the workload cluster.
    pub workload: Workload,
    /// Whether the watch of AKO's StatefulSet has to be started.
    pub needs_watch: bool,
    /// The conditions of the Cluster that this operator owns.
    pub said: Vec<Said>,
    /// Whether the operator can remove itself what AKO left on AVI.
    pub purge: Purge,
    /// How long it waits for AKO.
    pub patience: Patience,
    /// Whether AKO supports the address families of the Cluster, or why not; `None` if no AKODeploymentConfig selects it.
    pub ip_family: Option<Result<(), String>>,
    /// Whether the AKODeploymentConfig and AVI are ready for a delivery; the error says what is missing.
    pub offer: Result<(), Obstacle>,
    /// What has to be done about its user on AVI before a delivery.
    pub account: Account,
    /// Whether its user is on AVI, or its Secret there.
    pub user: Left,
    /// The add-on Secret, where AKO leaves.
    pub addon: Vec<Target>,
    /// Its namespace and name.
    pub key: Key,
    /// The name of the Cluster on AVI.
    pub avi_name: String,
    /// Whether the label of the Cluster has AKO remove what it made, and make nothing.
    pub deletes_config: bool,
    /// Another Cluster with AKO whose name on AVI is the same.
    pub namesake: Option<Key>,
    /// Whether AVI is to balance the control plane of this management cluster, and its Service does not exist yet.
    pub is_service_missing: bool,
}

/// Whether the operator can remove itself what AKO left on AVI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// No: the AKODeploymentConfig is not known, or its credentials are missing.
    Impossible,
    /// Yes.
    Possible,
    /// It did, and found nothing more.
    Done,
}

/// Whether a Cluster has a user on AVI, or a Secret for it, which go after what AKO made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Neither.
    No,
    /// Possibly, and the operator can remove both.
    Removable,
    /// The Secret is there, and nothing says on which controller the user is.
    Unknown,
}

/// Whether a Cluster is to have AKO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// An AKODeploymentConfig selects it.
    Ako,
    /// It stays as it is.
    Kept(Skip),
    /// It is to have none.
    Nothing,
}

/// Machines of a Cluster, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Machines that have the hook.
    pub present: Vec<String>,
    /// Machines that have the hook and are being deleted without their Cluster.
    pub unneeded: Vec<String>,
    /// Machines that lack the hook, and are not being deleted.
    pub missing: Vec<String>,
}

/// What is in the workload cluster.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Not looked at: the Cluster has no finalizer, so nothing was made there.
    Unread,
    /// Its API server has accepted no request yet, so nothing was made there.
    NotInitialized,
    /// It cannot be read.
    Closed {
        /// The reason.
        reason: &'static str,
        /// What failed, and what to do.
        message: String,
    },
    /// It was read.
    Open(Box<State>),
}

/// What was read of a workload cluster.
#[derive(Clone, Debug)]
pub struct State {
    /// How it differs from what is to be there.
    pub delivery: Delivery,
    /// What is there of this operator's AKO.
    pub installed: Installed,
}

/// Why AKO is not delivered. An AKO that is there is not changed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It passes within seconds, and wakes the Cluster then: AVI is being asked.
    Brief(Problem),
    /// It passes by itself, and wakes the Cluster then. Another object says more: a Cluster whose AKO is as it is to be does not say so.
    Passing(Problem),
    /// A person has to change something.
    Lasting(Problem),
    /// A person has to change something that no watch shows.
    Unwatched(Problem),
}

impl From<Problem> for Obstacle {
    fn from(problem: Problem) -> Self {
        Self::Lasting(problem)
    }
}

impl Obstacle {
    /// Returns what it is.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        let (Self::Brief(problem)
        | Self::Passing(problem)
        | Self::Lasting(problem)
        | Self::Unwatched(problem)) = self;
        problem
    }
}

/// How a workload cluster differs from what is to be there.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "it is in a box already, with the state")]
pub enum Delivery {
    /// Nothing is to be there.
    None,
    /// What is to be there cannot be said.
    Refused(Obstacle),
    /// It can.
    Of(Difference),
}

/// How the objects of a delivery differ from what is there.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Objects that are missing or different, in the order in which they are applied.
    pub differing: Vec<ObjectWrite>,
    /// Objects that the workload cluster stores otherwise than they are sent.
    pub altered: Vec<Target>,
    /// What the vendor does not document of the combination of versions.
    pub undocumented: Option<String>,
    /// Objects of an earlier delivery.
    pub obsolete: Vec<Target>,
    /// Objects in the way that are not this operator's.
    pub foreign: Vec<Target>,
    /// What others have to do then.
    pub pending: Option<Pending>,
    /// The definitions of AKO's kinds.
    pub definitions: Definitions,
}

/// What others have to do before AKO is in a workload cluster.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The reason.
    pub reason: &'static str,
    /// What is awaited, and what to do if that lasts.
    pub message: String,
    /// Whether the watch of AKO's StatefulSet says when it is done.
    pub is_watched: bool,
}

/// A write of an object. Formats as its kind and name: what is written may hold credentials.
#[derive(Clone)]
pub struct ObjectWrite {
    /// Which object.
    pub target: Target,
    /// What is written.
    pub patch: Patch<Value>,
}

impl From<Object> for ObjectWrite {
    fn from(object: Object) -> Self {
        let patch = Patch::Apply(value(&object.object));
        Self { target: object.target(), patch }
    }
}

impl fmt::Debug for ObjectWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.target, f)
    }
}

/// What is in a workload cluster of AKO, by this operator or by an add-on manager for it.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    /// AKO's StatefulSet.
    pub set: Option<Set>,
    /// What AKO reads of `deleteConfig`, or will once the add-on manager has handed it on; `None` if nothing says it.
    pub delete_config: Option<bool>,
    /// The writes after which it is true.
    pub untold: Vec<ObjectWrite>,
    /// All objects of this operator but the StatefulSet and those that are being deleted, in the order in which they are removed.
    pub rest: Vec<Target>,
    /// Those that are being deleted.
    pub ending: Vec<Target>,
}

impl Installed {
    /// Returns whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_none() && self.rest.is_empty() && self.ending.is_empty()
    }
}

/// AKO's StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Whether it is this operator's to remove, and not an add-on manager's.
    pub is_ours: bool,
    /// Which object.
    pub target: Target,
    /// What AKO says of the removal of what it made.
    pub answer: Cleanup,
    /// Since when it is being deleted, if it is.
    pub ending_since: Option<Timestamp>,
    /// Whether a Pod of it is ready.
    pub is_ready: bool,
}

impl Set {
    /// Returns whether it is being deleted.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending_since.is_some()
    }
}

/// What AKO says of the removal of what it made on AVI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing.
    Silent,
    /// It has begun.
    Started,
    /// Nothing is left.
    Done,
    /// It gave up.
    Timeout,
}

impl Cleanup {
    /// Returns what two parts of AKO say together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Timeout, _) | (_, Self::Timeout) => Self::Timeout,
            (one, other) if one == other => one,
            _ => Self::Started,
        }
    }

    /// Reads the annotation of the StatefulSet. A word of another AKO says that it has begun.
    #[must_use]
    pub fn of(annotation: Option<&str>) -> Self {
        match annotation {
            None => Self::Silent,
            Some("Done") => Self::Done,
            Some("Timeout") => Self::Timeout,
            Some(_) => Self::Started,
        }
    }
}

#[cfg(test)]
impl Seen {
    /// Returns a Cluster that has the finalizer, and of which nothing else is known.
    pub(super) fn held(want: Want) -> Self {
        Self {
            is_deleting: false,
            is_held: true,
            is_forced: false,
            is_paused: false,
            is_recorded: true,
            is_awaited: true,
            is_stripped: false,
            moves_to: None,
            unread: Vec::new(),
            want,
            hooks: Hooks::default(),
            workload: Workload::Unread,
            needs_watch: false,
            said: Vec::new(),
            purge: Purge::Impossible,
            patience: Patience::default(),
            ip_family: None,
            offer: Ok(()),
            account: Account::Ready,
            user: Left::No,
            addon: Vec::new(),
            key: Key::new("default", "w1"),
            avi_name: "default-w1".to_owned(),
            deletes_config: false,
            namesake: None,
            is_service_missing: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cleanup::{self, Done, Silent, Started, Timeout};

    #[test]
    fn a_word_of_another_ako_says_that_it_has_begun() {
        for (annotation, wanted) in [
            (None, Silent),
            (Some("Started"), Started),
            (Some("Done"), Done),
            (Some("Timeout"), Timeout),
            (Some("done"), Started),
            (Some(""), Started),
        ] {
            assert_eq!(Cleanup::of(annotation), wanted, "{annotation:?}");
        }
    }

    /// Only both together are done, and one that gave up is enough.
    #[test]
    fn two_parts_of_ako_say_one_thing() {
        let all = [Silent, Started, Done, Timeout];
        let table = [
            [Silent, Started, Started, Timeout],
            [Started, Started, Started, Timeout],
            [Started, Started, Done, Timeout],
            [Timeout, Timeout, Timeout, Timeout],
        ];
        for (one, row) in all.into_iter().zip(table) {
            for (other, wanted) in all.into_iter().zip(row) {
                assert_eq!(one.and(other), wanted, "{one:?} and {other:?}");
            }
        }
    }
}
