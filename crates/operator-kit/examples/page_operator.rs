//! A complete operator of one kind: the text of every `Page` is a file in a directory.
//!
//! The directory stands for an outside system: things in it exist beside Kubernetes, so a `Page` has a finalizer, and each
//! file is named after the UID of its `Page`. `docs/operator-kit.md` walks through this file.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{CustomResource, CustomResourceExt, ResourceExt};
use operator_kit::webhook::{FieldError, Refusal, Review, Verdict, Webhook, WebhookArgs};
use operator_kit::{CommonArgs, Disposition, Kit, KitError, Objects, Operator, Outcome, Program};
use operator_kit::{
    ReconcileError, Reconciler, Rights, Triggers, Turn, Watch, conditions, driver, manifests::rule,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf, process::ExitCode, sync::Arc};

/// A text that is to be a file.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "example.com", version = "v1", kind = "Page", namespaced, status = "PageStatus")]
struct PageSpec {
    /// The text of the file.
    text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
struct PageStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Kit(#[from] KitError),
    #[error("the directory of --pages: {0}: create it, or make it writable for the operator")]
    Directory(#[from] io::Error),
}

impl ReconcileError for Error {
    fn classify(&self) -> (&'static str, Disposition) {
        match self {
            Self::Kit(failure) => failure.classify(),
            Self::Directory(_) => ("DirectoryNotWritable", Disposition::NEEDS_HELP),
        }
    }
}

struct Pages {
    directory: PathBuf,
    objects: Objects<Page>,
}

impl Pages {
    fn file(&self, page: &Page) -> PathBuf {
        self.directory.join(format!("{}.txt", page.uid().unwrap_or_default()))
    }
}

impl Reconciler for Pages {
    type Object = Page;
    /// The text of the file, if there is one.
    type Seen = Option<String>;
    /// The text that the file is to have; `None`: remove it.
    type Plan = Option<String>;
    type Done = ();
    type Error = Error;
    const NAME: &'static str = "page";
    const FINALIZER: Option<&'static str> = Some("example.com/page-operator");

    async fn observe(&self, page: &Page) -> Result<Self::Seen, Error> {
        match tokio::fs::read_to_string(self.file(page)).await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Without its directory, nothing is known about a file.
                tokio::fs::metadata(&self.directory).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn plan(page: &Page, seen: &Self::Seen, _: Timestamp) -> Turn<Self::Plan> {
        match (page.metadata.deletion_timestamp.is_some(), seen) {
            (true, None) => Turn::Gone,
            (true, Some(_)) => Turn::LookAgain(None),
            (false, Some(text)) if *text == page.spec.text => Turn::Settled,
            (false, _) => Turn::LookAgain(Some(page.spec.text.clone())),
        }
    }

    async fn apply(&self, page: &Page, plan: Self::Plan) -> Result<(), Error> {
        match plan {
            // Nothing would remove the file of a page that is gone.
            Some(_)
                if !self
                    .objects
                    .is_current(page, |page| page.metadata.generation)
                    .await
                    .map_err(KitError::from)? =>
            {
                Ok(())
            }
            Some(text) => Ok(tokio::fs::write(self.file(page), text).await?),
            None => match tokio::fs::remove_file(self.file(page)).await {
                // Removed already, by an earlier attempt or a person.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => Ok(removed?),
            },
        }
    }

    fn status(
        old: Option<&PageStatus>,
        page: &Page,
        _: Option<&Self::Seen>,
        outcome: &Outcome<(), Error>,
        now: Timestamp,
    ) -> Option<PageStatus> {
        let mut status = old.cloned().unwrap_or_default();
        let (ready, reason, message) = outcome.ready("Written");
        let generation = page.metadata.generation;
        conditions::set(&mut status.conditions, conditions::READY, ready, reason, &message, generation, now);
        Some(status)
    }

    fn conditions(status: &PageStatus) -> &[Condition] {
        &status.conditions
    }
}

/// Decides what is refused before it is stored.
fn review(review: Review<'_, Page>) -> Verdict {
    match review {
        Review::Create(new) | Review::Update { new, .. } if new.spec.text.is_empty() => {
            let message = "write a text, or delete the page".to_owned();
            Err(Refusal::Invalid(vec![FieldError { field: "spec.text".to_owned(), message }]))
        }
        Review::Update { old, new } if new.spec.text.len() < old.spec.text.len() => {
            Ok(vec!["the new text is shorter".to_owned()])
        }
        Review::Delete(page) if page.labels().contains_key("example.com/keep") => {
            Err(Refusal::Forbidden("remove the label example.com/keep from the page first".to_owned()))
        }
        _ => Ok(Vec::new()),
    }
}

#[derive(Clone, Debug, clap::Args)]
struct PageArgs {
    /// The directory for the files, which has to exist
    #[arg(long, env = "PAGES", value_name = "DIRECTORY", default_value = "pages")]
    pages: PathBuf,
    #[command(flatten)]
    webhook: WebhookArgs,
    #[command(flatten)]
    common: CommonArgs,
}

struct PageOperator;

impl Program for PageOperator {
    type Args = PageArgs;
    type Error = operator_kit::Error;
    const OPERATOR: Operator = Operator { name: "page-operator", group: "example.com", version: "1.0.0" };
    const ABOUT: &'static str = "page-operator: keeps the text of every Page in a file";
    const NAMESPACE: &'static str = "page-operator-system";

    fn common(args: &PageArgs) -> &CommonArgs {
        &args.common
    }

    fn crds() -> Vec<CustomResourceDefinition> {
        vec![Page::crd()]
    }

    fn rights() -> Rights {
        let pages = rule("example.com", &["pages"], &["get", "list", "patch", "watch"]);
        Rights {
            namespaced: vec![pages, rule("example.com", &["pages/status"], &["patch"])],
            cluster: vec![],
        }
    }

    fn webhook() -> Option<Webhook> {
        Some(Webhook::default().with(review))
    }

    fn webhook_args(args: &PageArgs) -> Option<&WebhookArgs> {
        Some(&args.webhook)
    }

    async fn run(kit: Kit, args: PageArgs) -> Result<(), operator_kit::Error> {
        kit.lead().await;
        let watch = Watch::namespaced(&kit);
        let pages = Pages { directory: args.pages, objects: watch.objects() };
        driver::run(&kit, watch, Triggers::default(), Arc::new(pages)).await
    }
}

fn main() -> ExitCode {
    operator_kit::main::<PageOperator>()
}
