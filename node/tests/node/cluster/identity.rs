//! Members that come back without what they had: their directory is lost, older, another's, or is
//! used twice. None of them may take part under its old name, and each says what to do.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::membership::{Role, add, remove};
use super::stall::{BROKEN, FULL, Fault};
use super::*;

const REMEDY: &str = "--initial-cluster-state=existing";

/// Copy a folder as it is, holes and all.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(copied.expect("cp is there").success());
}

/// Put a folder where another is.
fn put_back(copy: &Path, at: &Path) {
    std::fs::remove_dir_all(at).expect("removed");
    std::fs::rename(copy, at).expect("renamed");
}

impl Cluster {
    /// The member ends by itself, says all this, and names the remedy.
    async fn refuses(&mut self, at: usize, words: &[&str]) {
        let code = self.members[at].wait_end().await.code();
        let said = self.members[at].log();
        assert_eq!(code, Some(1), "{said}");
        for word in words.iter().chain(&[REMEDY, "etcdctl member remove"]) {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }

    pub(super) fn copy_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn a_directory_of_etcds_is_refused_and_left_as_it_is() {
    let folder = Folder::new("directory-of-etcds");
    let mut member = Member::new(folder.path(), "one");
    let theirs = ["member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"];
    for file in theirs.map(|file| member.data.join(file)) {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, "theirs").expect("written");
    }
    let initial = format!("--initial-cluster={}", member.as_initial());
    member.set_arguments(&[&initial]);
    member.start();
    let serves = member.ready_or_ended().await;
    let said = member.log();
    assert!(!serves, "it began anew beside what is there: {said}");
    assert_eq!(member.wait_end().await.code(), Some(1), "{said}");
    for words in ["is a data directory of etcd's", "quorate snapshot restore"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    let left: Vec<_> = std::fs::read_dir(&member.data).expect("there").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_lost_directory_is_refused_and_the_member_is_added_anew() {
    let mut cluster = Cluster::start("lost-directory", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let id = cluster.id(at).await;
    cluster.members[at].kill();
    std::fs::remove_dir_all(&cluster.members[at].data).expect("removed");
    cluster.members[at].start();
    cluster.refuses(at, &["the cluster refuses this member", "another data directory"]).await;
    assert!(!cluster.members[at].data.exists(), "nothing is left that the next start meets");

    let client = cluster.client();
    remove(&client, id).await.expect("removed");
    let url = cluster.members[at].peer_url();
    add(&client, &url, Role::Voter).await.expect("added");
    let initial: Vec<String> = cluster.members.iter().map(Member::as_initial).collect();
    let initial = format!("--initial-cluster={}", initial.join(","));
    cluster.members[at].set_arguments(&[&initial, REMEDY]);
    cluster.members[at].start();
    cluster.wait_ready().await;
    cluster.put_many("after", 5).await;
    cluster.check().await;
}

#[tokio::test]
async fn a_lost_directory_is_found_out_when_peers_come_back() {
    let mut cluster = Cluster::start("lost-in-silence", 3, &[]).await;
    cluster.put_many("before", 5).await;
    for member in &mut cluster.members {
        member.kill();
    }
    std::fs::remove_dir_all(&cluster.members[0].data).expect("removed");
    // Nobody is there to tell; so it begins anew.
    cluster.members[0].start();
    cluster.members[0].wait_for("the member starts").await;
    for at in [1, 2] {
        cluster.members[at].start();
    }
    cluster.refuses(0, &["another data directory"]).await;
    cluster.wait_ready().await;
    cluster.put_many("after", 5).await;
    cluster.check().await;
}

#[tokio::test]
async fn an_older_directory_is_refused() {
    let mut cluster = Cluster::start("older-directory", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let (older, data) = (cluster.copy_of("older"), cluster.members[at].data.clone());
    cluster.members[at].kill();
    copy(&data, &older);
    for starts in 1..=2 {
        cluster.members[at].start();
        cluster.wait_ready().await;
        cluster.put_many(&format!("start-{starts}"), 5).await;
        cluster.check().await;
        cluster.members[at].kill();
    }
    put_back(&older, &data);
    cluster.members[at].start();
    cluster.refuses(at, &["the cluster refuses this member", "is a copy"]).await;
    cluster.put_many("without", 5).await;
    cluster.check().await;
}

#[tokio::test]
async fn a_directory_of_before_the_last_writes_is_refused() {
    let mut cluster = Cluster::start("last-writes", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let (older, data) = (cluster.copy_of("older"), cluster.members[at].data.clone());
    cluster.members[at].pause();
    copy(&data, &older);
    cluster.members[at].resume();
    cluster.put_many("after", 20).await;
    cluster.check().await;
    cluster.members[at].kill();
    put_back(&older, &data);
    cluster.members[at].start();
    cluster.refuses(at, &["its log ends at index", "did not keep what it said was written"]).await;
    cluster.put_many("without", 5).await;
    cluster.check().await;
}

#[tokio::test]
async fn a_directory_is_used_once() {
    let mut cluster = Cluster::start("used-twice", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let (here, there) = (cluster.members[at].data.clone(), cluster.copy_of("there"));

    let mut second = Member::new(cluster.folder.path(), "second");
    second.data = here.clone();
    second.set_arguments(&[&format!("--initial-cluster={}", second.as_initial())]);
    second.start();
    assert_eq!(second.wait_end().await.code(), Some(1));
    let said = second.log();
    assert!(said.contains("is used by another process"), "{said}");

    // A copy elsewhere, while the first one runs.
    cluster.members[at].pause();
    copy(&here, &there);
    cluster.members[at].resume();
    second.data = there;
    second.start();
    assert_eq!(second.wait_end().await.code(), Some(1));
    let said = second.log();
    assert!(said.contains("another process runs as this member"), "{said}");
    cluster.put_many("meanwhile", 5).await;
    cluster.check().await;

    // It lacks what was written meanwhile, also when the first one has ended.
    cluster.members[at].kill();
    second.start();
    assert_eq!(second.wait_end().await.code(), Some(1));
    let said = second.log();
    assert!(said.contains("its log ends at index"), "{said}");
    cluster.members[at].start();
    cluster.wait_ready().await;
    cluster.check().await;

    // A copy of a member that is down has all that it had: whichever is started first goes on.
    cluster.members[at].kill();
    std::fs::remove_dir_all(&second.data).expect("removed");
    copy(&here, &second.data);
    second.start();
    second.wait_for("a stream of a peer is up").await;
    second.kill();
    cluster.members[at].start();
    cluster.refuses(at, &["is a copy"]).await;
    cluster.put_many("without", 3).await;
    cluster.check().await;
}

#[tokio::test]
async fn directory_and_log_belong_together() {
    let mut cluster = Cluster::new("apart", 3, &[]);
    let initial: Vec<String> = cluster.members.iter().map(Member::as_initial).collect();
    let initial = format!("--initial-cluster={}", initial.join(","));
    let log = cluster.copy_of("log");
    cluster.members[2].set_arguments(&[&initial, &format!("--wal-dir={}", log.display())]);
    for member in &mut cluster.members {
        member.start();
    }
    cluster.wait_ready().await;
    cluster.put_many("before", 5).await;
    cluster.members[2].kill();
    let data = cluster.members[2].data.clone();

    let away = cluster.copy_of("away");
    std::fs::rename(&log, &away).expect("renamed");
    cluster.members[2].start();
    cluster.refuses(2, &["its write-ahead log is gone", "--wal-dir"]).await;
    std::fs::remove_dir_all(&log).expect("made by the start");
    std::fs::rename(&away, &log).expect("renamed");

    std::fs::rename(&data, &away).expect("renamed");
    cluster.members[2].start();
    cluster.refuses(2, &["is missing or unreadable", "data directory was lost"]).await;
    std::fs::remove_dir_all(&data).expect("made by the start");
    std::fs::rename(&away, &data).expect("renamed");

    // Another cluster's log.
    let mut other = Cluster::start("apart-other", 1, &[]).await;
    other.members[0].kill();
    let theirs = other.members[0].data.join("log");
    cluster.members[2].set_arguments(&[&initial, &format!("--wal-dir={}", theirs.display())]);
    cluster.members[2].start();
    cluster.refuses(2, &["start each with its own"]).await;

    cluster.members[2].set_arguments(&[&initial, &format!("--wal-dir={}", log.display())]);
    cluster.members[2].start();
    cluster.wait_ready().await;
    cluster.check().await;
}

/// All files of a folder with their bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}

#[tokio::test]
async fn a_directory_of_another_cluster_is_refused_and_left_as_it_is() {
    let mut cluster = Cluster::start("other-directory", 3, &["--segment-bytes=65536"]).await;
    cluster.put_many("ours", 5).await;
    let at = cluster.follower().await;
    let (data, own) = (cluster.members[at].data.clone(), cluster.copy_of("own"));
    cluster.members[at].kill();
    std::fs::rename(&data, &own).expect("renamed");
    // One that was alone there, and one whose peers are there and know it.
    for size in [1, 3] {
        let name = format!("other-directory-of-{size}");
        let mut other = Cluster::start(&name, size, &["--segment-bytes=65536"]).await;
        other.put_many("theirs", 5).await;
        let from = if size == 1 { 0 } else { other.follower().await };
        let ids = other.members[from].client().status().await.expect("answered").header;
        other.members[from].kill();
        let theirs = other.members[from].data.clone();
        std::fs::rename(&theirs, &data).expect("renamed");
        let before = files(&data);

        cluster.members[at].start();
        assert_eq!(cluster.members[at].wait_end().await.code(), Some(1));
        let said = cluster.members[at].log();
        let id = format!("{:x}", ids.expect("a header").cluster_id);
        for word in ["the data directory is of cluster", &id, "--initial-cluster"] {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
        assert!(files(&data) == before, "nothing is overwritten");
        cluster.put_many(&format!("beside-{size}"), 3).await;

        std::fs::rename(&data, &theirs).expect("renamed");
        other.members[from].start();
        other.wait_ready().await;
        other.check().await;
    }
    std::fs::rename(&own, &data).expect("renamed");
    cluster.members[at].start();
    cluster.wait_ready().await;
    cluster.check().await;
}

/// Follow a member through a restart while another one cannot write what it knows of peers.
async fn restart_unseen(cluster: &mut Cluster, at: usize) {
    cluster.members[at].restart();
    cluster.wait_ready().await;
    cluster.put_many("unseen", 3).await;
}

#[tokio::test]
async fn a_full_disk_under_what_is_known_of_peers_is_waited_for() {
    let mut cluster = Cluster::start("full-identity", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let leader = cluster.leader().await;
    let (full, back) = ((leader + 1) % 3, (leader + 2) % 3);
    let Some(fault) = Fault::begin(&cluster.members[full], FULL, "identity").await else { return };
    restart_unseen(&mut cluster, back).await;
    cluster.members[full].wait_for("what is known of peers cannot be written").await;
    assert!(!cluster.members[full].has_ended());
    drop(fault);
    // Now the two of them hear each other: one of them leads, and both are needed.
    cluster.members[leader].kill();
    cluster.put_many("without-leader", 3).await;
    cluster.members[leader].start();
    cluster.wait_ready().await;
    cluster.check().await;
}

#[tokio::test]
async fn a_broken_disk_under_what_is_known_of_peers_ends_the_member() {
    let mut cluster = Cluster::start("broken-identity", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let leader = cluster.leader().await;
    let (broken, back) = ((leader + 1) % 3, (leader + 2) % 3);
    let fault = Fault::begin(&cluster.members[broken], BROKEN, "identity").await;
    let Some(fault) = fault else { return };
    restart_unseen(&mut cluster, back).await;
    assert_eq!(cluster.members[broken].wait_end().await.code(), Some(1));
    let said = cluster.members[broken].log();
    assert!(said.contains("the store cannot be written: what is known of peers"), "{said}");
    drop(fault);
    cluster.members[broken].start();
    cluster.wait_ready().await;
    cluster.check().await;
}

#[tokio::test]
async fn one_that_is_alone_needs_nobody_to_know_it() {
    let mut cluster = Cluster::start("alone-unknown", 1, &[]).await;
    cluster.put_many("before", 5).await;
    cluster.members[0].kill();
    std::fs::remove_file(cluster.members[0].data.join("identity")).expect("removed");
    for _ in 0..2 {
        cluster.members[0].start();
        cluster.wait_ready().await;
        cluster.check().await;
        cluster.members[0].kill();
    }
    // Without its log it does not begin anew.
    std::fs::remove_dir_all(cluster.members[0].data.join("log")).expect("removed");
    cluster.members[0].start();
    cluster.refuses(0, &["its write-ahead log is gone"]).await;
}

#[tokio::test]
async fn a_member_that_was_removed_while_it_was_down_says_so_when_it_comes_back() {
    let mut cluster = Cluster::start("comes-back", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let id = cluster.id(at).await;
    cluster.members[at].kill();
    let client = cluster.client();
    remove(&client, id).await.expect("removed");
    for is_lost in [false, true] {
        if is_lost {
            std::fs::remove_dir_all(&cluster.members[at].data).expect("removed");
        }
        cluster.members[at].start();
        let code = cluster.members[at].wait_end().await.code();
        let said = cluster.members[at].log();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("permanently removed from the cluster"), "{said}");
    }
    cluster.put_many("after", 5).await;
    cluster.check().await;
}

/// Somebody at a member's address who refuses everything.
struct Impostor {
    refusals: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Impostor {
    fn start(listener: TcpListener) -> Self {
        let (refusals, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (refusals.clone(), is_over.clone());
        listener.set_nonblocking(true).expect("set");
        let thread = std::thread::spawn(move || {
            while !end.load(SeqCst) {
                let Ok((mut socket, _)) = listener.accept() else {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    continue;
                };
                let _ = socket.set_nonblocking(false);
                let mut request = [0; 4096];
                let _ = socket.read(&mut request);
                let refusal = "HTTP/1.1 409 Conflict\r\nContent-Length: 8\r\n\r\nnot you\n";
                let _ = socket.write_all(refusal.as_bytes());
                count.fetch_add(1, SeqCst);
            }
        });
        Self { refusals, is_over, thread: Some(thread) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        let _ = self.thread.take().expect("once").join();
    }
}

#[tokio::test]
async fn one_who_refuses_everybody_stops_nobody_who_works() {
    let mut cluster = Cluster::start("refuser", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let gone = cluster.follower().await;
    cluster.members[gone].kill();
    let listener =
        eventually("the address is free", async || cluster.members[gone].listen_as_peer().ok());
    let impostor = Impostor::start(listener.await);
    for round in 0..3 {
        let before = impostor.refusals.load(SeqCst);
        eventually("refusals", async || {
            (impostor.refusals.load(SeqCst) > before + 10).then_some(())
        })
        .await;
        cluster.put_many(&format!("round-{round}"), 5).await;
    }
    for member in &mut cluster.members {
        if member.is_running() {
            assert!(!member.has_ended(), "{}", member.log());
            assert!(member.log().contains("a peer refuses this member"));
            let metrics = member.http("GET", "/metrics").expect("an answer");
            assert!(metrics.contains("quorate_refused_by_peer_total{To="), "it is counted");
        }
    }
    // Who is started anew is not needed yet: one witness is enough, and is named.
    let at = (0..3).find(|at| cluster.members[*at].is_running()).expect("one");
    cluster.members[at].restart();
    cluster.refuses(at, &["not you"]).await;
    drop(impostor);
    for at in [at, gone] {
        cluster.members[at].start();
    }
    cluster.wait_ready().await;
    cluster.check().await;
}
