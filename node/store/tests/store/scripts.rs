//! Scripts: one scenario a file, whose printed answers are the assertion.
//!
//! ```text
//!   # what it shows
//!   put a 1 lease=5 prev_kv
//!   rev=2
//! ```
//! A command is followed by its answer; an empty line or a comment ends that.
//! `UPDATE_SCRIPTS=1` writes the answers anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::request_op::Request as Op;
use quorate_api::etcdserverpb::response_op::Response;
use quorate_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
};
use quorate_api::mvccpb::KeyValue;

use crate::ours::Ours;
use crate::request::{Answer, Reply, Request};

#[test]
fn scripts_print_what_they_say() {
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    for path in paths() {
        let script = fs::read_to_string(&path).unwrap();
        let mut ours = Ours::new();
        let printed = run(&script, &mut |step| ours.step(step));
        if update {
            fs::write(&path, &printed).unwrap();
        } else {
            assert_eq!(printed, script, "{}", path.display());
        }
    }
}

/// The scripts, by name.
pub(crate) fn paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/scripts");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "{} scripts", paths.len());
    paths
}

/// A command of a script.
pub(crate) enum Step {
    Ask(Request),
    /// Carry out what compaction decided.
    Prune,
}

impl Ours {
    pub(crate) fn step(&mut self, step: &Step) -> Option<Answer> {
        match step {
            Step::Ask(request) => Some(self.answer(request)),
            Step::Prune => {
                self.prune();
                None
            }
        }
    }
}

/// The script with the answers that it gets.
pub(crate) fn run(script: &str, take: &mut dyn FnMut(&Step) -> Option<Answer>) -> String {
    let mut printed = String::new();
    let mut in_answer = false;
    for line in script.lines() {
        if line.is_empty() || line.starts_with('#') {
            in_answer = false;
            writeln!(printed, "{line}").unwrap();
        } else if !in_answer {
            in_answer = true;
            writeln!(printed, "{line}").unwrap();
            let step = if line == "prune" { Step::Prune } else { Step::Ask(parse(line)) };
            match take(&step) {
                Some(answer) => print(&mut printed, &answer),
                None => printed.push_str("done\n"),
            }
        }
    }
    printed
}

/// What follows a command: plain words, and `name=value` or `name`.
struct Words<'a> {
    plain: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

const FLAGS: [&str; 6] =
    ["prev_kv", "ignore_value", "ignore_lease", "keys_only", "count_only", "from"];

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let mut words = Self { plain: Vec::new(), options: Vec::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(option) => words.options.push(option),
                None if FLAGS.contains(&word) => words.options.push((word, "1")),
                None => words.plain.push(word),
            }
        }
        words
    }

    fn bytes(&self, at: usize) -> Bytes {
        let word = self.plain.get(at).copied().unwrap_or_default();
        Bytes::copy_from_slice(if word == "\\0" { b"\0" } else { word.as_bytes() })
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> i64 {
        self.option(name).map_or(0, |value| value.parse().unwrap())
    }

    fn flag(&self, name: &str) -> bool {
        self.option(name).is_some()
    }
}

fn parse(line: &str) -> Request {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words = Words::of(rest);
    let plain = |at: usize| words.plain[at].parse().unwrap();
    match command {
        "compact" => Request::Compact(CompactionRequest { revision: plain(0), physical: true }),
        "grant" => Request::Grant(LeaseGrantRequest { id: plain(0), ttl: plain(1) }),
        "revoke" => Request::Revoke(LeaseRevokeRequest { id: plain(0) }),
        "hashkv" => Request::Hash(plain(0)),
        "txn" => Request::Txn(parse_txn(rest)),
        _ => match parse_op(line) {
            Op::RequestRange(range) => Request::Range(range),
            Op::RequestPut(put) => Request::Put(put),
            Op::RequestDeleteRange(delete) => Request::DeleteRange(delete),
            Op::RequestTxn(txn) => Request::Txn(txn),
        },
    }
}

fn parse_op(text: &str) -> Op {
    let (command, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
    let words = Words::of(rest);
    let order = |name: &str, known: &[&str]| {
        let wanted = words.option(name).unwrap_or(known[0]);
        known.iter().position(|known| *known == wanted).map_or(99, |at| at as i32)
    };
    match command {
        "put" => Op::RequestPut(PutRequest {
            key: words.bytes(0),
            value: words.bytes(1),
            lease: words.number("lease"),
            prev_kv: words.flag("prev_kv"),
            ignore_value: words.flag("ignore_value"),
            ignore_lease: words.flag("ignore_lease"),
        }),
        "del" => Op::RequestDeleteRange(DeleteRangeRequest {
            key: words.bytes(0),
            range_end: words.bytes(1),
            prev_kv: words.flag("prev_kv"),
        }),
        "range" => Op::RequestRange(RangeRequest {
            key: words.bytes(0),
            range_end: words.bytes(1),
            limit: words.number("limit"),
            revision: words.number("rev"),
            sort_order: order("order", &["none", "ascend", "descend"]),
            sort_target: order("by", &["key", "version", "create", "mod", "value"]),
            serializable: false,
            keys_only: words.flag("keys_only"),
            count_only: words.flag("count_only"),
            min_mod_revision: words.number("min_mod"),
            max_mod_revision: words.number("max_mod"),
            min_create_revision: words.number("min_create"),
            max_create_revision: words.number("max_create"),
        }),
        "txn" => Op::RequestTxn(parse_txn(rest)),
        other => panic!("no command {other:?}"),
    }
}

/// `compare ; … ? op ; … : op ; …`; a nested transaction is in brackets.
fn parse_txn(text: &str) -> TxnRequest {
    let (compare, rest) = split(text, '?');
    let (success, failure) = split(rest, ':');
    let ops = |text| {
        let ops = pieces(text).into_iter().map(|op| RequestOp { request: Some(parse_op(op)) });
        ops.collect()
    };
    TxnRequest {
        compare: pieces(compare).into_iter().map(parse_compare).collect(),
        success: ops(success),
        failure: ops(failure),
    }
}

fn split(text: &str, at: char) -> (&str, &str) {
    let mut depth = 0;
    for (position, character) in text.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if character == at && depth == 0 => {
                return (&text[..position], &text[position + 1..]);
            }
            _ => {}
        }
    }
    (text, "")
}

fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() {
        let (piece, next) = split(rest, ';');
        let piece = piece.trim();
        pieces.push(piece.strip_prefix('[').and_then(|p| p.strip_suffix(']')).unwrap_or(piece));
        rest = next;
    }
    pieces
}

/// `target result operand key [range_end]`.
fn parse_compare(text: &str) -> Compare {
    let words = Words { plain: text.split_whitespace().collect(), options: Vec::new() };
    let number = || words.plain[2].parse().unwrap();
    let result = ["equal", "greater", "less", "not_equal"];
    let result = result.iter().position(|known| *known == words.plain[1]).unwrap() as i32;
    let (target, operand) = match words.plain[0] {
        "version" => (0, TargetUnion::Version(number())),
        "create" => (1, TargetUnion::CreateRevision(number())),
        "mod" => (2, TargetUnion::ModRevision(number())),
        "value" => (3, TargetUnion::Value(words.bytes(2))),
        "lease" => (4, TargetUnion::Lease(number())),
        other => panic!("no target {other:?}"),
    };
    let (key, range_end) = (words.bytes(3), words.bytes(4));
    Compare { result, target, key, range_end, target_union: Some(operand) }
}

fn print(out: &mut String, answer: &Answer) {
    match answer {
        Err(error) => writeln!(out, "error: {error}").unwrap(),
        Ok(Reply::Range(range)) => print_range(out, range, ""),
        Ok(Reply::Put(put)) => {
            print_head(out, "", &put.header, "");
            print_kvs(out, "", "before ", put.prev_kv.as_slice());
        }
        Ok(Reply::DeleteRange(delete)) => {
            print_head(out, "", &delete.header, &format!(" deleted={}", delete.deleted));
            print_kvs(out, "", "before ", &delete.prev_kvs);
        }
        Ok(Reply::Txn(txn)) => print_txn(out, txn, ""),
        Ok(Reply::Compact(compact)) => print_head(out, "", &compact.header, ""),
        Ok(Reply::Grant(grant)) => {
            print_head(out, "", &grant.header, &format!(" id={} ttl={}", grant.id, grant.ttl));
        }
        Ok(Reply::Revoke(revoke)) => print_head(out, "", &revoke.header, ""),
        Ok(Reply::Hash { hash, revision, compact_revision }) => {
            writeln!(out, "hash={hash} revision={revision} compact={compact_revision}").unwrap();
        }
    }
}

fn print_head(out: &mut String, indent: &str, header: &Option<ResponseHeader>, rest: &str) {
    writeln!(out, "{indent}rev={}{rest}", header.as_ref().unwrap().revision).unwrap();
}

fn print_kvs(out: &mut String, indent: &str, name: &str, kvs: &[KeyValue]) {
    for kv in kvs {
        let KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
        let (key, value) = (key.escape_ascii(), value.escape_ascii());
        write!(out, "{indent}{name}{key}={value} create={create_revision} ").unwrap();
        writeln!(out, "mod={mod_revision} version={version} lease={lease}").unwrap();
    }
}

fn print_range(out: &mut String, range: &RangeResponse, indent: &str) {
    let more = if range.more { " more" } else { "" };
    print_head(out, indent, &range.header, &format!(" count={}{more}", range.count));
    print_kvs(out, indent, "", &range.kvs);
}

fn print_txn(out: &mut String, txn: &TxnResponse, indent: &str) {
    let branch = if txn.succeeded { " then" } else { " else" };
    print_head(out, indent, &txn.header, branch);
    let deeper = format!("{indent}  ");
    for response in &txn.responses {
        match response.response.as_ref().unwrap() {
            Response::ResponseRange(range) => print_range(out, range, &deeper),
            Response::ResponsePut(put) => {
                print_head(out, &deeper, &put.header, "");
                print_kvs(out, &deeper, "before ", put.prev_kv.as_slice());
            }
            Response::ResponseDeleteRange(delete) => {
                let deleted = format!(" deleted={}", delete.deleted);
                print_head(out, &deeper, &delete.header, &deleted);
                print_kvs(out, &deeper, "before ", &delete.prev_kvs);
            }
            Response::ResponseTxn(txn) => print_txn(out, txn, &deeper),
        }
    }
}
