//! Members that are restarted one by one, in order, while clients work.

use super::*;

/// Clients that write at the same time.
const WRITERS: usize = 3;

#[tokio::test]
async fn clients_see_nothing_of_a_rolling_restart() {
    let mut cluster = Cluster::start("rolling", 3, &[]).await;
    cluster.put_many("before", 10).await;
    cluster
        .while_busy(WRITERS, async |cluster| {
            // Two followers, and who leads then; so whoever leads is among them.
            let leader = cluster.leader().await;
            for at in [(leader + 1) % 3, (leader + 2) % 3, leader] {
                let member = &mut cluster.members[at];
                member.terminate();
                assert_eq!(member.wait_end().await.code(), Some(0));
                cluster.members[at].start();
                cluster.members[at].wait_ready().await;
            }
        })
        .await;
    cluster.check().await;
}
