//! What a search found: how much there is, or what is wrong and the way to it.

use std::fmt;
use std::time::Duration;

/// How much a search visited.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// States.
    pub states: usize,
    /// Steps between them, faults included.
    pub steps: usize,
    /// States in the goal.
    pub goals: usize,
    /// Steps on the longest of the shortest ways to a state.
    pub depth: usize,
    /// Duration of the search.
    pub elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, goals, depth, elapsed } = self;
        let seconds = elapsed.as_secs_f64();
        write!(f, "{states} states ({goals} in the goal), {steps} steps, depth {depth}, {seconds:.1} s")
    }
}

/// How the line ends that [`print_total`] prints.
const IN_ALL: &str = " states in all";

/// Prints how many states were visited in all. The test that `cargo xtask explore` runs ends with it: without this line the command fails.
pub fn print_total(states: usize) {
    println!("{states}{IN_ALL}");
}

/// Returns how many states were visited in all, if this line ends with what [`print_total`] prints: before the first line of a test its
/// name may stand.
#[must_use]
pub fn parse_total(line: &str) -> Option<usize> {
    line.strip_suffix(IN_ALL)?.rsplit(' ').next()?.parse().ok()
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// An invariant is violated, as the model says it.
    Broken(String),
    /// No step of the system leads out of a state outside the goal.
    DeadEnd,
    /// A fair scheduler may stay in so many states outside the goal without end.
    Livelock(usize),
    /// The system's own step leaves the goal.
    UnstableGoal,
    /// There are more states than the limit: nothing is known of the others.
    LimitReached,
    /// The model returns other steps when it is called again: no trace can be found.
    NotDeterministic,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(invariant) => write!(f, "broken: {invariant}"),
            Self::DeadEnd => f.write_str("dead end: no step of the system leads out of the last state, which is outside the goal"),
            Self::Livelock(states) => {
                write!(f, "livelock: a fair scheduler may stay in {states} states outside the goal without end")
            }
            Self::UnstableGoal => f.write_str("unstable goal: the last step leaves the goal and is not a fault"),
            Self::LimitReached => {
                f.write_str("limit reached: there are more states, so nothing is proven; raise the limit or shrink the model")
            }
            Self::NotDeterministic => {
                f.write_str("the model is not deterministic: it returned other steps of the same state")
            }
        }
    }
}

/// A step of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// Whether it is a fault.
    pub is_fault: bool,
    /// Its label.
    pub label: String,
    /// What the model says of the state after it.
    pub state: String,
}

/// A defect, and the shortest way to it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub defect: Defect,
    /// What the model says of the first state.
    pub initial: String,
    /// The steps from there.
    pub trace: Vec<TraceStep>,
    /// The steps of a shortest cycle after them, of a livelock.
    pub cycle: Vec<TraceStep>,
    /// What was visited.
    pub report: Report,
}

impl Violation {
    /// Returns the labels of the trace.
    #[must_use]
    pub fn labels(&self) -> Vec<&str> {
        self.trace.iter().map(|step| step.label.as_str()).collect()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.defect)?;
        writeln!(f, "visited {}", self.report)?;
        if self.initial.is_empty() {
            return Ok(());
        }
        writeln!(f, "   0  begin")?;
        write_changed(f, "", &self.initial)?;
        let mut before = &self.initial;
        for (number, step) in self.trace.iter().chain(&self.cycle).enumerate() {
            if number == self.trace.len() {
                writeln!(f, "      and from here on without end:")?;
            }
            let mark = if step.is_fault { "! " } else { "" };
            writeln!(f, "{:>4}  {mark}{}", number + 1, step.label)?;
            write_changed(f, before, &step.state)?;
            before = &step.state;
        }
        Ok(())
    }
}

/// Writes the lines of `after` that `before` has not, and with a minus those that went.
fn write_changed(f: &mut fmt::Formatter<'_>, before: &str, after: &str) -> fmt::Result {
    let lacks = |text: &str, line: &str| text.lines().all(|held| held != line);
    for line in before.lines().filter(|line| lacks(after, line)) {
        writeln!(f, "          - {line}")?;
    }
    for line in after.lines().filter(|line| lacks(before, line)) {
        writeln!(f, "          + {line}")?;
    }
    Ok(())
}

impl std::error::Error for Violation {}
