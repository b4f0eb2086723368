//! vCenters: whether the account of each can log in, sees the datacenters that are named, and the machines of the Nodes.
//!
//! ```text
//!   VsphereCloudConfig, VSphereConnection, Secret ──▶ Login ──▶ vCenter ──▶ Answer ──▶ status
//!                                                                             └──▶ installer: versions, machines that are seen
//! ```
//!
//! A vCenter is asked when its object, its Secret or its authorities change, when the installer wants a newer answer, and every 20 minutes.
//! No session is kept between.

mod answer;
mod kinds;
mod login;

use std::marker::PhantomData;
use std::sync::Arc;

use infra_clients::Failure as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use operator_kit::conditions::{self, READY};
use operator_kit::{Clock, Key, Outcome, Reconciler, StatusOf, Turn};

pub(crate) use answer::{Answer, Answers, Refusal, ask, session};
pub(crate) use kinds::{Connection, Verdict};
pub(crate) use login::{Login, Logins, said};

use crate::api::reason;
use crate::config::Vcenter;
use crate::error::Error;
use crate::plan::Hold;
use crate::wakes::Wakes;

/// An answer that is as old is asked for again. Less than the time after which every object is looked at.
const OLD: SignedDuration = SignedDuration::from_mins(15);

/// The controller of one kind of connections.
pub(crate) struct Connections<C> {
    pub(crate) logins: Logins,
    pub(crate) answers: Arc<Answers>,
    pub(crate) wakes: Wakes,
    pub(crate) clock: Clock,
    pub(crate) kind: PhantomData<C>,
}

/// What was seen of a connection.
pub(crate) struct Seen {
    login: Login,
    answer: Option<Arc<Answer>>,
    refusal: Option<Refusal>,
    /// Whether a newer answer is requested.
    is_stale: bool,
}

/// Ask the vCenter.
#[derive(Debug)]
pub(crate) struct Ask(Box<Vcenter>, String);

impl<C: Connection> Reconciler for Connections<C> {
    type Object = C;
    type Seen = Seen;
    type Plan = Ask;
    type Done = ();
    type Error = Error;

    const NAME: &'static str = C::CONTROLLER;
    const FINALIZER: Option<&'static str> = None;

    async fn observe(&self, connection: &C) -> Result<Seen, Error> {
        let uid = connection.uid().unwrap_or_default();
        let login = self.logins.read(connection).await?;
        let (answer, refusal) = (self.answers.get(&uid), self.answers.refusal(&uid));
        Ok(Seen { login, answer, refusal, is_stale: self.answers.is_stale(&uid) })
    }

    fn plan(_: &C, seen: &Seen, now: Timestamp) -> Turn<Ask> {
        let vcenter = match &seen.login.vcenter {
            Ok(vcenter) => vcenter,
            Err(Hold { reason, message }) => return Turn::Blocked { reason, message: message.clone() },
        };
        let is_recent = |at: Timestamp| now.duration_since(at) < OLD;
        let refusal = seen.refusal.as_ref().filter(|refusal| refusal.identity == seen.login.identity);
        if let Some(Refusal { hold, .. }) = refusal.filter(|refusal| is_recent(refusal.at)) {
            return Turn::Blocked { reason: hold.reason, message: hold.message.clone() };
        }
        let ask = || Turn::Act(Ask(Box::new(vcenter.clone()), seen.login.identity.clone()));
        match &seen.answer {
            Some(answer) if answer.identity != seen.login.identity => ask(),
            Some(answer) if seen.is_stale || !is_recent(answer.at) => ask(),
            Some(answer) if !answer.missing.is_empty() => Turn::Blocked {
                reason: reason::DATACENTER_NOT_FOUND,
                message: format!(
                    "the account sees no datacenter with these names: {}; correct spec.datacenters, or grant it the right to read them",
                    answer.missing.join(", ")
                ),
            },
            Some(_) => Turn::Settled,
            None => ask(),
        }
    }

    async fn apply(&self, connection: &C, Ask(vcenter, identity): Ask) -> Result<(), Error> {
        let (uid, now) = (connection.uid().unwrap_or_default(), self.clock.now());
        match ask(&vcenter, identity.clone(), now).await {
            Ok(answer) => self.answers.set(&uid, answer),
            Err(error) if error.kind().is_refused_login() => {
                let message = Error::from(error.clone()).to_string();
                let hold = Hold { reason: error.reason(), message };
                self.answers.refuse(&uid, Refusal { identity, at: now, hold });
            }
            Err(error) => return Err(error.into()),
        }
        self.wakes.connection::<C>(&Key::of(connection));
        self.wakes.all_installers();
        Ok(())
    }

    fn status(
        old: Option<&StatusOf<Self>>,
        connection: &C,
        seen: Option<&Seen>,
        outcome: &Outcome<(), Error>,
        now: Timestamp,
    ) -> Option<StatusOf<Self>> {
        // The pass that follows says what the vCenter has answered.
        if matches!(outcome, Outcome::Acted(())) {
            return None;
        }
        let (status, reason, message) = outcome.ready(reason::LOGGED_IN);
        let mut all: Vec<Condition> = old.map(|old| C::conditions_of(old).to_vec()).unwrap_or_default();
        conditions::set(&mut all, READY, status, reason, &message, connection.meta().generation, now);
        let release = seen.and_then(|seen| seen.answer.as_ref()).map(|answer| answer.release.clone());
        let message = (!message.is_empty()).then(|| conditions::bounded(&message).to_owned());
        let is_verified = matches!(outcome, Outcome::Settled);
        Some(C::status_with(old, Verdict { is_verified, message, release, conditions: all }))
    }

    fn conditions(status: &StatusOf<Self>) -> &[Condition] {
        C::conditions_of(status)
    }

    fn forget(&self, uid: &str) {
        self.answers.forget(uid);
    }
}

#[cfg(test)]
mod tests;
