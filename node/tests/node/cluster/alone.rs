//! `--force-new-cluster`: two of three are lost for ever, and the last one goes on.

use std::path::Path;
use std::process::Command;

use quorate_api::etcdserverpb::{
    Member as Known, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
};

use super::damage::{Harm, harm, log_file};
use super::{Cluster, contents};
use crate::process::{Member, eventually, quorate};

/// The members that one knows.
async fn known(member: &Member) -> Vec<Known> {
    let what = format!("{} answers", member.name);
    let list = MemberListRequest { linearizable: true };
    eventually(&what, async || member.client().member_list(list).await.ok()).await.members
}

impl Cluster {
    /// What each was started with so far, and this.
    fn arguments_with(&self, more: &[&str]) -> Vec<String> {
        let initial: Vec<String> = self.members.iter().map(Member::as_initial).collect();
        let initial = format!("--initial-cluster={}", initial.join(","));
        [&[initial.as_str()], more].concat().iter().map(|word| (*word).to_owned()).collect()
    }

    fn set_arguments(&mut self, at: usize, more: &[&str]) {
        let arguments = self.arguments_with(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.members[at].set_arguments(&arguments);
    }

    /// Two of three and their data are gone; which one stays.
    async fn lose_two(&mut self, stays: usize) {
        for at in (0..3).filter(|at| *at != stays) {
            self.members[at].kill();
        }
        self.members[stays].kill();
        for at in (0..3).filter(|at| *at != stays) {
            std::fs::remove_dir_all(&self.members[at].data).expect("gone");
        }
    }

    /// Start one that is the only one from now on.
    async fn force(&mut self, at: usize) {
        self.set_arguments(at, &["--force-new-cluster"]);
        self.members[at].start();
        self.members[at].wait_ready().await;
    }

    /// Add a member with an empty directory, and let it vote.
    async fn grow(&mut self, name: &str) {
        let mut member = Member::new(self.folder.path(), name);
        let urls = vec![member.peer_url()];
        let add = MemberAddRequest { peer_urls: urls, is_learner: true };
        let client = self.client();
        let what = format!("{name} is added");
        let added = eventually(&what, async || client.member_add(add.clone()).await.ok());
        let id = added.await.member.expect("a member").id;
        let others: Vec<String> =
            self.running().map(Member::as_initial).chain([member.as_initial()]).collect();
        let initial = format!("--initial-cluster={}", others.join(","));
        member.set_arguments(&[&initial, "--initial-cluster-state=existing"]);
        member.start();
        member.wait_ready().await;
        eventually(&format!("{name} votes"), async || {
            client.member_promote(MemberPromoteRequest { id }).await.ok()
        })
        .await;
        self.members.push(member);
    }
}

#[tokio::test]
async fn the_last_one_of_three_goes_on_with_all_that_it_has_and_grows_again() {
    for stays in ["leader", "follower"] {
        let mut cluster = Cluster::start(&format!("alone-{stays}"), 3, &[]).await;
        cluster.put_many("before", 40).await;
        let at = if stays == "leader" { cluster.leader().await } else { cluster.follower().await };
        // What a follower has, it knows only when the leader has told it.
        let all = cluster.written.clone();
        eventually("the one that stays has everything", async || {
            let found = super::serializable(&cluster.members[at].client()).await.ok()?;
            (found == all).then_some(())
        })
        .await;
        let ids = cluster.members[at].client().status().await.expect("answered").header;
        cluster.lose_two(at).await;
        // Without a majority there is nobody to serve.
        cluster.members[at].start();
        cluster.members[at].wait_for("leadership").await;
        let refused = contents(&cluster.members[at].client()).await;
        assert!(refused.is_err(), "{refused:?}");
        cluster.members[at].kill();

        cluster.force(at).await;
        cluster.check().await;
        let now = cluster.members[at].client().status().await.expect("answered").header;
        let (before, now) = (ids.expect("a header"), now.expect("a header"));
        assert_eq!((now.cluster_id, now.member_id), (before.cluster_id, before.member_id));
        let alone = known(&cluster.members[at]).await;
        assert_eq!(alone.iter().map(|member| member.id).collect::<Vec<_>>(), [now.member_id]);
        cluster.put("after", "1").await;

        // Without the flag it is what it has become.
        cluster.set_arguments(at, &[]);
        cluster.members[at].restart();
        cluster.members[at].wait_ready().await;
        cluster.check().await;
        if stays == "follower" {
            continue;
        }
        cluster.grow("n1").await;
        cluster.grow("n2").await;
        cluster.put_many("grown", 10).await;
        cluster.check().await;
        assert_eq!(known(&cluster.members[at]).await.len(), 3);
        // Three again: one may go.
        cluster.members[at].kill();
        cluster.put("without", "it").await;
        cluster.check().await;
    }
}

#[tokio::test]
async fn one_that_was_removed_becomes_a_cluster_of_its_own() {
    let mut cluster = Cluster::start("alone-removed", 3, &[]).await;
    cluster.put_many("before", 10).await;
    let at = cluster.follower().await;
    let id = super::id(&cluster.members[at].client().status().await.expect("answered"));
    let client = cluster.client();
    eventually("it is removed", async || {
        client.member_remove(MemberRemoveRequest { id }).await.ok()
    })
    .await;
    assert_eq!(cluster.members[at].wait_end().await.code(), Some(0));
    for member in &mut cluster.members {
        if member.is_running() {
            member.kill();
        }
    }
    cluster.force(at).await;
    cluster.check().await;
    cluster.put("after", "1").await;
    let alone = known(&cluster.members[at]).await;
    assert_eq!(alone.len(), 1);
    assert_eq!((alone[0].id, &alone[0].peer_urls[0]), (id, &cluster.members[at].peer_url()));
}

#[tokio::test]
async fn a_start_that_is_killed_on_the_way_is_begun_again() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED a_start_that_is_killed_on_the_way_is_begun_again: there is no strace");
        return;
    }
    let mut cluster = Cluster::start("alone-killed", 3, &["--snapshot-count=5"]).await;
    cluster.put_many("before", 20).await;
    let at = cluster.leader().await;
    cluster.lose_two(at).await;
    let (data, copy) = (cluster.members[at].data.clone(), cluster.folder.path().join("copy"));
    copy_folder(&data, &copy);
    let revision = revision_of(&data);
    // At every rename and sync of the start, each time from the beginning, until one comes through.
    let mut kills = 0;
    for call in ["rename", "fdatasync", "fsync"] {
        for nth in 1.. {
            std::fs::remove_dir_all(&data).expect("gone");
            copy_folder(&copy, &data);
            if start_until(&mut cluster, at, call, nth).await {
                cluster.members[at].kill();
                break;
            }
            kills += 1;
            assert!(kills < 100, "it never comes through");
            assert_eq!(revision_of(&data), revision, "killed at {call} {nth}");
        }
    }
    assert!(kills > 5, "only {kills} starts were killed");
    // From where the last kill has left it.
    std::fs::remove_dir_all(&data).expect("gone");
    copy_folder(&copy, &data);
    assert!(!start_until(&mut cluster, at, "rename", 1).await, "it is killed at once");
    cluster.force(at).await;
    cluster.members[at].kill();
    cluster.set_arguments(at, &[]);
    cluster.members[at].start();
    cluster.members[at].wait_ready().await;
    cluster.check().await;
    assert_eq!(known(&cluster.members[at]).await.len(), 1);
}

#[tokio::test]
async fn a_damaged_log_is_not_taken_for_all_there_was() {
    let mut cluster = Cluster::start("alone-damaged", 3, &[]).await;
    cluster.put_many("before", 20).await;
    let at = cluster.leader().await;
    cluster.lose_two(at).await;
    harm(&log_file(&cluster.members[at]), Harm::ZeroSector);
    cluster.set_arguments(at, &["--force-new-cluster"]);
    cluster.members[at].start();
    assert_eq!(cluster.members[at].wait_end().await.code(), Some(1));
    let said = cluster.members[at].log();
    assert!(said.contains("are damaged") && said.contains("nothing is changed"), "{said}");
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).args([from, to]).status();
    assert!(copied.expect("cp is there").success());
}

/// What a directory comes to, with all that its log holds.
fn revision_of(data: &Path) -> i64 {
    let output = quorate().args(["data", "status", "-w", "json"]).arg(data).output();
    let output = output.expect("the program is there");
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(row["damage"], "");
    row["revision"].as_i64().expect("a number")
}

/// Start one that is to be alone, and kill it at the n-th call of a kind; whether it comes through.
async fn start_until(cluster: &mut Cluster, at: usize, call: &str, nth: u32) -> bool {
    let mut under = Command::new("strace");
    let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
    let trace = format!("trace={call}");
    // The member stays this process's child, so that it can be waited for.
    under.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "--"]);
    under.arg(quorate().get_program());
    cluster.set_arguments(at, &["--force-new-cluster"]);
    let member = &mut cluster.members[at];
    member.start_under(under);
    let came_through = eventually("it is killed or ready", async || {
        if member.log().contains("ready to serve client requests") {
            return Some(true);
        }
        member.has_ended().then_some(false)
    })
    .await;
    if !came_through {
        member.wait_end().await;
    }
    came_through
}
