//! Members that come, change and go, and what is refused on the way, with etcd's texts.

use quorate_api::etcdserverpb::{
    LeaseGrantRequest, Member as Listed, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, WatchCreateRequest,
};

use super::*;

const NOT_IN_SYNC: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";
const NOT_STARTED: &str = "etcdserver: re-configuration failed due to not enough started members";
const UNHEALTHY: &str = "etcdserver: unhealthy cluster";
const NOT_FOR_LEARNERS: &str = "etcdserver: rpc not supported for learner";
const TOO_MANY_LEARNERS: &str = "etcdserver: too many learner members in cluster";
const REMOVED: &str = "the member has been permanently removed from the cluster";
const NOT_FOUND: &str = "etcdserver: member not found";

/// What a member to be is added as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Voter,
    Learner,
}

/// Add a member. The cluster counts as unhealthy until its members have been connected for a
/// while; anything else is the answer.
pub(super) async fn add(client: &Client, peer_url: &str, role: Role) -> Result<Listed, Error> {
    let is_learner = role == Role::Learner;
    eventually(&format!("a healthy cluster adds {peer_url}"), async || {
        let peer_urls = vec![peer_url.to_owned()];
        match client.member_add(MemberAddRequest { peer_urls, is_learner }).await {
            Err(error) if error.to_string() == UNHEALTHY => None,
            answer => Some(answer.map(|answer| answer.member.expect("the member"))),
        }
    })
    .await
}

pub(super) async fn promote(client: &Client, id: u64) -> Result<(), Error> {
    client.member_promote(MemberPromoteRequest { id }).await.map(drop)
}

pub(super) async fn remove(client: &Client, id: u64) -> Result<(), Error> {
    client.member_remove(MemberRemoveRequest { id }).await.map(drop)
}

/// The members as this one lists them, in the order of their ids.
pub(super) async fn listed(client: &Client) -> Vec<Listed> {
    let answer = eventually("the members are listed", async || {
        client.member_list(MemberListRequest { linearizable: true }).await.ok()
    });
    answer.await.members
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    answer.expect_err("it is refused").to_string()
}

impl Cluster {
    /// A member to be, for which the cluster has not been asked.
    pub(super) fn newcomer(&mut self, name: &str, arguments: &[&str]) -> usize {
        let mut member = Member::new(self.folder.path(), name);
        let mut initial: Vec<String> = self.members.iter().map(Member::as_initial).collect();
        initial.push(member.as_initial());
        let initial = format!("--initial-cluster={}", initial.join(","));
        let joins = ["--initial-cluster-state=existing", initial.as_str()];
        member.set_arguments(&[&joins, arguments].concat());
        self.members.push(member);
        self.members.len() - 1
    }

    /// Add one and start it.
    pub(super) async fn join(&mut self, name: &str, role: Role, arguments: &[&str]) -> usize {
        let client = self.client();
        let at = self.newcomer(name, arguments);
        add(&client, &self.members[at].peer_url(), role).await.expect("added");
        self.members[at].start();
        self.members[at].wait_ready().await;
        at
    }

    /// All members that run list the same, with these names.
    pub(super) async fn check_list(&self, names: &[&str]) {
        let all = listed(&self.client()).await;
        let mut found: Vec<&str> = all.iter().map(|member| member.name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, names);
        for member in self.running() {
            assert_eq!(listed(&member.client()).await, all, "on {}", member.name);
        }
    }

    pub(super) async fn id(&self, at: usize) -> u64 {
        let status = eventually("a status", async || self.members[at].client().status().await.ok());
        super::id(&status.await)
    }
}

#[tokio::test]
async fn a_learner_joins_catches_up_and_votes_when_it_is_promoted() {
    let few = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];
    let mut cluster = Cluster::start("learner", 3, &few).await;
    cluster.put_many("before", 60).await;
    let client = cluster.client();
    let at = cluster.newcomer("m4", &few);
    let url = cluster.members[at].peer_url();
    let learner = add(&client, &url, Role::Learner).await.expect("added");
    assert!(learner.is_learner && learner.name.is_empty(), "{learner:?}");
    cluster.check_list(&["", "m1", "m2", "m3"]).await;
    let second = add(&client, "http://127.0.0.1:1", Role::Learner).await;
    assert_eq!(refusal(second), TOO_MANY_LEARNERS);
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for asked in [leader, follower] {
        let asked = cluster.members[asked].client();
        assert_eq!(refusal(promote(&asked, learner.id).await), NOT_IN_SYNC);
    }

    cluster.members[at].start();
    cluster.members[at].wait_ready().await;
    cluster.put_many("after", 10).await;
    learner_serves_only_what_it_should(&cluster, at).await;

    let asked = cluster.members[follower].client();
    eventually("it is in sync", async || match promote(&asked, learner.id).await {
        Ok(()) => Some(()),
        Err(error) if error.to_string() == NOT_IN_SYNC => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    let again = refusal(promote(&asked, learner.id).await);
    assert_eq!(again, "etcdserver: can only promote a learner member");
    assert_eq!(refusal(promote(&asked, 1).await), NOT_FOUND);
    cluster.check_list(&["m1", "m2", "m3", "m4"]).await;
    cluster.put_many("promoted", 10).await;
    cluster.check().await;
    its_vote_counts(&mut cluster, at).await;
}

async fn learner_serves_only_what_it_should(cluster: &Cluster, at: usize) {
    let client = cluster.members[at].client();
    let all = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        serializable: true,
        ..RangeRequest::default()
    };
    eventually("the learner has caught up", async || {
        let range = client.range(all.clone()).await.expect("served");
        (range.kvs.len() == cluster.written.len()).then_some(())
    })
    .await;
    assert!(client.status().await.expect("served").is_learner);
    assert!(client.snapshot().await.expect("served").next().await.expect("a part").is_some());
    let ready = cluster.members[at].http("GET", "/readyz").expect("an answer");
    assert!(ready.contains("[-]non_learner failed"), "{ready}");

    let linearizable = RangeRequest { serializable: false, ..all };
    let watch = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let watch = match client.watch(watch).await {
        Ok(mut watch) => watch.next().await.map(drop),
        Err(error) => Err(error),
    };
    for refused in [
        refusal(client.range(linearizable).await),
        refusal(put(&client, "a", "b").await),
        refusal(watch),
        refusal(client.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await),
        refusal(client.hash_kv(HashKvRequest::default()).await),
        refusal(client.member_list(MemberListRequest { linearizable: false }).await),
    ] {
        assert_eq!(refused, NOT_FOR_LEARNERS);
    }
}

/// Of four, two are no majority and three are; of three, it is the second that makes one.
async fn its_vote_counts(cluster: &mut Cluster, at: usize) {
    let others: Vec<usize> = (0..at).collect();
    cluster.members[at].kill();
    cluster.members[others[0]].kill();
    let refused = put(&cluster.client(), "two-of-four", "1").await;
    assert!(refused.is_err(), "two of four acknowledge nothing");
    cluster.members[at].start();
    cluster.wait_ready().await;
    cluster.put("two-of-four", "1").await;
    let gone = cluster.id_of("m1").await;
    remove(&cluster.client(), gone).await.expect("one that is down may go");
    cluster.check_list(&["m2", "m3", "m4"]).await;
    cluster.members[others[1]].kill();
    cluster.put("two-of-three", "1").await;
    cluster.members[others[1]].start();
    cluster.wait_ready().await;
    cluster.check().await;
}

impl Cluster {
    async fn id_of(&self, name: &str) -> u64 {
        let all = listed(&self.client()).await;
        all.iter().find(|member| member.name == name).expect("a member of this name").id
    }
}

#[tokio::test]
async fn voters_join_and_addresses_change() {
    let mut cluster = Cluster::start("voters", 1, &[]).await;
    cluster.put_many("alone", 5).await;
    cluster.join("m2", Role::Voter, &[]).await;
    cluster.put_many("two", 5).await;
    let moved = cluster.join("m3", Role::Voter, &[]).await;
    cluster.put_many("three", 5).await;
    cluster.check_list(&["m1", "m2", "m3"]).await;
    cluster.check().await;

    let client = cluster.members[0].client();
    let taken = add(&client, &cluster.members[1].peer_url(), Role::Voter).await;
    assert_eq!(refusal(taken), "etcdserver: Peer URLs already exists");
    let bad = add(&client, "not a url", Role::Voter).await;
    assert_eq!(refusal(bad), "etcdserver: given member URLs are invalid");
    let update = |id, url: String| MemberUpdateRequest { id, peer_urls: vec![url] };
    let unknown = client.member_update(update(1, "http://127.0.0.1:1".to_owned())).await;
    assert_eq!(refusal(unknown), NOT_FOUND);

    let id = cluster.id(moved).await;
    cluster.members[moved].kill();
    cluster.members[moved].move_away();
    let url = cluster.members[moved].peer_url();
    client.member_update(update(id, url.clone())).await.expect("updated");
    cluster.members[moved].start();
    cluster.wait_ready().await;
    let all = listed(&cluster.client()).await;
    let listed = all.iter().find(|member| member.id == id).expect("m3");
    assert_eq!(listed.peer_urls, [url]);
    cluster.members[0].kill();
    cluster.put_many("at-its-new-address", 5).await;
    cluster.members[0].start();
    cluster.wait_ready().await;
    cluster.check_list(&["m1", "m2", "m3"]).await;
    cluster.check().await;
}

#[tokio::test]
async fn a_removed_member_says_so_and_ends() {
    let mut cluster = Cluster::start("removal", 3, &[]).await;
    cluster.put_many("three", 5).await;
    for leads in [false, true] {
        let at = if leads { cluster.leader().await } else { cluster.follower().await };
        let id = cluster.id(at).await;
        let others = cluster.running().filter(|member| member.name != cluster.members[at].name);
        let others = client(&others.map(Member::client_url).collect::<Vec<_>>());
        eventually("the removal is taken", async || match remove(&others, id).await {
            Err(Error::Etcd(quorate_api::Error::Unhealthy)) => None,
            answer => {
                answer.expect("removed");
                Some(())
            }
        })
        .await;
        cluster.ends_as_removed(at).await;
        // Without a leader, nobody knows.
        cluster.put_many(&format!("without-{id}"), 5).await;
        assert_eq!(refusal(remove(&others, id).await), NOT_FOUND);
        cluster.check().await;
    }
    let left = cluster.running().map(|member| member.name.clone()).collect::<Vec<_>>();
    let left = left.iter().map(String::as_str).collect::<Vec<_>>();
    cluster.check_list(&left).await;
}

#[tokio::test]
async fn a_leader_that_removes_itself_says_so_at_every_start() {
    let mut cluster = Cluster::start("leader-goes", 3, &[]).await;
    cluster.put_many("three", 5).await;
    let at = cluster.leader().await;
    let id = cluster.id(at).await;
    let asked = cluster.members[at].client();
    eventually("the removal is taken", async || match remove(&asked, id).await {
        Err(Error::Etcd(quorate_api::Error::Unhealthy)) => None,
        answer => {
            answer.expect("who asks for its removal hears of it");
            Some(())
        }
    })
    .await;
    cluster.ends_as_removed(at).await;
    cluster.put_many("without", 5).await;
    cluster.check().await;
    // Its peers say so; and so does its own directory when nobody is there.
    cluster.members[at].start();
    cluster.ends_as_removed(at).await;
    for other in (0..3).filter(|other| *other != at) {
        cluster.members[other].kill();
    }
    cluster.members[at].start();
    cluster.ends_as_removed(at).await;
}

impl Cluster {
    /// The member ends in order, and says why.
    pub(super) async fn ends_as_removed(&mut self, at: usize) {
        let code = self.members[at].wait_end().await.code();
        let said = self.members[at].log();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(REMOVED), "{said}");
    }
}

#[tokio::test]
async fn changes_that_would_cost_the_majority_are_refused() {
    let mut cluster = Cluster::start("strict", 3, &[]).await;
    let down = cluster.follower().await;
    let down_id = cluster.id(down).await;
    let up = cluster.follower().await;
    cluster.members[down].kill();
    let leader = cluster.leader().await;
    let client = cluster.members[leader].client();
    let up_id = cluster.id((0..3).find(|at| *at != down && *at != leader).unwrap_or(up)).await;
    for is_learner in [false, true] {
        let peer_urls = vec!["http://127.0.0.1:1".to_owned()];
        let answer = client.member_add(MemberAddRequest { peer_urls, is_learner }).await;
        assert_eq!(refusal(answer), UNHEALTHY);
    }
    eventually("it is known that one is down", async || {
        (refusal(remove(&client, up_id).await) == UNHEALTHY).then_some(())
    })
    .await;
    remove(&client, down_id).await.expect("one that is down may go");

    let third = add(&client, "http://127.0.0.1:1", Role::Voter).await.expect("added");
    let fourth = add(&client, "http://127.0.0.1:2", Role::Voter).await;
    assert_eq!(refusal(fourth), NOT_STARTED);
    assert_eq!(refusal(remove(&client, up_id).await), NOT_STARTED);
    remove(&client, third.id).await.expect("one that has not started may go");
}

#[tokio::test]
async fn one_that_was_not_added_is_told_what_to_do() {
    let mut cluster = Cluster::start("uninvited", 1, &[]).await;
    let at = cluster.newcomer("m2", &[]);
    let mut lost = Member::new(cluster.folder.path(), "m3");
    let nobody = "--initial-cluster=m1=http://127.0.0.1:1,".to_owned() + &lost.as_initial();
    lost.set_arguments(&["--initial-cluster-state=existing", &nobody]);
    for (member, says) in [
        (&mut cluster.members[at], "no member there has the peer URLs"),
        (&mut lost, "cannot join the cluster"),
    ] {
        member.start();
        assert_eq!(member.wait_end().await.code(), Some(1));
        let said = member.log();
        assert!(said.contains(says) && said.contains("etcdctl member add"), "{said}");
        assert!(!member.data.exists(), "nothing is left behind that the next start meets");
    }
}
