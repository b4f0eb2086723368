//! Passes on the events of one watch, and makes it stand still.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::EventFault;
use super::mark::Subject;
use super::state::State;

/// The longest time that a watch stands still. What is waited for may never come: an object's last event has no next one.
const LONGEST_HOLD: Duration = Duration::from_secs(3);

/// One watch.
pub(super) struct Stream {
    pub(super) state: Arc<State>,
    pub(super) generation: u64,
    /// The plural of what is watched.
    pub(super) resource: String,
    pub(super) client: mpsc::Sender<io::Result<Frame<Bytes>>>,
}

/// A watch that stands still.
struct Hold {
    events: Vec<Bytes>,
    until: Until,
    deadline: Instant,
}

enum Until {
    /// The next event of this object.
    NextEvent { name: String },
    /// So many writes in all.
    Writes { writes: watch::Receiver<u32>, total: u32 },
}

impl Hold {
    /// Resolves when the watch is to go on, for a reason other than an event.
    async fn end(&mut self) {
        let writes = async {
            match &mut self.until {
                Until::Writes { writes, total } => {
                    let _ = writes.wait_for(|writes| *writes >= *total).await;
                }
                Until::NextEvent { .. } => std::future::pending().await,
            }
        };
        // An error means that the time is over.
        let _ = tokio::time::timeout_at(self.deadline, writes).await;
    }
}

/// The client has closed the connection, or the watch has ended.
struct Ended;

impl Stream {
    /// Passes events on until the watch ends at either side.
    pub(super) async fn relay(self, mut response: reqwest::Response) {
        let mut received = BytesMut::new();
        let mut hold: Option<Hold> = None;
        loop {
            let end_of_hold = async {
                match &mut hold {
                    Some(hold) => hold.end().await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                line = next_line(&mut response, &mut received) => match line {
                    Ok(Some(line)) => self.take(line, &mut hold).await,
                    Ok(None) => Err(Ended),
                    Err(error) => {
                        let _ = self.client.send(Err(io::Error::other(error))).await;
                        Err(Ended)
                    }
                },
                () = end_of_hold => self.go_on(&mut hold).await,
                () = self.client.closed() => return,
            };
            if ended.is_err() {
                let _ = self.go_on(&mut hold).await;
                return;
            }
        }
    }

    /// Deals with one line of the response.
    async fn take(&self, line: Bytes, hold: &mut Option<Hold>) -> Result<(), Ended> {
        let event: Value = serde_json::from_slice(&line).unwrap_or_default();
        let subject = Subject::of_event(&self.resource, &event);
        let fault = subject.as_ref().and_then(|subject| self.state.event(subject, &event));
        if let Some(held) = hold {
            held.events.push(line);
            let next = subject.as_ref().map(|subject| &subject.name);
            let ends = matches!(&held.until, Until::NextEvent { name } if Some(name) == next);
            return if ends { self.go_on(hold).await } else { Ok(()) };
        }
        let (Some(fault), Some(subject)) = (fault, subject) else {
            return self.send(Ok(line)).await;
        };
        self.state.fire();
        let until = match fault {
            EventFault::Withheld => Until::NextEvent { name: subject.name },
            EventFault::Frozen(writes) => {
                let made = self.state.writes();
                let total = made.borrow().saturating_add(writes);
                Until::Writes { writes: made, total }
            }
            EventFault::Expired => {
                self.send(Ok(expired())).await?;
                return Err(Ended);
            }
            EventFault::Cut => {
                self.send(Err(io::ErrorKind::ConnectionAborted.into())).await?;
                return Err(Ended);
            }
        };
        *hold = Some(Hold { events: vec![line], until, deadline: Instant::now() + LONGEST_HOLD });
        Ok(())
    }

    /// Sends what was held back.
    async fn go_on(&self, hold: &mut Option<Hold>) -> Result<(), Ended> {
        for event in hold.take().into_iter().flat_map(|hold| hold.events) {
            self.send(Ok(event)).await?;
        }
        Ok(())
    }

    async fn send(&self, line: io::Result<Bytes>) -> Result<(), Ended> {
        self.state.pass(self.generation).await.map_err(|_| Ended)?;
        self.client.send(line.map(Frame::data)).await.map_err(|_| Ended)
    }
}

/// Returns the next line with its end; `None` at the end of the response. May be dropped and called again.
pub(crate) async fn next_line(
    response: &mut reqwest::Response,
    received: &mut BytesMut,
) -> reqwest::Result<Option<Bytes>> {
    loop {
        if let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            return Ok(Some(received.split_to(end + 1).freeze()));
        }
        match response.chunk().await? {
            Some(chunk) => received.extend_from_slice(&chunk),
            None => return Ok(None),
        }
    }
}

/// Returns the error with which an API server ends a watch that it cannot continue.
fn expired() -> Bytes {
    let status = super::serve::status(410, "the resource version is too old");
    format!("{}\n", json!({ "type": "ERROR", "object": status })).into()
}
