//! Walks: ten mutations in a row, chosen by a seed.

use anyhow::{Context, Result};
use serde_json::Value;
use testbed::Random;

use super::lane::Lane;
use super::mutation::Mutation;
use super::suite::is_clear;
use crate::rig::Rig;

/// How many mutations a walk makes.
const STEPS: usize = 10;
/// Of how many mutations a step chooses one that the API server accepts.
const TRIES: usize = 8;

/// Makes ten mutations in a row, each on what the earlier ones have left, half of them before the operator has answered the last;
/// reverts them all, and makes their result from scratch. Returns how the operator answered the last one.
pub(super) async fn walk<R: Rig>(lane: &Lane<R>, mutations: &[Mutation], seed: u64) -> Result<String> {
    let mut random = Random::new(seed);
    let (mut wanted, mut made) = (lane.sample.clone(), Vec::new());
    for _ in 0..STEPS {
        for _ in 0..TRIES {
            let mutation = random.choose(mutations).context("there is no mutation")?;
            let mut next = wanted.clone();
            mutation.apply(&mut next);
            if let Err(error) = lane.put(&next, false).await? {
                is_clear(error, [mutation.path()])?;
                continue;
            }
            wanted = next;
            made.push(mutation.to_string());
            if random.number().is_multiple_of(2) {
                lane.judge().await.with_context(|| format!("after {}", made.join(", ")))?;
            }
            break;
        }
    }
    finish(lane, &wanted).await.with_context(|| format!("the steps were {}", made.join(", ")))
}

/// Reverts the last spec of a walk, and makes it from scratch.
async fn finish<R: Rig>(lane: &Lane<R>, wanted: &Value) -> Result<String> {
    let judged = lane.judge().await?;
    // Something may be made from a spec in between.
    lane.restore().await?;
    lane.delete().await?;
    let new = lane.create(wanted).await.context("as a new object")?;
    lane.is_like(&judged, &new)?;
    lane.restore().await?;
    Ok(format!("updated: {}; new: {}", judged.verdict, new.verdict))
}
