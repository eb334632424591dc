//! The end of a run: everything is healed, the members must agree in time, and what the clients
//! saw is judged.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use judge::check::durability::FinalState;
use judge::check::lease::Terms;
use judge::check::linearizable::Linearization;
use judge::check::serializable::AfterRestart;
use judge::check::state_hash::StateHash;
use judge::check::watch::Ending;
use judge::check::{Circumstances, Violation, clients};
use judge::client::Call;
use judge::history::{Body, ClientId, KeyRange, KeyValue, MemberId, Outcome, Range, Request, Time};
use quorate_api::etcdserverpb as pb;

use super::admin::Run;
use super::machine::State;
use super::witness;

/// A healed cluster agrees within this, on a machine that does other things, too.
const AGREEMENT_WAIT_MAX: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The client that reads when all is over.
const LAST_READER: ClientId = ClientId(1 << 32);
/// How much earlier than it should a lease may end: some ticks.
const CLOCK_SKEW: Time = Time::from_millis(250);
/// How much later, under a leader that leads undisturbed.
const LATE_BOUND: Time = Time::from_secs(15);
/// How long after its client gave up a request may still arrive.
const DELIVERY_BOUND: Time = Time::from_secs(30);
/// What a new leader gives leases on top: an election timeout.
const LEADER_GRACE: Time = Time::from_millis(500);

/// What all members agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Agreement {
    revision: i64,
    term: u64,
    kvs: Vec<KeyValue>,
    /// The leases, and when they were asked for.
    leases: (Time, Vec<i64>),
}

/// Wait until the healed cluster agrees and all watchers have everything; then judge.
///
/// # Errors
/// In the outer result, what is wrong with a member; in the inner one, with what clients saw.
pub(super) async fn conclude(run: &Run) -> anyhow::Result<Result<Linearization, Violation>> {
    let until = Instant::now() + AGREEMENT_WAIT_MAX;
    let mut number = 0;
    let mut stable: Option<(Time, u64)> = None;
    let agreement = loop {
        let problem = match agree(run, &mut number, &mut stable).await {
            Ok(agreement) if is_quiet(run, &agreement) => {
                match compare_hashes(run, &agreement).await? {
                    Hashes::Equal => break agreement,
                    Hashes::Different(violation) => return Ok(Err(violation)),
                    Hashes::Later { voter, revision } => {
                        format!("m{voter} has gone on to revision {revision}")
                    }
                }
            }
            Ok(_) => "watchers lag".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > until {
            bail!("no agreement {AGREEMENT_WAIT_MAX:?} after all was healed: {problem}");
        }
        tokio::time::sleep(LOOK).await;
        run.cluster.borrow_mut().look()?;
        run.tell_clients();
    };
    let (now, changes) = {
        let stage = run.stage.borrow();
        (stage.now(), stage.witness.changes.clone())
    };
    let Agreement { revision, kvs, leases, term: _ } = agreement;
    let circumstances = Circumstances {
        ending: Ending::Healed { at: now, until: now, revision, progress_within: None },
        terms: Terms {
            clock_skew: CLOCK_SKEW,
            late_bound: LATE_BOUND,
            delivery_bound: DELIVERY_BOUND,
            stable: stable.map(|(since, _)| (since, now)).into_iter().collect(),
            leader_grace: LEADER_GRACE,
            checkpoint_interval: None,
            ending: Some(leases),
        },
        after_restart: AfterRestart::MayGoBack,
        last: Some(FinalState { revision, kvs, changes }),
    };
    // What comes from now on is not of this history.
    let history = run.stage.borrow().history.clone();
    Ok(clients(&history, &circumstances))
}

/// Every member follows one leader, has applied all that is committed, and answers the same.
async fn agree(
    run: &Run,
    number: &mut u64,
    stable: &mut Option<(Time, u64)>,
) -> anyhow::Result<Agreement> {
    let voters = {
        let cluster = run.cluster.borrow();
        if cluster.change.is_some() {
            bail!("a change of members is under way: {:?}", cluster.change);
        }
        if let Some((number, mishap)) = cluster.mishaps.first_key_value() {
            bail!("m{number} is not whole: {mishap:?}");
        }
        if cluster.in_state(State::Running).len() < cluster.voters.len() {
            bail!("not all run");
        }
        cluster.voters.clone()
    };
    let mut standing = None;
    for voter in &voters {
        let admin = run.cluster.borrow().admin(&[*voter])?;
        let status = admin.status().await.with_context(|| format!("m{voter}"))?;
        let seen = (status.leader, status.raft_term);
        if seen.0 == 0 || *standing.get_or_insert(seen) != seen {
            bail!("m{voter} follows {seen:?}, others {standing:?}");
        }
        if status.raft_applied_index != status.raft_index {
            bail!("m{voter} has applied {} of {}", status.raft_applied_index, status.raft_index);
        }
    }
    let term = standing.map_or(0, |(_, term)| term);
    if stable.is_none_or(|(_, known)| known != term) {
        *stable = Some((run.stage.borrow().now(), term));
    }
    let all = run.cluster.borrow().admin(&voters)?;
    let asked = run.stage.borrow().now();
    let leases = all.lease_leases(pb::LeaseLeasesRequest {}).await?;
    let leases = (asked, leases.leases.iter().map(|lease| lease.id).collect());
    let mut answer: Option<(i64, Vec<KeyValue>)> = None;
    for voter in voters {
        let (revision, kvs) = read_all(run, voter, number).await?;
        let first = answer.get_or_insert((revision, kvs));
        if first.0 != revision {
            bail!("m{voter} is at revision {revision}, others at {}", first.0);
        }
    }
    let (revision, kvs) = answer.context("nobody was asked")?;
    Ok(Agreement { revision, term, kvs, leases })
}

/// Read everything at a member, as a client: the answer is part of the history.
async fn read_all(run: &Run, voter: u8, number: &mut u64) -> anyhow::Result<(i64, Vec<KeyValue>)> {
    *number += 1;
    let read = Request::Range(Range::current(KeyRange::all()));
    let position = run.stage.borrow().history.operations().len();
    let member = MemberId(u64::from(voter));
    run.stage.borrow_mut().ask(LAST_READER, member, Call(*number), read);
    let until = Instant::now() + AGREEMENT_WAIT_MAX;
    loop {
        tokio::time::sleep(LOOK / 10).await;
        let stage = run.stage.borrow();
        let operation = stage.history.operations().get(position).context("just asked")?;
        match (&operation.outcome, operation.returned) {
            (Outcome::Ok(response), _) => match &response.body {
                Body::Range(range) => return Ok((response.revision, range.kvs.clone())),
                body => bail!("m{voter} answers {body:?}"),
            },
            (outcome, Some(_)) => bail!("m{voter} does not answer: {outcome:?}"),
            (_, None) if Instant::now() > until => bail!("m{voter} never answers"),
            (_, None) => {}
        }
    }
}

/// Whether nobody has seen more, and every watcher has all of it; where not, streams are asked how
/// far they are.
fn is_quiet(run: &Run, agreement: &Agreement) -> bool {
    let mut stage = run.stage.borrow_mut();
    if stage.is_asking() || stage.revision != agreement.revision {
        return false;
    }
    if stage.witness.revision() != agreement.revision {
        return false;
    }
    let of_clients = stage.streams.iter().filter(|((client, _), _)| *client != witness::ID);
    let asks: Vec<_> = of_clients
        .flat_map(|(key, open)| open.asks(agreement.revision).into_iter().map(|ask| (*key, ask)))
        .collect();
    let is_quiet = asks.is_empty();
    for ((client, stream), ask) in asks {
        stage.say(client, stream, ask);
    }
    is_quiet
}

/// What members' hashes come to.
enum Hashes {
    Equal,
    Different(Violation),
    /// A lease has ended since, and took its keys along: what was agreed on is history.
    Later {
        voter: u8,
        revision: i64,
    },
}

/// Every member has the same data, as etcd's hash tells, twice.
async fn compare_hashes(run: &Run, agreement: &Agreement) -> anyhow::Result<Hashes> {
    let mut hashes = StateHash::new();
    let (voters, now) = (run.cluster.borrow().voters.clone(), run.stage.borrow().now());
    for voter in voters {
        let admin = run.cluster.borrow().admin(&[voter])?;
        for _ in 0..2 {
            // As the current one: of a revision that was compacted to, some may remember a hash.
            let request = pb::HashKvRequest::default();
            let answer = admin.hash_kv(request).await.with_context(|| format!("m{voter}"))?;
            let (member, compacted) = (MemberId(u64::from(voter)), answer.compact_revision);
            let revision = answer.hash_revision;
            if revision > agreement.revision {
                return Ok(Hashes::Later { voter, revision });
            }
            ensure!(
                revision == agreement.revision,
                "m{voter} has gone back from revision {} to {revision}",
                agreement.revision
            );
            let seen = hashes.observe_hash_kv(now, member, revision, compacted, answer.hash);
            if let Err(violation) = seen {
                return Ok(Hashes::Different(violation));
            }
        }
    }
    Ok(Hashes::Equal)
}
