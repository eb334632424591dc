//! Members that are restarted, or leave, one by one, in order, while clients work.

use super::busy::Unknown;
use super::membership::{listed, remove};
use super::*;

/// Clients that write at the same time.
const WRITERS: usize = 3;

#[tokio::test]
async fn clients_see_nothing_of_a_rolling_restart() {
    let mut cluster = Cluster::start("rolling", 3, &[]).await;
    cluster.put_many("before", 10).await;
    cluster
        .while_busy(WRITERS, Unknown::Never, async |cluster| {
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

/// A member that is removed no longer hears what becomes of writes on their way through it.
#[tokio::test]
async fn clients_see_nothing_of_leaders_that_are_removed() {
    let mut cluster = Cluster::start("leaders-go", 5, &[]).await;
    cluster.put_many("before", 10).await;
    cluster
        .while_busy(WRITERS, Unknown::Again, async |cluster| {
            for left in [4, 3] {
                let at = cluster.leader().await;
                let id = cluster.id(at).await;
                let is_other = |other: &usize| *other != at && cluster.members[*other].is_running();
                let other = (0..5).find(is_other).expect("another");
                let client = cluster.members[other].client();
                remove(&client, id).await.expect("removed");
                cluster.ends_as_removed(at).await;
                assert_eq!(listed(&client).await.len(), left);
                cluster.put_many(&format!("with-{left}"), 60).await;
                // Whoever's write went down with the leader writes on: a load, by the end.
                let wanted = 11 * WRITERS * (5 - left);
                eventually("the writers go on", async || {
                    let (_, found) = contents(&client).await.ok()?;
                    let busy = found.keys().filter(|key| key.starts_with("busy-"));
                    (busy.count() > wanted).then_some(())
                })
                .await;
            }
        })
        .await;
    cluster.check().await;
}
