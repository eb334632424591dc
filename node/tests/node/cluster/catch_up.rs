//! Members that were away, and get what they missed: by log, or by snapshot.

use quorate_api::etcdserverpb::WatchCreateRequest;
use quorate_client::Watch;

use super::*;
use crate::process::PATIENCE;

/// A watch of everything, from the next revision on.
async fn watch_all(client: &Client) -> Watch {
    let create = WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..WatchCreateRequest::default()
    };
    let mut watch = client.watch(create).await.expect("a stream");
    let created = watch.next().await.expect("an answer");
    assert!(created.created && !created.canceled, "{created:?}");
    watch
}

/// The keys of so many events.
async fn events(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    while keys.len() < count {
        let answer = tokio::time::timeout(PATIENCE, watch.next()).await;
        let answer = answer.expect("in time").expect("an answer");
        assert!(!answer.canceled, "{answer:?}");
        for event in answer.events {
            let key = event.kv.expect("a key").key;
            keys.push(String::from_utf8(key.to_vec()).expect("text"));
        }
    }
    keys
}

/// A follower misses so many writes. How often it has had a snapshot when it is back.
async fn follower_misses(cluster: &mut Cluster, kind: &str, count: usize) -> usize {
    let away = cluster.follower().await;
    cluster.members[away].kill();
    cluster.put_many(kind, count).await;
    cluster.members[away].start();
    cluster.wait_ready().await;
    cluster.check().await;

    let client = cluster.members[away].client();
    let mut watch = watch_all(&client).await;
    let after = format!("{kind}-after");
    cluster.put_many(&after, 3).await;
    let expected: Vec<String> = (0..3).map(|number| format!("{after}/{number:05}")).collect();
    assert_eq!(events(&mut watch, 3).await, expected);
    // It has what came by the snapshot on its disk, too.
    let had = snapshots_had(&cluster.members[away]).await;
    cluster.members[away].restart();
    cluster.wait_ready().await;
    cluster.check().await;
    had
}

/// How many snapshots of peers the member has installed since its start.
pub(super) async fn snapshots_had(member: &Member) -> usize {
    let metrics = member.http("GET", "/metrics").expect("an answer");
    let counted = "etcd_network_snapshot_receive_success{";
    let lines = metrics.lines().filter(|line| line.starts_with(counted));
    let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
    counts.sum()
}

#[tokio::test]
async fn a_few_missed_writes_come_by_the_log() {
    let mut cluster = Cluster::start("by-log", 3, &[]).await;
    cluster.put_many("before", 5).await;
    assert_eq!(follower_misses(&mut cluster, "missed", 10).await, 0);
}

#[tokio::test]
async fn more_missed_writes_than_are_kept_come_by_snapshot() {
    let few = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];
    let mut cluster = Cluster::start("by-snapshot", 3, &few).await;
    cluster.put_many("before", 5).await;
    let had = follower_misses(&mut cluster, "missed", 100).await;
    assert!(had > 0, "a snapshot was sent");
}
