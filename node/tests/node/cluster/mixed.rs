//! A genuine etcd among members of this program. `e2e/genuine-etcd` builds it; without it nothing
//! is tested here.

use std::path::PathBuf;
use std::process::Command;

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
