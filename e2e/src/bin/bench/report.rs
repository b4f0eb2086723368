//! The report of a benchmark in Markdown: figures with their aims, and tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The results of one subject.
#[derive(Default)]
pub(crate) struct Report {
    /// A description of the measurement.
    preamble: String,
    figures: Vec<Figure>,
    tables: Vec<Table>,
}

/// A figure.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// The aim: the maximum.
    aim: Option<f64>,
    remark: String,
}

/// A table after the figures.
pub(crate) struct Table {
    /// The text before the table.
    pub(crate) title: String,
    /// The heading of the first column.
    pub(crate) corner: &'static str,
    pub(crate) columns: Vec<String>,
    /// The first cell and a cell for each column.
    pub(crate) rows: Vec<(String, Vec<String>)>,
}

impl Report {
    /// Creates a report. `preamble` is a paragraph of Markdown that describes the measurement and the machine.
    pub(crate) fn new(preamble: impl Into<String>) -> Self {
        Self { preamble: preamble.into(), ..Self::default() }
    }

    /// Adds a figure and prints it.
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

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.preamble);
        text.push_str("| figure | measured | aim | | |\n| --- | ---: | ---: | --- | --- |\n");
        for figure in &self.figures {
            text.push_str(&figure.row());
            text.push('\n');
        }
        for table in &self.tables {
            table.write(&mut text);
        }
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
        // Counts are whole numbers.
        let value = if unit.is_empty() { format!("{value:.0}") } else { format!("{value:.2} {unit}") };
        format!("| {name} | {value} | {} | {verdict} | {remark} |", aim.trim_end())
    }
}

impl Table {
    /// Adds a table whose columns share rows: it has the rows of all columns, in their order, and empty cells.
    pub(crate) fn of_columns<K: Ord + ToString, V>(
        title: &str,
        corner: &'static str,
        columns: &[(String, BTreeMap<K, V>)],
        cell: impl Fn(usize, &V) -> String,
    ) -> Self {
        let keys: BTreeSet<&K> = columns.iter().flat_map(|(_, entries)| entries.keys()).collect();
        let cells = |key: &K| {
            let cells = columns.iter().enumerate();
            cells
                .map(|(at, (_, entries))| entries.get(key).map_or(String::new(), |value| cell(at, value)))
                .collect()
        };
        Self {
            title: title.to_owned(),
            corner,
            columns: columns.iter().map(|(name, _)| name.clone()).collect(),
            rows: keys.into_iter().map(|key| (key.to_string(), cells(key))).collect(),
        }
    }

    fn write(&self, text: &mut String) {
        let Self { title, corner, columns, rows } = self;
        let _ = writeln!(text, "\n{title}\n\n| {corner} | {} |", columns.join(" | "));
        let _ = writeln!(text, "| --- |{}", " ---: |".repeat(columns.len()));
        for (name, cells) in rows {
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_markdown() {
        let mut report = Report::new("Measured here.");
        report.figure("start", 0.25, "s", Some(0.2), "once");
        report.figure("logins", 1.0, "", Some(1.0), "");
        let columns = [
            ("a".to_owned(), BTreeMap::from([("x", 1), ("z", 2)])),
            ("b".to_owned(), BTreeMap::from([("y", 3)])),
        ];
        report.table(Table::of_columns("Calls:", "method", &columns, |at, value| format!("{at}/{value}")));
        let expected = "\
Measured here.

| figure | measured | aim | | |
| --- | ---: | ---: | --- | --- |
| start | 0.25 s | ≤ 0.2 s | **missed by 0.05 s** | once |
| logins | 1 | ≤ 1 | met |  |

Calls:

| method | a | b |
| --- | ---: | ---: |
| x | 0/1 |  |
| y |  | 1/3 |
| z | 0/2 |  |
";
        assert_eq!(report.markdown(), expected);
    }
}
