//! Whether a CompatibilityMatrix can be used: read as drivers are chosen from it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use operator_kit::conditions::{self, READY};
use operator_kit::{Key, Outcome, Reconciler, StatusOf, Turn};

use crate::api::{CompatibilityMatrix, CompatibilityMatrixStatus, reason};
use crate::error::Error;
use crate::fetch::Source;
use crate::installer::{File, Lack, Shared, fetch, text};
use crate::matrix::Matrix;
use crate::plan::Hold;

/// When a file that could not be had is looked for again.
const AGAIN: Duration = Duration::from_mins(1);

/// The controller.
pub(crate) struct Matrices {
    pub(crate) shared: Arc<Shared>,
}

/// What was read of a matrix: the members that mean nothing, or why it is not known.
pub(crate) struct Seen(Result<Vec<String>, Lack>);

impl Reconciler for Matrices {
    type Object = CompatibilityMatrix;
    type Seen = Seen;
    type Plan = Vec<File>;
    type Done = ();
    type Error = Error;

    const NAME: &'static str = "compatibilitymatrix";
    const FINALIZER: Option<&'static str> = None;

    async fn observe(&self, object: &CompatibilityMatrix) -> Result<Seen, Error> {
        let unusable = |message: String| Hold { reason: reason::FILE_UNUSABLE, message };
        let read = |text: &str| match Matrix::parse(text) {
            Ok(matrix) => Ok(matrix.ignored),
            Err(error) => Err(unusable(error.to_string()).into()),
        };
        let source = match Source::of_matrix(&object.spec) {
            Ok(Some(source)) => source,
            Ok(None) => return Ok(Seen(read(object.spec.inline.as_deref().unwrap_or_default()))),
            Err(problem) => return Ok(Seen(Err(unusable(problem.to_string()).into()))),
        };
        let file = File { source, namespace: object.namespace().unwrap_or_default() };
        Ok(Seen(text(&self.shared, &file).await?.and_then(|text| read(&text))))
    }

    fn plan(_: &CompatibilityMatrix, Seen(read): &Seen, _: Timestamp) -> Turn<Vec<File>> {
        match read {
            Ok(_) => Turn::Settled,
            Err(Lack::Files(files)) => Turn::Act(files.clone()),
            Err(Lack::Hold(Hold { reason, message })) if *reason == reason::FILE_UNREACHABLE => {
                Turn::Wait { reason, message: message.clone(), after: Some(AGAIN) }
            }
            Err(Lack::Hold(Hold { reason, message })) => Turn::Blocked { reason, message: message.clone() },
        }
    }

    async fn apply(&self, object: &CompatibilityMatrix, files: Vec<File>) -> Result<(), Error> {
        for file in &files {
            fetch(&self.shared, file).await?;
        }
        self.shared.wakes.matrices.wake(&Key::of(object));
        self.shared.wakes.all_installers();
        Ok(())
    }

    fn status(
        old: Option<&StatusOf<Self>>,
        object: &CompatibilityMatrix,
        seen: Option<&Seen>,
        outcome: &Outcome<(), Error>,
        now: Timestamp,
    ) -> Option<StatusOf<Self>> {
        // The pass that follows says what was fetched.
        if matches!(outcome, Outcome::Acted(())) {
            return None;
        }
        let (status, reason, mut message) = outcome.ready(reason::AS_ASKED);
        if let Some(Seen(Ok(ignored))) = seen
            && !ignored.is_empty()
        {
            message = format!("these members mean nothing: {}", ignored.join(", "));
        }
        let mut all = old.map(|old| old.conditions.clone()).unwrap_or_default();
        conditions::set(&mut all, READY, status, reason, &message, object.metadata.generation, now);
        Some(CompatibilityMatrixStatus { conditions: all })
    }

    fn conditions(status: &StatusOf<Self>) -> &[Condition] {
        &status.conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CompatibilityMatrixSpec;

    #[test]
    fn the_status_says_whether_a_matrix_can_be_used() {
        let object = CompatibilityMatrix::new("m", CompatibilityMatrixSpec::default());
        let hold = |reason| Hold { reason, message: "why".to_owned() };
        for (read, wanted) in [
            (Ok(Vec::new()), "True AsAsked "),
            (
                Ok(vec!["CSI.3.7.3.revokd".to_owned()]),
                "True AsAsked these members mean nothing: CSI.3.7.3.revokd",
            ),
            (Err(hold(reason::FILE_UNREACHABLE).into()), "False FileUnreachable why"),
            (Err(hold(reason::FILE_UNUSABLE).into()), "False FileUnusable why"),
        ] {
            let seen = Seen(read);
            let outcome: Outcome<(), Error> = match Matrices::plan(&object, &seen, Timestamp::UNIX_EPOCH) {
                Turn::Settled => Outcome::Settled,
                Turn::Wait { reason, message, .. } => Outcome::Waiting(reason, message),
                Turn::Blocked { reason, message } => Outcome::Blocked(reason, message),
                turn => unreachable!("{turn:?}"),
            };
            let status =
                Matrices::status(None, &object, Some(&seen), &outcome, Timestamp::UNIX_EPOCH).unwrap();
            let Condition { status, reason, message, .. } = &status.conditions[0];
            assert_eq!(format!("{status} {reason} {message}"), wanted);
        }
    }
}
