//! Runs checks one after the other and prints a summary.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The result of a check that did not fail.
pub(crate) enum Outcome {
    Passed,
    /// The check cannot run on this machine, and the reason.
    Skipped(String),
}

/// A named check.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// A description, for its heading.
    pub(crate) about: &'static str,
    pub(crate) run: fn() -> Result<Outcome>,
}

/// Runs all checks, also after a failure. Returns whether none failed.
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
        lines.push(summary_line(word, check.name, took, &why));
    }
    println!("\n=== summary");
    for line in lines {
        println!("{line}");
    }
    let total = begin.elapsed().as_secs_f64();
    println!("{passed} passed, {failed} failed, {skipped} skipped in {total:.1} s");
    failed == 0
}

/// Formats a line of the summary.
fn summary_line(word: &str, name: &str, took: Duration, why: &str) -> String {
    // Only the first line of the message; the check has printed all of it.
    let why = why.lines().next().unwrap_or_default();
    format!("{word:7} {name:10} {:7.1} s  {why}", took.as_secs_f64()).trim_end().to_owned()
}
