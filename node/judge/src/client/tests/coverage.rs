//! Which kinds of requests, answers and watchers a history holds.

use crate::history::{
    Compare, Consistency, History, Outcome, Projection, Range, Refusal, Request, Target, Txn,
    TxnOperation, WatchCreate, WatchMessage,
};
use std::collections::BTreeSet;

pub(super) const WANTED: &[&str] = &[
    "put",
    "put prev_kv",
    "put lease",
    "put ignore_value",
    "put ignore_lease",
    "range linearizable",
    "range serializable",
    "range single",
    "range prefix",
    "range all",
    "range from",
    "range revision",
    "range limit",
    "range count",
    "range keys",
    "delete single",
    "delete range",
    "delete prev_kv",
    "txn version",
    "txn create",
    "txn mod",
    "txn value",
    "txn lease",
    "txn range compare",
    "txn puts",
    "txn mixed",
    "txn nested",
    "txn serializable",
    "txn succeeded",
    "txn failed",
    "compact",
    "grant chosen",
    "grant explicit",
    "revoke",
    "keep alive",
    "ttl",
    "ttl keys",
    "refused Compacted",
    "refused FutureRevision",
    "refused KeyNotFound",
    "refused LeaseNotFound",
    "refused Invalid",
    "unknown",
    "not applied",
    "compacted",
    "lease gone",
    "watch single",
    "watch prefix",
    "watch all",
    "watch now",
    "watch revision",
    "watch prev_kv",
    "watch progress_notify",
    "watch fragment",
    "watch no_put",
    "watch no_delete",
    "watch several",
    "watch cancel",
    "watch progress request",
    "watch canceled",
    "watch compacted",
    "watch progress",
    "watch progress of all",
    "watch fragmented",
    "watch resumed",
    "watch in the future",
];

type Seen = BTreeSet<&'static str>;

pub(super) fn collect(history: &History, seen: &mut Seen) {
    for operation in history.operations() {
        of_request(&operation.request, seen);
        match &operation.outcome {
            Outcome::Ok(response) => of_body(&response.body, seen),
            Outcome::Refused(refusal) => {
                seen.insert(match refusal {
                    Refusal::Compacted => "refused Compacted",
                    Refusal::FutureRevision => "refused FutureRevision",
                    Refusal::KeyNotFound => "refused KeyNotFound",
                    Refusal::LeaseNotFound => "refused LeaseNotFound",
                    Refusal::LeaseExists => "refused LeaseExists",
                    Refusal::Invalid => "refused Invalid",
                });
            }
            Outcome::NotApplied => drop(seen.insert("not applied")),
            Outcome::Unknown => drop(seen.insert("unknown")),
        }
    }
    for stream in history.streams() {
        let mut starts = Vec::new();
        for (_, message) in &stream.messages {
            of_message(message, &mut starts, seen);
        }
        if starts.len() > 1 {
            seen.insert("watch several");
        }
    }
}

fn mark(seen: &mut Seen, marks: &[(bool, &'static str)]) {
    seen.extend(marks.iter().filter(|(is_so, _)| *is_so).map(|(_, label)| *label));
}

fn of_request(request: &Request, seen: &mut Seen) {
    match request {
        Request::Range(range) => of_range(range, seen),
        Request::Put(put) => mark(
            seen,
            &[
                (true, "put"),
                (put.prev_kv, "put prev_kv"),
                (put.lease != 0, "put lease"),
                (put.ignore_value, "put ignore_value"),
                (put.ignore_lease, "put ignore_lease"),
            ],
        ),
        Request::DeleteRange(delete) => mark(
            seen,
            &[
                (delete.keys.end.is_empty(), "delete single"),
                (!delete.keys.end.is_empty(), "delete range"),
                (delete.prev_kv, "delete prev_kv"),
            ],
        ),
        Request::Txn(txn) => of_txn(txn, seen),
        Request::Compact { .. } => drop(seen.insert("compact")),
        Request::LeaseGrant { id: 0, .. } => drop(seen.insert("grant chosen")),
        Request::LeaseGrant { .. } => drop(seen.insert("grant explicit")),
        Request::LeaseRevoke { .. } => drop(seen.insert("revoke")),
        Request::LeaseKeepAlive { .. } => drop(seen.insert("keep alive")),
        Request::LeaseTimeToLive { keys: false, .. } => drop(seen.insert("ttl")),
        Request::LeaseTimeToLive { keys: true, .. } => drop(seen.insert("ttl keys")),
    }
}

fn of_range(range: &Range, seen: &mut Seen) {
    let end = range.keys.end.as_ref();
    let is_all = range.keys == crate::history::KeyRange::all();
    mark(
        seen,
        &[
            (range.consistency == Consistency::Linearizable, "range linearizable"),
            (range.consistency == Consistency::Serializable, "range serializable"),
            (end.is_empty(), "range single"),
            (end.len() == 1 && end != b"\0", "range prefix"),
            (is_all, "range all"),
            (end == b"\0" && !is_all, "range from"),
            (range.revision > 0, "range revision"),
            (range.limit > 0, "range limit"),
            (range.projection == Projection::CountOnly, "range count"),
            (range.projection == Projection::KeysOnly, "range keys"),
        ],
    );
}

fn of_txn(txn: &Txn, seen: &mut Seen) {
    for Compare { keys, relation: _, target } in &txn.compare {
        seen.insert(match target {
            Target::Version(_) => "txn version",
            Target::Create(_) => "txn create",
            Target::Mod(_) => "txn mod",
            Target::Value(_) => "txn value",
            Target::Lease(_) => "txn lease",
        });
        mark(seen, &[(!keys.end.is_empty(), "txn range compare")]);
    }
    let count =
        |is_so: fn(&TxnOperation) -> bool| txn.success.iter().filter(|op| is_so(op)).count();
    let puts = count(|operation| matches!(operation, TxnOperation::Put(_)));
    let deletes = count(|operation| matches!(operation, TxnOperation::DeleteRange(_)));
    let ranges = count(|operation| matches!(operation, TxnOperation::Range(_)));
    let nested = count(|operation| matches!(operation, TxnOperation::Txn(_)));
    mark(
        seen,
        &[
            (puts > 2, "txn puts"),
            (puts > 0 && deletes > 0 && ranges > 0, "txn mixed"),
            (nested > 0, "txn nested"),
            (txn.is_serializable(), "txn serializable"),
        ],
    );
}

fn of_body(body: &crate::history::Body, seen: &mut Seen) {
    use crate::history::Body;
    match body {
        Body::Txn { succeeded: true, .. } => drop(seen.insert("txn succeeded")),
        Body::Txn { succeeded: false, .. } => drop(seen.insert("txn failed")),
        Body::Compact => drop(seen.insert("compacted")),
        Body::LeaseKeepAlive { ttl: 0, .. } => drop(seen.insert("lease gone")),
        _ => {}
    }
}

/// `starts` are the start revisions wanted on the stream so far.
fn of_message(message: &WatchMessage, starts: &mut Vec<i64>, seen: &mut Seen) {
    match message {
        WatchMessage::CreateRequest(create) => {
            of_watch(create, seen);
            starts.push(create.start_revision);
        }
        WatchMessage::CancelRequest { .. } => drop(seen.insert("watch cancel")),
        WatchMessage::ProgressRequest => drop(seen.insert("watch progress request")),
        WatchMessage::Canceled { compact_revision: 0, .. } => drop(seen.insert("watch canceled")),
        WatchMessage::Canceled { .. } => drop(seen.insert("watch compacted")),
        WatchMessage::Progress { watch_id: -1, .. } => drop(seen.insert("watch progress of all")),
        WatchMessage::Progress { .. } => drop(seen.insert("watch progress")),
        WatchMessage::Events { fragment: true, .. } => drop(seen.insert("watch fragmented")),
        WatchMessage::Created { watch_id, revision } => {
            let start = usize::try_from(*watch_id).ok().and_then(|at| starts.get(at));
            let start = start.copied().unwrap_or(0);
            mark(
                seen,
                &[
                    (start > revision + 1, "watch in the future"),
                    (start > 1 && start <= *revision, "watch resumed"),
                ],
            );
        }
        WatchMessage::Events { .. } | WatchMessage::CreateRefused { .. } => {}
    }
}

fn of_watch(create: &WatchCreate, seen: &mut Seen) {
    let end = create.keys.end.as_ref();
    mark(
        seen,
        &[
            (end.is_empty(), "watch single"),
            (end.len() == 1 && end != b"\0", "watch prefix"),
            (create.keys == crate::history::KeyRange::all(), "watch all"),
            (create.start_revision == 0, "watch now"),
            (create.start_revision > 0, "watch revision"),
            (create.prev_kv, "watch prev_kv"),
            (create.progress_notify, "watch progress_notify"),
            (create.fragment, "watch fragment"),
            (create.no_put, "watch no_put"),
            (create.no_delete, "watch no_delete"),
        ],
    );
}
