//! A leader that is told to stop.

use std::time::{Duration, Instant};

use super::*;

/// Far longer than a handing-over takes on a busy machine.
const ELECTION: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_leader_that_is_terminated_hands_over_first() {
    let election = format!("--election-timeout={}", ELECTION.as_millis());
    let mut cluster = Cluster::start("hand-over", 3, &[&election]).await;
    cluster.put_many("before", 5).await;
    let leader = cluster.leader().await;
    let status = cluster.members[leader].client().status().await.expect("a status");
    let (term, old) = (status.raft_term, status.leader);

    cluster.members[leader].terminate();
    let told = Instant::now();
    for at in (0..3).filter(|at| *at != leader) {
        let client = cluster.members[at].client();
        let status = eventually("another leads", async || {
            let status = client.status().await.ok()?;
            (status.leader != 0 && status.leader != old).then_some(status)
        })
        .await;
        assert_eq!(status.raft_term, term + 1, "one election, which nobody repeated");
    }
    assert!(told.elapsed() < ELECTION / 2, "that took {:?}", told.elapsed());
    assert_eq!(cluster.members[leader].wait_end().await.code(), Some(0));
    assert!(cluster.members[leader].log().contains("leadership is handed over"));

    cluster.put_many("without", 5).await;
    cluster.members[leader].start();
    cluster.wait_ready().await;
    cluster.check().await;
}
