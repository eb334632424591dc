//! How figures are printed: as etcdutl prints them.

use crate::args::{Flag, Given, Kind};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Values, joined by commas.
    Simple,
    /// A box.
    Table,
    /// One object.
    Json,
    /// A line a value.
    Fields,
}

const WORDS: &[&str] = &["simple", "table", "json", "fields"];

/// The flag, by both of its names.
pub(crate) static FLAGS: [Flag; 2] = [
    Flag {
        name: "write-out",
        default: "simple",
        kind: Kind::OneOf(WORDS),
        help: "How to print: simple, table, json or fields.",
    },
    Flag { name: "w", default: "simple", kind: Kind::OneOf(WORDS), help: "The same." },
];

impl Format {
    /// The one that was asked for.
    pub(crate) fn of(given: &Given) -> Self {
        let word = given.values.get("w").or_else(|| given.values.get("write-out"));
        match word.map(String::as_str) {
            Some("table") => Self::Table,
            Some("json") => Self::Json,
            Some("fields") => Self::Fields,
            _ => Self::Simple,
        }
    }
}

/// One figure, with the names that each way has for it.
pub(crate) struct Figure {
    /// In a box.
    pub(crate) title: &'static str,
    /// In JSON, where the value is this.
    pub(crate) key: &'static str,
    pub(crate) json: serde_json::Value,
    /// On a line, where the value is this.
    pub(crate) field: &'static str,
    pub(crate) plain: String,
    /// For people.
    pub(crate) text: String,
}

impl Figure {
    /// A number that reads the same everywhere.
    pub(crate) fn number(
        title: &'static str,
        key: &'static str,
        field: &'static str,
        value: impl Into<serde_json::Number>,
    ) -> Self {
        let value = value.into();
        let text = value.to_string();
        Self { title, key, json: value.into(), field, plain: text.clone(), text }
    }

    /// A word that reads the same everywhere.
    pub(crate) fn word(
        title: &'static str,
        key: &'static str,
        field: &'static str,
        text: impl Into<String>,
    ) -> Self {
        let text = text.into();
        Self { title, key, json: text.clone().into(), field, plain: text.clone(), text }
    }
}

/// One row of figures; several only in a box or as lines.
pub(crate) fn render(format: Format, rows: &[Vec<Figure>]) -> String {
    let lines = |line: fn(&Vec<Figure>) -> String| rows.iter().map(line).collect::<String>();
    match format {
        Format::Simple => lines(|row| {
            let texts: Vec<&str> = row.iter().map(|figure| figure.text.as_str()).collect();
            format!("{}\n", texts.join(", "))
        }),
        Format::Json => lines(|row| {
            // In the order of the figures, which a map would not keep.
            let pair = |figure: &Figure| format!("\"{}\":{}", figure.key, figure.json);
            format!("{{{}}}\n", row.iter().map(pair).collect::<Vec<_>>().join(","))
        }),
        Format::Fields => lines(|row| {
            let line = |figure: &Figure| format!("\"{}\" : {}\n", figure.field, figure.plain);
            row.iter().map(line).collect()
        }),
        Format::Table => table(rows),
    }
}

fn table(rows: &[Vec<Figure>]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let width = |at: usize| {
        let texts = rows.iter().filter_map(|row| row.get(at)).map(|figure| &*figure.text);
        let widest = texts.chain([first[at].title]).map(|text| text.chars().count()).max();
        widest.unwrap_or(0)
    };
    let widths: Vec<usize> = (0..first.len()).map(width).collect();
    let rule = |left: char, between: &str, right: char| {
        let parts: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(between))
    };
    let line = |cells: Vec<String>| format!("│{}│\n", cells.join("│"));
    let head = first.iter().zip(&widths);
    let head = head.map(|(figure, width)| format!(" {:^width$} ", figure.title.to_uppercase()));
    let mut text = rule('┌', "┬", '┐') + &line(head.collect()) + &rule('├', "┼", '┤');
    for row in rows {
        let cells = row.iter().zip(&widths);
        text += &line(cells.map(|(figure, width)| format!(" {:>width$} ", figure.text)).collect());
    }
    text + &rule('└', "┴", '┘')
}

/// A number of bytes for people, in powers of a thousand: `20 kB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 10 {
        return format!("{count} B");
    }
    let mut power = 0;
    let mut factor = 1_u64;
    while count / factor >= 1000 {
        factor *= 1000;
        power += 1;
    }
    // With one decimal, which numbers from ten on do without.
    let value = (count as f64 / factor as f64 * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[power];
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_named_as_etcdutl_names_them() {
        for (count, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_049, "1.0 kB"),
            (1_050, "1.1 kB"),
            (9_950, "10 kB"),
            (20_480, "20 kB"),
            (20_500, "20 kB"),
            (82_854_982, "83 MB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn a_box_is_as_wide_as_it_must_be() {
        let row = || {
            vec![Figure::number("hash", "h", "H", 7_u64), {
                let mut figure = Figure::number("total size", "s", "S", 20_480_u64);
                figure.text = bytes(20_480);
                figure
            }]
        };
        let expected = "\
┌──────┬────────────┐
│ HASH │ TOTAL SIZE │
├──────┼────────────┤
│    7 │      20 kB │
└──────┴────────────┘
";
        assert_eq!(render(Format::Table, &[row()]), expected);
        assert_eq!(render(Format::Simple, &[row()]), "7, 20 kB\n");
        assert_eq!(render(Format::Json, &[row()]), "{\"h\":7,\"s\":20480}\n");
        assert_eq!(render(Format::Fields, &[row()]), "\"H\" : 7\n\"S\" : 20480\n");
    }
}
