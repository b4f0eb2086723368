//! The name of a run, which says all that is needed to repeat it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, Result, ensure};
use testbed::Perturbation;

use crate::rig::Rig;

/// A run: what goes wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunName {
    /// Between operator and API server.
    Api(Perturbation),
    /// Outside: one of [`Rig::FAULTS`], injected when a step begins. Its text is `outside:FAULT@STEP`.
    Outside {
        /// The fault.
        fault: String,
        /// The step.
        step: String,
    },
}

/// Where a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A request that changes something.
    Write,
    /// An event of a watch.
    Event,
    /// The outside system.
    Outside,
    /// A request that reads.
    Read,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::Event => "event",
            Self::Outside => "outside",
            Self::Read => "read",
        })
    }
}

impl RunName {
    /// Returns where the fault happens.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Outside { .. } => Place::Outside,
            Self::Api(perturbation) if perturbation.mark().subject.is_event() => Place::Event,
            Self::Api(perturbation) if perturbation.mark().subject.is_write() => Place::Write,
            Self::Api(_) => Place::Read,
        }
    }

    /// Returns the fault, without how long it lasts.
    #[must_use]
    pub fn fault(&self) -> String {
        let text = self.to_string();
        let fault = text.split('@').next().unwrap_or_default();
        fault.trim_end_matches(|c: char| c.is_ascii_digit() && !fault.starts_with("status")).to_owned()
    }

    /// Returns what it happens to: the verb of a call or an event, the step of the outside system.
    pub(super) fn verb(&self) -> &str {
        match self {
            Self::Outside { step, .. } => step,
            Self::Api(perturbation) => &perturbation.mark().subject.verb,
        }
    }

    /// Returns whether the fault may meet no call: outside, after the later steps; and a repeated call, whose number depends on timing (a
    /// status that lasts for less than 200 ms is not written).
    #[must_use]
    pub fn may_be_unmet<R: Rig>(&self) -> bool {
        match self {
            Self::Outside { step, .. } => R::STEPS.first() != Some(&step.as_str()),
            Self::Api(perturbation) => R::CALLS_VARY || perturbation.mark().number > 1,
        }
    }

    /// Returns whether another run may meet the call that this one did not: not where the outside system waits for a call of later steps.
    pub(super) fn is_worth_repeating<R: Rig>(&self) -> bool {
        self.is_call() || !self.may_be_unmet::<R>()
    }

    /// Returns whether something goes wrong between operator and API server.
    pub(super) fn is_call(&self) -> bool {
        matches!(self, Self::Api(_))
    }

    /// Returns an error unless the operator has such a run.
    ///
    /// # Errors
    /// If step or fault do not exist; the error lists those that do.
    pub fn check<R: Rig>(&self) -> Result<()> {
        if let Self::Outside { fault, step } = self {
            ensure!(
                R::FAULTS.contains(&fault.as_str()),
                "unknown fault {fault}; use one of {}",
                R::FAULTS.join(", ")
            );
            ensure!(
                R::STEPS.contains(&step.as_str()),
                "unknown step {step}; use one of {}",
                R::STEPS.join(", ")
            );
        }
        Ok(())
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(perturbation) => perturbation.fmt(f),
            Self::Outside { fault, step } => write!(f, "outside:{fault}@{step}"),
        }
    }
}

impl FromStr for RunName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let outside = text.strip_prefix("outside:").and_then(|rest| rest.split_once('@'));
        Ok(match outside {
            Some((fault, step)) => Self::Outside { fault: fault.to_owned(), step: step.to_owned() },
            None => Self::Api(text.parse()?),
        })
    }
}
