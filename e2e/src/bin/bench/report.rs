//! The figures as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::memory::Parts;

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Report {
    machine: String,
    figures: Vec<Figure>,
    calls: Vec<Calls>,
    memory: Vec<(String, Parts)>,
}

/// One figure.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// The most it should be.
    aim: Option<f64>,
    remark: String,
}

/// Calls at the vCenter during one phase.
pub(crate) struct Calls {
    /// Heads the column.
    pub(crate) phase: String,
    /// Machines made or removed meanwhile.
    pub(crate) machines: u32,
    /// How many of each method.
    pub(crate) by_method: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn new(machine: String) -> Self {
        Self { machine, ..Self::default() }
    }

    /// Adds a figure, and shows it at once.
    pub(crate) fn figure(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        aim: Option<f64>,
        remark: impl Into<String>,
    ) {
        let figure = Figure { name: name.to_owned(), value, unit, aim, remark: remark.into() };
        println!("{}", figure.row());
        self.figures.push(figure);
    }

    pub(crate) fn calls(&mut self, calls: Calls) {
        self.calls.push(calls);
    }

    pub(crate) fn memory(&mut self, when: &str, parts: Parts) {
        self.memory.push((when.to_owned(), parts));
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text =
            format!("Measured on {}, which also ran the control plane and the simulator.\n\n", self.machine);
        text.push_str("| figure | measured | aim | | |\n| --- | ---: | ---: | --- | --- |\n");
        for figure in &self.figures {
            text.push_str(&figure.row());
            text.push('\n');
        }
        text.push_str("\nCalls at the vCenter, in parentheses per machine made or removed:\n\n");
        let phases: Vec<_> = self.calls.iter().map(|calls| calls.phase.clone()).collect();
        let methods: BTreeSet<&String> = self.calls.iter().flat_map(|calls| calls.by_method.keys()).collect();
        let rows = methods.into_iter().map(|method| {
            let cells = self.calls.iter().map(|calls| calls.cell(method));
            (method.clone(), cells.collect())
        });
        table(&mut text, "method", &phases, rows);
        text.push_str("\nResident memory by what it is, in MB:\n\n");
        let times: Vec<_> = self.memory.iter().map(|(when, _)| when.clone()).collect();
        let kinds: BTreeSet<&str> = self.memory.iter().flat_map(|(_, parts)| parts.keys().copied()).collect();
        let rows = kinds.into_iter().map(|kind| {
            let cells = self.memory.iter().map(|(_, parts)| {
                parts.get(kind).map_or(String::new(), |bytes| format!("{:.2}", megabytes(*bytes)))
            });
            (kind.to_owned(), cells.collect())
        });
        table(&mut text, "part", &times, rows);
        text
    }
}

impl Figure {
    fn row(&self) -> String {
        let Self { name, value, unit, aim, remark } = self;
        let (aim, verdict) = match aim {
            None => (String::new(), String::new()),
            Some(aim) if value <= aim => (format!("≤ {aim} {unit}"), "met".to_owned()),
            Some(aim) => (format!("≤ {aim} {unit}"), format!("**missed by {:.2} {unit}**", value - aim)),
        };
        format!("| {name} | {value:.2} {unit} | {aim} | {verdict} | {remark} |")
    }
}

impl Calls {
    fn cell(&self, method: &str) -> String {
        match (self.by_method.get(method), self.machines) {
            (None | Some(0), _) => String::new(),
            (Some(calls), 0) => calls.to_string(),
            #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
            (Some(calls), machines) => format!("{calls} ({:.2})", *calls as f64 / f64::from(machines)),
        }
    }
}

fn table(
    text: &mut String,
    corner: &str,
    columns: &[String],
    rows: impl Iterator<Item = (String, Vec<String>)>,
) {
    let _ = writeln!(text, "| {corner} | {} |", columns.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(columns.len()));
    for (name, cells) in rows {
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
}

/// Millions of bytes.
#[expect(clippy::cast_precision_loss, reason = "sizes of a process or a file are far below 2^52")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
