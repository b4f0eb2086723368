//! States and labels.

use std::fmt;

/// Everything that decides what can happen next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub cluster: Cluster,
    pub machine: Machine,
    /// What the operator's caches have of both.
    pub cached: (Cluster, Machine),
    /// Whether AKO has had its time to leave.
    pub is_overdue: bool,
    /// Whether the AKODeploymentConfig has recorded the Cluster.
    pub is_recorded: bool,
    /// Whether the AKODeploymentConfig does not parse.
    pub is_unread: bool,
    pub workload: Workload,
    pub avi: Avi,
    pub process: Option<Process>,
    pub budget: Budget,
    pub wrong: Option<Wrong>,
}

/// The Cluster, which has one Machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Cluster {
    pub exists: bool,
    pub is_deleting: bool,
    pub is_held: bool,
    pub is_labelled: bool,
    pub is_forced: bool,
    /// Whether AKO is to remove what it made and to make nothing.
    pub deletes_config: bool,
    /// The number of its conditions.
    pub said: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub exists: bool,
    pub has_hook: bool,
}

/// The workload cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    pub is_reachable: bool,
    /// Whether it answers reads only, which does not end.
    pub is_refusing: bool,
    /// `deleteConfig` in AKO's ConfigMap; `None` without it.
    pub config: Option<bool>,
    pub set: Option<Set>,
    /// Whether the other objects are there.
    pub has_rest: bool,
    pub ako: Ako,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    pub answer: Word,
    pub is_ending: bool,
}

/// What AKO has written onto its StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    Nothing,
    Started,
    Done,
    Timeout,
}

impl Word {
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Started => Some("Started"),
            Self::Done => Some("Done"),
            Self::Timeout => Some("Timeout"),
        }
    }
}

/// The process in AKO's Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ako {
    Stopped,
    Runs {
        /// Whether it has read that it has to remove what it made.
        removes: bool,
    },
    /// It does nothing any more.
    Hangs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avi {
    pub has_objects: bool,
    /// Whether the user is there as which AKO works.
    pub has_user: bool,
    pub is_reachable: bool,
}

/// The operator's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    pub is_watched: bool,
    pub is_purged: bool,
    pub is_user_removed: bool,
    /// The number of the turn that is decided and not carried out yet.
    pub pending: Option<u32>,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// All of them together.
    pub faults: u8,
    pub deletes: u8,
    pub labels: u8,
    pub config_labels: u8,
    pub forces: u8,
    pub crashes: u8,
    pub requests: u8,
    pub outages: u8,
    pub refusals: u8,
    pub ako: u8,
    pub edits: u8,
    pub configs: u8,
    pub deadlines: u8,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// The Cluster is let go, and something is left on AVI that no person has accepted.
    Left,
    /// The operator removes what a running AKO makes.
    RemovedUnderAko,
    /// The Machines go while AKO has work to do.
    MachineGone,
    /// The Cluster is let go, and its user is left on AVI.
    UserLeft,
    /// AKO is to remove what it made although the Cluster is to have AKO, as far as is known.
    Unasked,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "the Cluster was let go with objects left on AVI",
            Self::RemovedUnderAko => {
                "the operator removed objects on AVI while AKO ran and was not told to remove them"
            }
            Self::MachineGone => "the Machine lost its hook while AKO had objects on AVI",
            Self::Unasked => "AKO was to leave a Cluster while its AKODeploymentConfig could not be read",
            Self::UserLeft => "the Cluster was let go with its user left on AVI",
        })
    }
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    Watch,
    Observe,
    Apply,
    Restart,
    Records,
    ConfigIsRead,
    ConfigIsUnread,
    AkoStarts,
    AkoReads,
    AkoMakes,
    AkoBegins,
    AkoRemoves,
    AkoEnds,
    PodEnds,
    MachineGoes,
    ClusterGoes,
    WorkloadAnswers,
    AviAnswers,
    UserDeletes,
    UserLabels,
    UserLabelsForConfig,
    UserForces,
    Crash,
    RequestLost,
    ReplyLost,
    ApplyCut,
    WorkloadSilent,
    WorkloadRefuses,
    AviSilent,
    AkoTimesOut,
    AkoHangs,
    AkoCrashes,
    ConfigDeleted,
    SetDeleted,
    DeadlineEnds,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl State {
    /// Returns a new Cluster with the label, and an operator that has just started.
    pub fn new(budget: Budget) -> Self {
        let cluster = Cluster {
            exists: true,
            is_deleting: false,
            is_held: false,
            is_labelled: true,
            is_forced: false,
            deletes_config: false,
            said: 0,
        };
        let machine = Machine { exists: true, has_hook: false };
        let workload = Workload {
            is_reachable: true,
            is_refusing: false,
            config: None,
            set: None,
            has_rest: false,
            ako: Ako::Stopped,
        };
        Self {
            cluster,
            machine,
            cached: (cluster, machine),
            is_overdue: false,
            is_recorded: false,
            is_unread: false,
            workload,
            avi: Avi { has_objects: false, has_user: false, is_reachable: true },
            process: Some(Process::default()),
            budget,
            wrong: None,
        }
    }

    /// Returns whether the operator's caches are complete.
    pub fn is_cached(&self) -> bool {
        self.cached == (self.cluster, self.machine)
    }
}
