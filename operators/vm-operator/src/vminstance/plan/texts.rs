//! What an instance says of what it waits for, for people.

use crate::api::{TaskKind, reason};
use crate::memory::Jam;

/// What an instance waits for in the clone queue.
const QUEUE: &str = "as many clones as --max-clones allows are in flight";

/// Returns reason and message of an instance that waits in the clone queue.
pub(super) fn queued(jam: Option<Jam>) -> (&'static str, String) {
    let Some(Jam { clones, since }) = jam else { return (reason::QUEUED, QUEUE.to_owned()) };
    let clones =
        if clones == 1 { "1 of another group".to_owned() } else { format!("{clones} of other groups") };
    let message = format!(
        "{QUEUE}, {clones} among them, the oldest since {since:.0}; a clone keeps its place for at most an hour: look at the \
         tasks in the vCenter, and cancel those that hang"
    );
    (reason::QUEUE_HELD, message)
}

/// Reason and message of a request that is in flight.
pub(super) fn describe(kind: TaskKind, template: &str) -> (&'static str, String) {
    match kind {
        TaskKind::Clone => (reason::CLONING, format!("being cloned from template {template:?}")),
        TaskKind::PowerOn => (reason::POWERING_ON, "being powered on".to_owned()),
        TaskKind::PowerOff | TaskKind::Destroy => {
            (reason::REMOVING, "being powered off and removed".to_owned())
        }
        TaskKind::Mark => (reason::ADOPTING, "being marked as this VmInstance's".to_owned()),
        TaskKind::Unknown => (reason::REFRESHING, "a task of a newer operator is running".to_owned()),
    }
}

/// Reason and message of a request that the vCenter has not answered, and may not have got yet.
#[must_use]
pub fn to_be(kind: TaskKind, template: &str) -> (&'static str, String) {
    let (reason, message) = describe(kind, template);
    let message = message.strip_prefix("being ").map(|rest| format!("to be {rest}")).unwrap_or(message);
    (reason, format!("{message}; the vCenter has not answered yet"))
}
