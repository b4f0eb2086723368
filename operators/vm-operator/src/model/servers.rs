//! The models of the two servers against real ones: random sequences of what the operator, users and administrators do, each
//! from a seed. `SEED=<number>` repeats the sequence that failed.

mod api_server;
mod vcenter;

use std::future::Future;

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use testbed::Random;

/// Sequences for each server.
const SEQUENCES: u64 = 1_000;
/// Steps in each.
const STEPS: usize = 12;

/// A real server and its model.
trait Pair {
    /// Takes a step in both. Returns what it was.
    async fn step(&mut self, random: &mut Random) -> Result<String>;

    /// Checks that both are in the same state.
    async fn compare(&mut self) -> Result<()>;
}

/// Takes the steps of a seed, and compares after each.
async fn walk(mut pair: impl Pair, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        let step = pair.step(&mut random).await.with_context(|| format!("after {steps:?}"))?;
        steps.push(step);
        pair.compare().await.with_context(|| format!("after {steps:?}"))?;
    }
    Ok(())
}

/// Returns a number below `limit`.
fn below(random: &mut Random, limit: u8) -> u8 {
    u8::try_from(random.below(limit.into())).unwrap()
}

/// Runs the sequences, so many at a time.
async fn run_all<F: Future<Output = Result<()>>>(parallel: usize, sequence: impl Fn(u64) -> F) {
    let only = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = (0..SEQUENCES).filter(|seed| only.is_none_or(|only: u64| only == *seed));
    let mut runs = stream::iter(seeds)
        .map(|seed| {
            let run = sequence(seed);
            async move { (seed, run.await) }
        })
        .buffer_unordered(parallel);
    while let Some((seed, result)) = runs.next().await {
        if let Err(error) = result {
            panic!("SEED={seed}: {error:?}");
        }
    }
}
