//! `Bounded`: the list and the watch of a server that others own, which may answer with anything, without end.
//!
//! Owns what such a server is asked, and which of its answers are passed on: only objects that were asked for, no more of them than are
//! expected, and not more of them in a second than an honest server has. Decides no pause after a failure: see [`Pace`](super::Pace).

use std::{collections::VecDeque, mem, time::Duration};

use futures::{Stream, StreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    runtime::watcher::{self, Event},
};
use tokio::time::{Instant, sleep_until};

use super::{Kind, PAGE};
use crate::{cache::Cache, guarded::Guarded, key::Key};

/// Most objects of a watch that is not of [one object](super::Watch::only).
const MOST: usize = 100;
/// Shortest time between two events of a watch. A server that sends more has to wait.
const BETWEEN_EVENTS: Duration = Duration::from_millis(10);
/// A watch that ends sooner is a failure: API servers end one after some minutes.
const SHORT: Duration = Duration::from_secs(5);
/// Longest UID. Those of API servers have 36 characters.
const LONGEST_UID: usize = 253;

/// How a watch has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Watch(#[from] watcher::Error),
    /// The server does what no API server does. The text is not the server's, so that the same is said once.
    #[error("{0}")]
    Misbehaves(String),
}

/// The objects that a server is asked for.
#[derive(Clone, Debug)]
pub(super) enum Limit {
    /// The only one.
    Only(Key),
    /// At most [`MOST`].
    Some,
}

impl Limit {
    fn most(&self) -> usize {
        match self {
            Self::Only(_) => 1,
            Self::Some => MOST,
        }
    }

    fn admits<K: Kind>(&self, object: &Guarded<K>) -> bool {
        let uid = object.uid().unwrap_or_default();
        let is_asked_for = match self {
            Self::Only(key) => Key::of(object) == *key,
            Self::Some => true,
        };
        is_asked_for && uid.len() <= LONGEST_UID
    }

    fn exceeded(&self) -> Failure {
        Failure::Misbehaves(match self {
            Self::Only(key) => {
                format!("the server answers with more than {key}, and nothing else was asked for")
            }
            Self::Some => format!("the server answers with more than {MOST} objects, and no more are read"),
        })
    }
}

/// What one server is asked, and how far that is.
pub(super) struct Bounded<K: Kind> {
    api: Api<Guarded<K>>,
    config: watcher::Config,
    limit: Limit,
    /// What was passed on.
    cache: Cache<K>,
    /// To be passed on.
    ready: VecDeque<Event<Guarded<K>>>,
    state: State<K>,
    /// When the next event may be taken.
    next: Instant,
}

enum State<K: Kind> {
    Unlisted,
    /// The list had more than was asked for.
    Exceeded,
    /// At this version.
    Listed(String),
    Watching {
        version: String,
        since: Instant,
        events: stream::BoxStream<'static, kube::Result<WatchEvent<Guarded<K>>>>,
    },
}

impl<K: Kind> Bounded<K> {
    /// Returns the list and the watch of `limit`, of which what was taken is put into `cache`.
    pub(super) fn new(api: Api<Guarded<K>>, config: watcher::Config, limit: Limit, cache: Cache<K>) -> Self {
        let (ready, state) = (VecDeque::new(), State::Unlisted);
        Self { api, config, limit, cache, ready, state, next: Instant::now() }
    }

    /// Returns the events. After a failure it begins with a list. What was asked for is taken of a list that has more, before it fails.
    pub(super) fn events(self) -> impl Stream<Item = Result<Event<Guarded<K>>, Failure>> {
        stream::unfold(self, async |mut this| Some((this.event().await, this)))
    }

    async fn event(&mut self) -> Result<Event<Guarded<K>>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match mem::replace(&mut self.state, State::Unlisted) {
                State::Unlisted => self.state = self.list().await?,
                State::Exceeded => return Err(self.limit.exceeded()),
                State::Listed(version) => {
                    let started = self.api.watch(&self.watch_params(), &version).await;
                    let events = started.map_err(watcher::Error::WatchStartFailed)?.boxed();
                    self.state = State::Watching { version, since: Instant::now(), events };
                }
                State::Watching { version, since, mut events } => {
                    sleep_until(self.next).await;
                    let Some(event) = events.next().await else {
                        self.state = ended(version, since)?;
                        continue;
                    };
                    self.next = Instant::now() + BETWEEN_EVENTS;
                    let version = self.take(event.map_err(watcher::Error::WatchFailed)?)?;
                    self.state = State::Watching { version, since, events };
                }
            }
        }
    }

    /// Lists as many pages as the objects take that are asked for, and one more.
    async fn list(&mut self) -> Result<State<K>, Failure> {
        let mut params = ListParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            ..ListParams::default().limit(PAGE)
        };
        let (most, mut objects, mut is_exceeded) = (self.limit.most(), Vec::new(), false);
        let mut state = State::Exceeded;
        for _ in 0..=most.div_ceil(PAGE as usize) {
            let page = self.api.list(&params).await.map_err(watcher::Error::InitialListFailed)?;
            for object in page.items {
                if objects.len() < most && self.limit.admits(&object) {
                    objects.push(object);
                } else {
                    is_exceeded = true;
                }
            }
            if let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) {
                params.continue_token = Some(token);
                continue;
            }
            let version = page.metadata.resource_version.filter(|version| !version.is_empty());
            state = State::Listed(version.ok_or(watcher::Error::NoResourceVersion)?);
            break;
        }
        self.ready.push_back(Event::Init);
        self.ready.extend(objects.into_iter().map(Event::InitApply));
        self.ready.push_back(Event::InitDone);
        Ok(if is_exceeded { State::Exceeded } else { state })
    }

    fn watch_params(&self) -> WatchParams {
        WatchParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            ..WatchParams::default()
        }
    }

    /// Takes an event, and returns the version that is known then.
    fn take(&mut self, event: WatchEvent<Guarded<K>>) -> Result<String, Failure> {
        let version = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let is_known = self.cache.get(&Key::of(&object)).is_some();
                if !self.limit.admits(&object) || !is_known && self.cache.len() >= self.limit.most() {
                    return Err(self.limit.exceeded());
                }
                let version = object.resource_version();
                self.ready.push_back(Event::Apply(object));
                version
            }
            WatchEvent::Deleted(object) => {
                if !self.limit.admits(&object) {
                    return Err(self.limit.exceeded());
                }
                let version = object.resource_version();
                self.ready.push_back(Event::Delete(object));
                version
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(watcher::Error::WatchError(status.boxed()).into()),
        };
        let version = version.filter(|version| !version.is_empty());
        Ok(version.ok_or(watcher::Error::NoResourceVersion)?)
    }
}

/// Returns how it goes on after a watch that has ended.
fn ended<K: Kind>(version: String, since: Instant) -> Result<State<K>, Failure> {
    if since.elapsed() >= SHORT {
        return Ok(State::Listed(version));
    }
    Err(Failure::Misbehaves(format!("the server ends a watch before {} s are over", SHORT.as_secs())))
}
