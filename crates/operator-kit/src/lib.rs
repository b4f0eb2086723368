//! What every operator needs and no operator should write again.
//!
//! Owns the life of an operator's process (command line, logs, metrics, probes, signals, leader election), the driver that
//! runs every reconcile through the same four steps, and how the operators write to Kubernetes: finalizers, statuses,
//! conditions, events, server-side apply. It knows no outside system and no custom resource.
//!
//! ```text
//!  main::<Program>() ──▶ Kit ─┬─ logs, metrics, admin server: /metrics /healthz /readyz
//!                             ├─ client: timeouts, retries of reads, no writes without leadership
//!                             └─ lead() ──▶ Leadership; losing it ends the process
//!
//!  Watch<K> ──▶ Cache<K> ◀── Objects<K> (own writes)      one watch and one cache per kind; indexes by a function
//!     │            │
//!     ▼            ▼ subscribers: wake objects of other controllers by their Triggers
//!  Triggers<K> ─▶ queue ─▶ driver: observe ─▶ plan ─▶ apply ─▶ status
//!                             └─ finalizer, back-off, events, metrics, panics, forgetting
//!  Remotes<K>: a watch and a cache for each of other clusters that come and go
//! ```
//!
//! `examples/` has a complete operator of one kind; `docs/operator-kit.md` walks through it.

pub mod apply_set;
pub mod client;
pub mod conditions;
pub mod driver;
pub mod error;
pub mod health;
pub mod lease;
pub mod manifests;
pub mod names;
pub mod reasons;
pub mod webhook;

mod admin;
mod apply;
mod args;
mod backoff;
mod cache;
mod cli;
mod clock;
mod connections;
mod crds;
mod events;
mod files;
mod foreign;
mod guarded;
mod key;
mod logs;
mod metrics;
mod objects;
mod queue;
mod reconcile;
mod remotes;
mod run;
mod triggers;
mod watch;

pub use args::{ClusterIdArgs, CommonArgs};
pub use cache::{Cache, Change, Index};
pub use cli::{Program, Rights, main};
pub use clock::Clock;
pub use error::{Disposition, Error, KitError, ReconcileError};
pub use events::{Events, Notice};
pub use foreign::{Foreign, NoStatus};
pub use guarded::Guarded;
pub use key::{Key, KeyError};
pub use metrics::{Metrics, ShownCondition};
pub use objects::{Deleted, Objects, Patched};
pub use reconcile::{Outcome, Reconciler, StatusOf, Turn};
pub use remotes::{Remote, Remotes};
pub use run::{Kit, Operator};
pub use triggers::Triggers;
pub use watch::{Kind, Watch, Watching};
