//! The models of the two servers against real ones: random sequences of what the operator, users and administrators do, each
//! from a seed. `SEED=<number>` repeats the sequence that failed.

mod api_server;
mod vcenter;

use std::future::Future;

use futures::{StreamExt, stream};

/// Sequences for each server.
const SEQUENCES: u64 = 1_000;
/// Steps in each.
const STEPS: usize = 12;

/// Random numbers from a seed: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`.
    fn below(&mut self, limit: u8) -> u8 {
        u8::try_from(self.next() % u64::from(limit)).unwrap()
    }
}

/// Runs the sequences, so many at a time.
async fn run_all<F: Future<Output = anyhow::Result<()>>>(parallel: usize, sequence: impl Fn(u64) -> F) {
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
