//! Mutates the objects of an operator: `cargo xtask mutate OPERATOR`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use e2e::mutate::{self, Case, Catalogue};
use e2e::{PageRig, Plane, Rig, VmRig};
use testbed::ControlPlane;

const HELP: &str = "\
usage: mutate OPERATOR [OPTION…]     OPERATOR: vm, page

Without an option: each mutation, each pair of mutations, and 20 walks of ten steps.

  --list             prints the names of the mutations and scenarios
  --only NAME        runs this case; may be repeated. Mutations joined by ' & ' are made with one request
  --singles          runs each mutation and each scenario
  --pairs            runs each pair of mutations
  --walks N          runs N walks
  --seed SEED        the seed of the first walk; the others have the next ones. Default: the time
  --walk SEED        runs the walk of this seed; may be repeated
  --lanes N          namespaces, each with an operator, at the same time. Default: 3
";

#[derive(Debug, Default)]
struct Options {
    list: bool,
    only: Vec<String>,
    /// Those of `only` that a sample has.
    found: RefCell<BTreeSet<String>>,
    singles: bool,
    pairs: bool,
    walks: u64,
    seed: u64,
    seeds: Vec<u64>,
    lanes: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((operator, options)) if operator == "vm" => run::<VmRig>(options).await,
        Some((operator, options)) if operator == "page" => run::<PageRig>(options).await,
        Some((operator, _)) if !operator.starts_with('-') => {
            Err(anyhow::anyhow!("unknown operator {operator}; use one of vm, page"))
        }
        _ => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run<R: Rig>(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let plane = Plane::start(ControlPlane::builder().audit(true)).await?.into();
    let start = Instant::now();
    let report = mutate::run::<R>(
        &plane,
        options.lanes,
        |catalogue| options.select(catalogue),
        |case, result| match result {
            Ok(answer) => println!("ok    {case} ({answer})"),
            Err(_) => println!("FAIL  {case}"),
        },
    )
    .await?;
    let missing = options.only.iter().find(|name| !options.found.borrow().contains(*name));
    ensure!(missing.is_none(), "there is no mutation {missing:?}: see --list");
    println!("{}: {report}, in {:.0} s", R::SUBJECT.name, start.elapsed().as_secs_f64());
    report.check(R::SUBJECT.short())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let mut options = Self { lanes: 3, seed, ..Self::default() };
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--list" => options.list = true,
                "--singles" => options.singles = true,
                "--pairs" => options.pairs = true,
                "--only" => options.only.push(value()?.clone()),
                "--walks" => options.walks = number(option, value()?)?,
                "--seed" => options.seed = number(option, value()?)?,
                "--walk" => options.seeds.push(number(option, value()?)?),
                "--lanes" => options.lanes = usize::try_from(number(option, value()?)?)?,
                other => bail!("unknown option {other}\n\n{HELP}"),
            }
        }
        let is_chosen = options.list || options.singles || options.pairs || options.walks > 0;
        if !is_chosen && options.only.is_empty() && options.seeds.is_empty() {
            (options.singles, options.pairs, options.walks) = (true, true, 20);
        }
        options.seeds.extend((0..options.walks).map(|n| options.seed.wrapping_add(n)));
        Ok(options)
    }

    /// Returns the chosen cases of a sample.
    fn select(&self, catalogue: &Catalogue) -> Vec<Case> {
        let mut cases = Vec::new();
        if self.list {
            for case in catalogue.singles() {
                println!("{case}");
            }
        }
        for name in &self.only {
            if let Some(case) = catalogue.find(name) {
                self.found.borrow_mut().insert(name.clone());
                cases.push(case);
            }
        }
        if self.singles {
            cases.extend(catalogue.singles());
        }
        if self.pairs {
            cases.extend(catalogue.pairs());
        }
        cases.extend(self.seeds.iter().copied().map(Case::Walk));
        cases
    }
}

fn number(option: &str, text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("{option} {text}: not a number"))
}
