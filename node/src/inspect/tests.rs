//! Real log directories, whole and damaged.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message as _;
use quorate_api::etcdserverpb as pb;
use quorate_api::member_json::{ConfChangeContext, Member};
use quorate_api::request::{self, RequestKind};
use quorate_disk::{Disk, RealDisk};
use quorate_raft::{ConfChange, ConfChangeKind, Entry, EntryKind, Index, NodeId, Term};
use quorate_replica::wire;
use quorate_wal::{Batch, HardState, Identity, Log, Options};

use super::print::{Format, Request, print};
use super::repair::{Consent, Repaired, run};
use super::*;

const OPTIONS: Options = Options { segment_bytes: 64 << 10, spares_max: 1 };

/// A data directory that is gone with its value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quorate-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settle(log: &mut Log, disk: &mut RealDisk) {
    let mut completions = Vec::new();
    while !log.is_quiet() {
        disk.poll(&mut completions);
        for completion in completions.drain(..) {
            log.on_completion(disk, completion).expect("the disk works");
        }
    }
}

fn entry(index: u64, kind: EntryKind, data: bytes::Bytes) -> quorate_wal::Entry {
    let entry = Entry { kind, term: Term(2), index: Index(index), data };
    quorate_wal::Entry { index, term: 2, body: wire::encode_entry(&entry) }
}

fn request(kind: RequestKind, body: &[u8]) -> bytes::Bytes {
    request::wrap(&pb::RequestHeader { id: 7, ..Default::default() }, kind, body)
}

fn put(index: u64) -> quorate_wal::Entry {
    let put = pb::PutRequest {
        key: format!("key {index}\n").into(),
        value: "secret".into(),
        lease: 0x1f,
        ..Default::default()
    };
    entry(index, EntryKind::Normal, request(RequestKind::Put, &put.encode_to_vec()))
}

fn add_member() -> quorate_wal::Entry {
    let member = Member {
        id: 10,
        peer_urls: Some(vec!["http://a:1".to_owned()]),
        name: "a".to_owned(),
        ..Default::default()
    };
    let context = ConfChangeContext { member, is_promote: false }.to_json();
    let change = ConfChange {
        id: 1,
        kind: ConfChangeKind::AddNode,
        node_id: NodeId(10),
        context: context.into(),
    };
    entry(1, EntryKind::ConfChange, change.encode())
}

fn txn() -> quorate_wal::Entry {
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Mod.into(),
        key: "k".into(),
        target_union: Some(pb::compare::TargetUnion::ModRevision(3)),
        ..Default::default()
    };
    let put = pb::PutRequest { key: "k".into(), value: "secret".into(), ..Default::default() };
    let success = vec![pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }];
    let txn = pb::TxnRequest { compare: vec![compare], success, failure: Vec::new() };
    entry(3, EntryKind::Normal, request(RequestKind::Txn, &txn.encode_to_vec()))
}

/// Batches of one entry each: a member, a put, a transaction, an empty entry, puts.
fn write_log(directory: &Directory) {
    let folder = directory.0.join(LOG_FOLDER);
    let mut disk = RealDisk::inline(&folder, Arc::new(|_| ())).expect("a folder");
    let identity = Identity { cluster_id: 0xc1, member_id: 10, incarnation: 5, boot: 5 };
    let (mut log, _) = Log::create(&mut disk, identity, OPTIONS);
    settle(&mut log, &mut disk);
    let empty = entry(4, EntryKind::Normal, bytes::Bytes::new());
    for entry in [add_member(), put(2), txn(), empty, put(5), put(6)] {
        let hard_state = Some(HardState { term: 2, vote: 10, commit: entry.index - 1 });
        log.append(&mut disk, Batch { hard_state, mark: None, entries: vec![entry] });
        settle(&mut log, &mut disk);
    }
    log.close(&mut disk);
    settle(&mut log, &mut disk);
}

fn shown(directory: &Directory, format: Format, indexes: Option<(u64, u64)>) -> String {
    let mut out = Vec::new();
    let request = Request { format, indexes, directory: directory.0.clone() };
    print(&request, &mut out).expect("the log is shown");
    String::from_utf8(out).expect("text")
}

/// The offset of the batch that holds an entry, from what is shown.
fn offset_of(directory: &Directory, index: u64) -> u64 {
    let shown = shown(directory, Format::Json, Some((index, index)));
    let line: serde_json::Value =
        serde_json::from_str(shown.lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["index"], index);
    line["offset"].as_u64().expect("a number")
}

fn damage(directory: &Directory, offset: u64) {
    let path = directory.0.join(LOG_FOLDER).join("0000000000000001.log");
    let file = OpenOptions::new().write(true).open(path).expect("the segment");
    file.write_all_at(&[0; 512], offset).expect("written");
}

#[test]
fn a_log_in_text() {
    let directory = Directory::new("text");
    write_log(&directory);
    let text = shown(&directory, Format::Text, None);
    for line in [
        "0000000000000001.log",
        "           0  segment cluster=\"c1\" member=\"a\" incarnation=5 boot=5 \
         continues_segment=\"0\" continues_at=0",
        "              entry 1 term 2: conf_change change=\"add_node\" node=\"a\" \
         member={\"id\":10,\"isPromote\":false,\"name\":\"a\",\"peerURLs\":[\"http://a:1\"]}",
        "              entry 2 term 2: put key=\"key 2\\\\n\" value_bytes=6 lease=\"1f\" id=\"7\"",
        "              entry 4 term 2: empty",
        "clean first_index=1 last_index=6 term=2 commit=5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(text.contains("\"target\":\"MOD\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let text = shown(&directory, Format::Text, Some((5, 6)));
    assert_eq!(text.lines().filter(|line| line.contains("entry")).count(), 2, "{text}");
}

#[test]
fn a_log_in_json() {
    let directory = Directory::new("json");
    write_log(&directory);
    let lines: Vec<serde_json::Value> = shown(&directory, Format::Json, None)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let entries: Vec<_> = lines.iter().filter(|line| line["kind"] == "entry").collect();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[1]["request"], "put");
    assert_eq!(entries[1]["key"], "key 2\\n");
    assert_eq!(entries[2]["success"][0]["request"], "put");
    assert_eq!(lines.last().expect("lines")["outcome"], "clean");
    assert!(lines.iter().all(|line| line["kind"].is_string()));
}

#[test]
fn a_damaged_log_is_shown_and_refused_and_cut() {
    let directory = Directory::new("damaged");
    write_log(&directory);
    damage(&directory, offset_of(&directory, 3));
    let text = shown(&directory, Format::Text, None);
    assert!(text.contains("[UNREADABLE]"), "{text}");
    assert!(text.contains("\ndamaged first_index=1 last_index=2 "), "{text}");
    assert!(text.contains("entry 6 term 2: put"), "what is behind is shown:\n{text}");

    let mut said = Vec::new();
    let refused = run(&directory.0, Consent::Missing, &mut |line| said.push(line));
    assert_eq!(refused.expect("readable"), Repaired::Refused);
    assert!(said.iter().any(|line| line.contains("Lost: the entries 3 to 6")), "{said:?}");
    assert!(shown(&directory, Format::Text, None).contains("\ndamaged "), "nothing has changed");

    let repaired = run(&directory.0, Consent::Given, &mut |_| ());
    assert_eq!(repaired.expect("repaired"), Repaired::Truncated(2));
    let text = shown(&directory, Format::Text, None);
    assert!(text.ends_with("clean first_index=1 last_index=2 term=2 commit=1\n"), "{text}");
    let again = run(&directory.0, Consent::Given, &mut |_| ());
    assert_eq!(again.expect("readable"), Repaired::NotNeeded);
}

#[test]
fn a_running_members_log_is_not_repaired() {
    let directory = Directory::new("running");
    write_log(&directory);
    let _lock = quorate_disk::DirectoryLock::acquire(&directory.0).expect("free");
    let error = run(&directory.0, Consent::Given, &mut |_| ()).expect_err("locked");
    assert!(error.to_string().contains("used by another process"), "{error}");
}

#[test]
fn what_is_no_log_is_said() {
    let directory = Directory::new("none");
    let what = |path: &Path| log_folder(path).expect_err("no log").to_string();
    assert!(what(&directory.0).contains("neither a data directory"));
    assert!(what(&directory.0.join("x")).contains("no such directory"));
    std::fs::create_dir_all(directory.0.join("member/wal")).expect("folders");
    assert!(what(&directory.0).contains("data directory of etcd"));
    assert!(!directory.0.join(LOG_FOLDER).exists(), "nothing is made");
}
