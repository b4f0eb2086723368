//! `cargo xtask demo [OPERATOR] [--keep] [--drivers]`: shows an operator in a terminal.
//!
//! Owns the order of the steps and the end. Each step is shown and then verified: the exit code is 0 only if all succeed.
//! Observes an operator only through `kubectl` and its outside systems. An operator's steps are in a module of its name.

mod ako;
mod keeping;
mod screen;
mod vdo;
mod vm;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Launch, OperatorProcess, Site};
use testbed::project_root;
use tokio::signal::unix::{SignalKind, signal};

use crate::ako::AkoDemo;
use crate::screen::Screen;
use crate::vdo::VdoDemo;
use crate::vm::VmDemo;

/// The number of lines of the operator's log that are shown after a failure.
const LOG_TAIL: usize = 20;

/// One operator's demo.
trait Demo: Sized {
    /// The steps, after the start of the servers and the operator.
    const STEPS: &'static [Step];
    /// The `kubectl` commands that install the operator.
    const INSTALL: &'static [&'static str];
    /// The number of steps after which everything is kept running with `--keep`.
    const KEPT: usize;
    /// The arguments of the `kubectl get … -w` whose lines are shown, with the label of these lines.
    const WATCH: (&'static str, &'static [&'static str]);
    /// The label of the lines that show changes outside.
    const OUTSIDE: &'static str;
    /// Commands to try at the end.
    const TRY: [&'static str; 3];

    /// Whether `--drivers` has the programs run that the operator installs, in place of played ones.
    const HAS_DRIVERS: bool = false;

    /// Starts the control plane and the outside systems, and says where they are.
    async fn start(screen: &Screen, drivers: bool) -> Result<Self>;

    /// Returns the part of the control plane.
    fn site(&self) -> &Site;

    /// Returns how the operator is started.
    fn launch(&self) -> Launch;

    /// Returns what exists outside, each thing with a description.
    async fn outside(&self) -> Result<BTreeMap<String, String>>;

    /// Plays a step and verifies its outcome.
    async fn play(&self, step: usize, stage: &mut Stage) -> Result<()>;

    /// Returns lines about the outside systems for a person who keeps them running.
    fn access(&self) -> Result<Vec<String>>;
}

/// A step of a demo.
struct Step {
    title: &'static str,
    /// What the step shows, in one line.
    why: &'static str,
}

macro_rules! demos {
    ($($name:literal: $demo:ty),*) => {
        /// The names of the operators in commands; the first is the default.
        const NAMES: &[&str] = &[$($name),*];

        /// Runs the demo of the operator of this name.
        async fn run_named(name: &str, options: Options) -> Result<()> {
            match name {
                $($name => run::<$demo>(options).await,)*
                other => bail!("unknown operator {other}; use one of {}", NAMES.join(", ")),
            }
        }
    };
}

demos!("vm": VmDemo, "ako": AkoDemo, "vdo": VdoDemo);

/// What flags say.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    keep: bool,
    drivers: bool,
}

/// What steps change: the terminal and the operator's process.
struct Stage {
    screen: Screen,
    operator: OperatorProcess,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    let usage = || anyhow::anyhow!("usage: demo [{}] [--keep] [--drivers]", NAMES.join("|"));
    let options = Options { keep: flags.contains(&"--keep"), drivers: flags.contains(&"--drivers") };
    let is_unknown = flags.iter().any(|flag| !["--keep", "--drivers"].contains(flag));
    let result = match names.as_slice() {
        _ if is_unknown => Err(usage()),
        [] => run_named(NAMES[0], options).await,
        [name] => run_named(name, options).await,
        _ => Err(usage()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a demo. All servers stop when this returns or is dropped.
async fn run<D: Demo>(options: Options) -> Result<()> {
    ensure!(D::HAS_DRIVERS || !options.drivers, "--drivers is for the demo of vdo");
    let kept = tokio::select! {
        result = show::<D>(options) => result?,
        interrupted = interrupt() => return interrupted.and_then(|()| bail!("interrupted")),
    };
    let Some((demo, mut stage)) = kept else { return Ok(()) };
    keeping::print_access(&demo, &stage)?;
    tokio::select! {
        () = keeping::notice_ends(&demo, &mut stage) => {}
        interrupted = interrupt() => interrupted?,
    }
    println!("\nstopping everything");
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn interrupt() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Plays the steps. With `--keep`, plays the first and returns what is running.
async fn show<D: Demo>(options: Options) -> Result<Option<(D, Stage)>> {
    // The printed commands have paths relative to the root of the checkout.
    env::set_current_dir(project_root()?)?;
    let screen = Screen::new();
    let demo = D::start(&screen, options.drivers).await?;
    let played = play(&demo, screen, options.keep).await;
    if played.is_err() {
        let log = fs::read_to_string(demo.site().log_path()).unwrap_or_default();
        let skip = log.lines().count().saturating_sub(LOG_TAIL);
        eprintln!("\nThe end of the operator's log:");
        log.lines().skip(skip).for_each(|line| eprintln!("{line}"));
    }
    Ok(played?.map(|stage| (demo, stage)))
}

async fn play<D: Demo>(demo: &D, screen: Screen, keep: bool) -> Result<Option<Stage>> {
    screen.step(
        "Install the operator",
        "The manifests are applied as on a cluster, and the operator has its own account.",
    );
    screen.commands(D::INSTALL, demo.site().install_output());
    let mut operator = demo.site().spawn(&demo.launch())?;
    operator.ready().await?;
    screen.say(&format!(
        "there is no node to run Pods: the operator runs as process {} with the ServiceAccount's token",
        operator.process.pid()
    ));
    let mut stage = Stage { screen, operator };
    stage.screen.watch(demo).await?;
    let steps = if keep { D::KEPT } else { D::STEPS.len() };
    for (number, step) in D::STEPS.iter().enumerate().take(steps) {
        stage.screen.step(step.title, step.why);
        demo.play(number, &mut stage).await.with_context(|| format!("step {:?}", step.title))?;
    }
    if keep {
        return Ok(Some(stage));
    }
    stage.screen.step("All of it came true", "To look around yourself, run the demo with --keep and try:");
    for command in D::TRY {
        stage.screen.say(&format!("$ {command}"));
    }
    Ok(None)
}
