//! What goes wrong in a run.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, ensure};

use super::Mark;

/// One thing that goes wrong once. Its text is `FAULT@MARK`, such as `reply-lost@create/vminstances/web-0#1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Perturbation {
    /// A fault of a request.
    Call(CallFault, Mark),
    /// A fault of a watch event.
    Event(EventFault, Mark),
}

/// A fault of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallFault {
    /// The request takes effect, and the client is to be killed before it reads the response.
    KillBeforeReply,
    /// The client is to be killed when the response has been sent.
    KillAfterReply,
    /// Like [`KillBeforeReply`](CallFault::KillBeforeReply), and the first list of each kind after the restart is as old as
    /// the state before that many of the latest changes. Watches continue from there.
    OlderList(u32),
    /// The request takes effect, and the connection closes without a response.
    ReplyLost,
    /// The connection closes before the request takes effect.
    RequestLost,
    /// The response is this HTTP status, and the request takes no effect.
    Status(u16),
}

/// A fault of one watch event. All are what a correct API server may do when it is slow or restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventFault {
    /// The watch stands still from the event on, until the next event of the same object.
    Withheld,
    /// The watch stands still from the event on, until the client has made that many writes.
    Frozen(u32),
    /// The watch ends with the error 410 Expired instead of the event.
    Expired,
    /// The connection closes instead of the event.
    Cut,
}

impl Perturbation {
    /// Returns the request or the event that is perturbed.
    #[must_use]
    pub fn mark(&self) -> &Mark {
        match self {
            Self::Call(_, mark) | Self::Event(_, mark) => mark,
        }
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(CallFault::KillBeforeReply, _) => f.write_str("kill-before-reply"),
            Self::Call(CallFault::KillAfterReply, _) => f.write_str("kill-after-reply"),
            Self::Call(CallFault::OlderList(changes), _) => write!(f, "older-list-{changes}"),
            Self::Call(CallFault::ReplyLost, _) => f.write_str("reply-lost"),
            Self::Call(CallFault::RequestLost, _) => f.write_str("request-lost"),
            Self::Call(CallFault::Status(code), _) => write!(f, "status-{code}"),
            Self::Event(EventFault::Withheld, _) => f.write_str("withheld"),
            Self::Event(EventFault::Frozen(writes), _) => write!(f, "frozen-{writes}"),
            Self::Event(EventFault::Expired, _) => f.write_str("expired"),
            Self::Event(EventFault::Cut, _) => f.write_str("cut"),
        }?;
        write!(f, "@{}", self.mark())
    }
}

impl FromStr for Perturbation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (fault, mark) = text.split_once('@').unwrap_or_default();
        let number = |prefix: &str| fault.strip_prefix(prefix)?.parse().ok();
        let call = match fault {
            "kill-before-reply" => Some(CallFault::KillBeforeReply),
            "kill-after-reply" => Some(CallFault::KillAfterReply),
            "reply-lost" => Some(CallFault::ReplyLost),
            "request-lost" => Some(CallFault::RequestLost),
            _ => None,
        };
        let status = || fault.strip_prefix("status-")?.parse().ok().map(CallFault::Status);
        let call = call.or_else(|| number("older-list-").map(CallFault::OlderList)).or_else(status);
        let event = match fault {
            "withheld" => Some(EventFault::Withheld),
            "expired" => Some(EventFault::Expired),
            "cut" => Some(EventFault::Cut),
            _ => number("frozen-").map(EventFault::Frozen),
        };
        let unknown = format!(
            "unknown fault {fault:?} in {text:?}; --list prints all runs, such as reply-lost@create/pods/web-0#1"
        );
        ensure!(call.is_some() || event.is_some(), unknown);
        let mark: Mark = mark.parse()?;
        ensure!(mark.subject.is_event() == event.is_some(), "{fault} is no fault of {mark}");
        Ok(match (call, event) {
            (Some(fault), _) => Self::Call(fault, mark),
            (None, Some(fault)) => Self::Event(fault, mark),
            (None, None) => anyhow::bail!(unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perturbation_is_read_from_its_text() {
        for text in [
            "kill-before-reply@create/things/a#1",
            "kill-after-reply@apply/things.status/a#2",
            "older-list-3@delete/things/a#1",
            "reply-lost@patch/things/a#1",
            "request-lost@patch/things/a#1",
            "status-429@list/things/#1",
            "withheld@added/things/a#1",
            "frozen-3@modified/things/a#1",
            "expired@deleted/things/a#1",
            "cut@deleted/things/a#1",
        ] {
            assert_eq!(text.parse::<Perturbation>().unwrap().to_string(), text);
        }
        for text in
            ["", "cut", "cut@create/things/a#1", "reply-lost@added/things/a#1", "odd@added/things/a#1"]
        {
            assert!(text.parse::<Perturbation>().is_err(), "{text}");
        }
    }
}
