//! Files that are changed behind a member's back while it is down.
//!
//! Whatever is changed, no answer is ever wrong: a member of several has everything again from its
//! peers, a lone one says what is damaged and where.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use quorate_api::Code;
use quorate_api::etcdserverpb::MoveLeaderRequest;

use super::*;
use crate::process::quorate;

/// What happens to the middle of a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Harm {
    FlipByte,
    ZeroSector,
}

/// The size of a disk's sector.
const SECTOR: u64 = 512;

/// How a sector of the log begins that says only that what is before it is durable.
const SEAL: &[u8] = b"QSea";

/// So many starts may end with the news that the store is damaged.
const STARTS_MAX: usize = 3;

/// Harm the file in the middle of what is written of it.
pub(super) fn harm(path: &PathBuf, harm: Harm) {
    let bytes = std::fs::read(path).expect("a file");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("something is written") as u64;
    let file = std::fs::File::options().read(true).write(true).open(path).expect("a file");
    // A record, not the zeros between two, nor a seal of the log, which is only missed at its end.
    let middle = usize::try_from(used / 2).expect("small");
    let is_seal = |at: usize| bytes[at / SECTOR as usize * SECTOR as usize..].starts_with(SEAL);
    let is_record = |at: &usize| bytes[*at] != 0 && !is_seal(*at);
    let at = (middle..).find(is_record).expect("not above the last") as u64;
    match harm {
        Harm::FlipByte => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("read");
            file.write_all_at(&[!byte[0]], at).expect("written");
        }
        Harm::ZeroSector => {
            let at = at / SECTOR * SECTOR;
            file.write_all_at(&[0; SECTOR as usize], at).expect("written");
        }
    }
}

/// The files of a folder in the data directory whose names begin and end so, oldest first.
fn files(member: &Member, folder: &str, begin: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(member.data.join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with(begin) && name.ends_with(end)
        })
        .collect();
    paths.sort();
    paths
}

/// The log file that is written.
pub(super) fn log_file(member: &Member) -> PathBuf {
    files(member, "log", "0", ".log").swap_remove(0)
}

impl Cluster {
    /// Start a member whose files were changed, and again if it ends because its store is damaged,
    /// until it has everything. Says what it said meanwhile.
    async fn heal(&mut self, at: usize) -> String {
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            self.members[at].start();
            let healed = self.answers_right(at).await;
            said.push_str(&self.members[at].log());
            if healed {
                return said;
            }
            let code = self.members[at].wait_end().await.code();
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("damaged"), "{said}");
        }
        panic!("{STARTS_MAX} starts were not enough:\n{said}");
    }

    /// Wait until the member answers with everything, and `true`, or ends. What it answers
    /// meanwhile must be right.
    async fn answers_right(&mut self, at: usize) -> bool {
        let client = self.members[at].client();
        let written = self.written.clone();
        let member = &mut self.members[at];
        eventually("it answers, or ends", async || {
            if member.has_ended() {
                return Some(false);
            }
            let serializable = RangeRequest {
                key: "\0".into(),
                range_end: "\0".into(),
                serializable: true,
                ..RangeRequest::default()
            };
            for kv in client.range(serializable).await.map(|range| range.kvs).unwrap_or_default() {
                let key = String::from_utf8(kv.key.to_vec()).expect("text");
                let value = String::from_utf8(kv.value.to_vec()).expect("text");
                assert_eq!(written.get(&key), Some(&value), "{key}");
            }
            if let Ok((_, found)) = contents(&client).await {
                assert_eq!(found, written);
                // This reads every record.
                return client.hash_kv(HashKvRequest::default()).await.is_ok().then_some(true);
            }
            None
        })
        .await
    }
}

#[tokio::test]
async fn a_damaged_log_is_had_from_peers() {
    let mut cluster = Cluster::start("log-damage", 3, &[]).await;
    cluster.put_many("before", 40).await;
    let mut healed = Vec::new();
    for harmed in [Harm::FlipByte, Harm::ZeroSector] {
        // Another than before, half of whose first file is given up.
        let leader = cluster.leader().await;
        let mut others = (0..3).filter(|at| *at != leader && !healed.contains(at));
        let at = others.next().expect("a follower");
        healed.push(at);
        cluster.members[at].kill();
        harm(&log_file(&cluster.members[at]), harmed);
        cluster.put_many(&format!("{harmed:?}"), 10).await;
        let said = cluster.heal(at).await;
        assert!(said.contains("the log is damaged"), "{harmed:?}: {said}");
        cluster.check().await;
        cluster.members[at].restart();
        cluster.wait_ready().await;
        cluster.check().await;
    }
}

#[tokio::test]
async fn nobody_wins_with_what_a_damaged_and_a_lagging_member_have() {
    let mut cluster = Cluster::start("damage-and-lag", 3, &[]).await;
    cluster.put_many("all", 20).await;
    let lagging = cluster.follower().await;
    cluster.members[lagging].kill();
    cluster.put_many("two", 20).await;
    let damaged = cluster.follower().await;
    let whole = (0..3).find(|at| *at != lagging && *at != damaged).expect("the third");
    cluster.members[damaged].kill();
    cluster.members[whole].kill();
    harm(&log_file(&cluster.members[damaged]), Harm::ZeroSector);

    cluster.members[damaged].start();
    cluster.members[lagging].start();
    cluster.members[damaged].wait_for("the log is damaged").await;
    for at in [damaged, lagging] {
        let client = cluster.members[at].client();
        // Each takes the client's whole patience, which is several election timeouts.
        assert!(contents(&client).await.is_err(), "what two lack is not answered without it");
        assert!(put(&client, "all/00000", "lost").await.is_err());
    }
    cluster.members[whole].start();
    cluster.wait_ready().await;
    // What was refused may have been kept, and come to be.
    cluster.put("all/00000", "again").await;
    cluster.check().await;
}

#[tokio::test]
async fn a_damaged_store_is_had_from_peers() {
    let few = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];
    let mut cluster = Cluster::start("store-damage", 3, &few).await;
    for (round, (begin, end, harmed)) in [
        ("segment-", "", Harm::FlipByte),
        ("segment-", "", Harm::ZeroSector),
        ("checkpoint-", ".index", Harm::FlipByte),
        ("checkpoint-", ".manifest", Harm::ZeroSector),
    ]
    .into_iter()
    .enumerate()
    {
        cluster.put_many(&format!("round-{round}"), 60).await;
        let at = cluster.follower().await;
        // A clean end writes a checkpoint, so that there are files.
        cluster.members[at].terminate();
        assert_eq!(cluster.members[at].wait_end().await.code(), Some(0));
        let file = files(&cluster.members[at], "store", begin, end).pop().expect("a file");
        harm(&file, harmed);
        let said = cluster.heal(at).await;
        assert!(said.contains("damaged"), "{file:?}, {harmed:?}: {said}");
        cluster.check().await;
        cluster.members[at].restart();
        cluster.wait_ready().await;
        cluster.check().await;
    }
}

#[tokio::test]
async fn a_lone_member_refuses_a_damaged_log_until_it_is_cut() {
    let mut cluster = Cluster::start("lone-log", 1, &[]).await;
    cluster.put_many("key", 40).await;
    cluster.members[0].kill();
    harm(&log_file(&cluster.members[0]), Harm::FlipByte);
    cluster.members[0].start();
    assert_eq!(cluster.members[0].wait_end().await.code(), Some(1));
    let said = cluster.members[0].log();
    for part in ["0000000000000001.log, byte ", "from index ", "log repair --force-truncate"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }

    let repair = |force: &[&str]| {
        let data = &cluster.members[0].data;
        quorate().args(["log", "repair"]).args(force).arg(data).output().expect("it runs")
    };
    let asked = repair(&[]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&asked.stdout).contains("Nothing was changed."));
    let repaired = repair(&["--force-truncate"]);
    assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");

    cluster.members[0].start();
    cluster.wait_ready().await;
    let (_, found) = contents(&cluster.client()).await.expect("answered");
    assert!(!found.is_empty() && found.len() < 40, "{} keys are left", found.len());
    let prefix: BTreeMap<String, String> = cluster.written.into_iter().take(found.len()).collect();
    assert_eq!(found, prefix, "what was before the damage, and no more");
}

#[tokio::test]
async fn a_lone_member_names_what_it_cannot_read() {
    let mut cluster = Cluster::start("lone-store", 1, &["--snapshot-count=20"]).await;
    cluster.put_many("key", 40).await;
    cluster.members[0].terminate();
    assert_eq!(cluster.members[0].wait_end().await.code(), Some(0));
    let segment = files(&cluster.members[0], "store", "segment-", "").pop().expect("a segment");
    harm(&segment, Harm::FlipByte);
    cluster.members[0].start();
    cluster.wait_ready().await;
    let client = cluster.client();
    let mut lost = 0;
    for (key, value) in &cluster.written {
        let range = RangeRequest { key: key.as_bytes().to_vec().into(), ..RangeRequest::default() };
        match client.range(range).await {
            Ok(range) => assert_eq!(range.kvs[0].value, value.as_bytes()),
            Err(Error::Status { code: Code::DataLoss, message }) => {
                lost += 1;
                let name = segment.file_name().expect("a name").to_string_lossy();
                assert!(message.contains(name.as_ref()), "{message}");
                assert!(message.contains("revision"), "{message}");
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
    assert_eq!(lost, 1, "one byte of one record was changed");
}

#[tokio::test]
async fn a_leader_that_cannot_send_what_is_damaged_ends_and_has_it_from_peers() {
    let few = ["--snapshot-count=20", "--snapshot-catchup-entries=5", "--segment-bytes=65536"];
    let mut cluster = Cluster::start("unsendable", 3, &few).await;
    cluster.put_many("all", 60).await;
    let lagging = cluster.follower().await;
    cluster.members[lagging].kill();
    cluster.put_many("two", 60).await;
    let others: Vec<usize> = (0..3).filter(|at| *at != lagging).collect();
    // A clean end writes a checkpoint, so that its restart reads no more than it must.
    for at in &others {
        cluster.members[*at].terminate();
        assert_eq!(cluster.members[*at].wait_end().await.code(), Some(0));
    }
    let harmed = others[0];
    let segment = files(&cluster.members[harmed], "store", "segment-", "").swap_remove(0);
    harm(&segment, Harm::FlipByte);
    for at in &others {
        cluster.members[*at].start();
    }
    cluster.wait_ready().await;
    let harmed_id = id(&cluster.members[harmed].client().status().await.expect("answered"));
    eventually("the harmed member leads", async || {
        let leader = cluster.leader().await;
        if leader == harmed {
            return Some(());
        }
        let request = MoveLeaderRequest { target_id: harmed_id };
        let _ = cluster.members[leader].client().move_leader(request).await;
        None
    })
    .await;
    cluster.members[lagging].start();
    assert_eq!(cluster.members[harmed].wait_end().await.code(), Some(1));
    let said = cluster.members[harmed].log();
    assert!(said.contains("damaged"), "{said}");
    let said = cluster.heal(harmed).await;
    assert!(said.contains("damaged"), "{said}");
    cluster.check().await;
}
