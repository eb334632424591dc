//! What is measured, in the order of the table, and what is aimed for.

use super::hostile::Hostile;

/// Whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Lower,
    Higher,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// Ours by etcd's, or ours by its own quiet state: what is to be reached.
    pub(super) mark: Option<f64>,
}

/// All rows.
pub(super) fn metrics(keys: u64) -> Vec<Metric> {
    use Better::{Higher, Lower};
    let mut rows = Rows(Vec::new());
    for size in [1, 3] {
        let members = if size == 1 { "1 member" } else { "3 members" };
        for call in ["put", "get"] {
            let is_put = call == "put";
            let one = |what| format!("{call}.{size}.one.{what}");
            let many = |what| format!("{call}.{size}.many.{what}");
            let title = |clients, what| format!("{call}, {clients}, {members}: {what}");
            let p50 = is_put.then_some(0.6);
            rows.row(&one("p50"), &title("1 client", "p50"), "µs", Lower, p50);
            rows.row(&one("p99"), &title("1 client", "p99"), "µs", Lower, None);
            rows.row(&many("rate"), &title("256 clients", "throughput"), "/s", Higher, Some(2.0));
            rows.row(&many("p50"), &title("256 clients", "p50"), "µs", Lower, None);
            rows.row(&many("p99"), &title("256 clients", "p99"), "µs", Lower, None);
            let cpu = is_put.then_some(0.4);
            rows.row(&many("cpu"), &title("256 clients", "server CPU"), "µs/op", Lower, cpu);
            if is_put {
                let what = "p99 at 70 % of etcd's rate";
                rows.row(&many("p99at70"), &title("open loop", what), "µs", Lower, None);
            }
        }
    }
    let of = format!("of {keys}");
    rows.row("pages.rate", &format!("pages of 1,000 {of}"), "/s", Higher, Some(50.0));
    rows.row("pages.p50", "page of 1,000: p50", "µs", Lower, None);
    rows.row("pages.cpu", "page of 1,000: server CPU", "µs/page", Lower, None);
    rows.row("ranges.rate", &format!("ranges of 10,000 {of}"), "/s", Higher, Some(3.0));
    rows.row("ranges.p50", "range of 10,000: p50", "µs", Lower, None);
    rows.row("ranges.cpu", "range of 10,000: server CPU", "µs/range", Lower, None);
    rows.row("watch.rate", "watch, 1,000 watchers, prev_kv", "events/s", Higher, Some(3.0));
    rows.row("watch.cpu", "watch: server CPU", "µs/event", Lower, None);
    let title = format!("anonymous memory, {keys} keys of 64 B + 256 B");
    rows.row("memory.key", &title, "B/key", Lower, Some(0.5));
    rows.row("memory.restarted", "the same after a restart", "B/key", Lower, Some(0.5));
    rows.row("memory.stream", "anonymous memory, stream with one watch", "B", Lower, None);
    rows.row("memory.watch", "anonymous memory, watch", "B", Lower, None);
    rows.row("load.rate", "loading the keys", "keys/s", Higher, None);
    rows.row("restart", "restart to first read", "s", Lower, Some(0.3));
    rows.row("restart.cpu", "restart: server CPU", "s", Lower, None);
    rows.row("snapshot.time", "snapshot, streamed", "s", Lower, Some(0.6));
    rows.row("snapshot.bytes", "snapshot: size", "MiB", Lower, None);
    rows.row("disk.loaded", "disk with the keys", "MiB", Lower, None);
    rows.row("disk.churned", "disk after churn and compaction", "MiB", Lower, None);
    let disturbances = [
        ("snapshot", "a snapshot"),
        ("compaction", "a compaction"),
        ("revokes", "a lease-revoke storm"),
    ]
    .map(|(id, title)| (id, title.to_owned()));
    let hostile = Hostile::ALL.map(|hostile| (hostile.id(), hostile.title()));
    for (id, title) in disturbances.into_iter().chain(hostile) {
        let quiet = format!("put p99 when quiet, before {title}");
        rows.row(&format!("disturbance.{id}.quiet"), &quiet, "µs", Lower, None);
        let during = format!("put p99 during {title}");
        rows.row(&format!("disturbance.{id}.during"), &during, "µs", Lower, None);
        let factor = format!("put p99 during {title}, to quiet");
        rows.row(&format!("disturbance.{id}.factor"), &factor, "×", Lower, None);
    }
    rows.0
}

struct Rows(Vec<Metric>);

impl Rows {
    fn row(
        &mut self,
        id: &str,
        title: &str,
        unit: &'static str,
        better: Better,
        mark: Option<f64>,
    ) {
        self.0.push(Metric { id: id.to_owned(), title: title.to_owned(), unit, better, mark });
    }
}

/// What the machine can do at best: id, title, unit.
pub(super) const FLOORS: [(&str, &str, &str); 7] = [
    ("sync.p50", "write and fdatasync of 4 KiB, written before: p50", "µs"),
    ("sync.p99", "the same: p99", "µs"),
    ("loopback.p50", "round trip of a byte over loopback: p50", "µs"),
    ("constant.one.p50", "gRPC server with a constant answer, 1 client: p50", "µs"),
    ("constant.many.rate", "the same, 256 clients: throughput", "/s"),
    ("constant.many.p99", "the same, 256 clients: p99", "µs"),
    ("constant.many.cpu", "the same, 256 clients: server CPU", "µs/op"),
];
