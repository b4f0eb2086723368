//! What this process remembers of AVI: the last answer for each AKODeploymentConfig.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::seen::Answer;

/// The answers, by the UID of the AKODeploymentConfig.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Arc<Answer>>>);

impl Memory {
    /// Returns the last answer.
    #[must_use]
    pub fn answer(&self, uid: &str) -> Option<Arc<Answer>> {
        self.answers().get(uid).cloned()
    }

    /// Remembers an answer.
    pub fn answered(&self, uid: &str, answer: Answer) {
        self.answers().insert(uid.to_owned(), Arc::new(answer));
    }

    /// Forgets the answer, so that AVI is asked again.
    pub fn forget(&self, uid: &str) {
        self.answers().remove(uid);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Arc<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
