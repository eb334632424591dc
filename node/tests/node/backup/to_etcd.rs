//! Backups of ours, made while it works, are what etcd's tools and members take.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use quorate_api::etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest};
use quorate_client::Client;

use super::{
    all, compact, genuine, json, leases, members, put, restore_words, run, snapshot, text,
    wait_answers,
};
use crate::process::{Folder, Member, client, eventually};

/// Revisions that compaction stays behind.
const HISTORY: i64 = 60;

/// What was acknowledged: key, and value or deletion, by revision.
type Written = BTreeMap<i64, (String, Option<String>)>;

/// Writes, deletes and compacts until it is told to end.
async fn work(client: Client, end: Arc<AtomicBool>, reached: Arc<AtomicI64>) -> Written {
    let mut written = Written::new();
    let grant = LeaseGrantRequest { id: 9, ttl: 6000 };
    client.lease_grant(grant).await.expect("granted");
    let mut number = 0_u64;
    while !end.load(SeqCst) {
        number += 1;
        let key = format!("busy/{:03}", number * 7 % 200);
        let revision = if number.is_multiple_of(5) {
            let delete =
                DeleteRangeRequest { key: key.clone().into(), ..DeleteRangeRequest::default() };
            let answer = client.delete_range(delete).await.expect("deleted");
            if answer.deleted == 0 {
                continue;
            }
            let revision = answer.header.expect("a header").revision;
            written.insert(revision, (key, None));
            revision
        } else {
            let value = format!("{number} {}", "v".repeat(number as usize % 300));
            let lease = if number.is_multiple_of(11) { 9 } else { 0 };
            let revision = put(&client, &key, &value, lease).await;
            written.insert(revision, (key, Some(value)));
            revision
        };
        reached.store(revision, SeqCst);
        if number.is_multiple_of(40) && revision > HISTORY {
            compact(&client, revision - HISTORY).await;
        }
    }
    written
}

/// The keys as of a revision.
fn as_of(written: &Written, revision: i64) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (key, value) in written.range(..=revision).map(|(_, change)| change.clone()) {
        match value {
            Some(value) => keys.insert(key, value),
            None => keys.remove(&key),
        };
    }
    keys
}

#[tokio::test]
async fn backups_of_a_busy_member_are_served_by_etcd() {
    let Some(bin) = genuine("backups_of_a_busy_member_are_served_by_etcd") else { return };
    let folder = Folder::new("backup-to-etcd");
    let (mut made, cluster) = members(folder.path(), "m", 1);
    let member = &mut made[0];
    let initial = format!("--initial-cluster={cluster}");
    // A checkpoint every few entries: files come and go below the backup.
    member.set_arguments(&[&initial, "--snapshot-count=50", "--snapshot-catchup-entries=10"]);
    member.start();
    member.wait_ready().await;
    let (end, reached) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    // A thread of its own: this one waits for programs.
    let worker = {
        let (url, end, reached) = (member.client_url(), end.clone(), reached.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async { work(client(&[url]), end, reached).await })
        })
    };

    let endpoint = format!("--endpoints={}", member.client_url());
    let mut files = Vec::new();
    for number in 0..4 {
        let from = reached.load(SeqCst);
        eventually("writes go on", async || (reached.load(SeqCst) > from + 150).then_some(()))
            .await;
        let file = folder.path().join(format!("backup-{number}.db"));
        let mut save = match number % 2 {
            0 => Command::new(bin.join("etcdctl")),
            _ => crate::process::quorate(),
        };
        let said = run(save.args(["snapshot", "save", &endpoint]).arg(&file));
        assert!(said.contains("Server version 3.7.0"), "{said}");
        files.push(file);
    }
    end.store(true, SeqCst);
    let written = worker.join().expect("it ended well");

    let mut revisions = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let utl = |words: &[&str]| run(Command::new(bin.join("etcdutl")).args(words));
        let theirs = utl(&["snapshot", "status", "-w", "json", text(file)]);
        let ours = run(snapshot(&["status", "-w", "json"]).arg(file));
        assert_eq!(ours, theirs);
        let hash = json(&run(snapshot(&["hashkv", "-w", "json"]).arg(file)));
        let revision = hash["hashRevision"].as_i64().expect("a number");
        let compacted = hash["compactRevision"].as_i64().expect("a number");
        assert!(written.contains_key(&revision), "{revision} was never acknowledged");
        revisions.push(revision);
        let mut etcd = serve(&bin, folder.path(), &format!("etcd{number}"), file).await;
        let client = etcd.client();
        let (served, kvs) = all(&client).await;
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let kvs: BTreeMap<_, _> = kvs.iter().map(|kv| (utf8(&kv.key), utf8(&kv.value))).collect();
        assert_eq!((served, kvs), (revision, as_of(&written, revision)), "backup {number}");
        let answered = super::hashes(&client, revision..=revision).await;
        assert_eq!(answered, [(hash["hash"].as_u64().expect("a number") as u32, compacted)]);
        assert_eq!(leases(&client).await.get(&9).expect("the lease").0, 6000);
        assert_eq!(put(&client, "after", "1", 9).await, revision + 1);
        etcd.kill();
    }
    assert!(revisions.is_sorted() && revisions[0] < revisions[3], "{revisions:?}");
}

/// A genuine member of a file.
async fn serve(bin: &Path, folder: &Path, name: &str, file: &Path) -> Member {
    let mut etcd = Member::new(folder, name);
    run(Command::new(bin.join("etcdutl")).args(restore_words(file, &etcd, &etcd.as_initial())));
    let initial = format!("--initial-cluster={}", etcd.as_initial());
    etcd.set_arguments(&[&initial]);
    etcd.start_under(Command::new(bin.join("etcd")));
    etcd.wait_ready().await;
    wait_answers(&etcd.client()).await;
    etcd
}
