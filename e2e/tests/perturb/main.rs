//! Every operator ends as in a clean run when one thing goes wrong: samples of what `cargo xtask perturb` runs, and the runs
//! that have found something.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use e2e::perturb::{self, Place, RunName};
use e2e::{Planes, Rig};

/// Selects the runs.
const SEED: u64 = 9;

/// Plays the runs of a rig that have found something, and a sample of all.
async fn passes<R: Rig>() {
    let planes = Planes::default();
    let lesson = perturb::learn::<R>(&planes).await.unwrap();
    let planned: BTreeSet<Place> = lesson.plan.all().iter().map(RunName::place).collect();
    for place in [Place::Write, Place::Event, Place::Read] {
        assert!(planned.contains(&place), "the plan has no {place}: {planned:?}");
    }
    println!("seed {SEED}");
    let mut runs: Vec<RunName> = Vec::new();
    for found in R::FOUND {
        println!("{:?} found: {}", found.runs, found.what);
        runs.extend(found.runs.iter().map(|name| name.parse().unwrap()));
    }
    let sample = lesson.plan.sample(R::SAMPLE, SEED);
    let of = |runs: &[RunName]| runs.iter().map(|run| (run.place(), run.fault())).collect::<BTreeSet<_>>();
    let (all, played) = (of(lesson.plan.all()), of(&sample));
    println!("faults that the sample leaves out: {:?}", all.difference(&played).collect::<Vec<_>>());
    assert_eq!(played.len(), all.len().min(R::SAMPLE), "a fault is played twice before another one");
    runs.extend(sample);
    perturb::run::<R>(&planes, &lesson, &runs, R::SUBJECT.lanes()).await.unwrap();
}

macro_rules! it_ends_as_without_the_fault {
    ($($name:ident: $rig:ident),*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn it_ends_as_without_the_fault() {
                super::passes::<e2e::$rig>().await;
            }
        }
    )*};
}

e2e::rigs!(it_ends_as_without_the_fault);
