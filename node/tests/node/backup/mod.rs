//! Backups in both directions: ours by etcd's tools and members, etcd's by ours.
//!
//! Where the genuine programs are not there, the tests that need them say so and pass; what older
//! releases of etcd wrote is here as files.

mod files;
mod from_etcd;
mod refused;
mod repeated;
mod to_etcd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quorate_api::etcdserverpb::{
    CompactionRequest, HashKvRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, PutRequest,
    RangeRequest,
};
use quorate_api::mvccpb::KeyValue;
use quorate_client::Client;
use serde_json::Value;

use crate::process::{Member, eventually, quorate};

/// The genuine programs' folder; `None`, said loudly, if they are not there.
pub(crate) fn genuine(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let folder = cache.or_else(home)?.join("quorate/bin");
    let missing: Vec<_> = ["etcd", "etcdctl", "etcdutl"]
        .into_iter()
        .filter(|name| !folder.join(name).exists())
        .collect();
    if missing.is_empty() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: no {missing:?} in {}: run e2e/genuine-etcd", folder.display());
    None
}

/// What a command printed, which must end well.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// `quorate snapshot` with these words.
fn snapshot(words: &[&str]) -> Command {
    let mut command = quorate();
    command.arg("snapshot").args(words);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// What restores a file to a member, as etcdutl and we take it.
fn restore_words(file: &Path, member: &Member, cluster: &str) -> Vec<String> {
    vec![
        "snapshot".to_owned(),
        "restore".to_owned(),
        text(file).to_owned(),
        format!("--name={}", member.name),
        format!("--data-dir={}", member.data.display()),
        format!("--initial-cluster={cluster}"),
        format!("--initial-advertise-peer-urls={}", member.peer_url()),
        "--initial-cluster-token=restored".to_owned(),
    ]
}

fn restore(file: &Path, member: &Member, cluster: &str, more: &[&str]) -> String {
    run(quorate().args(restore_words(file, member, cluster)).args(more))
}

/// So many members that do not run, whom `--initial-cluster` names like this.
fn members(folder: &Path, prefix: &str, size: usize) -> (Vec<Member>, String) {
    let members: Vec<Member> =
        (1..=size).map(|number| Member::new(folder, &format!("{prefix}{number}"))).collect();
    let cluster: Vec<String> = members.iter().map(Member::as_initial).collect();
    let cluster = cluster.join(",");
    (members, cluster)
}

/// A genuine member alone, with its own data.
async fn start_etcd(bin: &Path, folder: &Path, name: &str) -> Member {
    let mut etcd = Member::new(folder, name);
    let initial = format!("--initial-cluster={}", etcd.as_initial());
    etcd.set_arguments(&[&initial]);
    etcd.start_under(Command::new(bin.join("etcd")));
    etcd.wait_ready().await;
    etcd
}

async fn put(client: &Client, key: &str, value: &str, lease: i64) -> i64 {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let put = PutRequest { key, value, lease, ..PutRequest::default() };
    client.put(put).await.expect("written").header.expect("a header").revision
}

async fn compact(client: &Client, revision: i64) {
    let request = CompactionRequest { revision, physical: true };
    client.compact(request).await.expect("compacted");
}

/// All keys, with everything about them.
async fn all(client: &Client) -> (i64, Vec<KeyValue>) {
    let request =
        RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let answer = client.range(request).await.expect("answered");
    (answer.header.expect("a header").revision, answer.kvs)
}

/// HashKV at these revisions, with the compacted one.
async fn hashes(client: &Client, revisions: std::ops::RangeInclusive<i64>) -> Vec<(u32, i64)> {
    let mut hashes = Vec::new();
    for revision in revisions {
        let answer = client.hash_kv(HashKvRequest { revision }).await.expect("answered");
        hashes.push((answer.hash, answer.compact_revision));
    }
    hashes
}

/// Leases with their lifetimes and keys.
async fn leases(client: &Client) -> BTreeMap<i64, (i64, Vec<Vec<u8>>)> {
    let list = client.lease_leases(LeaseLeasesRequest {}).await.expect("answered");
    let mut leases = BTreeMap::new();
    for lease in list.leases {
        let request = LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let answer = client.lease_time_to_live(request).await.expect("answered");
        let mut keys: Vec<Vec<u8>> = answer.keys.iter().map(|key| key.to_vec()).collect();
        keys.sort();
        leases.insert(lease.id, (answer.granted_ttl, keys));
    }
    leases
}

/// Wait until a member answers linearizable reads.
async fn wait_answers(client: &Client) {
    eventually("it answers", async || {
        let request = RangeRequest { key: "x".into(), ..RangeRequest::default() };
        client.range(request).await.ok()
    })
    .await;
}

/// What a command that must fail says.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it should have failed");
    said
}
