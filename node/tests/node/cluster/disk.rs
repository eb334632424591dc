//! Disks that are full, and disks that fail.
//!
//! Both need what not every machine gives: the right to mount a small file system, and `strace`.
//! Where that is missing, the tests say so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use quorate_api::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, alarm_request::AlarmAction,
};

use super::*;

/// A new member's log takes 192 MiB; the rest is what fills up, more than the 64 MiB with which a
/// disk counts as having room again.
const DISK: &str = "size=300m";

/// What other programs leave free.
const LEFT_FREE: u64 = 6 << 20;

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// A file system of its own, unmounted with its value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(path)
            .output()
            .ok()?;
        mount.status.success().then(|| Self(path.to_owned()))
    }

    /// Something else takes all but a little of what is free.
    fn fill(&self) -> PathBuf {
        let system = rustix::fs::statvfs(&self.0).expect("a file system");
        let free = system.f_bavail * system.f_frsize;
        let path = self.0.join("of-another-program");
        let file = std::fs::File::create(&path).expect("a file");
        let bytes = free.checked_sub(LEFT_FREE).expect("room");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("room");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a member that a failed test leaves behind still has it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The members that have raised an alarm.
async fn alarms(client: &Client) -> Vec<u64> {
    let all = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    let answer = eventually("alarms are listed", async || client.alarm(all).await.ok()).await;
    answer.alarms.iter().map(|alarm| alarm.member_id).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_goes_on() {
    let mut cluster = Cluster::new("full-disk", 1, &[]);
    let data = cluster.members[0].data.clone();
    let Some(disk) = SmallDisk::mount(&data) else {
        eprintln!("SKIPPED: mounting a tmpfs is not allowed here");
        return;
    };
    cluster.members[0].start();
    cluster.wait_ready().await;
    cluster.put("before", "1").await;
    let filler = disk.fill();
    let client = cluster.client();
    let value = "x".repeat(1 << 20);
    let mut kept = 0;
    let refused = loop {
        match put(&client, &format!("big/{kept:03}"), &value).await {
            Ok(_) => kept += 1,
            Err(error) => break error.to_string(),
        }
        assert!(kept < 100, "the disk has no room for that");
    };
    assert_eq!(refused, NO_SPACE);
    assert_eq!(std::fs::metadata(data.join("log/reserve")).expect("a reserve").len(), 64 << 20);

    eventually("the alarm", async || (alarms(&client).await.len() == 1).then_some(())).await;
    // It stays so, and what makes room is taken; nothing flaps and nothing is stuck.
    for _ in 0..30 {
        assert_eq!(put(&client, "more", "1").await.expect_err("full").to_string(), NO_SPACE);
        let read = RangeRequest { key: "before".into(), ..RangeRequest::default() };
        assert_eq!(client.range(read).await.expect("answered").count, 1);
        assert_eq!(alarms(&client).await.len(), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let delete =
        DeleteRangeRequest { key: "big/".into(), range_end: "big0".into(), prev_kv: false };
    let deleted = client.delete_range(delete).await.expect("a full disk can be emptied");
    assert_eq!(deleted.deleted, kept);
    let revision = deleted.header.expect("a header").revision;
    let compact = CompactionRequest { revision, physical: true };
    client.compact(compact).await.expect("a full disk can be emptied");

    std::fs::remove_file(filler).expect("removed");
    cluster.put("after", "1").await;
    assert!(alarms(&client).await.is_empty());
    cluster.members[0].restart();
    cluster.wait_ready().await;
    cluster.check().await;
    // The folder goes last, and cannot while something is mounted in it.
    cluster.members.clear();
    drop(disk);
}

/// How many syncs the disk takes before one fails. A member's start takes fewer.
const SYNCS: usize = 400;

/// The member's program, where a sync fails after so many.
fn under_failing_syncs() -> Option<Command> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: there is no strace");
        return None;
    }
    let mut under = Command::new("strace");
    let inject = format!("inject=fdatasync:error=EIO:when={SYNCS}+");
    // The member stays this process's child, so that it can be waited for.
    under.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject]);
    under.arg(env!("CARGO_BIN_EXE_quorate"));
    Some(under)
}

#[tokio::test]
async fn a_failed_sync_ends_the_member_and_costs_nothing_that_was_acknowledged() {
    let Some(under) = under_failing_syncs() else { return };
    let mut cluster = Cluster::new("failed-sync", 1, &[]);
    cluster.members[0].start_under(under);
    cluster.wait_ready().await;
    let client = cluster.client();
    let mut failed_at = None;
    for number in 0..2 * SYNCS {
        let (key, value) = (format!("key/{number:04}"), format!("value {number}"));
        if put(&client, &key, &value).await.is_err() {
            failed_at = Some((key, value));
            break;
        }
        cluster.written.insert(key, value);
    }
    let (key, value) = failed_at.expect("a sync that fails is not acknowledged");
    assert_eq!(cluster.members[0].wait_end().await.code(), Some(1));
    let said = cluster.members[0].log();
    assert!(said.contains("the write-ahead log cannot be written"), "{said}");

    cluster.members[0].start();
    cluster.wait_ready().await;
    // What failed may be there all the same: it was written, only not synced.
    let (_, found) = contents(&cluster.client()).await.expect("answered");
    if found.contains_key(&key) {
        cluster.written.insert(key, value);
    }
    cluster.check().await;
}

/// Clients that keep entries coming while the disk fails.
const WRITERS: usize = 4;

#[tokio::test]
async fn what_peers_send_to_a_member_whose_log_failed_does_not_matter() {
    let Some(under) = under_failing_syncs() else { return };
    let mut cluster = Cluster::new("failed-sync-of-three", 3, &[]);
    cluster.members[0].start_under(under);
    cluster.members[1].start();
    cluster.members[2].start();
    cluster.wait_ready().await;
    let others = [cluster.members[1].client_url(), cluster.members[2].client_url()];
    let write = async |writer: usize| {
        let client = client(&others);
        for number in 0.. {
            // Refusals are of no matter here: it may be the leader whose disk fails.
            let _ = put(&client, &format!("key/{writer}/{number:05}"), "value").await;
        }
    };
    let status = tokio::select! {
        status = cluster.members[0].wait_end() => status,
        () = async { tokio::join!(write(0), write(1), write(2), write(WRITERS - 1)); } => unreachable!(),
    };
    let said = cluster.members[0].log();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the write-ahead log cannot be written"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    cluster.members[0].start();
    cluster.wait_ready().await;
    (_, cluster.written) = contents(&cluster.client()).await.expect("answered");
    cluster.check().await;
}
