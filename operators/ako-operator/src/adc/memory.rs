//! What this process remembers of AVI: the last answer for each AKODeploymentConfig, and the last change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::Change;
use super::seen::Answer;

/// What is remembered, by the UID of the AKODeploymentConfig.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    answer: Option<Arc<Answer>>,
    change: Option<Change>,
}

impl Memory {
    /// Returns the last answer.
    #[must_use]
    pub fn answer(&self, uid: &str) -> Option<Arc<Answer>> {
        self.entries().get(uid).and_then(|entry| entry.answer.clone())
    }

    /// Remembers an answer.
    pub(super) fn answered(&self, uid: &str, answer: Answer) {
        self.entries().entry(uid.to_owned()).or_default().answer = Some(Arc::new(answer));
    }

    /// Forgets the answer, so that AVI is asked again.
    pub(super) fn forget_answer(&self, uid: &str) {
        self.entries().entry(uid.to_owned()).or_default().answer = None;
    }

    /// Remembers a change, and returns whether it is the last one again: then AVI did not keep that.
    pub(super) fn changes(&self, uid: &str, change: &Change) -> bool {
        let last = self.entries().entry(uid.to_owned()).or_default().change.replace(change.clone());
        last.as_ref() == Some(change)
    }

    /// Forgets an AKODeploymentConfig.
    pub(super) fn forget(&self, uid: &str) {
        self.entries().remove(uid);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
