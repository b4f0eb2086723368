//! An operator of a kind of cluster scope: each `Shelf` is a file in a directory. Otherwise like `page_operator`, which
//! `docs/operator-kit.md` walks through. Its spec has a list, a map and an enum for the mutation of `e2e`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{CustomResource, CustomResourceExt, ResourceExt};
use operator_kit::{CommonArgs, Disposition, Kit, KitError, Objects, Operator, Outcome, Program};
use operator_kit::{
    ReconcileError, Reconciler, Rights, Triggers, Turn, Watch, conditions, driver, manifests::rule,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, path::PathBuf, process::ExitCode, sync::Arc};

/// Titles in a row, with notes.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "example.com", version = "v1", kind = "Shelf", plural = "shelves", status = "ShelfStatus")]
struct ShelfSpec {
    /// The titles.
    #[schemars(length(max = 4), inner(length(max = 40)))]
    titles: Vec<String>,
    /// Notes by title.
    #[serde(default)]
    notes: BTreeMap<String, String>,
    /// Their order.
    #[serde(default)]
    order: Order,
}

/// The order of titles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
enum Order {
    /// As in the spec.
    #[default]
    AsGiven,
    /// Sorted.
    ByTitle,
}

impl ShelfSpec {
    /// Returns the text of the file.
    fn text(&self) -> String {
        let mut titles = self.titles.clone();
        if self.order == Order::ByTitle {
            titles.sort();
        }
        serde_json::json!({ "titles": titles, "notes": self.notes }).to_string()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
struct ShelfStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Kit(#[from] KitError),
    #[error("the directory of --shelves: {0}: create it, or make it writable for the operator")]
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

struct Shelves {
    directory: PathBuf,
    objects: Objects<Shelf>,
}

impl Shelves {
    fn file(&self, object: &Shelf) -> PathBuf {
        self.directory.join(format!("{}.txt", object.uid().unwrap_or_default()))
    }
}

impl Reconciler for Shelves {
    type Object = Shelf;
    /// The text of the file, if there is one.
    type Seen = Option<String>;
    /// The text that the file is to have; `None`: remove it.
    type Plan = Option<String>;
    type Done = ();
    type Error = Error;
    const NAME: &'static str = "shelf";
    const FINALIZER: Option<&'static str> = Some("example.com/shelf-operator");

    async fn observe(&self, object: &Shelf) -> Result<Self::Seen, Error> {
        match tokio::fs::read_to_string(self.file(object)).await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Without its directory, nothing is known about a file.
                tokio::fs::metadata(&self.directory).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn plan(object: &Shelf, seen: &Self::Seen, _: Timestamp) -> Turn<Self::Plan> {
        match (object.metadata.deletion_timestamp.is_some(), seen) {
            (true, None) => Turn::Gone,
            (true, Some(_)) => Turn::LookAgain(None),
            (false, Some(text)) if *text == object.spec.text() => Turn::Settled,
            (false, _) => Turn::LookAgain(Some(object.spec.text())),
        }
    }

    async fn apply(&self, object: &Shelf, plan: Self::Plan) -> Result<(), Error> {
        match plan {
            // Nothing would remove the file of a shelf that is gone.
            Some(_)
                if !self
                    .objects
                    .is_current(object, |object| object.metadata.generation)
                    .await
                    .map_err(KitError::from)? =>
            {
                Ok(())
            }
            Some(text) => Ok(tokio::fs::write(self.file(object), text).await?),
            None => Ok(tokio::fs::remove_file(self.file(object)).await?),
        }
    }

    fn status(
        old: Option<&ShelfStatus>,
        object: &Shelf,
        _: Option<&Self::Seen>,
        outcome: &Outcome<(), Error>,
        now: Timestamp,
    ) -> Option<ShelfStatus> {
        let mut status = old.cloned().unwrap_or_default();
        let (ready, reason, message) = outcome.ready("Written");
        let generation = object.metadata.generation;
        conditions::set(&mut status.conditions, conditions::READY, ready, reason, &message, generation, now);
        Some(status)
    }

    fn conditions(status: &ShelfStatus) -> &[Condition] {
        &status.conditions
    }
}

#[derive(Clone, Debug, clap::Args)]
struct ShelfArgs {
    /// The directory for the files
    #[arg(long, env = "SHELVES", value_name = "DIRECTORY", default_value = ".")]
    shelves: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

struct ShelfOperator;

impl Program for ShelfOperator {
    type Args = ShelfArgs;
    type Error = operator_kit::Error;
    const OPERATOR: Operator = Operator { name: "shelf-operator", group: "example.com", version: "1.0.0" };
    const ABOUT: &'static str = "shelf-operator: keeps every Shelf in a file";
    const NAMESPACE: &'static str = "shelf-operator-system";

    fn common(args: &ShelfArgs) -> &CommonArgs {
        &args.common
    }

    fn crds() -> Vec<CustomResourceDefinition> {
        vec![Shelf::crd()]
    }

    fn rights() -> Rights {
        let shelves = rule("example.com", &["shelves"], &["get", "list", "patch", "watch"]);
        Rights {
            namespaced: vec![],
            cluster: vec![shelves, rule("example.com", &["shelves/status"], &["patch"])],
        }
    }

    async fn run(kit: Kit, args: ShelfArgs) -> Result<(), operator_kit::Error> {
        kit.lead().await;
        let watch = Watch::cluster_wide(&kit);
        let shelves = Shelves { directory: args.shelves, objects: watch.objects() };
        driver::run(&kit, watch, Triggers::default(), Arc::new(shelves)).await
    }
}

fn main() -> ExitCode {
    operator_kit::main::<ShelfOperator>()
}
