//! `cargo xtask bench SUBJECT [PART…|--write]`: measures a subject, or parts of it, with an aim for some figures.
//!
//! Owns the conversion of figures to Markdown; each subject has a module that measures. `--write` also writes the figures to
//! docs/benchmarks.md, between the subject's markers. Prints a warning if other programs use the machine, because figures are
//! not comparable then.

mod ako;
mod avi;
mod machine;
mod program;
mod report;
mod vdo;
mod vm;

use std::env;
use std::fs;

use anyhow::{Context, Result, bail};
use report::Report;
use testbed::project_root;

/// The chapter with the figures.
const CHAPTER: &str = "docs/benchmarks.md";
/// The subjects, each with the parts that can be measured alone.
const SUBJECTS: [(&str, &[&str]); 4] =
    [("vm", vm::PARTS), ("ako", ako::PARTS), ("vdo", vdo::PARTS), ("avi", &[])];
const END: &str = "<!-- end -->";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [subject, parts @ ..] = arguments.as_slice() else {
        bail!("usage: bench SUBJECT [PART…|--write]; SUBJECT is one of {}", names());
    };
    let (parts, write) = if parts == ["--write"] { (&[][..], true) } else { (parts, false) };
    check(subject, parts)?;
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

/// Measures a subject, or parts of it.
async fn measured(subject: &str, parts: &[&str]) -> Result<Report> {
    match subject {
        "vm" => vm::run(parts).await,
        "ako" => ako::run(parts).await,
        "vdo" => vdo::run(parts).await,
        "avi" => avi::run().await,
        other => bail!("unknown subject {other}; use one of {}", names()),
    }
}

/// Returns the names of the subjects, for messages.
fn names() -> String {
    SUBJECTS.map(|(name, _)| name).join(", ")
}

/// Checks that the subject and its parts exist.
fn check(subject: &str, parts: &[&str]) -> Result<()> {
    let Some((_, known)) = SUBJECTS.iter().find(|(name, _)| *name == subject) else {
        bail!("unknown subject {subject}; use one of {}", names());
    };
    match parts.iter().find(|part| !known.contains(part)) {
        Some(part) if known.is_empty() => bail!("unknown part {part}; {subject} is only measured as a whole"),
        Some(part) => bail!("unknown part {part} of {subject}; use one of {}", known.join(", ")),
        None => Ok(()),
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
    fn unknown_subjects_and_parts_are_refused_with_those_that_exist() {
        let error = |subject, parts: &[&str]| check(subject, parts).unwrap_err().to_string();
        assert_eq!(error("vdx", &[]), "unknown subject vdx; use one of vm, ako, vdo, avi");
        assert_eq!(
            error("vm", &["50", "51"]),
            format!("unknown part 51 of vm; use one of {}", vm::PARTS.join(", "))
        );
        assert_eq!(error("avi", &["50"]), "unknown part 50; avi is only measured as a whole");
        check("vm", vm::PARTS).unwrap();
    }

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
