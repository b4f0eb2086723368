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
    pub others: Others,
    /// Whether the AKODeploymentConfig does not parse.
    pub is_unread: bool,
    pub workload: Workload,
    pub avi: Avi,
    /// What AVI has at the place of the first AKODeploymentConfig.
    pub first: Site,
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
    /// Whether the operator is to leave it alone.
    pub is_paused: bool,
    /// Whether AKO is to remove what it made and to make nothing.
    pub deletes_config: bool,
    /// Whether a person has asked for AKO to move.
    pub is_asked: bool,
    /// Whether its status says that its control plane runs.
    pub is_initialized: bool,
    /// The number of its conditions.
    pub said: u32,
}

/// What others than the Cluster and its AKODeploymentConfig do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Others {
    /// Whether the AKODeploymentConfig of another place has recorded the Cluster.
    pub has_recorded: bool,
    /// Whether the one that selects the Cluster is not Ready.
    pub is_unready: bool,
    /// Whether another Cluster has its name on AVI.
    pub is_namesake: bool,
}

/// What AVI has at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Site {
    pub has_objects: bool,
    pub has_user: bool,
}

/// Where AKO works, as a pass has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    Nowhere,
    Unknown,
    Here,
    First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub exists: bool,
    pub has_hook: bool,
}

/// The workload cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Workload {
    pub is_reachable: bool,
    /// Whether it answers reads only, which does not end.
    pub is_refusing: bool,
    /// `deleteConfig` in AKO's ConfigMap; `None` without it.
    pub config: Option<bool>,
    /// Whether the ConfigMap, and the AKO that has read it, are of the place of the first AKODeploymentConfig.
    pub is_first: bool,
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
    pub works: Option<Found>,
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
    pub moves: u8,
    pub losses: u8,
    pub unready: u8,
    pub namesakes: u8,
    pub strips: u8,
    pub pauses: u8,
    pub failures: u8,
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
    /// AKO begins to leave for a place where it works, where it cannot come from, or without being asked.
    Moved,
    /// It is not said any more that AKO leaves for another place, and AKO has begun to.
    Forgotten,
    /// AKO comes to another place, and something is left where it was.
    LeftElsewhere,
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
            Self::Moved => "AKO was to leave without a reason to move",
            Self::Forgotten => "the conditions forgot that AKO had begun to leave for another place",
            Self::LeftElsewhere => "AKO came to another place while something was left where it had worked",
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
    ConfigIsReady,
    ConfigIsUnready,
    FirstRecords,
    RecordLost,
    StatusLost,
    ControlPlaneRuns,
    FinalizerTaken,
    NamesakeComes,
    NamesakeGoes,
    UserAsks,
    UserRemovesUser,
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
    UserPauses,
    UserUnpauses,
    PassFails,
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
            is_paused: false,
            deletes_config: false,
            is_asked: false,
            is_initialized: true,
            said: 0,
        };
        let machine = Machine { exists: true, has_hook: false };
        let workload = Workload {
            is_reachable: true,
            is_refusing: false,
            config: None,
            is_first: false,
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
            others: Others { has_recorded: false, is_unready: false, is_namesake: false },
            is_unread: false,
            workload,
            avi: Avi { has_objects: false, has_user: false, is_reachable: true },
            first: Site::default(),
            process: Some(Process::default()),
            budget,
            wrong: None,
        }
    }

    /// Returns a Cluster with AKO from another AKODeploymentConfig, for another place, than the one that selects it now.
    pub fn elsewhere(budget: Budget) -> Self {
        let mut state = Self::new(budget);
        state.cluster.is_held = true;
        state.machine.has_hook = true;
        state.cached = (state.cluster, state.machine);
        state.others.has_recorded = true;
        state.first = Site { has_objects: true, has_user: true };
        state.workload = Workload {
            config: Some(false),
            is_first: true,
            set: Some(Set { answer: Word::Nothing, is_ending: false }),
            has_rest: true,
            ako: Ako::Runs { removes: false },
            ..state.workload
        };
        state
    }

    /// Returns what AVI has at the place where AKO works.
    pub fn site(&self, is_first: bool) -> Site {
        let Avi { has_objects, has_user, .. } = self.avi;
        if is_first { self.first } else { Site { has_objects, has_user } }
    }

    /// Sets what AVI has at the place where AKO works.
    pub fn set_site(&mut self, is_first: bool, site: Site) {
        if is_first {
            self.first = site;
        } else {
            (self.avi.has_objects, self.avi.has_user) = (site.has_objects, site.has_user);
        }
    }

    /// Returns whether the record that counts is of the place of the first AKODeploymentConfig.
    pub fn is_recorded_first(&self) -> bool {
        let is_selected = self.cached.0.is_labelled && !self.is_unread;
        self.others.has_recorded && (is_selected || !self.is_recorded)
    }

    /// Returns whether the operator's caches are complete.
    pub fn is_cached(&self) -> bool {
        self.cached == (self.cluster, self.machine)
    }
}
