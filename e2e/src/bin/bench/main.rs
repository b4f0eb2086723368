//! `cargo xtask bench vm [PART…]|avi [--write]`: measures a subject, or parts of it, with an aim for some figures.
//!
//! Owns the conversion of figures to Markdown; each subject has a module that measures. `--write` also writes the figures to
//! docs/benchmarks.md, between the subject's markers. Prints a warning if other programs use the machine, because figures are
//! not comparable then.

mod avi;
mod machine;
mod report;
mod vm;

use std::env;
use std::fs;

use anyhow::{Context, Result, bail};
use report::Report;
use testbed::project_root;

/// The chapter with the figures.
const CHAPTER: &str = "docs/benchmarks.md";
const END: &str = "<!-- end -->";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (subject, parts, write) = match arguments.as_slice() {
        ["avi"] => ("avi", &[][..], false),
        ["avi", "--write"] => ("avi", &[][..], true),
        ["vm", "--write"] => ("vm", &[][..], true),
        ["vm", parts @ ..] if parts.iter().all(|part| vm::PARTS.contains(part)) => ("vm", parts, false),
        _ => bail!("usage: bench vm [{}] | vm --write | avi [--write]", vm::PARTS.join("|")),
    };
    machine::warn_if_busy();
    let report = tokio::select! {
        report = measured(subject, parts) => report?,
        interrupted = tokio::signal::ctrl_c() => { interrupted?; bail!("interrupted") }
    };
    let markdown = report.markdown();
    println!("\n{markdown}");
    if write {
        let path = project_root()?.join(CHAPTER);
        let chapter = fs::read_to_string(&path).with_context(|| format!("cannot read {CHAPTER}"))?;
        fs::write(&path, replaced(&chapter, subject, &markdown)?)
            .with_context(|| format!("cannot write {CHAPTER}"))?;
        println!("written to {CHAPTER}");
    }
    Ok(())
}

async fn measured(subject: &str, parts: &[&str]) -> Result<Report> {
    match subject {
        "avi" => avi::run().await,
        _ => vm::run(parts).await,
    }
}

/// Replaces the figures between the subject's markers.
fn replaced(chapter: &str, subject: &str, figures: &str) -> Result<String> {
    let begin = format!("<!-- begin: cargo xtask bench {subject} --write -->");
    let (before, rest) = chapter.split_once(&begin).with_context(|| format!("{CHAPTER} has no {begin}"))?;
    let (_, after) =
        rest.split_once(END).with_context(|| format!("{CHAPTER} has no {END} behind {begin}"))?;
    Ok(format!("{before}{begin}\n\n{}\n\n{END}{after}", figures.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_keeps_to_its_own_place() {
        let chapter = "a\n<!-- begin: cargo xtask bench vm --write -->\n1\n<!-- end -->\nb\n\
            <!-- begin: cargo xtask bench avi --write -->\n2\n<!-- end -->\nc\n";
        let written = replaced(chapter, "avi", "\nnew\n").unwrap();
        let expected = "a\n<!-- begin: cargo xtask bench vm --write -->\n1\n<!-- end -->\nb\n\
            <!-- begin: cargo xtask bench avi --write -->\n\nnew\n\n<!-- end -->\nc\n";
        assert_eq!(written, expected);
        assert!(replaced("", "vm", "").unwrap_err().to_string().contains("has no <!-- begin"));
    }
}
