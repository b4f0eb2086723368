//! `cargo xtask bench vm [--write]`: what vm-operator's release build costs, each figure beside its aim.
//!
//! Owns the order of the measurements and the aims. Prints Markdown; with `--write` it also goes into
//! docs/benchmarks.md, between the markers. Figures of a machine that does other things are worthless:
//! it says so if it sees that.

mod machine;
mod memory;
mod phases;
mod report;

use std::env;
use std::fs;

use anyhow::{Context, Result, bail};
use testbed::project_root;

/// The chapter that holds the figures.
const CHAPTER: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- begin: cargo xtask bench vm --write -->";
const END: &str = "<!-- end -->";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let write = match arguments.as_slice() {
        ["vm"] => false,
        ["vm", "--write"] => true,
        _ => bail!("usage: bench vm [--write]"),
    };
    machine::warn_if_busy();
    let report = tokio::select! {
        report = phases::run() => report?,
        interrupted = tokio::signal::ctrl_c() => { interrupted?; bail!("interrupted") }
    };
    let markdown = report.markdown();
    println!("\n{markdown}");
    if write {
        let path = project_root()?.join(CHAPTER);
        let chapter = fs::read_to_string(&path).with_context(|| format!("cannot read {CHAPTER}"))?;
        fs::write(&path, replaced(&chapter, &markdown)?)
            .with_context(|| format!("cannot write {CHAPTER}"))?;
        println!("written to {CHAPTER}");
    }
    Ok(())
}

/// The chapter with other figures between the markers.
fn replaced(chapter: &str, figures: &str) -> Result<String> {
    let (before, rest) = chapter.split_once(BEGIN).with_context(|| format!("{CHAPTER} has no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{CHAPTER} has no {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", figures.trim()))
}
