//! The slowest Rust tests of a run, from its log.

use std::collections::{BTreeMap, BTreeSet};

/// The number of tests in the list.
const SHOWN: usize = 10;

/// The time of a test.
#[derive(Debug, PartialEq)]
struct Timed {
    seconds: f64,
    /// The source file of the test binary, as cargo prints it.
    file: String,
    name: String,
}

/// Formats the slowest tests in a log, one in each line; empty if the log has no times.
pub(crate) fn report(log: &str) -> String {
    let mut tests = parse(log);
    tests.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let line = |test: &Timed| format!("{:7.1} s  {} {}", test.seconds, test.file, test.name);
    tests.iter().take(SHOWN).map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the seconds that each test binary took, by its source, from lines such as `Ended tests/a.rs after 1.5 s`.
pub(crate) fn binary_times(log: &str) -> BTreeMap<String, f64> {
    let ended = log.lines().filter_map(|line| line.trim().strip_prefix("Ended "));
    let times = ended.filter_map(|line| line.strip_suffix(" s")?.rsplit_once(" after "));
    times.filter_map(|(source, seconds)| Some((source.to_owned(), seconds.parse().ok()?))).collect()
}

/// Parses `Running tests/a.rs (…)` and `test name ... ok <1.234s>`.
fn parse(log: &str) -> Vec<Timed> {
    let mut file = "";
    let mut seen = BTreeSet::new();
    let mut tests = Vec::new();
    for line in log.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Running ") {
            file = rest.split_once(" (").map_or(rest, |(file, _)| file);
            seen.clear();
            continue;
        }
        let test = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        let Some((name, result)) = test else { continue };
        let seconds = result.strip_suffix("s>").and_then(|result| result.rsplit_once('<'));
        let seconds = seconds.and_then(|(_, seconds)| seconds.parse().ok());
        // The output of a failed test may repeat a line.
        if let Some(seconds) = seconds
            && seen.insert(name)
        {
            tests.push(Timed { seconds, file: file.to_owned(), name: name.to_owned() });
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
     Running unittests src/lib.rs (target/debug/deps/a-1)

running 2 tests
test one ... ok <0.250s>
test two ... ignored, needs a machine
     Running tests/b.rs (target/debug/deps/b-2)
test one ... FAILED <12.000s>
test a::three - should panic ... ok <1.5s>
---- one stdout ----
test one ... FAILED <12.000s>
test result: ok. 2 passed; finished in 12.01s
";

    #[test]
    fn times_are_read_from_the_log_of_cargo_test() {
        let timed =
            |seconds, file: &str, name: &str| Timed { seconds, file: file.to_owned(), name: name.to_owned() };
        assert_eq!(
            parse(LOG),
            [
                timed(0.25, "unittests src/lib.rs", "one"),
                timed(12.0, "tests/b.rs", "one"),
                timed(1.5, "tests/b.rs", "a::three - should panic"),
            ]
        );
        assert_eq!(report("test one ... ok\n"), "", "a log without times");
    }

    #[test]
    fn the_times_of_binaries_are_read_from_the_log() {
        let log = "     Ended a/tests/b.rs after 12.5 s\ntest x ... ok <1.0s>\n     Ended c.rs after ? s\n";
        assert_eq!(binary_times(log), [("a/tests/b.rs".to_owned(), 12.5)].into());
    }

    #[test]
    fn the_slowest_tests_come_first_and_are_at_most_ten() {
        let lines = report(LOG);
        assert!(lines.starts_with("   12.0 s  tests/b.rs one\n    1.5 s  "), "{lines}");
        let many: Vec<String> = (0..30).map(|n| format!("test t{n} ... ok <{n}.000s>")).collect();
        assert_eq!(report(&many.join("\n")).lines().count(), SHOWN);
    }
}
