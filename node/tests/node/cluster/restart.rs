//! Members that are killed and come back.

use super::*;

#[tokio::test]
async fn what_was_acknowledged_outlives_one_a_majority_and_all() {
    let mut cluster = Cluster::start("restart", 3, &[]).await;
    cluster.put_many("first", 20).await;
    cluster.check().await;

    let leader = cluster.leader().await;
    cluster.members[leader].kill();
    cluster.put_many("without-leader", 20).await;
    cluster.members[leader].start();
    cluster.wait_ready().await;
    cluster.check().await;

    let leader = cluster.leader().await;
    let majority = [leader, (leader + 1) % 3];
    for at in majority {
        cluster.members[at].kill();
    }
    let alone = &cluster.members[(leader + 2) % 3];
    let refused = put(&alone.client(), "nobody", "heard").await;
    assert!(refused.is_err(), "one of three acknowledges nothing");
    for at in majority {
        cluster.members[at].start();
    }
    cluster.wait_ready().await;
    // The write that was refused may have been taken into the log all the same.
    cluster.put("nobody", "heard").await;
    cluster.put_many("after-majority", 20).await;
    cluster.check().await;

    for member in &mut cluster.members {
        member.kill();
    }
    for member in &mut cluster.members {
        member.start();
    }
    cluster.wait_ready().await;
    cluster.check().await;
    cluster.put_many("after-all", 20).await;
    cluster.check().await;
}

#[tokio::test]
async fn one_that_is_alone_has_everything_after_each_end() {
    let mut cluster = Cluster::start("alone", 1, &["--snapshot-count=20"]).await;
    for round in 0..4 {
        cluster.put_many(&format!("round-{round}"), 30).await;
        if round % 2 == 0 {
            cluster.members[0].kill();
        } else {
            cluster.members[0].terminate();
            assert_eq!(cluster.members[0].wait_end().await.code(), Some(0));
        }
        cluster.members[0].start();
        cluster.wait_ready().await;
        cluster.check().await;
    }
}
