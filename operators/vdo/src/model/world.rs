//! States and labels.

use std::fmt;

use crate::matrix::Driver;

/// The objects that ask for drivers; the first is the older one.
pub const ASKERS: usize = 2;
/// The Nodes that there may be.
pub const NODES: usize = 2;

/// Everything that decides what can happen next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub askers: [Asker; ASKERS],
    pub nodes: [Option<Node>; NODES],
    /// What the caches of the operator have of both.
    pub cached: ([Asker; ASKERS], [Option<Node>; NODES]),
    /// What an old list has of the askers.
    pub older: [Asker; ASKERS],
    /// The objects of the drivers, in the order of the drivers.
    pub sets: [Set; 3],
    /// Whether there is a volume of CSI.
    pub has_volume: bool,
    /// Whether there is a Pod with an address of the network.
    pub has_pod: bool,
    pub vcenter: Vcenter,
    /// The number of the matrix.
    pub matrix: u8,
    /// The driver whose newer version does not become available.
    pub broken: Option<Driver>,
    pub process: Option<Process>,
    pub budget: Budget,
    pub wrong: Option<Wrong>,
}

/// An object that asks for drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    pub exists: bool,
    pub is_deleting: bool,
    pub is_held: bool,
    /// The number of its spec.
    pub wish: u8,
    /// The number of its status.
    pub said: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub is_initialized: bool,
    /// Whether CSI has registered on it.
    pub is_registered: bool,
    pub machine: Machine,
}

/// Whether the account of CPI sees the machine of a Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    Visible,
    /// Not since a moment ago.
    Lost,
    /// Not for longer than answers count.
    Missing,
}

/// What there is of a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set {
    /// The number of what is noted on its parent; 0 without a parent.
    pub notes: u32,
    /// Whether the parent records the kinds of the members.
    pub has_kinds: bool,
    /// Its objects by [`Part`].
    pub parts: [Object; 3],
    /// Whether an upgrade has had its time.
    pub is_over: bool,
}

/// Objects of a driver that are written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Files,
    Controller,
    Agents,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Files, Self::Controller, Self::Agents];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    /// What it was made from: a number of [`super::driver::Contents`], 0 without an object.
    pub content: u8,
    /// Whether it has the label of our set.
    pub is_ours: bool,
    /// Whether what it runs is rolled out.
    pub is_ready: bool,
}

impl Object {
    pub fn exists(self) -> bool {
        self.content > 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vcenter {
    /// The number of the account in the Secret.
    pub account: u8,
    /// Whether it accepts this account.
    pub accepts: bool,
    pub is_reachable: bool,
}

/// The operator's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The number of what it remembers.
    pub memory: u32,
    pub answer: Option<Answer>,
    /// What each asker's pass has decided and not carried out yet.
    pub pending: [Option<Pending>; ASKERS],
    /// Whether a change of the drivers' objects has not been noticed yet.
    pub has_news: bool,
}

/// What the vCenter has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub account: u8,
    /// The Nodes whose machine it has shown.
    pub shows: [bool; NODES],
    pub is_old: bool,
    /// Whether a newer one is requested.
    pub is_asked: bool,
}

/// A pass between its decision and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The number of the pass.
    pub pass: u32,
    /// The number of the action, and how far it is.
    pub at: u8,
    pub stage: u8,
    /// Whether the API server has confirmed what was decided; `None` before it was asked.
    pub is_confirmed: Option<bool>,
    pub has_failed: bool,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// All of them together.
    pub faults: u8,
    pub crashes: u8,
    pub old_lists: u8,
    pub refusals: u8,
    pub deletes: u8,
    pub creates: u8,
    pub wishes: u8,
    pub matrices: u8,
    pub accounts: u8,
    pub outages: u8,
    pub notes: u8,
    pub edits: u8,
    pub foreign: u8,
    pub nodes: u8,
    pub machines: u8,
    pub uses: u8,
    pub times: u8,
    pub breaks: u8,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A driver is installed before an earlier one is there.
    Early(Driver),
    /// CSI is installed without the CPI that it needs, or CPI is removed under it.
    WithoutCpi,
    /// CPI is installed or changed while the machine of a Node has not been seen for long.
    Blind,
    /// A driver is removed while it is used.
    InUse(Driver),
    /// A driver is removed before a later one.
    Disordered(Driver),
    /// A driver gets an older version, which is not pinned, and no upgrade has failed.
    Older(Driver),
    /// The agents of the network are upgraded before their controller.
    AgentsFirst,
    /// A driver is changed for an object that does not decide about it.
    Usurped(Driver),
    /// A driver is removed that is to stay.
    Unasked(Driver),
    /// An object is let go, and something of a driver is left that was to go with it.
    Left(Driver),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early(driver) => write!(f, "{driver} was installed before the drivers that come first"),
            Self::WithoutCpi => f.write_str("CSI is without the CPI that it needs"),
            Self::Blind => f.write_str("CPI was changed while the machine of a Node was not to be seen"),
            Self::InUse(driver) => write!(f, "{driver} was removed while it was used"),
            Self::Disordered(driver) => write!(f, "{driver} was removed before the drivers that come later"),
            Self::Older(driver) => write!(f, "{driver} got an older version"),
            Self::AgentsFirst => {
                f.write_str("the agents of the network were upgraded before their controller")
            }
            Self::Usurped(driver) => {
                write!(f, "{driver} was changed for an object that does not decide about it")
            }
            Self::Unasked(driver) => write!(f, "{driver} was removed although it is to stay"),
            Self::Left(driver) => write!(f, "an object was let go and {driver} was left"),
        }
    }
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    Observe(usize),
    Carry(usize),
    Restart,
    Watch,
    Notice,
    Ask,
    Time,
    Ready(Driver),
    Initialize(usize),
    Register(usize),
    MachineBack(usize),
    Accept,
    Reachable,
    Freed,
    ForeignGoes(Driver),
    MatrixBack,
    Repaired,
    Crash,
    RestartOnOldList,
    Refused(usize),
    ReplyLost(usize),
    Delete(usize),
    Create(usize),
    Wish(usize, u8),
    MatrixUp,
    MatrixDown,
    Rotate,
    Silent,
    NotesDeleted(Driver),
    ObjectDeleted(Driver, Part),
    ForeignComes(Driver),
    NodeJoins(usize),
    NodeLeaves(usize),
    MachineLost(usize),
    Used,
    TimePasses,
    Broken(Driver),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
