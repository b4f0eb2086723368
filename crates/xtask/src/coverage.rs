//! A part of the check `book`: each test that a page of coverage names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The page.
const PAGE: &str = "docs/ako-operator/coverage.md";
/// Where the tests of a prefix are, as the page says. Those without one are of the operator.
const PLACES: &[(&str, &str)] = &[
    ("e2e::", "e2e/tests/ako_operator"),
    ("contract::", "e2e/src/contract.rs"),
    ("capi::", "crates/infra-clients/src/capi"),
    ("", "operators/ako-operator/src"),
    ("", "operators/ako-operator/tests"),
];
/// Parts of a path that are in no name of a test.
const UNNAMED: &[&str] = &["tests", "mod", "main", "lib"];

/// Checks the page. An error lists all names of which there is no test.
pub(crate) fn check(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let mut tests = BTreeSet::new();
    for (prefix, place) in PLACES {
        add_tests(&root.join(place), prefix, &mut tests).with_context(|| format!("no tests in {place}"))?;
    }
    let named = names(&text);
    ensure!(!named.is_empty(), "{PAGE} names no test");
    let missing = named.iter().filter(|(_, name)| !tests.contains(*name));
    let missing: Vec<_> =
        missing.map(|(line, name)| format!("{PAGE}:{line}: there is no test {name}")).collect();
    ensure!(missing.is_empty(), "{} faults: {}", missing.len(), missing.join("\n"));
    println!("{PAGE}: {} names of tests", named.len());
    Ok(())
}

/// Returns the names of tests, such as `module::test`, with line numbers.
fn names(text: &str) -> Vec<(usize, &str)> {
    let is_name = |code: &&str| {
        let is_of_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
        code.contains("::") && !code.ends_with("::") && code.chars().all(is_of_names)
    };
    let lines = text.lines().enumerate();
    // Every second part between backticks is code.
    lines
        .flat_map(|(at, line)| {
            line.split('`').skip(1).step_by(2).filter(is_name).map(move |name| (at + 1, name))
        })
        .collect()
}

/// Adds the names of all tests in a file, or in the files of a directory.
fn add_tests(place: &Path, prefix: &str, into: &mut BTreeSet<String>) -> Result<()> {
    let mut files = Vec::new();
    if place.is_dir() {
        rust_files(place, &mut files)?;
    } else {
        files.push(place.to_owned());
    }
    for file in files {
        let within = file.strip_prefix(place).unwrap_or(&file).with_extension("");
        let parts = within.iter().filter_map(|part| part.to_str()).filter(|part| !UNNAMED.contains(part));
        let module: Vec<_> = parts.collect();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for name in functions(&text) {
            into.insert(format!("{prefix}{}", [&*module, &[name]].concat().join("::")));
        }
    }
    Ok(())
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// Returns the names of the tests in a formatted file.
fn functions(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    let is_code = |line: &&str| !line.starts_with("//");
    for line in text.lines().map(str::trim_start).filter(is_code) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with('#')) {
            found.extend(rest.split(['(', '<']).next());
            is_test = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_code_with_a_module() {
        let text = "| `a::b_1` and `c` | `e2e::` is `x/y.rs`, `A::new`, a::b, `a::b()` |\n`d::e::f`";
        assert_eq!(names(text), [(1, "a::b_1"), (2, "d::e::f")]);
    }

    #[test]
    fn functions_with_the_attribute_are_tests() {
        let text = "#[test]\n#[ignore = \"fn of others\"]\nfn a() {\n    fn b() {}\n}\n    #[tokio::test(start_paused = true)]\n    \
                    /// c.\n    async fn d() {}\nfn e() {}";
        assert_eq!(functions(text), ["a", "d"]);
    }

    #[test]
    fn a_name_without_a_test_is_a_fault() {
        let root = std::env::temp_dir().join(format!("xtask-coverage-{}", std::process::id()));
        for (_, place) in PLACES {
            let place = root.join(place);
            let directory = if place.extension().is_some() { place.parent().unwrap() } else { &*place };
            fs::create_dir_all(directory.join("a/tests")).unwrap();
        }
        fs::create_dir_all(root.join("docs/ako-operator")).unwrap();
        fs::write(root.join("e2e/src/contract.rs"), "#[test]\nfn c() {}").unwrap();
        fs::write(root.join("e2e/tests/ako_operator/main.rs"), "#[test]\nfn m() {}").unwrap();
        fs::write(root.join("operators/ako-operator/src/a/tests/b.rs"), "#[test]\nfn t() {}\nfn not() {}")
            .unwrap();
        fs::write(root.join(PAGE), "`a::b::t` `e2e::m` `contract::c`").unwrap();
        check(&root).unwrap();
        fs::write(root.join(PAGE), "`a::b::t` `m::m`\n`a::b::not`").unwrap();
        let error = check(&root).unwrap_err().to_string();
        fs::remove_dir_all(&root).unwrap();
        let wanted = "2 faults: docs/ako-operator/coverage.md:1: there is no test m::m\n\
                      docs/ako-operator/coverage.md:2: there is no test a::b::not";
        assert_eq!(error, wanted);
    }
}
