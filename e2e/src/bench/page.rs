//! The rows of a run, as a page of Markdown.

use std::fmt::Write as _;

use super::book::Results;
use super::catalog::{Better, FLOORS};
use super::table::{Row, against_machine, figure, median, rows};

/// Characters of the longest bar.
const BAR_WIDTH: f64 = 24.0;
/// What the longest bar stands for: all above is as long.
const BAR_FACTOR_MAX: f64 = 16.0;

/// The whole page.
pub(super) fn page(results: &Results) -> String {
    let mut page = String::from("# Benchmarks\n\n");
    introduction(&mut page, results);
    marks(&mut page, results);
    everything(&mut page, results);
    floors(&mut page, results);
    how(&mut page);
    page
}

fn introduction(page: &mut String, results: &Results) {
    let machine = &results.machine;
    let _ = writeln!(
        page,
        "quorate beside genuine etcd, on one machine, in one run. Times differ from machine to machine; \
         the ratios are what to look at.\n\n\
         | | |\n|---|---|\n\
         | machine | {} cores ({}), {} MiB |\n\
         | kernel | {} |\n\
         | file system of the data | {} |",
        machine.cores, machine.processor, machine.memory_mib, machine.kernel, machine.file_system
    );
    for (side, version) in &results.versions {
        let _ = writeln!(page, "| {side} | {version} |");
    }
    for (resource, percent) in &results.pressure {
        let _ = writeln!(page, "| waiting for {resource} before the run | {percent:.0} % |");
    }
    let _ = writeln!(
        page,
        "| date | {} |\n| command | `{}` |\n| puts of a transaction that loads the large store | {} |\n| turns of each side | {} |\n| took | {} min {} s |\n",
        results.date,
        results.command,
        results.puts_per_txn,
        results.repetitions,
        results.seconds / 60,
        results.seconds % 60
    );
}

fn marks(page: &mut String, results: &Results) {
    let with_marks: Vec<Row> =
        rows(results).into_iter().filter(|row| row.is_reached().is_some()).collect();
    if with_marks.is_empty() {
        return;
    }
    page.push_str("## How many times better\n\n```text\n");
    for row in with_marks {
        let Some(ratio) = row.ratio else { continue };
        let factor = match row.metric.better {
            Better::Lower => 1.0 / ratio.median,
            Better::Higher => ratio.median,
        };
        let line = format!("{:<48} {:>7} × {}", row.metric.title, figure(factor), bar(factor));
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push_str("```\n\n");
}

/// A bar whose length grows with the logarithm of the factor.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most its width")]
fn bar(factor: f64) -> String {
    let share = factor.max(1.0).log2() / BAR_FACTOR_MAX.log2();
    "█".repeat((share.min(1.0) * BAR_WIDTH).round() as usize)
}

fn everything(page: &mut String, results: &Results) {
    page.push_str(
        "## All measures\n\n\
         Medians; the ratio is ours by etcd's of neighbouring turns, with the lowest and highest. `~`: other \
         processes disturbed turns that are counted.\n\n\
         | measure | unit | quorate | etcd | ratio | spread | mark | |\n\
         |---|---|--:|--:|--:|---|---|---|\n",
    );
    for row in rows(results) {
        let spread = row.ratio.map_or_else(String::new, |ratio| {
            format!("{} … {}", figure(ratio.low), figure(ratio.high))
        });
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {spread} | {} | {}{} |",
            row.metric.title,
            row.metric.unit,
            median(row.quorate),
            median(row.etcd),
            median(row.ratio),
            row.mark(),
            match row.is_reached() {
                Some(true) => "reached",
                Some(false) => "missed",
                None => "",
            },
            if row.is_disturbed { " ~" } else { "" }
        );
    }
    page.push('\n');
}

fn floors(page: &mut String, results: &Results) {
    page.push_str("## The machine\n\n| floor | unit | |\n|---|---|--:|\n");
    for (id, title, unit) in FLOORS {
        if let Some(value) = results.book.floor(id) {
            let _ = writeln!(page, "| {title} | {unit} | {} |", figure(value));
        }
    }
    for (title, share) in against_machine(results) {
        let _ = writeln!(page, "| {title} | % | {:.0} |", share * 100.0);
    }
    page.push_str("\nCPU of the load generator:\n\n| call | µs |\n|---|--:|\n");
    for (call, cpu) in results.book.generator() {
        let _ = writeln!(page, "| {call} | {} |", figure(cpu));
    }
    page.push('\n');
}

fn how(page: &mut String) {
    page.push_str(
        "## How it is measured\n\n\
         `cargo run --release -p e2e -- bench` builds the server, gets genuine etcd and measures; `--page FILE` \
         makes this page from a results file.\n\n\
         - Both sides run at the same time with the same flags (etcd's defaults, no limit on space in reach), plain \
         HTTP on loopback, data on one disk. Only one has work at a time, in turns: quorate, etcd, quorate, etcd.\n\
         - One load generator of our own, the same bytes to both, HTTP/2 written by hand so that it takes little CPU \
         beside the servers. An answer that is an error ends the measurement, but in an open loop, where it counts as 30 s; pages are checked, events are counted.\n\
         - *1 client* is one call at a time on the leader. *256 clients* are 32 calls at a time on each of 8 connections \
         (9 with three members), spread over all members. Puts have keys of 32 bytes and values of 256, over 10,000 keys; \
         gets are linearizable.\n\
         - CPU is that of all members' processes, from `/proc`. Memory is what no file stands behind.\n\
         - Pages of 1,000 are asked one at a time, with the count of the whole prefix, as a client pages through a list; \
         ranges of 10,000 four at a time.\n\
         - Watch: 1,000 watches of one range on 100 streams of 10 connections; time from the first put to the last event.\n\
         - Churn: 240,000 puts of 1 KiB over 5,000 keys with four compactions; all files count, the log too, 10 s later, \
         without defragmentation.\n\
         - Disturbance: 2,000 puts a second, their p99 when it is quiet and during snapshots one after the other, a \
         compaction of 60,000 revisions, 1,000 revocations a second of leases with 10 keys, clients that do harm. Those \
         who put are connected before; those who do harm are a process that has of the processors only what nobody \
         else wants (SCHED_IDLE), and leave them after every fifty calls taken back: they share the machine with the \
         server, and what it costs to do harm is not counted as what it does.\n\
         - A turn is disturbed if other processes took more than a tenth of the machine; such turns are left out if three \
         others are there.\n",
    );
}
