//! `cargo xtask perturb OPERATOR`: the main job of an operator with one thing going wrong in each run.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use e2e::perturb::{self, RunName};
use e2e::{Planes, Rig, Selection, Visitor, print_list, with_rig};

/// Plays the main job of an operator again and again, with one other thing going wrong in each run
#[derive(Parser)]
#[command(name = "perturb")]
struct Options {
    #[command(flatten)]
    selection: Selection,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Options { selection } = Options::parse();
    match with_rig(&selection.operator.clone(), Perturb(selection)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Perturb(Selection);

impl Visitor for Perturb {
    async fn visit<R: Rig>(self) -> Result<()> {
        let Self(selection) = self;
        let named = selection.names.iter().map(|name| name.parse()).collect::<Result<Vec<RunName>>>()?;
        named.iter().try_for_each(RunName::check::<R>)?;
        let (planes, seed) = (Planes::default(), selection.seed());
        let lesson = perturb::learn::<R>(&planes).await?;
        named.iter().try_for_each(|name| lesson.plan.check::<R>(name))?;
        let runs = match selection.sample {
            _ if !named.is_empty() => named,
            Some(count) => lesson.plan.sample(count.get(), seed),
            None => lesson.plan.all().to_vec(),
        };
        if selection.list {
            let masked = lesson.masked().map(|path| format!("not compared: {path}"));
            let uncommon = lesson.plan.uncommon().map(|mark| format!("not in both clean runs: {mark}"));
            print_list(runs.iter().map(ToString::to_string).chain(masked).chain(uncommon))?;
            return Ok(());
        }
        println!("seed {seed}");
        perturb::run::<R>(&planes, &lesson, &runs, selection.lanes(&R::SUBJECT)).await
    }
}
