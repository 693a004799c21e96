//! Figures of several rounds, and the Markdown tables that are made of them.
//!
//! Ratios and differences are taken round by round, because in one round all were measured under the same conditions,
//! and then their median; so a ratio need not be that of the two medians beside it.

use super::stats::Spread;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) title: &'static str,
    pub(super) digits: usize,
    pub(super) compared: Compared,
}

/// What stands in a second column beside a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// How much more than in the last row it is.
    ExcessOverLast,
    Not,
    /// The figure of the first row divided by that of this row.
    RatioOfFirst,
}

/// One round of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// In the order of the metrics; empty if nothing could be measured.
    pub(super) values: Vec<f64>,
    /// Why the figures must not be believed.
    pub(super) faults: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) samples: Vec<Sample>,
    /// Instead of figures, for a proxy that is not installed or does not start.
    pub(super) absent: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) metrics: Vec<Metric>,
    pub(super) rows: Vec<Row>,
}

impl Row {
    pub(super) fn absent(name: &str, reason: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), absent: Some(reason.to_owned()) }
    }

    fn values(&self, metric: usize) -> Vec<f64> {
        (0..self.samples.len()).filter_map(|round| self.value(round, metric)).collect()
    }

    fn value(&self, round: usize, metric: usize) -> Option<f64> {
        self.samples.get(round)?.values.get(metric).copied()
    }

    /// What a reader must know about the row; empty when all is well.
    fn remarks(&self) -> String {
        if let Some(reason) = &self.absent {
            return one_line(reason);
        }
        let mut faults: Vec<&String> = self.samples.iter().flat_map(|sample| &sample.faults).collect();
        faults.dedup();
        let Some(first) = faults.first() else { return String::new() };
        let rounds = self.samples.iter().filter(|sample| !sample.faults.is_empty()).count();
        format!("**invalid** in {rounds} of {} rounds: {}", self.samples.len(), one_line(first))
    }
}

impl Table {
    /// Whether every figure may be believed.
    pub(super) fn is_valid(&self) -> bool {
        let mut samples = self.rows.iter().flat_map(|row| &row.samples);
        samples.all(|sample| sample.faults.is_empty())
    }

    pub(super) fn markdown(&self) -> String {
        let mut titles = vec![String::new()];
        for metric in &self.metrics {
            titles.push(metric.title.to_owned());
            match metric.compared {
                Compared::ExcessOverLast => titles.push("more than the last row".to_owned()),
                Compared::Not => {}
                Compared::RatioOfFirst => {
                    titles.push(format!("{} ÷ this", self.rows.first().map_or("first", |row| &row.name)));
                }
            }
        }
        let has_remarks = self.rows.iter().any(|row| !row.remarks().is_empty());
        if has_remarks {
            titles.push("remarks".to_owned());
        }
        let mut lines = vec![line(&titles), format!("|---|{}", "---:|".repeat(titles.len() - 1))];
        for (index, row) in self.rows.iter().enumerate() {
            let mut cells = vec![row.name.clone()];
            for number in 0..self.metrics.len() {
                cells.extend(self.cells(index, number));
            }
            if has_remarks {
                cells.push(row.remarks());
            }
            lines.push(line(&cells));
        }
        lines.join("\n") + "\n"
    }

    /// A figure as text, for a summary.
    pub(super) fn median(&self, name: &str, metric: usize) -> String {
        let row = self.rows.iter().find(|row| row.name == name);
        let spread = row.and_then(|row| Spread::of(&row.values(metric)));
        let (Some(row), Some(spread), Some(metric)) = (row, spread, self.metrics.get(metric)) else {
            return "-".to_owned();
        };
        let mark = if row.remarks().is_empty() { "" } else { " (invalid)" };
        format!("{:.digits$}{mark}", spread.median, digits = metric.digits)
    }

    fn cells(&self, index: usize, number: usize) -> Vec<String> {
        let (Some(row), Some(metric)) = (self.rows.get(index), self.metrics.get(number)) else {
            return Vec::new();
        };
        let text = |values: &[f64], digits| {
            Spread::of(values).map_or_else(|| "-".to_owned(), |spread| spread.text(digits))
        };
        let mut cells = vec![text(&row.values(number), metric.digits)];
        let is_base = match metric.compared {
            Compared::ExcessOverLast => index + 1 == self.rows.len(),
            Compared::Not => return cells,
            Compared::RatioOfFirst => index == 0,
        };
        if is_base {
            cells.push(String::new());
            return cells;
        }
        let (base, digits) = match metric.compared {
            Compared::ExcessOverLast => (self.rows.last(), metric.digits),
            _ => (self.rows.first(), 2),
        };
        let pairs = (0..row.samples.len())
            .filter_map(|round| Some((base?.value(round, number)?, row.value(round, number)?)));
        let compared: Vec<f64> = match metric.compared {
            Compared::ExcessOverLast => pairs.map(|(base, own)| own - base).collect(),
            _ => pairs.map(|(base, own)| base / own).collect(),
        };
        cells.push(text(&compared, digits));
        cells
    }
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// A reason as it fits into a cell.
fn one_line(text: &str) -> String {
    let text = text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(160) {
        Some((at, _)) => format!("{} ...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, values: &[f64]) -> Row {
        let samples = values.iter().map(|&value| Sample { values: vec![value], faults: Vec::new() });
        Row { name: name.to_owned(), samples: samples.collect(), absent: None }
    }

    fn check(compared: Compared, rows: Vec<Row>, expect: &str) {
        let metrics = vec![Metric { title: "µs", digits: 1, compared }];
        assert_eq!(Table { metrics, rows }.markdown(), expect);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        check(
            Compared::RatioOfFirst,
            vec![row("us", &[10.0, 20.0, 30.0]), row("them", &[20.0, 20.0, 20.0])],
            "|  | µs | us ÷ this |\n|---|---:|---:|\n\
             | us | 20.0 (10.0..30.0) |  |\n| them | 20.0 (20.0..20.0) | 1.00 (0.50..1.50) |\n",
        );
    }

    #[test]
    fn differences_are_to_the_last_row() {
        check(
            Compared::ExcessOverLast,
            vec![row("on", &[12.0, 13.0]), row("off", &[10.0, 10.0])],
            "|  | µs | more than the last row |\n|---|---:|---:|\n\
             | on | 12.5 (12.0..13.0) | 2.5 (2.0..3.0) |\n| off | 10.0 (10.0..10.0) |  |\n",
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let mut wrong = row("wrong", &[1.0, 2.0]);
        if let Some(sample) = wrong.samples.last_mut() {
            sample.faults.push("3 requests\nfailed".to_owned());
        }
        check(
            Compared::Not,
            vec![wrong, Row::absent("absent", "not | installed")],
            "|  | µs | remarks |\n|---|---:|---:|\n\
             | wrong | 1.5 (1.0..2.0) | **invalid** in 1 of 2 rounds: 3 requests failed |\n\
             | absent | - | not / installed |\n",
        );
    }
}
