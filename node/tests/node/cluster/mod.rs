//! Clusters of real processes: how they live, lose members, change them and heal.
//!
//! What a test does is what an administrator or a failing machine would do: start, kill -9,
//! terminate, change files of a member that is down, ask through the ports. What it expects is
//! that every acknowledged write is there on every member, and that the members' hashes agree.

mod alone;
mod busy;
mod catch_up;
mod compaction;
mod damage;
mod disk;
mod handover;
mod identity;
mod joins;
mod load;
mod membership;
mod mixed;
mod names;
mod recover;
mod restart;
mod rolling;
mod stall;

use std::collections::BTreeMap;

use quorate_api::etcdserverpb::{HashKvRequest, PutRequest, RangeRequest, StatusResponse};
use quorate_client::{Client, Error};

use crate::process::{Folder, Member, client, eventually};

/// Members, and the data that the cluster acknowledged.
struct Cluster {
    members: Vec<Member>,
    written: BTreeMap<String, String>,
    folder: Folder,
}

impl Cluster {
    /// New members that do not run yet, who begin with each other.
    fn new(name: &str, size: usize, arguments: &[&str]) -> Self {
        let folder = Folder::new(&format!("cluster-{name}"));
        let names = (1..=size).map(|number| format!("m{number}"));
        let mut members: Vec<Member> =
            names.map(|name| Member::new(folder.path(), &name)).collect();
        let initial: Vec<String> = members.iter().map(Member::as_initial).collect();
        let initial = format!("--initial-cluster={}", initial.join(","));
        for member in &mut members {
            member.set_arguments(&[&[initial.as_str()], arguments].concat());
        }
        Self { members, written: BTreeMap::new(), folder }
    }

    /// The same, running and ready.
    async fn start(name: &str, size: usize, arguments: &[&str]) -> Self {
        let mut cluster = Self::new(name, size, arguments);
        for member in &mut cluster.members {
            member.start();
        }
        cluster.wait_ready().await;
        cluster
    }

    /// Wait until all that run serve.
    async fn wait_ready(&mut self) {
        for member in &mut self.members {
            if member.is_running() {
                member.wait_ready().await;
            }
        }
    }

    fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_running())
    }

    /// A client of all that run.
    fn client(&self) -> Client {
        client(&self.running().map(Member::client_url).collect::<Vec<_>>())
    }

    /// Write until it is acknowledged.
    async fn put(&mut self, key: &str, value: &str) {
        let client = self.client();
        eventually(&format!("{key} is written"), async || put(&client, key, value).await.ok())
            .await;
        self.written.insert(key.to_owned(), value.to_owned());
    }

    /// Write so many keys of a kind.
    async fn put_many(&mut self, kind: &str, count: usize) {
        for number in 0..count {
            self.put(&format!("{kind}/{number:05}"), &format!("{kind} {number}")).await;
        }
    }

    /// Where the leader is among the members, once all that run agree.
    async fn leader(&self) -> usize {
        eventually("one leader", async || {
            let mut seen = Vec::new();
            for member in self.running() {
                seen.push(member.client().status().await.ok()?);
            }
            let leader = seen.first()?.leader;
            if seen.iter().any(|status| status.leader != leader) {
                return None;
            }
            let at = seen.iter().position(|status| id(status) == leader)?;
            let name = &self.running().nth(at)?.name;
            self.members.iter().position(|member| member.name == *name)
        })
        .await
    }

    /// A member that runs and does not lead.
    async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let mut others = (0..self.members.len()).filter(|at| *at != leader);
        others.find(|at| self.members[*at].is_running()).expect("a follower")
    }

    /// Every member that runs has exactly what was acknowledged, and the hashes are equal.
    async fn check(&self) {
        for member in self.running() {
            let what = format!("{} answers", member.name);
            let found = eventually(&what, async || contents(&member.client()).await.ok()).await;
            assert_eq!(found.1, self.written, "on {}", member.name);
        }
        let mut hashes = Vec::new();
        let (revision, _) = contents(&self.client()).await.expect("answered");
        for member in self.running() {
            let what = format!("{} has revision {revision}", member.name);
            // As the current one: of a revision that was compacted to, some may remember a hash.
            let request = HashKvRequest::default();
            let answer = eventually(&what, async || {
                let answer = member.client().hash_kv(request).await.ok()?;
                (answer.hash_revision == revision).then_some(answer)
            });
            hashes.push((&member.name, answer.await.hash));
        }
        assert!(hashes.iter().all(|(_, hash)| *hash == hashes[0].1), "hashes differ: {hashes:?}");
    }
}

/// Who answered.
fn id(status: &StatusResponse) -> u64 {
    status.header.as_ref().expect("a header").member_id
}

async fn put(client: &Client, key: &str, value: &str) -> Result<i64, Error> {
    let put = PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        ..PutRequest::default()
    };
    Ok(client.put(put).await?.header.expect("a header").revision)
}

/// All keys with their values, linearizable, and the revision.
async fn contents(client: &Client) -> Result<(i64, BTreeMap<String, String>), Error> {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let answer = client.range(all).await?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let kvs = answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect();
    Ok((answer.header.expect("a header").revision, kvs))
}

/// All keys with their values as this member has them, up to date or not.
async fn serializable(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let all = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        serializable: true,
        ..RangeRequest::default()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let kvs = client.range(all).await?.kvs;
    Ok(kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect())
}
