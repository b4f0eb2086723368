//! The command line every operator has: `run` (also without a word), `crd`, `rbac`, `manifests`,
//! `webhook`, `completions`.
//!
//! Owns the commands and Go's spelling of flags. An operator names its kinds, its rights and its work; see [`Program`].

use std::{
    error::Error as StdError,
    ffi::OsString,
    future::Future,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::{
    Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind as Problem},
};
use k8s_openapi::{
    api::rbac::v1::PolicyRule,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};

use crate::{
    args::{CommonArgs, LogFormat, go_style},
    crds,
    error::{Chain, Error},
    logs,
    manifests::{self, Account},
    run::{self, Kit, Operator},
    webhook::{self, Webhook, WebhookArgs},
};

/// An operator's program. Its `main` returns [`main::<Self>()`](main).
pub trait Program {
    /// The operator's flags, with [`CommonArgs`] flattened into them: last, as the heading of these is that of all that follow.
    type Args: Args;
    /// Why the work ends early.
    type Error: Into<Box<dyn StdError + Send + Sync>>;

    /// The operator's identity.
    const OPERATOR: Operator;
    /// First line of `--help`: what the operator does.
    const ABOUT: &'static str;
    /// Command lines with a comment each, shown at the end of `--help`. Default: none.
    const EXAMPLES: &'static str = "";
    /// Namespace that the shipped manifests install the operator in.
    const NAMESPACE: &'static str;

    /// Returns the common flags among the operator's.
    fn common(args: &Self::Args) -> &CommonArgs;

    /// Returns the operator's kinds.
    fn crds() -> Vec<CustomResourceDefinition>;

    /// Returns the rights the operator uses, beside those for events, the Lease and the definitions of its kinds.
    fn rights() -> Rights;

    /// Returns the operator's admission webhook. Default: none.
    #[must_use]
    fn webhook() -> Option<Webhook> {
        None
    }

    /// Returns the flags of the webhook among the operator's. Default: none, and the webhook is off.
    #[must_use]
    fn webhook_args(_: &Self::Args) -> Option<&WebhookArgs> {
        None
    }

    /// Returns the commands of the program beside those that every operator has. Default: none. They have flags of their own, and none of
    /// the operator's.
    #[must_use]
    fn commands() -> Vec<Command> {
        Vec::new()
    }

    /// Runs one of [`commands`](Self::commands): the name of its subcommand is that of the command. Default: fails.
    #[must_use]
    fn command(_: &ArgMatches) -> ExitCode {
        ExitCode::FAILURE
    }

    /// Does the operator's work until the kit shuts down.
    fn run(kit: Kit, args: Self::Args) -> impl Future<Output = Result<(), Self::Error>>;
}

/// The rights of an operator.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// On namespaced objects: in a ClusterRole, or with `--watch-namespace` in a Role of each namespace.
    pub namespaced: Vec<PolicyRule>,
    /// On cluster-scoped objects.
    pub cluster: Vec<PolicyRule>,
}

#[derive(Parser)]
struct Cli<A: Args> {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    args: A,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Run the operator; the same as without a command
    Run,
    /// Print the CustomResourceDefinitions as YAML
    Crd,
    /// Print the ServiceAccount's roles as YAML: exactly the rights the operator uses; with --watch-namespace a Role for
    /// each namespace, and all bindings
    Rbac,
    /// Print both
    Manifests,
    /// Print the registration of the admission webhook as YAML, and the roles for its certificate
    Webhook,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and does what it asks for: the whole of an operator's `main`.
#[must_use]
pub fn main<P: Program>() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(command) = own::<P>(&arguments) {
        return match without_empty_variables(command.clone()).try_get_matches_from(&arguments) {
            Ok(matches) => P::command(&matches),
            Err(error) => {
                // A reader that has gone, or a full disk, cannot be reported anywhere.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
        };
    }
    let command = command::<P>();
    let arguments: Vec<OsString> = normal(arguments).collect();
    let matches = without_empty_variables(command.clone()).try_get_matches_from(&arguments);
    let parsed = matches.and_then(|matches| {
        if let Some(name) = matches.subcommand_name().filter(|name| is_own::<P>(name)) {
            return Err(misplaced(name));
        }
        let cli = Cli::<P::Args>::from_arg_matches(&matches)?;
        P::common(&cli.args).check().map(|()| cli)
    });
    let Cli { command: action, args } = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let error = explained(error, &command, &arguments).format(&mut command.clone());
            return refuse(P::OPERATOR.name, &error, &arguments);
        }
    };
    let format = P::common(&args).log_format;
    let result = match action {
        None | Some(Action::Run) => {
            run::run(P::OPERATOR, &P::common(&args).clone(), |kit| work::<P>(kit, args))
        }
        Some(action) => render::<P>(action, P::common(&args), command).and_then(|text| write_out(&text)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::report_end(format, P::OPERATOR.name, &Chain(&error).to_string());
            ExitCode::FAILURE
        }
    }
}

/// Returns the program's own commands, if the first word names one of them, also after `help`.
fn own<P: Program>(arguments: &[OsString]) -> Option<Command> {
    let mut words = arguments.iter().skip(1).skip_while(|word| *word == "help");
    is_own::<P>(words.next()?.to_str()?).then(|| {
        Command::new(P::OPERATOR.name)
            .version(P::OPERATOR.version)
            .subcommands(P::commands())
            .subcommand_required(true)
            .max_term_width(110)
    })
}

fn is_own<P: Program>(name: &str) -> bool {
    P::commands().iter().any(|command| command.get_name() == name)
}

/// Looks at the definitions of the operator's kinds, serves the webhook, if there is one, and does the operator's work.
async fn work<P: Program>(kit: Kit, args: P::Args) -> Result<(), Box<dyn StdError + Send + Sync>> {
    crds::check(&kit, P::crds());
    if let (Some(webhook), Some(args)) = (P::webhook(), P::webhook_args(&args)) {
        webhook.serve(&kit, args).await?;
    }
    P::run(kit, args).await.map_err(Into::into)
}

/// Returns that flags of the operator stand before a command that has none of them.
fn misplaced(name: &str) -> clap::Error {
    let message = format!("write `{name}` first, and only flags that `{name} --help` lists after it\n");
    clap::Error::raw(Problem::ArgumentConflict, message)
}

/// Returns the command without the variables that are empty: an empty key of a Secret counts as not set.
fn without_empty_variables(command: Command) -> Command {
    let of_own = |arg: Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.to_string_lossy().trim().is_empty()) {
            arg.env(Resettable::Reset)
        } else {
            arg
        }
    };
    command.mut_args(of_own).mut_subcommands(without_empty_variables)
}

/// Returns the error with the variable of its flag, and with what to write in place of clap's guesses.
fn explained(mut error: clap::Error, command: &Command, arguments: &[OsString]) -> clap::Error {
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    // clap compares the names of a flag that conflicts with itself, because it was given twice.
    let keeps_flag = [Problem::UnknownArgument, Problem::ArgumentConflict].contains(&error.kind());
    if let Some(flag) = text(&error, ContextKind::InvalidArg).filter(|_| !keeps_flag) {
        let name = flag.trim_start_matches('-').split([' ', '=']).next();
        let arg = command.get_arguments().find(|arg| arg.get_long() == name);
        if let Some(variable) = arg.and_then(Arg::get_env) {
            let both = format!("{} ({flag})", variable.to_string_lossy());
            error.insert(ContextKind::InvalidArg, ContextValue::String(both));
        }
    }
    // A flag that may stand alone takes its value only after `=`.
    let word = text(&error, ContextKind::InvalidSubcommand);
    if let Some(value) = word.filter(|word| word == "true" || word == "false") {
        let before = arguments.iter().zip(arguments.iter().skip(1)).find(|(_, next)| **next == *value);
        if let Some(flag) =
            before.map(|(flag, _)| flag.to_string_lossy()).filter(|flag| flag.starts_with("--"))
        {
            error.remove(ContextKind::SuggestedSubcommand);
            let tip = vec![format!("write `{flag}={value}`").into()];
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tip));
        }
    }
    error
}

/// Prints what is wrong with the command line, or the help that it asks for, and returns the status to end with.
fn refuse(name: &str, error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.use_stderr() && asks_for_json(arguments, std::env::var_os("LOG_FORMAT")) {
        logs::report_end(LogFormat::Json, name, error.to_string().trim());
    } else {
        // A reader that has gone, or a full disk, cannot be reported anywhere.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Returns whether a command line that cannot be parsed asks for JSON.
fn asks_for_json(arguments: &[OsString], variable: Option<OsString>) -> bool {
    let flag = arguments.iter().zip(arguments.iter().skip(1).map(Some).chain([None]));
    let mut flags = flag.filter_map(|(flag, next)| match flag.to_str()?.split_once('=') {
        Some(("--log-format", value)) => Some(value == "json"),
        None if flag == "--log-format" => Some(next? == "json"),
        _ => None,
    });
    flags.next().unwrap_or_else(|| variable.is_some_and(|value| value == "json"))
}

fn command<P: Program>() -> Command {
    // Those of every operator are numbered from 0.
    let own = P::commands().into_iter().enumerate();
    Cli::<P::Args>::command()
        .name(P::OPERATOR.name)
        .version(P::OPERATOR.version)
        .about(P::ABOUT)
        .after_help(P::EXAMPLES)
        .max_term_width(110)
        .mut_subcommand("webhook", |command| command.hide(P::webhook().is_none()))
        .subcommands(own.map(|(number, command)| command.display_order(100 + number)))
}

/// Returns the arguments in clap's spelling. Flags belong to the program, so the word `run` before them is left out.
fn normal(arguments: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    go_style(arguments)
        .enumerate()
        .filter(|(n, argument)| *n != 1 || argument != "run")
        .map(|(_, argument)| argument)
}

/// Returns what a command prints.
fn render<P: Program>(action: Action, args: &CommonArgs, mut command: Command) -> Result<Vec<u8>, Error> {
    let crds = || manifests::crds(&P::crds());
    let account = Account { name: P::OPERATOR.name, namespace: P::NAMESPACE };
    let rbac = || {
        let mut rights = P::rights();
        rights.cluster.extend(crds::rights(&P::crds()));
        manifests::rbac(account, rights, &args.watched())
    };
    let text = match action {
        Action::Run => String::new(),
        Action::Crd => crds()?,
        Action::Rbac => rbac()?,
        Action::Manifests => crds()? + &rbac()?,
        Action::Webhook => {
            let webhook = P::webhook().ok_or(Error::NoWebhook)?;
            webhook::manifests(account, &webhook)?
        }
        Action::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, P::OPERATOR.name, &mut text);
            return Ok(text);
        }
    };
    Ok(text.into_bytes())
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no error.
fn write_out(text: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::Output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_the_same_as_no_command() {
        let line = |line: &str| normal(line.split(' ').map(OsString::from)).collect::<Vec<_>>();
        assert_eq!(line("op run -metrics-addr=:1"), ["op", "--metrics-addr=:1"].map(OsString::from));
        assert_eq!(line("op crd"), ["op", "crd"].map(OsString::from));
        assert_eq!(line("op --vc-host run"), ["op", "--vc-host", "run"].map(OsString::from));
    }

    #[test]
    fn the_format_of_the_log_is_known_before_the_command_line_is() {
        let asks = |line: &str, variable: Option<&str>| {
            let line: Vec<_> = line.split(' ').map(OsString::from).collect();
            asks_for_json(&line, variable.map(OsString::from))
        };
        assert!(asks("op --log-format=json --no-such", None) && asks("op --log-format json", None));
        assert!(asks("op --no-such", Some("json")) && !asks("op --log-format=human", Some("json")));
        assert!(!asks("op --log-format", None) && !asks("op json", None));
    }

    #[derive(Args)]
    struct Flags {
        #[command(flatten)]
        common: CommonArgs,
        #[arg(long, env = "KIT_TEST_NUMBER", default_value_t = 7)]
        number: u8,
    }

    fn says(line: &str) -> String {
        let command = Cli::<Flags>::command();
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        let error = command.clone().try_get_matches_from(&arguments).unwrap_err();
        explained(error, &command, &arguments).to_string()
    }

    #[test]
    fn errors_name_the_variable_of_a_flag_and_what_to_write() {
        for (line, wanted) in [
            ("op --number=x", "for 'KIT_TEST_NUMBER (--number <NUMBER>)'"),
            ("op --metrics-addr=x", "for 'METRICS_ADDR (--metrics-addr <ADDR>)': `x` is not an address"),
            ("op --log-format=x", "for 'LOG_FORMAT (--log-format <LOG_FORMAT>)'"),
            ("op --enable-leader-election false", "tip: write `--enable-leader-election=false`"),
        ] {
            let text = says(line);
            assert!(text.contains(wanted), "{text}");
        }
        assert!(!says("op nonsense").contains("tip: write"));
        assert!(says("op rbac --number=1").starts_with("error: unexpected argument '--number'"));
    }

    #[test]
    fn only_variables_that_are_empty_are_left_out() {
        let kept: Vec<_> = without_empty_variables(
            Command::new("op")
                .args([Arg::new("a").long("a").env("PATH"), Arg::new("b").long("b").env("KIT_TEST_UNSET")]),
        )
        .get_arguments()
        .filter_map(|arg| Some(arg.get_env()?.to_owned()))
        .collect();
        assert_eq!(kept, ["PATH", "KIT_TEST_UNSET"]);
    }
}
