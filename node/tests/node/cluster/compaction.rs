//! Compaction that nobody asks for.

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
