//! Perturbation, after Sieve: the main job of an operator runs again and again, and in each run one other thing goes wrong.
//!
//! Two clean runs record all requests, watch events and end states. The [plan](Plan) has a run for each of them and each of
//! its faults, and for each fault of the outside system. A run passes if the fault took effect and everything ends as in the
//! clean runs. Works for every [`Rig`]; knows no operator.
//!
//! ```text
//!  learn (two clean runs) ──▶ Plan (names) ──▶ play (one run) ──▶ Reference::differences
//! ```

mod counts;
mod name;
mod plan;
mod play;
mod reference;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;

pub use self::name::{Place, RunName};
pub use self::plan::Plan;
use self::play::{Ending, play, play_clean};
use self::reference::Reference;
use crate::command::replay;
use crate::planes::Planes;
use crate::rig::Rig;

/// The number of times that a run is played until its fault takes effect.
const TRIES: u32 = 3;

/// What is known from the clean runs.
pub struct Lesson {
    /// All runs.
    pub plan: Plan,
    reference: Reference,
}

impl Lesson {
    /// Returns the values that are not compared, because they differ between clean runs.
    pub fn masked(&self) -> impl Iterator<Item = &str> {
        self.reference.mask().paths()
    }
}

/// Plays two clean runs.
///
/// # Errors
/// If a step fails without a perturbation; or the runs have too little in common, such as no write that went through the proxy.
pub async fn learn<R: Rig>(planes: &Planes) -> Result<Lesson> {
    let clean = async |again| play_clean::<R>(planes.take(&R::SUBJECT).await?, again).await;
    let (first, second) =
        tokio::try_join!(clean(false), clean(true)).context("a run without perturbation")?;
    let plan = Plan::new::<R>(&first.record, &second.record)?;
    Ok(Lesson { plan, reference: Reference::new(&first, &second) })
}

/// Plays runs of an operator, `lanes` at a time, and prints the result of each.
///
/// # Errors
/// If one fails; the error has the number of failures, and the command that repeats each is printed.
pub async fn run<R: Rig>(planes: &Planes, lesson: &Lesson, names: &[RunName], lanes: usize) -> Result<()> {
    let begin = Instant::now();
    let runs = names.iter().map(|name| async move {
        let begin = Instant::now();
        (name, until_fired::<R>(planes, lesson, name).await, begin.elapsed())
    });
    let mut runs = futures::stream::iter(runs).buffer_unordered(lanes);
    let (mut passed, mut without, mut calls_without, mut failed) = (0, 0, 0, Vec::new());
    while let Some((name, result, time)) = runs.next().await {
        let time = time.as_secs_f32();
        match result {
            Ok(true) => {
                passed += 1;
                println!("ok      {time:5.1} s  {name}");
            }
            Ok(false) if has_found::<R>(name) => {
                println!(
                    "FAILED  {time:5.1} s  {name}: it has found a defect, and meets no call any more: name another call"
                );
                failed.push(name);
            }
            Ok(false) => {
                without += 1;
                calls_without += usize::from(name.is_call());
                println!("unmet   {time:5.1} s  {name}: no call met the fault");
            }
            Err(error) => {
                println!("FAILED  {time:5.1} s  {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    let seconds = begin.elapsed().as_secs();
    println!(
        "{}: {passed} passed, {} failed, {without} unmet, in {seconds} s",
        R::SUBJECT.name,
        failed.len()
    );
    for name in &failed {
        println!("repeat with: {}", replay("perturb", &R::SUBJECT, name));
    }
    ensure!(failed.is_empty(), "{} of {} runs failed", failed.len(), names.len());
    let calls = names.iter().filter(|name| name.is_call()).count();
    ensure!(calls >= 2 * calls_without, "{calls_without} of {calls} runs named a call that did not come");
    Ok(())
}

/// Returns whether a run is one of those that have found something.
fn has_found<R: Rig>(name: &RunName) -> bool {
    let name = name.to_string();
    R::FOUND.iter().flat_map(|found| found.runs).any(|run| **run == *name)
}

/// Plays a run until its fault takes effect. Returns false if it cannot.
async fn until_fired<R: Rig>(planes: &Planes, lesson: &Lesson, name: &RunName) -> Result<bool> {
    for _ in 0..TRIES {
        match play::<R>(planes.take(&R::SUBJECT).await?, name, &lesson.reference).await? {
            Ending::Fired => return Ok(true),
            Ending::Unmet if name.is_worth_repeating::<R>() => {}
            Ending::Unmet => break,
        }
    }
    ensure!(name.may_be_unmet::<R>(), "the fault did not take effect in {TRIES} runs");
    Ok(false)
}

/// Returns the directory for the logs of failed runs.
fn log_directory() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.ancestors().nth(2).context("the path of this program has no directory")?;
    let directory = directory.join("perturb-logs");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// The time within which everything must be as in the clean runs after a step has ended.
const CONVERGENCE: Duration = Duration::from_mins(2);
