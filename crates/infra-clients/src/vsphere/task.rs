//! vCenter's tasks: what is read of one, by whichever way.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;

use super::clock;
use super::error::Error;
use super::moref::MoRef;
use super::properties::{ObjectUpdate, read_existing_within};
use super::session::Core;
use super::xml::Node;

/// The properties that are read.
pub(super) const TASK_PATHS: &[&str] = &[
    "info.state",
    "info.descriptionId",
    "info.entity",
    "info.queueTime",
    "info.reason",
    "info.result",
    "info.error",
];

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are vSphere's own words")]
pub enum TaskState {
    Queued,
    Running,
    Success,
    Error,
}

impl TaskState {
    /// Returns whether it is success or error.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Success | Self::Error)
    }

    fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "success" => Self::Success,
            "error" => Self::Error,
            _ => Self::Queued,
        }
    }
}

/// A vCenter task, submitted by this client or by another.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its reference.
    pub moref: MoRef,
    /// How far it is.
    pub state: TaskState,
    /// What it does, such as `VirtualMachine.clone`; empty until vCenter has said.
    pub description_id: Arc<str>,
    /// The object it works on: of a clone the template.
    pub entity: Option<MoRef>,
    /// The account that submitted it, as [`Session::user`](crate::vsphere::Session::user) names accounts; none until
    /// vCenter has said, and for tasks that vCenter or a schedule started.
    pub user: Option<Arc<str>>,
    /// When it was submitted: the later of what vCenter's clock showed, and of the local time of then. Either clock may be behind.
    pub queued_at: Option<SystemTime>,
    /// What it created.
    pub result: Option<MoRef>,
    /// Why it failed.
    pub error: Option<Error>,
}

impl Task {
    pub(super) fn queued(moref: MoRef) -> Self {
        Self {
            moref,
            state: TaskState::Queued,
            description_id: "".into(),
            entity: None,
            user: None,
            queued_at: None,
            result: None,
            error: None,
        }
    }

    /// Takes what was read of it at a vCenter whose clock is so far ahead. `share` makes a text of one that may be known already.
    pub(super) fn apply(
        &mut self,
        update: &ObjectUpdate,
        ahead: SignedDuration,
        mut share: impl FnMut(&str) -> Arc<str>,
    ) {
        for (path, value) in &update.properties {
            let value = value.as_ref();
            let text = value.map(|value| value.text.as_str());
            match path.as_str() {
                "info.state" => self.state = text.map_or(TaskState::Queued, TaskState::parse),
                "info.descriptionId" => self.description_id = share(text.unwrap_or_default()),
                "info.entity" => self.entity = value.and_then(Node::moref),
                "info.queueTime" => {
                    self.queued_at = value.and_then(Node::time).map(|shown| clock::later(shown, ahead));
                }
                "info.reason" => {
                    let user = value.and_then(|value| value.child("userName"));
                    self.user = user.map(|user| share(&user.text));
                }
                "info.result" => self.result = value.and_then(Node::moref),
                "info.error" => {
                    self.error = value.map(|value| Error::of_fault(value.localized_fault()));
                }
                _ => {}
            }
        }
    }
}

/// Reads these tasks once, where each answer has to come within this time; those that do not exist are left out.
pub(super) async fn read_tasks(
    core: &Core,
    deadline: Duration,
    tasks: &[MoRef],
) -> Result<Vec<ObjectUpdate>, Error> {
    read_existing_within(core, deadline, &[("Task", TASK_PATHS)], tasks).await.map(|(tasks, _)| tasks)
}
