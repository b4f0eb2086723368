//! `cargo xtask mutate OPERATOR`: gives the objects of an operator each value that their CRDs allow.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use e2e::mutate::{self, Case, Catalogue};
use e2e::{Planes, Rig, Selection, Visitor, print_list, with_rig};
use testbed::Random;

/// Gives an operator's objects each value that their CRDs allow. Without a selection: each mutation and scenario, each pair of
/// mutations, and 20 walks of ten mutations
#[derive(Parser)]
#[command(name = "mutate")]
struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Selects each mutation and each scenario
    #[arg(long, conflicts_with = "names")]
    singles: bool,
    /// Selects each two mutations of different places, made with one request
    #[arg(long, conflicts_with = "names")]
    pairs: bool,
    /// Selects that many walks, with the seed and the next ones
    #[arg(long, value_name = "COUNT", conflicts_with = "names")]
    walks: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let operator = options.selection.operator.clone();
    let seed = options.selection.seed();
    match Box::pin(with_rig(&operator, Mutate { options, seed, found: RefCell::default() })).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Mutate {
    options: Options,
    seed: u64,
    /// The names of `--run` that a sample has.
    found: RefCell<BTreeSet<String>>,
}

impl Visitor for Mutate {
    async fn visit<R: Rig>(self) -> Result<()> {
        let (planes, start, selection) = (Planes::default(), Instant::now(), &self.options.selection);
        if selection.list {
            for catalogue in mutate::catalogues::<R>(&planes).await? {
                print_list(self.select(&catalogue))?;
            }
            return self.check_names();
        }
        println!("seed {}", self.seed);
        let report = mutate::run::<R>(
            &planes,
            selection.lanes(&R::SUBJECT),
            |catalogue| self.select(catalogue),
            |case, result, took| match result {
                Ok(answer) => println!("ok      {case} ({answer}; {:.1} s)", took.as_secs_f64()),
                Err(_) => println!("FAILED  {case}"),
            },
        )
        .await?;
        self.check_names()?;
        println!("{}: {report}, in {:.0} s", R::SUBJECT.name, start.elapsed().as_secs_f64());
        report.check(&R::SUBJECT)
    }
}

impl Mutate {
    /// Fails if `--run` names a run that no sample has.
    fn check_names(&self) -> Result<()> {
        let found = self.found.borrow();
        if let Some(name) = self.options.selection.names.iter().find(|name| !found.contains(*name)) {
            bail!(
                "unknown run {name}; use one of --list, several mutations of different fields with \" & \" between them, or `walk NUMBER`"
            );
        }
        Ok(())
    }

    /// Returns the chosen cases of a sample.
    fn select(&self, catalogue: &Catalogue) -> Vec<Case> {
        let Options { selection, singles, pairs, walks } = &self.options;
        if !selection.names.is_empty() {
            let named = selection.names.iter().filter_map(|name| Some((name, catalogue.find(name)?)));
            return named
                .map(|(name, case)| {
                    self.found.borrow_mut().insert(name.clone());
                    case
                })
                .collect();
        }
        let all = !singles && !pairs && walks.is_none();
        let mut cases = Vec::new();
        if *singles || all {
            cases.extend(catalogue.singles());
        }
        if *pairs || all {
            cases.extend(catalogue.pairs());
        }
        let walks = walks.unwrap_or(if all { 20 } else { 0 });
        cases.extend((0..walks).map(|n| Case::Walk(self.seed.wrapping_add(n))));
        let mut random = Random::new(self.seed);
        let excess = selection.sample.map_or(0, |count| cases.len().saturating_sub(count.get()));
        for _ in 0..excess {
            cases.swap_remove(random.below(cases.len()));
        }
        cases
    }
}
