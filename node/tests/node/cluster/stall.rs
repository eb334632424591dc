//! Members whose disk hangs: nothing fails, and nothing comes back.
//!
//! `strace` holds every sync of all threads of a running member until it lets go of them. Where
//! there is no `strace`, the tests say so.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberRemoveRequest,
};

use super::*;

/// What a sync takes from now on: longer than any test.
const HANGS: &str = "inject=fdatasync,fsync:delay_enter=1000s";

/// A member's disk that hangs until this is dropped.
struct Stall(Child);

impl Stall {
    /// `None` where there is no strace.
    async fn begin(member: &Member) -> Option<Self> {
        if Command::new("strace").arg("-V").output().is_err() {
            eprintln!("SKIPPED: there is no strace");
            return None;
        }
        let process = member.id();
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", HANGS])
            .args(["-p", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is there");
        let stall = Self(tracer);
        eventually("strace has all threads", async || is_traced(process).then_some(())).await;
        Some(stall)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        // Without its tracer a thread goes on.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether all threads of a process are traced.
fn is_traced(process: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|tracer| tracer.trim() != "0")
    })
}

#[tokio::test]
async fn one_that_is_asked_to_remove_itself_answers_though_its_log_stands_still() {
    let mut cluster = Cluster::start("removes-itself", 3, &[]).await;
    cluster.put_many("before", 5).await;
    let at = cluster.follower().await;
    let id = cluster.id(at).await;
    let asked = cluster.members[at].client();
    // From here on it cannot apply what it is asked for, as that is never durable with it.
    let Some(stall) = Stall::begin(&cluster.members[at]).await else { return };
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

/// How long the disk hangs after another leads.
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

    let Some(stall) = Stall::begin(&cluster.members[old]).await else { return };
    let is_over = std::cell::Cell::new(false);
    let hanging = async {
        // What the old leader is asked to write, it cannot.
        let stuck = cluster.members[old].client();
        let stuck = put(&stuck, "stuck", "1");
        let elected = eventually("another leads", async || {
            let status = others.status().await.ok()?;
            (status.leader != 0 && status.leader != old_id).then_some(status.leader)
        });
        let (stuck, elected) = tokio::join!(stuck, elected);
        let until = Instant::now() + HANGING;
        let mut written = Vec::new();
        while Instant::now() < until {
            let key = format!("meanwhile/{:05}", written.len());
            put(&others, &key, "1").await.expect("who leads now has a disk");
            written.push(key);
        }
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
