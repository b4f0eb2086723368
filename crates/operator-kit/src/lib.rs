//! What every operator needs and no operator should write again.
//!
//! Owns the life of an operator's process (arguments, logs, metrics, probes, signals, leader election), the one road
//! every reconcile takes (watch → reconcile → delay), and the small grammar the operators share when they talk to
//! Kubernetes: conditions, events, server-side apply, manifests. It knows no outside system and no custom resource.
//!
//! ```text
//!  main.rs ── run(operator, args, |kit| …) ── Kit ─┬─ logs, metrics, admin server: /metrics /healthz /readyz
//!                                                  ├─ client (timeouts, retries of reads only)
//!                                                  └─ lead() ── Leadership: fences writes, its loss ends the process
//!
//!  Watch<K> ──store──▶ observe                     one watch, one cache per kind
//!     │ └─taps──▶ other controllers' triggers
//!     └─controller()──▶ driver::run(Reconciler) ─┬─ finalizer, span, metrics
//!                                                └─ Error ─ Disposition ─ backoff ─▶ requeue, event
//! ```
//!
//! Next step: an operator's `src/lib.rs` builds a [`Watch`] per kind and hands its controllers to
//! [`driver::run`].

pub mod apply;
pub mod args;
pub mod backoff;
pub mod client;
pub mod conditions;
pub mod driver;
pub mod error;
pub mod events;
pub mod health;
pub mod lease;
pub mod manifests;
pub mod metrics;
pub mod status;
pub mod watch;

mod admin;
mod finalizer;
mod logs;
mod run;

pub use args::CommonArgs;
pub use driver::{Cleanup, Next, Reconciler};
pub use error::{Disposition, Error, ReconcileError};
pub use run::{Kit, Operator, run};
pub use watch::{Guarded, Watch};
