//! The check `book`: relative links in the book and the README must lead to files, and every chapter must be in the summary.
//!
//! Ignores links to the network.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Checks README.md and docs. An error lists all faults.
pub(crate) fn check(root: &Path) -> Result<()> {
    let source = root.join("docs");
    let summary = source.join("SUMMARY.md");
    let mut files = Vec::new();
    markdown_files(&source, &mut files).with_context(|| format!("no book in {}", source.display()))?;
    files.sort();
    let mut faults = Vec::new();
    let mut chapters = BTreeSet::new();
    for file in files.iter().chain([&root.join("README.md")]) {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let directory = file.parent().unwrap_or(root);
        for (line, target) in links(&text) {
            let Some(path) = link_path(target) else { continue };
            let path = directory.join(path);
            match path.canonicalize() {
                Ok(path) if *file == summary => {
                    chapters.insert(path);
                }
                Ok(_) => {}
                Err(_) => faults.push(format!("{}:{line}: {target} does not exist", relative_to(file, root))),
            }
        }
    }
    for file in files.iter().filter(|file| **file != summary) {
        if !chapters.contains(&file.canonicalize()?) {
            faults.push(format!("{} is not in SUMMARY.md; add it", relative_to(file, root)));
        }
    }
    ensure!(faults.is_empty(), "{} faults: {}", faults.len(), faults.join("\n"));
    println!("{} files, {} chapters", files.len() + 1, chapters.len());
    Ok(())
}

/// Returns a path relative to the root, for messages.
fn relative_to(file: &Path, root: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// Collects the Markdown files of a directory.
fn markdown_files(directory: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            markdown_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
    Ok(())
}

/// Returns the targets of `[text](target)` outside of code, with line numbers.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second part between backticks is code.
        for prose in line.split('`').step_by(2) {
            // Of `[`code`](target)` the prose has `](target)`.
            for piece in prose.split("](").skip(1) {
                if let Some((target, _)) = piece.split_once(')') {
                    found.push((index + 1, target.split_whitespace().next().unwrap_or_default()));
                }
            }
        }
    }
    found
}

/// Returns the path of a relative link, without its anchor; `None` for links within the page and to the network.
fn link_path(target: &str) -> Option<&str> {
    let path = target.split('#').next().unwrap_or_default();
    (!path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_are_ignored() {
        let text = "a [b](c.md) and [`d`](e.md#f \"title\") not `[x](y.md)`\n```\n[n](o.md)\n```\n[p](#q) [r](https://s)";
        assert_eq!(links(text), [(1, "c.md"), (1, "e.md#f"), (5, "#q"), (5, "https://s")]);
        let files: Vec<_> = links(text).into_iter().filter_map(|(_, target)| link_path(target)).collect();
        assert_eq!(files, ["c.md", "e.md"]);
    }

    #[test]
    fn dead_links_and_missing_chapters_are_faults() {
        let root = std::env::temp_dir().join(format!("xtask-book-{}", std::process::id()));
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::write(root.join("README.md"), "[docs](docs/a.md) [gone](gone.md)").unwrap();
        fs::write(root.join("docs/SUMMARY.md"), "- [A](a.md)").unwrap();
        fs::write(root.join("docs/a.md"), "[up](../README.md)").unwrap();
        fs::write(root.join("docs/b.md"), "").unwrap();
        let error = check(&root).unwrap_err().to_string();
        fs::remove_dir_all(&root).unwrap();
        assert!(
            error.starts_with("2 faults") && error.contains("README.md:1: gone.md does not exist"),
            "{error}"
        );
        assert!(error.contains("b.md is not in SUMMARY.md"), "{error}");
    }
}
