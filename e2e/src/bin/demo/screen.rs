//! The output of the demo: steps, commands with their output, and the changes meanwhile.
//!
//! Owns the terminal: only the demo's task prints, in complete lines, so that lines do not mix. On a terminal, lines are cut
//! at its width and headings have a colour, unless `NO_COLOR` is set; elsewhere they are plain and complete.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{Process, ProcessSpec};

use crate::Demo;

/// The interval in which changes are polled.
const TICK: Duration = Duration::from_millis(100);
/// The time for which changes are shown after a step is complete, because `kubectl get -w` has a delay.
const AFTERMATH: u32 = 4;

/// The terminal, with the state of what it has shown.
pub(crate) struct Screen {
    begin: Instant,
    style: Style,
    /// `kubectl get … -w`.
    watch: Option<Process>,
    /// The number of bytes of the watch's output that were read.
    watched: usize,
    /// The latest row of each object that was shown.
    rows: BTreeMap<String, String>,
    /// The shown description of each thing outside.
    outside: BTreeMap<String, String>,
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default)]
struct Style {
    /// Columns of the terminal; `None`: lines are not cut.
    width: Option<usize>,
    colour: bool,
}

impl Style {
    /// Returns the style of this process's stdout.
    fn of_stdout() -> Self {
        if !stdout().is_terminal() {
            return Self::default();
        }
        let width = terminal_size::terminal_size().map(|(terminal_size::Width(width), _)| usize::from(width));
        let colour = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { width, colour }
    }

    fn heading(self, text: &str) -> String {
        if self.colour { format!("\x1b[1;36m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn faint(self, text: &str) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Cuts a line at the width of the terminal.
    fn cut(self, line: &str) -> String {
        match self.width {
            Some(width) if line.chars().count() > width => {
                let kept: String = line.chars().take(width.saturating_sub(1)).collect();
                format!("{kept}…")
            }
            _ => line.to_owned(),
        }
    }
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            style: Style::of_stdout(),
            watch: None,
            watched: 0,
            rows: BTreeMap::new(),
            outside: BTreeMap::new(),
        }
    }

    /// Prints a heading with the seconds since the start, and a line that explains it.
    pub(crate) fn step(&self, title: &str, why: &str) {
        let heading = format!("== {title}  [{:.1} s]", self.begin.elapsed().as_secs_f64());
        println!("\n{}", self.style.heading(&heading));
        println!("   {}", self.style.cut(why));
    }

    /// Prints a remark.
    pub(crate) fn say(&self, remark: &str) {
        println!("{}", self.style.cut(&format!("   {remark}")));
    }

    /// Prints kubectl commands and their output.
    pub(crate) fn commands(&self, commands: &[&str], answer: &str) {
        for command in commands {
            self.say(&format!("$ kubectl {command}"));
        }
        self.answer(answer);
    }

    fn answer(&self, answer: &str) {
        if answer.trim().is_empty() {
            self.say("(nothing)");
        }
        answer.lines().for_each(|line| self.say(line.trim_end()));
    }

    /// Runs a kubectl command. Prints it, its output, and the changes until it ends.
    pub(crate) async fn kubectl(&mut self, demo: &impl Demo, command: &str) -> Result<()> {
        self.say(&format!("$ kubectl {command}"));
        let answer = self.changes_during(demo, kubectl(demo, command)).await?;
        self.answer(&answer);
        Ok(())
    }

    /// Starts the demo's watch. From then on its lines and the changes outside are shown.
    pub(crate) async fn watch<D: Demo>(&mut self, demo: &D) -> Result<()> {
        let site = demo.site();
        let (label, arguments) = D::WATCH;
        let log = site.directory().join("watch.log");
        let mut spec =
            ProcessSpec::new("kubectl", site.control_plane().kubectl_path(), arguments.to_vec(), log);
        spec.env.push(("KUBECONFIG".to_owned(), site.control_plane().kubeconfig().into()));
        spec.env.push(("KUBECACHEDIR".to_owned(), site.directory().join("kubectl-cache").into()));
        self.watch = Some(Process::spawn(spec)?);
        self.say(&format!(
            "$ kubectl {} &   (its lines begin with \"{label}\", changes outside with \"{}\")",
            arguments.join(" "),
            D::OUTSIDE
        ));
        self.outside = demo.outside().await?;
        Ok(())
    }

    /// Runs `work` and shows the changes meanwhile.
    pub(crate) async fn during<T>(
        &mut self,
        demo: &impl Demo,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let done = self.changes_during(demo, work).await;
        for _ in 0..AFTERMATH {
            tokio::time::sleep(TICK).await;
            self.changes(demo).await?;
        }
        done
    }

    async fn changes_during<T>(
        &mut self,
        demo: &impl Demo,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(TICK) => self.changes(demo).await?,
            }
        }
    }

    /// Shows the changes since the previous call.
    async fn changes<D: Demo>(&mut self, demo: &D) -> Result<()> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let output = fs::read_to_string(watch.log_path()).unwrap_or_default();
        let now = demo.outside().await?;
        for (path, state) in &now {
            match self.outside.get(path) {
                None => self.change(D::OUTSIDE, &format!("+ {path}  {state}")),
                Some(before) if before != state => self.change(D::OUTSIDE, &format!("  {path}  {state}")),
                Some(_) => {}
            }
        }
        for path in self.outside.keys().filter(|path| !now.contains_key(*path)) {
            self.change(D::OUTSIDE, &format!("- {path}"));
        }
        self.outside = now;

        let new = output.get(self.watched..).unwrap_or_default();
        let whole = new.rfind('\n').map_or("", |end| new.get(..=end).unwrap_or_default());
        for row in new_rows(&mut self.rows, whole) {
            self.change(D::WATCH.0, &row);
        }
        self.watched += whole.len();
        Ok(())
    }

    fn change(&self, label: &str, text: &str) {
        println!("{}", self.style.faint(&self.style.cut(&format!("   {label} | {text}"))));
    }
}

/// Returns the rows that differ from the latest of the same object: a watch repeats a row where a field changes that has no
/// column.
fn new_rows(latest: &mut BTreeMap<String, String>, output: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for row in output.lines().map(str::trim_end) {
        let name = row.split_whitespace().next().unwrap_or_default().to_owned();
        if latest.get(&name).map(String::as_str) != Some(row) {
            latest.insert(name, row.to_owned());
            rows.push(row.to_owned());
        }
    }
    rows
}

/// Runs a kubectl command and returns its stdout.
pub(crate) async fn kubectl(demo: &impl Demo, command: &str) -> Result<String> {
    // The quotes are for a shell; no argument contains a blank.
    let arguments: Vec<_> = command.split_whitespace().map(|argument| argument.trim_matches('\'')).collect();
    demo.site().kubectl(&arguments).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_row_is_shown_once() {
        let mut latest = BTreeMap::new();
        assert_eq!(new_rows(&mut latest, "NAME  N\na  1\nb  1\na  1\n"), ["NAME  N", "a  1", "b  1"]);
        assert_eq!(new_rows(&mut latest, "b  1\na  2\n"), ["a  2"]);
    }

    #[test]
    fn lines_are_cut_only_on_a_terminal() {
        let terminal = Style { width: Some(4), colour: true };
        assert_eq!((terminal.cut("äöüß").as_str(), terminal.cut("äöüßx").as_str()), ("äöüß", "äöü…"));
        assert_eq!(Style::default().cut("a long line"), "a long line");
        assert_eq!(
            (Style::default().heading("x"), terminal.faint("x").as_str()),
            ("x".to_owned(), "\x1b[2mx\x1b[0m")
        );
    }
}
