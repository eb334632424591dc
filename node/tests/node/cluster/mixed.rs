//! A genuine etcd among members of this program. `e2e/genuine-etcd` builds it; without it nothing
//! is tested here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use quorate_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest};

use super::*;

pub(super) fn genuine() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(cache.join("quorate/bin/etcd")).filter(|program| program.exists())
}

#[tokio::test]
async fn a_genuine_member_is_heard_and_one_that_was_ours_is_not_replaced_by_one() {
    let Some(etcd) = genuine() else {
        eprintln!("SKIPPED: e2e/genuine-etcd has not built etcd");
        return;
    };
    let mut cluster = Cluster::new("mixed", 3, &[]);
    for at in [0, 1] {
        cluster.members[at].start();
    }
    cluster.members[2].start_under(Command::new(&etcd));
    cluster.wait_ready().await;
    cluster.put_many("mixed", 10).await;
    let genuine_has = async |cluster: &Cluster| {
        let client = cluster.members[2].client();
        eventually("the genuine member has everything", async || {
            let (_, found) = contents(&client).await.ok()?;
            (found == cluster.written).then_some(())
        })
        .await;
    };
    genuine_has(&cluster).await;
    // Each kind goes on after its own restart and the other's.
    cluster.members[2].kill();
    cluster.put_many("without-etcd", 5).await;
    cluster.members[2].start_under(Command::new(&etcd));
    genuine_has(&cluster).await;
    cluster.members[0].restart();
    cluster.members[0].wait_ready().await;
    cluster.put_many("all", 5).await;
    genuine_has(&cluster).await;
    for member in cluster.running() {
        assert!(!member.log().contains("is refused: it is not the member"), "{}", member.log());
    }

    // An etcd in the place of one of ours has nothing that it had.
    cluster.members[0].kill();
    cluster.members[0].data = cluster.copy_of("data-of-etcd");
    let initial: Vec<String> = cluster.members.iter().map(Member::as_initial).collect();
    let initial = format!("--initial-cluster={}", initial.join(","));
    cluster.members[0].set_arguments(&[&initial, "--initial-cluster-state=existing"]);
    cluster.members[0].start_under(Command::new(&etcd));
    cluster.members[1].wait_for("a peer is refused: it is not the member it was").await;
}

/// A member's answer to a peer that asks for its hash at a revision.
fn hash_for_peers(member: &Member, revision: i64) -> Option<serde_json::Value> {
    let address = (member.address(), 2380);
    let mut stream = TcpStream::connect(address).ok()?;
    let body = format!(r#"{{"revision":{revision}}}"#);
    let length = body.len();
    let request = format!(
        "GET /members/hashkv HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (from, to) = (answer.find('{')?, answer.rfind('}')?);
    serde_json::from_str(answer.get(from..=to)?).ok()
}

#[tokio::test]
async fn members_of_both_kinds_remember_what_the_same_compaction_found() {
    let Some(etcd) = genuine() else {
        eprintln!("SKIPPED: e2e/genuine-etcd has not built etcd");
        return;
    };
    let mut cluster = Cluster::new("mixed-hash", 3, &[]);
    for at in [0, 1] {
        cluster.members[at].start();
    }
    cluster.members[2].start_under(Command::new(&etcd));
    cluster.wait_ready().await;
    let client = cluster.client();
    let mut before = -1;
    for round in 0..3 {
        for number in 0..20 {
            let value = format!("value {round}.{number}");
            cluster.put(&format!("key/{:02}", (number * 7 + round) % 11), &value).await;
        }
        let key = bytes::Bytes::from(format!("key/{round:02}"));
        let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        let revision = client.delete_range(delete).await.expect("deleted");
        let revision = revision.header.expect("a header").revision;
        let compaction = CompactionRequest { revision, physical: true };
        client.compact(compaction).await.expect("compacted");
        let mut remembered = Vec::new();
        for member in cluster.running() {
            let what = format!("{} remembers the compaction to {revision}", member.name);
            let for_clients = eventually(&what, async || {
                let request = HashKvRequest { revision };
                let answer = member.client().hash_kv(request).await.ok()?;
                (answer.compact_revision == before).then_some(answer)
            });
            let for_clients = for_clients.await;
            let for_peers = hash_for_peers(member, revision).expect("an answer");
            assert_eq!(for_peers["hash"], for_clients.hash, "{}", member.name);
            assert_eq!(for_peers["compact_revision"], before, "{}", member.name);
            assert_eq!(for_peers["hash_revision"], revision, "{}", member.name);
            remembered.push((&member.name, for_clients.hash));
        }
        assert!(remembered.iter().all(|(_, hash)| *hash == remembered[0].1), "{remembered:?}");
        before = revision;
    }
    // A member that starts again has forgotten it, and hashes what is left.
    for at in [0, 2] {
        cluster.members[at].kill();
        match at {
            0 => cluster.members[at].start(),
            _ => cluster.members[at].start_under(Command::new(&etcd)),
        }
    }
    cluster.wait_ready().await;
    let mut left = Vec::new();
    for at in [0, 2] {
        let member = &cluster.members[at];
        let what = format!("{} answers", member.name);
        let request = HashKvRequest { revision: before };
        let answer = eventually(&what, async || member.client().hash_kv(request).await.ok()).await;
        assert_eq!(answer.compact_revision, before, "{}", member.name);
        left.push(answer.hash);
    }
    assert_eq!(left[0], left[1]);
}
