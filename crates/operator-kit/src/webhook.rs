//! The admission webhook: refuses objects before they are stored.
//!
//! Owns what an operator declares: for each kind one pure function of the old and the new object. `review` answers requests with it,
//! `server` receives them, `upkeep` keeps the certificate, `registration` has the manifests. Knows no kind.
//!
//! ```text
//!  API server ── AdmissionReview ──▶ server (TLS) ──▶ review ──▶ the operator's function
//!                                       ▲
//!  Secret ────── watch ──▶ upkeep ──────┘ certificate
//!  ValidatingWebhookConfiguration ◀──┘ caBundle, by the leader
//! ```

mod certificate;
mod registration;
mod review;
mod server;
mod upkeep;

use clap::Args;
use kube::{Resource, core::DynamicObject};
use serde::de::DeserializeOwned;

pub(crate) use self::registration::manifests;
pub(crate) use self::server::Drain;
use crate::{
    args::{Listen, object_name},
    error::Error,
    run::Kit,
};

/// Flags of an operator with a webhook; `#[command(flatten)]` them into the operator's own.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Webhook options")]
pub struct WebhookArgs {
    /// Address of the admission webhook: `:9443`, `127.0.0.1:9443`, or `0` for none
    #[arg(long, env = "WEBHOOK_ADDR", default_value = "0", value_name = "ADDR")]
    pub webhook_addr: Listen,

    /// Secret with the webhook's certificate, which another program such as cert-manager keeps. Default: the operator makes the
    /// certificate itself
    #[arg(long, env = "WEBHOOK_SECRET", value_name = "NAME", value_parser = object_name)]
    pub webhook_secret: Option<String>,
}

/// What is to be reviewed. An update whose old object does not parse is reviewed as a creation.
#[derive(Debug)]
pub enum Review<'a, K> {
    /// An object is created.
    Create(&'a K),
    /// The spec of an object that is not being deleted is changed.
    Update {
        /// The object as it is stored.
        old: &'a K,
        /// The object as it is to be.
        new: &'a K,
    },
    /// An object is deleted.
    Delete(&'a K),
}

// Not derived: that would ask the same of the kind.
impl<K> Clone for Review<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Review<'_, K> {}

/// What is wrong with a field. Displays as `field: message`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field, such as `spec.replicas`.
    pub field: String,
    /// What is wrong with it, and what to write.
    pub message: String,
}

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Fields of the object are wrong: 422 Invalid.
    Invalid(Vec<FieldError>),
    /// It must not be done, whatever the fields: 403 Forbidden, with this message.
    Forbidden(String),
}

/// What becomes of a request: allowed, with warnings that `kubectl` shows, or refused.
pub type Verdict = Result<Vec<String>, Refusal>;

/// The webhook of an operator: its kinds, each with the function that reviews its objects.
#[derive(Default)]
pub struct Webhook {
    kinds: Vec<ReviewedKind>,
}

impl Webhook {
    /// Adds a kind. `check` is pure: it is called for dry runs as well, by each replica, and its answers are not stored.
    #[must_use]
    pub fn with<K>(mut self, check: fn(Review<'_, K>) -> Verdict) -> Self
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
    {
        self.kinds.push(ReviewedKind {
            group: K::group(&()).into_owned(),
            version: K::version(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            check: Box::new(move |request| review::check(request, check)),
        });
        self
    }

    /// Serves in the background until the process ends, with the certificate of a Secret; does nothing if the webhook is off.
    ///
    /// # Errors
    /// The address cannot be bound, or a metric cannot be registered.
    pub async fn serve(self, kit: &Kit, args: &WebhookArgs) -> Result<(), Error> {
        let Some(listener) = server::bind(args.webhook_addr).await? else { return Ok(()) };
        let upkeep = upkeep::Upkeep::new(kit, args.webhook_secret.as_deref())?;
        let tls = server::tls(upkeep.certificate())?;
        let reviewer = review::Reviewer::new(self.kinds, kit.metrics().registry())?;
        let drain = kit.drain().clone();
        kit.spawn("webhook", server::serve(listener, tls, reviewer, drain));
        kit.spawn("webhook certificate", upkeep.run());
        Ok(())
    }
}

/// A kind whose objects are reviewed.
struct ReviewedKind {
    group: String,
    version: String,
    plural: String,
    kind: String,
    check: Box<dyn Fn(&Request) -> Verdict + Send + Sync>,
}

impl ReviewedKind {
    /// Returns the path of its requests, as controller-runtime spells it.
    fn path(&self) -> String {
        let (group, kind) = (self.group.replace('.', "-"), self.kind.to_lowercase());
        format!("/validate-{group}-{}-{kind}", self.version)
    }
}

/// A request for admission.
type Request = kube::core::admission::AdmissionRequest<DynamicObject>;

/// Returns the name of the operator's Service, Secret, roles and ValidatingWebhookConfiguration.
fn name_of(operator: &str) -> String {
    format!("{operator}-webhook")
}
