//! The rows of a run, as text for a terminal.

use super::book::{Results, Spread};
use super::catalog::{self, Better, FLOORS, Metric};
use crate::process::side::Side;

/// One row with what was measured.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) metric: Metric,
    pub(super) quorate: Option<Spread>,
    pub(super) etcd: Option<Spread>,
    pub(super) ratio: Option<Spread>,
    /// Whether turns that others disturbed had to be counted.
    pub(super) is_disturbed: bool,
}

impl Row {
    /// Whether the mark is reached, if there is one and a ratio.
    pub(super) fn is_reached(&self) -> Option<bool> {
        let (mark, ratio) = (self.metric.mark?, self.ratio?);
        Some(match self.metric.better {
            Better::Lower => ratio.median <= mark,
            Better::Higher => ratio.median >= mark,
        })
    }

    /// The mark with its direction.
    pub(super) fn mark(&self) -> String {
        let sign = match self.metric.better {
            Better::Lower => "≤",
            Better::Higher => "≥",
        };
        self.metric.mark.map_or_else(String::new, |mark| format!("{sign} {}", figure(mark)))
    }
}

/// What was measured, in the order of the catalog.
pub(super) fn rows(results: &Results) -> Vec<Row> {
    let row = |metric: Metric| {
        let turns = results.book.turns(&metric.id)?;
        Some(Row {
            quorate: turns.of(Side::Quorate),
            etcd: turns.of(Side::Etcd),
            ratio: turns.ratio(),
            is_disturbed: turns.is_disturbed(),
            metric,
        })
    };
    catalog::metrics(results.keys).into_iter().filter_map(row).collect()
}

/// The table for a terminal.
pub(super) fn text(results: &Results) -> String {
    let mut lines = vec![format!(
        "{:<50} {:>10} {:>10} {:>8} {:>16} {:>7}",
        "", "quorate", "etcd", "ratio", "spread", "mark"
    )];
    for row in rows(results) {
        let title = format!("{}, {}", row.metric.title, row.metric.unit);
        let spread = row.ratio.map_or_else(String::new, |ratio| {
            format!("{} … {}", figure(ratio.low), figure(ratio.high))
        });
        lines.push(format!(
            "{title:<50} {:>10} {:>10} {:>8} {spread:>16} {:>7} {}{}",
            median(row.quorate),
            median(row.etcd),
            median(row.ratio),
            row.mark(),
            match row.is_reached() {
                Some(true) => "reached",
                Some(false) => "MISSED",
                None => "",
            },
            if row.is_disturbed { " ~" } else { "" }
        ));
    }
    lines.push(String::new());
    for (id, title, unit) in FLOORS {
        if let Some(value) = results.book.floor(id) {
            lines.push(format!("{:<61} {:>10}", format!("{title}, {unit}"), figure(value)));
        }
    }
    for (title, share) in against_machine(results) {
        lines.push(format!("{title:<61} {:>8.0} %", share * 100.0));
    }
    lines.push(String::new());
    for (call, cpu) in results.book.generator() {
        lines.push(format!("{:<61} {:>10}", format!("generator, CPU µs: {call}"), figure(cpu)));
    }
    lines.push("~ other processes disturbed turns that are counted".to_owned());
    lines.join("\n")
}

/// How near the server comes to what the machine can do.
pub(super) fn against_machine(results: &Results) -> Vec<(&'static str, f64)> {
    let book = &results.book;
    let ours = |metric| book.median(metric, Side::Quorate);
    let mut shares = Vec::new();
    if let (Some(put), Some(sync), Some(call)) =
        (ours("put.1.one.p50"), book.floor("sync.p50"), book.floor("constant.one.p50"))
    {
        shares.push(("put of 1 client: sync and constant answer by its p50", (sync + call) / put));
    }
    if let Some(ceiling) = book.floor("constant.many.rate") {
        if let Some(get) = ours("get.1.many.rate") {
            shares.push(("get of 256 clients by the constant answer", get / ceiling));
        }
        if let Some(put) = ours("put.1.many.rate") {
            shares.push(("put of 256 clients by the constant answer", put / ceiling));
        }
    }
    shares
}

/// A median for people.
pub(super) fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| figure(spread.median))
}

/// Two or three figures, no more than can be believed.
pub(super) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_show_no_more_than_can_be_believed() {
        for (value, text) in
            [(0.456, "0.46"), (9.999, "10.0"), (0.0047, "0.0047"), (52.36, "52.4"), (99.96, "100")]
        {
            assert_eq!(figure(value), text);
        }
    }
}
