//! Compaction that nobody asks for.

use quorate_api::etcdserverpb::CompactionRequest;

use super::*;

#[tokio::test]
async fn history_older_than_the_period_is_compacted() {
    let period = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=2s"];
    let mut cluster = Cluster::start("compaction", 3, &period).await;
    let old = put(&cluster.client(), "key", "old").await.expect("written");
    cluster.put("key", "new").await;
    for member in cluster.running() {
        let what = format!("revision {old} is compacted on {}", member.name);
        let client = member.client();
        eventually(&what, async || {
            let range =
                RangeRequest { key: "key".into(), revision: old, ..RangeRequest::default() };
            match client.range(range).await {
                Ok(range) => {
                    assert_eq!(range.kvs[0].value, &b"old"[..]);
                    None
                }
                Err(Error::Etcd(quorate_api::Error::Compacted)) => Some(()),
                Err(error) => panic!("{error}"),
            }
        })
        .await;
    }
    cluster.check().await;
}

/// The store's files that a process has open though they were removed: their space is not free.
fn removed_and_held(process: u32) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs");
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let names = links.filter_map(|link| link.to_str().map(str::to_owned));
    names.filter(|name| name.contains("/store/") && name.ends_with(" (deleted)")).collect()
}

#[tokio::test]
async fn the_space_of_files_that_are_removed_is_free() {
    const FILES: usize = 4;
    let mut cluster = Cluster::start("removed-files", 1, &["--segment-bytes=65536"]).await;
    let store = cluster.members[0].data.join("store");
    let value = "x".repeat(16 << 10);
    let is_first = |file: &str| store.join(file).exists();
    let segment = |number: usize| format!("segment-{number:016}");
    let mut written = 0;
    while (1..=FILES).any(|number| is_first(&segment(number))) || written == 0 {
        // What is read is opened, and what is written over and compacted goes.
        for _ in 0..16 {
            cluster.put(&format!("key/{}", written % 8), &value).await;
            written += 1;
        }
        let client = cluster.client();
        let (revision, _) = contents(&client).await.expect("read");
        let compact = CompactionRequest { revision, physical: true };
        client.compact(compact).await.expect("compacted");
        assert!(written < 5_000, "no file is ever removed: {:?}", std::fs::read_dir(&store));
    }
    let process = cluster.members[0].id();
    eventually("removed files are let go of", async || {
        let held = removed_and_held(process);
        if !held.is_empty() {
            eprintln!("held: {held:?}");
        }
        held.is_empty().then_some(())
    })
    .await;
    cluster.check().await;
}
