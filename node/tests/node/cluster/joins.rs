//! Members that join while clients write, and members that never come.

use std::time::{Duration, Instant};

use super::busy::Unknown;
use super::catch_up::snapshots_had;
use super::membership::{Role, add, listed, promote, remove};
use super::*;

const FEW: [&str; 2] = ["--snapshot-count=50", "--snapshot-catchup-entries=10"];

const NOT_IN_SYNC: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";

const NOT_A_LEARNER: &str = "etcdserver: can only promote a learner member";

/// Promote a learner once it is in sync.
async fn promote_in_time(client: &Client, id: u64) {
    eventually("it is in sync", async || match promote(client, id).await {
        Ok(()) => Some(()),
        Err(error) if error.to_string() == NOT_IN_SYNC => None,
        Err(error) => panic!("{error}"),
    })
    .await;
}

#[tokio::test]
async fn members_join_while_clients_write() {
    let mut cluster = Cluster::start("joins", 3, &FEW).await;
    cluster.put_many("before", 100).await;
    cluster
        .while_busy(4, Unknown::Never, async |cluster| {
            for name in ["m4", "m5"] {
                let client = cluster.client();
                let at = cluster.newcomer(name, &FEW);
                let url = cluster.members[at].peer_url();
                let learner = add(&client, &url, Role::Learner).await.expect("added");
                let early = promote(&client, learner.id).await.expect_err("it is not there");
                assert_eq!(early.to_string(), NOT_IN_SYNC);
                cluster.members[at].start();
                promote_in_time(&client, learner.id).await;
                cluster.members[at].wait_ready().await;
                let had = snapshots_had(&cluster.members[at]).await;
                assert!(had > 0, "{name} had no snapshot");
            }
        })
        .await;
    cluster.check_list(&["m1", "m2", "m3", "m4", "m5"]).await;
    cluster.check().await;
    // Five members: two may go.
    for at in [0, 1] {
        cluster.members[at].kill();
    }
    cluster.put_many("without-two", 5).await;
    cluster.check().await;
}

/// Writes before a member is waited for, and while it is.
const WRITES: usize = 200;

impl Cluster {
    /// Write some keys; the time that half of the writes stayed below.
    async fn put_timed(&mut self, kind: &str) -> Duration {
        let client = self.client();
        let mut times = Vec::new();
        for number in 0..WRITES {
            let key = format!("{kind}/{number:05}");
            let began = Instant::now();
            put(&client, &key, kind).await.expect("nobody is missed");
            times.push(began.elapsed());
            self.written.insert(key, kind.to_owned());
        }
        times.sort_unstable();
        times[WRITES / 2]
    }

    /// All serve and are ready.
    fn check_ready(&self) {
        for member in self.running() {
            let ready = member.http("GET", "/readyz").expect("an answer");
            assert!(ready.starts_with("HTTP/1.1 200"), "{}: {ready}", member.name);
        }
    }
}

#[tokio::test]
async fn one_that_never_comes_holds_up_nobody() {
    let mut cluster = Cluster::start("never-comes", 3, &FEW).await;
    let usual = cluster.put_timed("before").await;
    for (kind, role) in [("voter", Role::Voter), ("learner", Role::Learner)] {
        // Who leads takes a change once it has applied the one before; others may be ahead of it.
        let client = cluster.members[cluster.leader().await].client();
        let at = cluster.newcomer(kind, &FEW);
        let url = cluster.members[at].peer_url();
        let missing = add(&client, &url, role).await.expect("added");
        let meanwhile = cluster.put_timed(kind).await;
        // A busy machine makes any write slow; one that waits for somebody is far slower.
        let bound = 4 * usual + Duration::from_millis(50);
        assert!(meanwhile < bound, "{meanwhile:?} with a {kind} away, {usual:?} without");
        cluster.check_ready();
        let early = promote(&client, missing.id).await.expect_err("it is not there").to_string();
        let expected = if role == Role::Learner { NOT_IN_SYNC } else { NOT_A_LEARNER };
        assert_eq!(early, expected);
        if role == Role::Learner {
            // What it needed was not kept for it.
            cluster.members[at].start();
            cluster.members[at].wait_ready().await;
            assert!(snapshots_had(&cluster.members[at]).await > 0, "it came by the log");
            cluster.members[at].kill();
        }
        remove(&client, missing.id).await.expect("one that is away may go");
        assert_eq!(listed(&client).await.len(), 3);
    }
    cluster.put_many("after", 5).await;
    cluster.check().await;
}
