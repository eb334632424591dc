//! Members whose disk hangs: nothing fails, and nothing comes back.
//!
//! `strace` holds every sync of all threads of a running member until it lets go of them. Where
//! there is no `strace`, the tests say so.

use std::process::{Child, Command, Stdio};

use quorate_api::etcdserverpb::MemberRemoveRequest;

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
