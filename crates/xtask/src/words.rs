//! The check `words`: phrases that the style guide rules out, and files that are too long.
//!
//! Reads every Rust, Go, Python, Markdown and YAML file that Git tracks or would add. The phrases and what to write instead are
//! in `words.txt`; docs/contributing.md explains the style.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The phrases, one `PHRASE = SUGGESTION` per line.
const PHRASES: &str = include_str!("words.txt");
/// The maximum number of lines that a Rust or Go file may have, tests included.
const MAX_LINES: usize = 500;
/// Files that are not checked, because they quote the phrases: the style guide and the tests below.
const QUOTES: &[&str] = &["docs/contributing.md", "crates/xtask/src/words.rs"];
/// What the lines of a comment begin with.
const MARKERS: &[&str] = &["//!", "///", "//", "#", ">", "*"];

/// A phrase to avoid.
#[derive(Debug, PartialEq)]
struct Phrase {
    text: &'static str,
    /// Whether further letters may follow.
    is_prefix: bool,
    suggestion: &'static str,
}

/// Checks every file under `root`; an error lists each fault as `file:line`.
pub(crate) fn check(root: &Path) -> Result<()> {
    let phrases = parse(PHRASES)?;
    let files = files(root)?;
    let mut faults = Vec::new();
    for file in &files {
        let path = root.join(file);
        // Git lists a deleted file until the deletion is staged.
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        faults.extend(file_faults(file, &text, &phrases));
    }
    ensure!(faults.is_empty(), "{} faults; docs/contributing.md:\n{}", faults.len(), faults.join("\n"));
    println!("{} files, {} phrases", files.len(), phrases.len());
    Ok(())
}

/// Returns the checked files, relative to `root`: those that Git tracks or would add.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"]);
    let output = git.args(["*.rs", "*.go", "*.py", "*.md", "*.yaml"]).output();
    let output = output.context("cannot run git, which lists the files to check; install it")?;
    if !output.status.success() {
        bail!("git ls-files: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8; rename it")?;
    let checked = names.split('\0').filter(|name| !name.is_empty() && !QUOTES.contains(name));
    Ok(checked.map(str::to_owned).collect())
}

/// Parses `words.txt`.
fn parse(text: &'static str) -> Result<Vec<Phrase>> {
    let mut phrases = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (phrase, suggestion) = line
            .split_once(" = ")
            .with_context(|| format!("words.txt:{}: write PHRASE = SUGGESTION", index + 1))?;
        ensure!(phrase == phrase.to_lowercase(), "words.txt:{}: write the phrase in lower case", index + 1);
        let (text, is_prefix) = match phrase.strip_suffix('*') {
            Some(text) => (text, true),
            None => (phrase, false),
        };
        phrases.push(Phrase { text, is_prefix, suggestion });
    }
    Ok(phrases)
}

/// Returns what is wrong with one file, a line for each fault.
fn file_faults(file: &str, text: &str, phrases: &[Phrase]) -> Vec<String> {
    let mut faults: Vec<String> = find(text, phrases)
        .into_iter()
        .map(|(line, phrase)| format!("{file}:{line}: \"{}\": write: {}", phrase.text, phrase.suggestion))
        .collect();
    let lines = text.lines().count();
    let is_code = [".rs", ".go"].iter().any(|extension| file.ends_with(extension));
    if is_code && lines > MAX_LINES {
        faults.push(format!("{file}:{MAX_LINES}: {lines} lines; split the file, the limit is {MAX_LINES}"));
    }
    faults
}

/// Finds phrases in a text: the line on which each begins, in the order of the lines.
fn find<'a>(text: &str, phrases: &'a [Phrase]) -> Vec<(usize, &'a Phrase)> {
    let (prose, starts) = flatten(text);
    let mut found = Vec::new();
    for phrase in phrases {
        for (at, _) in prose.match_indices(phrase.text) {
            let (before, rest) = prose.split_at(at);
            let after = rest.get(phrase.text.len()..).unwrap_or_default();
            let begins = !before.ends_with(char::is_alphanumeric);
            let ends = phrase.is_prefix || !after.starts_with(char::is_alphanumeric);
            if begins && ends {
                found.push((starts.partition_point(|start| *start <= at), phrase));
            }
        }
    }
    found.sort_by_key(|(line, _)| *line);
    found
}

/// Returns the text in lower case and on one line, without comment markers, with single spaces for white space and
/// `_`; and at which byte of that each line begins.
fn flatten(text: &str) -> (String, Vec<usize>) {
    let mut prose = String::with_capacity(text.len());
    let mut starts = Vec::new();
    for line in text.lines() {
        starts.push(prose.len());
        let line = line.trim();
        let line = MARKERS.iter().find_map(|marker| line.strip_prefix(marker)).unwrap_or(line);
        // A string may continue on the next line.
        let line = line.strip_suffix('\\').unwrap_or(line);
        for word in line.split(|character: char| character.is_whitespace() || character == '_') {
            if !word.is_empty() {
                prose.push_str(&word.to_lowercase());
                prose.push(' ');
            }
        }
    }
    (prose, starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases() -> Vec<Phrase> {
        parse("# Comment\n\nwhose turn = the head of the queue\nheed* = obey\nanew = again\n").unwrap()
    }

    fn found(text: &str) -> Vec<(usize, &'static str)> {
        find(text, &phrases()).into_iter().map(|(line, phrase)| (line, phrase.text)).collect()
    }

    #[test]
    fn phrases_are_found_in_comments_strings_and_names() {
        assert_eq!(found("/// Begins Anew.\nlet s = \"nobody heeds it\";"), [(1, "anew"), (2, "heed")]);
        assert_eq!(found("\n\nfn whose_turn() {}"), [(3, "whose turn")]);
    }

    #[test]
    fn phrases_are_found_across_lines() {
        assert_eq!(found("    /// It says whose\n    /// turn it is."), [(1, "whose turn")]);
        assert_eq!(found("\"whose \\\n     turn\""), [(1, "whose turn")]);
        assert_eq!(found("# whose\n#  turn"), [(1, "whose turn")]);
    }

    #[test]
    fn parts_of_words_are_not_found() {
        assert_eq!(found("renewanew anewer, whose turns, unheeded"), []);
    }

    #[test]
    fn lines_that_do_not_parse_are_named() {
        let error = parse("anew = again\nanew: again").unwrap_err().to_string();
        assert!(error.starts_with("words.txt:2:"), "{error}");
        let error = parse("Anew = again").unwrap_err().to_string();
        assert!(error.contains("lower case"), "{error}");
    }

    #[test]
    fn a_fault_names_file_line_phrase_and_suggestion() {
        assert_eq!(file_faults("a.rs", "\n// anew", &phrases()), ["a.rs:2: \"anew\": write: again"]);
    }

    #[test]
    fn long_code_is_a_fault_and_long_prose_is_not() {
        let text = "\n".repeat(MAX_LINES + 1);
        assert_eq!(
            file_faults("a.rs", &text, &[]),
            ["a.rs:500: 501 lines; split the file, the limit is 500"]
        );
        assert_eq!(file_faults("a.go", &text, &[]).len(), 1);
        assert!(file_faults("a.md", &text, &[]).is_empty());
        assert!(file_faults("a.rs", &"\n".repeat(MAX_LINES), &[]).is_empty());
    }

    #[test]
    fn the_word_list_parses_and_has_no_phrase_twice() {
        let mut texts: Vec<_> = parse(PHRASES).unwrap().into_iter().map(|phrase| phrase.text).collect();
        let count = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), count);
    }
}
