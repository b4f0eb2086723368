//! `cargo xtask perturb OPERATOR`: the main job of an operator with one thing going wrong in each run.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use e2e::perturb::{self, RunName};
use e2e::{PageRig, Plane, Rig, VmRig};
use testbed::ControlPlane;

const USAGE: &str = "usage: perturb vm|page [--run NAME | --sample COUNT [--seed NUMBER] | --list] \
                     [--lanes NUMBER]";

/// What is to be run.
struct Options {
    runs: Vec<RunName>,
    sample: Option<usize>,
    seed: u64,
    lanes: usize,
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let operator = arguments.next().context(USAGE)?;
    let options = parse(arguments)?;
    match operator.as_str() {
        "vm" => perturb::<VmRig>(&options).await,
        "page" => perturb::<PageRig>(&options).await,
        other => bail!("unknown operator {other}\n{USAGE}"),
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { runs: Vec::new(), sample: None, seed: 0, lanes: 4, list: false };
    while let Some(argument) = arguments.next() {
        if argument == "--list" {
            options.list = true;
            continue;
        }
        let value = arguments.next().context(USAGE)?;
        let number = || value.parse().with_context(|| format!("{argument} {value}: write a number"));
        match argument.as_str() {
            "--run" => options.runs.push(value.parse()?),
            "--sample" => options.sample = Some(usize::try_from(number()?)?),
            "--seed" => options.seed = number()?,
            "--lanes" => options.lanes = usize::try_from(number()?.max(1))?,
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    Ok(options)
}

async fn perturb<R: Rig>(options: &Options) -> Result<()> {
    options.runs.iter().try_for_each(RunName::check::<R>)?;
    let plane = Arc::new(Plane::start(ControlPlane::builder()).await?);
    let lesson = perturb::learn::<R>(&plane).await?;
    let runs = match options.sample {
        _ if !options.runs.is_empty() => options.runs.clone(),
        Some(count) => lesson.plan.sample(count, options.seed),
        None => lesson.plan.all().to_vec(),
    };
    if options.list {
        for run in &runs {
            println!("{run}");
        }
        for path in lesson.masked() {
            println!("not compared: {path}");
        }
        return Ok(());
    }
    if options.sample.is_some() {
        println!("seed {}", options.seed);
    }
    perturb::run::<R>(&plane, &lesson, &runs, options.lanes).await
}
