//! The judges of a run: of members at every step, of clients at the end.

use std::collections::{BTreeMap, BTreeSet};

use quorate_raft::{Message, MessageKind};
use quorate_replica::Standing;
use quorate_store::hash as kv;
use quorate_store::store::Store;

use super::machine::{ELECTION_TICKS, Power, TICK_MS};
use super::process::Process;
use super::profile::Profile;
use super::{Happening, MILLIS, Machine, Mark, Marks, PROGRESS_MS, World};
use crate::check::bounded::Bounded;
use crate::check::durability::FinalState;
use crate::check::lease::Terms;
use crate::check::linearizable::Witness;
use crate::check::raft::{Durable, Raft, Role, View};
use crate::check::serializable::AfterRestart;
use crate::check::state_hash::{AppliedState, CompactionHash, Compared, StateHash};
use crate::check::watch::Ending;
use crate::check::{Circumstances, Rule, Violation, clients};
use crate::client::Call;
use crate::history::{
    Body, ClientId, KeyRange, MemberId, Outcome, Range, Refusal, Request, Time, WatchMessage,
};

/// The client that reads when all is over.
const LAST_READER: ClientId = ClientId(1 << 32);
/// Milliseconds between looks at a healed cluster.
const LOOK_MS: u64 = 250;
/// Milliseconds that clients go on in a healed cluster.
const CALM_MS: u64 = 3_000;
/// Milliseconds within which a watcher that wants to know hears how far it is: two intervals, for
/// events put it off, and what a slow client and the way take.
const PROGRESS_MS_MAX: u64 = 2 * PROGRESS_MS + 4_000;
/// Milliseconds after which a healed cluster has told it to all.
const QUIET_MS: u64 = CALM_MS + PROGRESS_MS_MAX;

pub(crate) struct Judge {
    raft: Raft,
    hashes: StateHash,
    bounded: Bounded,
    witness: Witness,
    looked_at: BTreeMap<u64, (u32, u64)>,
    /// The last compaction whose hash a running member was asked for.
    hashed: BTreeMap<u64, i64>,
    damaged: BTreeSet<u64>,
    heal_ms: u64,
    skew_permille: u64,
    /// The last reads, one at each member, by their calls.
    last_calls: BTreeMap<Call, Option<i64>>,
    last_call: u64,
    stable_since: Option<(Time, u64)>,
}

impl Judge {
    pub(crate) fn new(profile: &Profile) -> Self {
        Self {
            raft: Raft::new(),
            hashes: StateHash::new(),
            bounded: Bounded::new([("requests waiting", 200_000), ("log bytes", 64 << 20)]),
            witness: Witness::new(),
            looked_at: BTreeMap::new(),
            hashed: BTreeMap::new(),
            damaged: BTreeSet::new(),
            heal_ms: profile.heal_ms,
            skew_permille: profile.clock_skew_permille,
            last_calls: BTreeMap::new(),
            last_call: 0,
            stable_since: None,
        }
    }

    /// Look at a member after a step.
    pub(crate) fn observe(
        &mut self,
        now: Time,
        machine: &mut Machine,
        marks: &mut Marks,
    ) -> Result<(), Violation> {
        let (id, incarnation) = (machine.id, machine.incarnation);
        if machine.is_impostor {
            // It is not the member whose log is known.
            return Ok(());
        }
        let Some(process) = machine.process() else { return Ok(()) };
        if process.is_stopped() {
            // It ended in the middle of a step; what it leaves is on its disk.
            return Ok(());
        }
        if process.is_installing() {
            // Its log begins behind a state that it does not have yet.
            return Ok(());
        }
        let standing = process.replica.standing();
        let applied = process.store.applied_index();
        let changed = std::mem::take(&mut process.written);
        let view = View {
            member: MemberId(id),
            incarnation,
            role: role(&standing),
            term: standing.term,
            vote: Some(standing.vote).filter(|vote| *vote != 0).map(MemberId),
            commit: standing.commit,
            applied: standing.applied,
            first_index: standing.first_index,
            last_index: standing.last_index,
            changed: &changed,
            durable: durable(process),
        };
        self.raft.observe(now, &view)?;
        let load = (process.replica.load(), standing.log_bytes);
        self.bounded.observe(now, MemberId(id), "requests waiting", load.0 as u64)?;
        self.bounded.observe(now, MemberId(id), "log bytes", load.1)?;
        let seen = self.looked_at.insert(id, (incarnation, applied));
        if seen == Some((incarnation, applied)) || applied == 0 {
            return Ok(());
        }
        let state = AppliedState {
            applied,
            state_hash: process.store.state_hash(),
            revision: process.store.revision(),
            compacted: process.store.compact_revision(),
        };
        self.hashes.observe(now, MemberId(id), state)?;
        self.observe_compactions(now, id, &process.store, marks)?;
        for record in process.applied_records.drain(..) {
            self.witness.entry(record.0).or_insert_with(|| record.1);
        }
        Ok(())
    }

    /// Look at the hashes that a member remembers since it was looked at last.
    fn observe_compactions(
        &mut self,
        now: Time,
        id: u64,
        store: &Store,
        marks: &mut Marks,
    ) -> Result<(), Violation> {
        let last = self.hashed.entry(id).or_insert(i64::MIN);
        for hash in store.mvcc().compaction().remembered().iter() {
            let kv::CompactionHash { revision, compact_revision, hash } = hash;
            if revision <= *last {
                continue;
            }
            *last = revision;
            let hash = CompactionHash { revision, compact_revision, hash };
            match self.hashes.observe_compaction(now, MemberId(id), hash)? {
                Compared::WithOther => marks.reach(Mark::CompactionCompared),
                Compared::WithNone => {}
            }
        }
        Ok(())
    }

    /// A member sends a message.
    pub(crate) fn on_sent(&mut self, now: Time, message: &Message) -> Result<(), Violation> {
        if message.kind == MessageKind::MsgVoteResp && !message.reject {
            let (voter, candidate) = (MemberId(message.from.0), MemberId(message.to.0));
            self.raft.on_vote_sent(now, voter, message.term.0, candidate)?;
        }
        Ok(())
    }

    /// Since when, if ever, one leader leads undisturbed in the healed cluster.
    fn stable(&self, now: Time) -> Vec<(Time, Time)> {
        self.stable_since.map(|(since, _)| (since, now)).into_iter().collect()
    }

    /// A member ends, wherever it is; `None` if it had not come so far as to run.
    pub(crate) fn on_crash(&mut self, id: u64, process: Option<&Process>) {
        self.looked_at.remove(&id);
        self.hashed.remove(&id);
        if let Some(process) = process {
            self.raft.end(MemberId(id), durable(process));
        }
    }

    /// A machine's disk was damaged: what it had may be gone, and its peers have it.
    pub(crate) fn on_damaged(&mut self, id: u64) {
        self.damaged.insert(id);
        self.raft.damage(MemberId(id));
    }

    /// A member hears what one sends that is not who it says it is.
    pub(crate) fn on_impostor_heard(&self, now: Time, by: u64, message: &Message) -> Violation {
        let (from, kind) = (message.from.0, message.kind.name());
        let text =
            format!("member {by:x} hears {kind} of {from:x}, whose disk was lost or put back");
        Violation::at(Rule::Identity, now, text)
    }

    /// A member stopped because of something that cannot be.
    pub(crate) fn on_broken(&self, now: Time, id: u64, why: &str) -> Option<Violation> {
        // A snapshot whose body was replaced by a newer one is asked for again.
        if why.contains("body is not here") {
            return None;
        }
        Some(Violation::at(Rule::StateMachineSafety, now, format!("member {id:x} stopped: {why}")))
    }

    pub(crate) fn lost_end(&self, now: Time, id: u64) -> Violation {
        let text = format!("member {id:x} lost what it had acknowledged, and did not see it");
        Violation::at(Rule::StateMachineSafety, now, text)
    }

    pub(crate) fn refused(&self, now: Time, id: u64, why: &str) -> Violation {
        let text = format!("member {id:x}, whose disk was never damaged, does not start: {why}");
        Violation::at(Rule::Durable, now, text)
    }

    pub(crate) fn no_end(&self, now: Time) -> Violation {
        Violation::at(Rule::Undecided, now, "the run does not come to its end")
    }

    pub(crate) fn on_outcome(&self, outcome: &Outcome, marks: &mut Marks) {
        match outcome {
            Outcome::Unknown => marks.reach(Mark::UnknownOutcome),
            Outcome::Refused(Refusal::Compacted) => marks.reach(Mark::CompactedRead),
            Outcome::Refused(Refusal::LeaseNotFound) => marks.reach(Mark::LeaseExpired),
            Outcome::Ok(_) | Outcome::Refused(_) | Outcome::NotApplied => {}
        }
    }

    pub(crate) fn on_watch(&self, message: &WatchMessage, marks: &mut Marks) {
        match message {
            WatchMessage::Canceled { compact_revision, .. } if *compact_revision > 0 => {
                marks.reach(Mark::WatchCompacted);
            }
            WatchMessage::Progress { .. } => marks.reach(Mark::WatchProgress),
            WatchMessage::CreateRequest(_)
            | WatchMessage::CancelRequest { .. }
            | WatchMessage::ProgressRequest
            | WatchMessage::Created { .. }
            | WatchMessage::CreateRefused { .. }
            | WatchMessage::Events { .. }
            | WatchMessage::Canceled { .. } => {}
        }
    }
}

fn durable(process: &Process) -> Durable {
    let log = process.durable();
    Durable {
        term: log.term,
        vote: Some(log.vote).filter(|vote| *vote != 0).map(MemberId),
        last_index: log.last_index,
        applied: process.store.applied_index(),
    }
}

fn role(standing: &Standing) -> Role {
    match standing.role {
        quorate_raft::Role::Leader => Role::Leader,
        quorate_raft::Role::Candidate | quorate_raft::Role::PreCandidate => Role::Candidate,
        quorate_raft::Role::Follower => Role::Follower,
    }
}

impl World {
    /// Look at a healed cluster: whether it agrees, and in time.
    pub(super) fn look(&mut self) -> Result<(), Violation> {
        let Some(healed_at) = self.healed_at else { return Ok(()) };
        let since = self.now.minus(healed_at);
        self.learn_members();
        self.start_all();
        if since.0 > CALM_MS * MILLIS {
            self.break_streams_at_removed();
            self.clients.values_mut().for_each(crate::client::Client::stop);
        }
        if self.is_lost() {
            // A lone member whose disk was damaged refuses to start: nothing more will come.
            self.over = true;
            return self.conclude(None);
        }
        self.note_stability();
        let agreed = since.0 > QUIET_MS * MILLIS && !self.links.has_calls() && self.agrees();
        if agreed && self.has_read_all() {
            self.over = true;
            let state = self.final_state()?;
            return self.conclude(Some(state));
        }
        if agreed {
            self.read_all();
        } else if since.0 > self.judge.heal_ms * MILLIS {
            let text = format!("no agreement after healing: {}", self.describe());
            return Err(Violation::at(Rule::Bounded, self.now, text));
        }
        self.after(LOOK_MS * MILLIS, Happening::Judge);
        Ok(())
    }

    /// A leader counts when it has applied an entry of its term: then its leases' time runs.
    fn note_stability(&mut self) {
        let term = self
            .machines
            .values_mut()
            .filter_map(Machine::process)
            .map(|process| (process.replica.standing(), process.store.applied_term()))
            .filter(|(standing, applied_term)| {
                standing.role == quorate_raft::Role::Leader && *applied_term == standing.term
            })
            .map(|(standing, _)| standing.term)
            .max();
        match (self.judge.stable_since, term) {
            (Some((_, known)), Some(term)) if known == term => {}
            (_, Some(term)) => self.judge.stable_since = Some((self.now, term)),
            (_, None) => self.judge.stable_since = None,
        }
    }

    fn start_all(&mut self) {
        let off: Vec<u64> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.is_off())
            .map(|(id, _)| *id)
            .collect();
        for machine in off {
            self.after(0, Happening::Start { machine });
        }
    }

    /// Whether no majority can come up any more.
    fn is_lost(&self) -> bool {
        let refused = self
            .machines
            .values()
            .filter(|machine| matches!(machine.power, Power::Refused(_)))
            .count();
        refused > 0 && refused * 2 >= self.admin.voters().max(1)
    }

    /// Whether all members that can be up are, and have applied the same.
    fn agrees(&mut self) -> bool {
        let members: Vec<u64> = self.admin.members().collect();
        let mut standings = Vec::new();
        for id in &members {
            let Some(machine) = self.machines.get_mut(id) else { return false };
            if matches!(machine.power, Power::Refused(_)) {
                continue;
            }
            let Some(process) = machine.process() else { return false };
            let standing = process.replica.standing();
            if standing.is_repairing
                || process.replica.load() > 0
                || process.is_installing()
                || process.has_unread()
                // What has ended is revoked before the run is over.
                || process.replica.longest_ended_lease_ms() > 0
            {
                return false;
            }
            standings.push((standing.commit, standing.applied, standing.leader, standing.term));
        }
        let Some(&(commit, applied, leader, term)) = standings.first() else { return false };
        leader.is_some()
            && commit == applied
            && standings.iter().all(|other| *other == (commit, applied, leader, term))
    }

    fn describe(&mut self) -> String {
        let members: Vec<u64> = self.admin.members().collect();
        let of = |machine: &mut Machine| match &mut machine.power {
            Power::On(process) => {
                format!("{:?} load {}", process.replica.standing(), process.replica.load())
            }
            Power::Off => "off".to_owned(),
            Power::Opening(_) => "opening".to_owned(),
            Power::Gone => "gone".to_owned(),
            Power::Refused(why) => format!("refused: {why}"),
        };
        let mut text = format!("members {members:?}");
        for machine in self.machines.values_mut() {
            let (id, state) = (machine.id, of(machine));
            text.push_str(&format!("; {id}: {state}"));
        }
        text
    }

    fn revision(&mut self) -> Option<i64> {
        let members: Vec<u64> = self.admin.members().collect();
        members
            .into_iter()
            .find_map(|id| Some(self.machines.get_mut(&id)?.process()?.store.revision()))
    }

    /// Read everything once more, at every member, as a client would.
    fn read_all(&mut self) {
        let running: Vec<u64> = self
            .admin
            .members()
            .filter(|id| self.machines.get(id).is_some_and(Machine::is_on))
            .collect();
        self.judge.last_calls.clear();
        for member in running {
            self.judge.last_call += 1;
            let call = Call(self.judge.last_call);
            self.judge.last_calls.insert(call, None);
            let request = Request::Range(Range::current(KeyRange::all()));
            self.ask(LAST_READER, MemberId(member), call, request);
        }
    }

    /// Whether every member has answered the last read, with what is there.
    fn has_read_all(&mut self) -> bool {
        let revision = self.revision();
        let answers = &self.judge.last_calls;
        revision.is_some()
            && !answers.is_empty()
            && answers.values().all(|answer| *answer == revision)
    }

    pub(super) fn on_last_answer(&mut self, call: Call, outcome: &Outcome) {
        if let Outcome::Ok(response) = outcome
            && matches!(response.body, Body::Range(_))
            && let Some(answer) = self.judge.last_calls.get_mut(&call)
        {
            *answer = Some(response.revision);
        }
    }

    fn final_state(&mut self) -> Result<FinalState, Violation> {
        let mut state = FinalState::default();
        let members: Vec<u64> = self.admin.members().collect();
        for id in members {
            let now = self.now;
            let Some(process) = self.machines.get_mut(&id).and_then(Machine::process) else {
                continue;
            };
            let store = &process.store;
            let unreadable = |error: String| {
                Violation::at(Rule::Durable, now, format!("member {id:x} cannot read: {error}"))
            };
            let everything = quorate_api::etcdserverpb::RangeRequest {
                key: bytes::Bytes::from_static(b"\0"),
                range_end: bytes::Bytes::from_static(b"\0"),
                ..quorate_api::etcdserverpb::RangeRequest::default()
            };
            let outcome = match store.range(&everything) {
                Ok(outcome) => outcome,
                Err(_) if self.judge.damaged.contains(&id) => continue,
                Err(error) => return Err(unreadable(error.to_string())),
            };
            let response =
                outcome.into_response().map_err(|error| unreadable(error.to_string()))?;
            let hash = match store.hash_kv(0) {
                Ok(hash) => hash,
                Err(_) if self.judge.damaged.contains(&id) => continue,
                Err(error) => return Err(unreadable(error.to_string())),
            };
            let (revision, compacted) = (store.revision(), store.compact_revision());
            self.judge.observe_compactions(now, id, store, &mut self.marks)?;
            self.judge.hashes.observe_hash_kv(now, MemberId(id), revision, compacted, hash.hash)?;
            state.revision = revision;
            state.kvs = response.kvs.into_iter().map(::judge::wire::key_value).collect();
        }
        state.changes = self.judge.witness.clone();
        Ok(state)
    }

    /// Judge what clients saw.
    fn conclude(&mut self, state: Option<FinalState>) -> Result<(), Violation> {
        let skew = self.judge.skew_permille;
        let election = u64::from(ELECTION_TICKS) * TICK_MS;
        let revision = state.as_ref().map(|state| state.revision);
        let terms = Terms {
            // Over the longest lease of a run.
            clock_skew: Time::from_millis(2 * skew * 12 + 4 * TICK_MS),
            late_bound: Time::from_millis(6_000 + 2 * election),
            delivery_bound: Time::from_millis(20_000),
            stable: self.judge.stable(self.now),
            leader_grace: Time::from_millis(election),
            checkpoint_interval: None,
            ending: revision.map(|_| (self.now, self.live_leases())),
        };
        let ending = match (revision, self.healed_at) {
            (Some(revision), Some(at)) => Ending::Healed {
                at,
                until: self.now,
                revision,
                progress_within: Some(Time::from_millis(PROGRESS_MS_MAX)),
            },
            (None, _) | (_, None) => Ending::Abrupt,
        };
        let after_restart = AfterRestart::MayGoBack;
        let circumstances = Circumstances { ending, terms, after_restart, last: state };
        clients(self.links.history(), &circumstances).map(|_| ())
    }

    fn live_leases(&mut self) -> Vec<i64> {
        let members: Vec<u64> = self.admin.members().collect();
        let store = members
            .into_iter()
            .find_map(|id| self.machines.get(&id).filter(|machine| machine.is_on()))
            .map(|machine| machine.id);
        let process = store.and_then(|id| self.machines.get_mut(&id)).and_then(Machine::process);
        process.map_or_else(Vec::new, |process| {
            process.store.leases().iter().map(|(id, _)| id).collect()
        })
    }
}
