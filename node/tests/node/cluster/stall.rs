//! Members whose disk hangs: nothing fails, and nothing comes back.
//!
//! `strace` holds every sync of all threads of a running member until it lets go of them; or it
//! makes calls fail. Where there is no `strace`, the tests say so.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberRemoveRequest,
};

use super::*;

/// A sync does not come back: what is longer than any test.
const HANGS: &str = "inject=fdatasync,fsync:delay_enter=1000s";

/// A write finds no room.
pub(super) const FULL: &str = "inject=pwrite64,pwritev,pwritev2:error=ENOSPC";

/// A write fails.
pub(super) const BROKEN: &str = "inject=pwrite64,pwritev,pwritev2:error=EIO";

/// All threads.
const ALL: &str = "";

/// What a running member's calls come to until this is dropped.
pub(super) struct Fault(Child);

impl Fault {
    /// Of the thread of this name, or of [`ALL`]. `None` where there is no strace.
    pub(super) async fn begin(member: &Member, inject: &str, thread: &str) -> Option<Self> {
        if Command::new("strace").arg("-V").output().is_err() {
            eprintln!("SKIPPED: there is no strace");
            return None;
        }
        let process = member.id();
        let threads = threads_of(process, thread);
        let calls = inject.split(['=', ':']).nth(1).expect("calls");
        let mut command = Command::new("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", inject]);
        if thread == ALL {
            command.args(["-f", "-p", &process.to_string()]);
        } else {
            threads.iter().for_each(|path| {
                let id = path.file_name().expect("an id").to_string_lossy();
                command.args(["-p", &id]);
            });
        }
        let tracer = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let fault = Self(tracer.expect("strace is there"));
        eventually("strace has its threads", async || {
            threads_of(process, thread).iter().all(|path| is_traced(path)).then_some(())
        })
        .await;
        Some(fault)
    }

    /// Every sync hangs.
    async fn stall(member: &Member) -> Option<Self> {
        Self::begin(member, HANGS, ALL).await
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // Without its tracer a thread goes on.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process's threads of this name.
fn threads_of(process: u32, name: &str) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let tasks = tasks.flatten().map(|task| task.path());
    let has_name = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let found: Vec<PathBuf> = tasks.filter(|task| name == ALL || has_name(task)).collect();
    assert!(!found.is_empty(), "no thread is called {name}");
    found
}

fn is_traced(task: &Path) -> bool {
    let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_none_or(|tracer| tracer.trim() != "0")
}

#[tokio::test]
async fn one_that_is_asked_to_remove_itself_answers_though_its_log_stands_still() {
    let mut cluster = Cluster::start("removes-itself", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let id = cluster.id(at).await;
    let asked = cluster.members[at].client();
    // From here on it cannot apply what it is asked for, as that is never durable with it.
    let Some(stall) = Fault::stall(&cluster.members[at]).await else { return };
    let left = eventually("the removal is taken", async || {
        match asked.member_remove(MemberRemoveRequest { id }).await {
            Err(Error::Etcd(quorate_api::Error::Unhealthy)) => None,
            answer => Some(answer.expect("who asks for its removal hears of it").members),
        }
    })
    .await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|member| member.id != id), "{left:?}");
    drop(stall);
    assert_eq!(cluster.members[at].wait_end().await.code(), Some(0));
    cluster.put_many("without", 5).await;
    cluster.check().await;
}

/// Seconds of a lease that is renewed all the time, and would end without.
const SHORT_LEASE: i64 = 4;

/// Seconds of a lease that nobody renews.
const LONG_LEASE: i64 = 60;

/// How long the disk hangs: several election timeouts, and longer than the short lease lasts.
const HANGING: Duration = Duration::from_secs(6);

impl Cluster {
    /// A key that is there as long as its lease.
    async fn put_leased(&mut self, key: &str, ttl: i64) -> i64 {
        let client = self.client();
        let grant = LeaseGrantRequest { ttl, id: 0 };
        let granted = eventually("a lease", async || client.lease_grant(grant).await.ok()).await;
        let put = PutRequest {
            key: key.to_owned().into(),
            value: "leased".into(),
            lease: granted.id,
            ..PutRequest::default()
        };
        eventually("a leased key", async || client.put(put.clone()).await.ok()).await;
        self.written.insert(key.to_owned(), "leased".to_owned());
        granted.id
    }
}

/// Renew a lease again and again, until it is over.
async fn keep_alive(client: &Client, id: i64, is_over: &std::cell::Cell<bool>) {
    let mut renewed = Instant::now();
    while !is_over.get() {
        match client.lease_keep_alive(LeaseKeepAliveRequest { id }).await {
            Ok(answer) => {
                assert!(
                    answer.ttl > 0,
                    "the lease is gone, {:?} after it was renewed",
                    renewed.elapsed()
                );
                renewed = Instant::now();
            }
            Err(error) => {
                let allowed = Duration::from_secs(SHORT_LEASE.unsigned_abs());
                assert!(renewed.elapsed() < allowed, "not renewed in time: {error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_steps_down_and_leases_live_on() {
    let mut cluster = Cluster::start("hangs", 3, &[]).await;
    cluster.put_many("before", 10).await;
    let short = cluster.put_leased("short", SHORT_LEASE).await;
    let long = cluster.put_leased("long", LONG_LEASE).await;
    let granted = Instant::now();
    let old = cluster.leader().await;
    let old_id = cluster.id(old).await;
    // The one that keeps the lease alive asks whoever hangs first.
    let mut endpoints: Vec<String> = cluster.members.iter().map(Member::client_url).collect();
    endpoints.rotate_left(old);
    let keeper = client(&endpoints);
    let others: Vec<String> = endpoints[1..].to_vec();
    let others = client(&others);

    // Some share a thread of the old leader with whoever writes there.
    let beside: Vec<Client> = (0..6).map(|_| cluster.members[old].client()).collect();
    for client in &beside {
        client.status().await.expect("answered");
    }

    let Some(stall) = Fault::stall(&cluster.members[old]).await else { return };
    let is_over = std::cell::Cell::new(false);
    let hanging = async {
        // What the old leader is asked to write, it cannot.
        let began = Instant::now();
        let stuck = cluster.members[old].client();
        let stuck = put(&stuck, "stuck", "1");
        let served = async {
            // The write is there by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            for client in &beside {
                let status = tokio::time::timeout(HANGING, client.status()).await;
                status.expect("its thread does not hang").expect("answered");
            }
        };
        let elected = eventually("another leads", async || {
            let status = others.status().await.ok()?;
            (status.leader != 0 && status.leader != old_id).then_some(status.leader)
        });
        let going_on = async {
            let elected = elected.await;
            let mut written = Vec::new();
            while began.elapsed() < HANGING {
                let key = format!("meanwhile/{:05}", written.len());
                put(&others, &key, "1").await.expect("who leads now has a disk");
                written.push(key);
            }
            (elected, written)
        };
        let (stuck, (elected, written), ()) = tokio::join!(stuck, going_on, served);
        is_over.set(true);
        (stuck, elected, written)
    };
    let ((stuck, elected, written), ()) =
        tokio::join!(hanging, keep_alive(&keeper, short, &is_over));
    assert!(written.len() > 50, "{} writes are no load", written.len());
    cluster.written.extend(written.into_iter().map(|key| (key, "1".to_owned())));

    let left = others.lease_time_to_live(LeaseTimeToLiveRequest { id: long, keys: true });
    let left = left.await.expect("answered");
    assert_eq!(left.keys.len(), 1, "{left:?}");
    let passed = i64::try_from(granted.elapsed().as_secs()).expect("a minute");
    assert!(left.ttl >= LONG_LEASE - passed - 2, "{passed} s later: {left:?}");

    drop(stall);
    eventually("the old one follows", async || {
        let status = cluster.members[old].client().status().await.ok()?;
        (status.leader == elected).then_some(())
    })
    .await;
    // What it could not acknowledge may have been taken all the same.
    let (_, found) = contents(&cluster.client()).await.expect("answered");
    if stuck.is_ok() || found.contains_key("stuck") {
        cluster.written.insert("stuck".to_owned(), "1".to_owned());
    }
    cluster.put("after", "1").await;
    let is_alive = keeper.lease_keep_alive(LeaseKeepAliveRequest { id: short }).await;
    assert!(is_alive.expect("answered").ttl > 0);
    cluster.check().await;
    assert!(!cluster.members[old].has_ended());
}
