//! Runs checks one after the other and says at the end how each went.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How a check ended, when it did not fail.
pub(crate) enum Outcome {
    Passed,
    /// It could not be made here, and why.
    Skipped(String),
}

/// A named check.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// What it does, for its heading.
    pub(crate) about: &'static str,
    pub(crate) run: fn() -> Result<Outcome>,
}

/// Runs all of them, whether earlier ones failed or not. Whether none failed.
pub(crate) fn run(checks: &[&Check]) -> bool {
    let mut lines = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let begin = Instant::now();
    for check in checks {
        println!("\n=== {}: {}", check.name, check.about);
        let started = Instant::now();
        let result = (check.run)();
        let took = started.elapsed();
        let (word, why) = match result {
            Ok(Outcome::Passed) => {
                passed += 1;
                ("ok", String::new())
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                ("skipped", why)
            }
            Err(error) => {
                failed += 1;
                ("FAILED", format!("{error:#}"))
            }
        };
        if !why.is_empty() {
            println!("{word}: {why}");
        }
        println!("--- {} {word} after {:.1} s", check.name, took.as_secs_f64());
        lines.push(line(word, check.name, took, &why));
    }
    println!("\n=== summary");
    for line in lines {
        println!("{line}");
    }
    let total = begin.elapsed().as_secs_f64();
    println!("{passed} passed, {failed} failed, {skipped} skipped in {total:.1} s");
    failed == 0
}

fn line(word: &str, name: &str, took: Duration, why: &str) -> String {
    // One line per check: the whole message stands further up.
    let why = why.lines().next().unwrap_or_default();
    format!("{word:7} {name:10} {:7.1} s  {why}", took.as_secs_f64()).trim_end().to_owned()
}
