//! The commands that a person runs beside the operator: in the same binary, with the rights of their kubeconfig.
//!
//! ```text
//!   look ──▶ what the operator would see ──▶ plan, explain, check      the operator's own observe, choose, plan, render, checks
//!   statuses, Pods ─────────────────────────▶ status, version
//! ```
//!
//! The commands decide nothing by themselves, and print no password. Each has its output as text and as JSON.

mod access;
mod bundle;
mod check;
mod configure;
mod delete;
mod deploy;
mod diff;
mod error;
mod explain;
mod look;
mod migrate;
mod pages;
mod plan;
mod status;
mod terminal;
mod version;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{ArgMatches, Command, FromArgMatches as _, Subcommand};
use serde_json::{Value, json};

use access::Format;
pub(crate) use access::duration;
use error::Error;

/// The commands.
#[derive(Debug, Subcommand)]
enum Commands {
    Plan(plan::Plan),
    Explain(explain::Explain),
    Status(status::Status),
    Check(check::Checks),
    Version(version::Version),
    Deploy(deploy::Deploy),
    Configure(configure::Configure),
    Delete(delete::Delete),
    Bundle(bundle::Bundle),
    Migrate(migrate::Migrate),
}

/// How a command has ended.
struct Done {
    text: String,
    json: Value,
    ends: Ends,
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// With 0.
    Well,
    /// With 3: what was looked at is not as it was asked for.
    NotAsAsked,
}

/// Status of a command that fails.
const FAILED: u8 = 1;

impl Ends {
    fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::NotAsAsked => 3,
        }
    }
}

/// Returns the commands.
pub(crate) fn all() -> Vec<Command> {
    let commands = Commands::augment_subcommands(Command::new("vdo"));
    commands.get_subcommands().cloned().collect()
}

/// Runs a command.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let command = match Commands::from_arg_matches(matches) {
        Ok(command) => command,
        Err(error) => {
            // A reader that has gone cannot be reported anywhere.
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(command.run()));
    let format = command.format();
    match result.and_then(|done| print(format, &done).map(|()| done.ends)) {
        Ok(ends) => ExitCode::from(ends.code()),
        Err(error) => {
            fail(format, &error);
            ExitCode::from(FAILED)
        }
    }
}

impl Commands {
    fn format(&self) -> Format {
        match self {
            Self::Plan(plan) => plan.access.output,
            Self::Explain(explain) => explain.access.output,
            Self::Status(status) => status.access.output,
            Self::Check(checks) => checks.access.output,
            Self::Version(version) => version.access.output,
            Self::Deploy(deploy) => deploy.access.output,
            Self::Configure(configure) => configure.access().output,
            Self::Delete(delete) => delete.access.output,
            Self::Bundle(bundle) => bundle.output,
            Self::Migrate(migrate) => migrate.access.output,
        }
    }

    async fn run(&self) -> Result<Done, Error> {
        match self {
            Self::Plan(plan) => plan.run().await,
            Self::Explain(explain) => explain.run().await,
            Self::Status(status) => status.run().await,
            Self::Check(checks) => checks.run().await,
            Self::Version(version) => version.run().await,
            Self::Deploy(deploy) => deploy.run().await,
            Self::Configure(configure) => configure.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Bundle(bundle) => bundle.run().await,
            Self::Migrate(migrate) => Box::pin(migrate.run()).await,
        }
    }
}

/// Prints what a command has to say. A reader that has seen enough, such as `head`, is no error.
fn print(format: Format, done: &Done) -> Result<(), Error> {
    let text = match format {
        Format::Text => done.text.clone(),
        Format::Json => format!("{:#}\n", done.json),
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn fail(format: Format, error: &Error) {
    let text = match format {
        Format::Text => format!("error: {error}"),
        Format::Json => json!({ "error": error.to_string() }).to_string(),
    };
    // There is nowhere else to report it.
    let _ = writeln!(std::io::stderr(), "{text}");
}
