//! What is said about a group: a pure function of its spec, its old status and what was seen. The last
//! of the four steps; the patch is sent by the controller.

use k8s_openapi::jiff::Timestamp;
use operator_kit::conditions::{self, Status};

use crate::api::{VmGroupSpec, VmGroupStatus, condition, phase, reason};

use super::plan::{Member, Observed};

/// What the pass came to, beside what was seen.
#[derive(Clone, Debug)]
pub enum Pass {
    /// It did what it planned.
    Ran,
    /// It failed: reason, message, and whether somebody must act.
    Failed(&'static str, String, bool),
    /// The group is being deleted.
    Deleting,
}

/// Computes the status of a group of this spec and generation.
#[must_use]
pub fn status(
    old: Option<&VmGroupStatus>,
    spec: &VmGroupSpec,
    generation: i64,
    selector: String,
    seen: &Observed,
    pass: &Pass,
    now: Timestamp,
) -> VmGroupStatus {
    let exists = count(&seen.members, |m| m.exists);
    let ready = if seen.synced { count(&seen.members, |m| m.on && !m.deleting) } else { 0 };
    // While the vCenter cannot be asked, the number last seen stands: it claims no machine is ready.
    let replicas = match old.and_then(|s| s.replicas) {
        Some(last) if !seen.synced => last,
        _ => exists,
    };

    let verdict = Verdict::of(spec, seen, pass, ready, exists);
    let mut conditions = old.map(|s| s.conditions.clone()).unwrap_or_default();
    let mut set = |type_: &str, status: Status, reason: &str, message: &str| {
        conditions::set(&mut conditions, type_, status, reason, message, Some(generation), now);
    };
    set(condition::READY, verdict.ready, &verdict.reason, &verdict.message);
    if verdict.phase == phase::PENDING {
        set(condition::PROGRESSING, Status::True, reason::SCALING, &verdict.message);
    } else {
        set(condition::PROGRESSING, Status::False, reason::IDLE, "");
    }
    let outdated = count(&seen.members, |m| m.exists && m.made_from.as_ref() != Some(&spec.revision()));
    if outdated > 0 {
        set(
            condition::CONFIG_SYNCED,
            Status::False,
            reason::OUTDATED_MACHINES,
            &format!(
                "{outdated} of {exists} virtual machines were made from an earlier cpu, memory or template; \
                 running machines are not changed: delete a VmInstance to have its machine replaced"
            ),
        );
    } else if seen.synced {
        set(condition::CONFIG_SYNCED, Status::True, reason::AS_ASKED, "");
    }

    VmGroupStatus {
        phase: Some(verdict.phase.to_owned()),
        current_replicas: Some(replicas),
        desired_replicas: Some(spec.replicas),
        last_message: Some(verdict.message),
        observed_generation: Some(generation),
        replicas: Some(replicas),
        ready_replicas: Some(ready),
        selector: Some(selector),
        conditions,
    }
}

fn count(members: &[Member], f: impl Fn(&Member) -> bool) -> i32 {
    i32::try_from(members.iter().filter(|m| f(m)).count()).unwrap_or(i32::MAX)
}

/// The Ready condition and the phase that goes with it.
struct Verdict {
    ready: Status,
    phase: &'static str,
    reason: String,
    message: String,
}

impl Verdict {
    fn new(ready: Status, phase: &'static str, reason: &str, message: String) -> Self {
        Self { ready, phase, reason: reason.to_owned(), message }
    }

    fn of(spec: &VmGroupSpec, seen: &Observed, pass: &Pass, ready: i32, exists: i32) -> Self {
        if let Some((reason, message)) = &seen.blind {
            let phase = if reason::needs_help(reason) { phase::ERROR } else { phase::PENDING };
            return Self::new(Status::Unknown, phase, reason, message.clone());
        }
        let wanted = spec.replicas;
        let tally = format!("{ready} of {wanted} virtual machines are ready");
        match pass {
            Pass::Deleting => {
                let left = match exists {
                    0 => "every virtual machine is gone; the folder goes next".to_owned(),
                    1 => "1 virtual machine is left to remove".to_owned(),
                    n => format!("{n} virtual machines are left to remove"),
                };
                match troubles(&seen.members) {
                    Some((reason, text)) => {
                        Self::new(Status::False, phase::ERROR, &reason, format!("{left}; {text}"))
                    }
                    None => Self::new(Status::False, phase::PENDING, reason::REMOVING, left),
                }
            }
            Pass::Failed(reason, message, help) => {
                let phase = if *help { phase::ERROR } else { phase::PENDING };
                Self::new(Status::False, phase, reason, format!("{tally}; {message}"))
            }
            Pass::Ran => match troubles(&seen.members) {
                Some((reason, text)) => {
                    Self::new(Status::False, phase::ERROR, &reason, format!("{tally}; {text}"))
                }
                None if ready == wanted && seen.members.len() == usize::try_from(wanted).unwrap_or(0) => {
                    Self::new(Status::True, phase::RUNNING, reason::AS_ASKED, tally)
                }
                None => Self::new(Status::False, phase::PENDING, reason::SCALING, tally),
            },
        }
    }
}

/// The first trouble in slot order, and how many others have the same.
fn troubles(members: &[Member]) -> Option<(String, String)> {
    let (first, (reason, message)) = members.iter().find_map(|m| m.trouble.as_ref().map(|t| (m, t)))?;
    let same = count(members, |m| m.trouble.as_ref().is_some_and(|(r, _)| r == reason)) - 1;
    let others = if same > 0 { format!(" (and {same} more)") } else { String::new() };
    Some((reason.clone(), format!("{}{others}: {message}", first.name)))
}
