//! A cluster under faults: messages are lost, doubled and reordered, members restart from what
//! they made durable, logs are compacted and the configuration changes, while after every step
//! the safety properties of the Raft paper's figure 3 and the promise of reads are checked.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_raft::{
    ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, Config, Index,
    NodeId, ProgressState, Role, Snapshot, SnapshotStatus, Storage, Term,
};

use crate::environment::{Environment, Volume, config_stub, is_local};

/// Numbers from a seed, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What must hold, and what was seen so far.
#[derive(Default)]
struct Checker {
    leaders: BTreeMap<Term, NodeId>,
    /// Each entry ever seen in a durable log, with the term of the one before it.
    entries: BTreeMap<(Term, Index), (Term, Bytes)>,
    /// The term and command of each index that some member has applied.
    applied: BTreeMap<Index, (Term, Bytes)>,
    /// The highest commit index of any member at any time.
    committed: Index,
    /// Reads under way: the commit index that each must not stay below.
    reads: BTreeMap<Bytes, Index>,
    reads_confirmed: usize,
    elections: usize,
}

impl Checker {
    fn check(&mut self, environment: &Environment) {
        for member in &environment.members {
            let raft = member.raw.raft();
            self.committed = self.committed.max(raft.committed());
            assert!(raft.applied() <= raft.committed());
            assert!(raft.committed() <= raft.last_index());
            self.check_log(member.raw.storage());
            if raft.role() == Role::Leader {
                let known = self.leaders.insert(raft.term(), raft.id());
                assert!(known.is_none_or(|known| known == raft.id()), "two leaders in a term");
                if known.is_none() {
                    self.elections += 1;
                }
            }
        }
    }

    /// Log matching: equal term and index mean an equal entry and an equal one before it.
    fn check_log(&mut self, storage: &impl Storage) {
        let (first, last) = (storage.first_index(), storage.last_index());
        if first > last {
            return;
        }
        let entries = storage.entries(first, last.next(), u64::MAX).expect("it is there");
        let mut before = storage.term(first.prev()).expect("the last compacted term");
        for entry in entries {
            let value = (before, entry.data.clone());
            let known = self.entries.entry((entry.term, entry.index)).or_insert(value.clone());
            assert!(*known == value, "two entries of one name at {}", entry.index);
            assert!(before <= entry.term, "terms go back in a log");
            before = entry.term;
        }
    }

    /// State machine safety and leader completeness: whatever one applies, all apply.
    fn check_applied(&mut self, index: Index, term: Term, data: &Bytes) {
        let value = (term, data.clone());
        let known = self.applied.entry(index).or_insert(value.clone());
        assert!(*known == value, "members applied different entries at {index}");
    }
}

struct Walk {
    environment: Environment,
    checker: Checker,
    dice: Dice,
    proposals: u64,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut environment = Environment::new();
        environment.volume = Volume::Quiet;
        let config = Config {
            pre_vote: dice.below(2) == 0,
            check_quorum: dice.below(2) == 0,
            async_storage_writes: dice.below(2) == 0,
            step_down_on_removal: dice.below(2) == 0,
            max_message_bytes: [0, 30, u64::MAX][dice.below(3) as usize],
            max_inflight_messages: 1 + dice.below(4) as usize,
            applied: Index(2),
            ..config_stub(NodeId(1))
        };
        let mut snapshot = Snapshot::default();
        snapshot.metadata.index = Index(2);
        snapshot.metadata.conf_state =
            ConfState::new(vec![NodeId(1), NodeId(2), NodeId(3)], Vec::new());
        environment.add_members(5, &config, snapshot);
        Walk { environment, checker: Checker::default(), dice, proposals: 0 }
    }

    /// Delivers a message: storage's own in order, others in any, perhaps twice or never.
    fn deliver_one(&mut self) {
        let count = self.environment.messages.len() as u64;
        if count == 0 {
            return;
        }
        let mut position = self.dice.below(count) as usize;
        let chosen = &self.environment.messages[position];
        let to = chosen.to;
        let local = is_local(chosen);
        if local {
            let first = self.environment.messages.iter();
            position = first.clone().position(|m| m.to == to && is_local(m)).expect("itself");
        }
        let fate = self.dice.below(20);
        let message = if !local && fate == 0 {
            self.environment.messages[position].clone()
        } else {
            self.environment.messages.remove(position)
        };
        if local || fate != 1 {
            let result = self.environment.member(to.0).raw.step(message);
            assert!(!result.as_ref().is_err_and(|error| error.is_fatal()), "{result:?}");
        }
    }

    fn handle_ready(&mut self, id: u64) {
        let environment = &mut self.environment;
        if environment.member(id).raw.has_ready() {
            let (reads, applied) = environment.process_ready_seen(id);
            for read in reads {
                let least = self.checker.reads.remove(&read.context);
                assert!(least.is_none_or(|least| read.index >= least), "a read went back");
                self.checker.reads_confirmed += usize::from(least.is_some());
            }
            for entry in applied {
                self.checker.check_applied(entry.index, entry.term, &entry.data);
            }
        }
    }

    fn work(&mut self, id: u64) {
        let member = self.environment.member(id);
        let has_snapshot = member.append_work.first().is_some_and(|work| work.snapshot.is_some());
        let (append, apply) = (member.append_work.len(), member.apply_work.len());
        if apply > 0 && (has_snapshot || self.dice.below(2) == 0) {
            self.environment.process_apply_thread(id);
        } else if append > 0 {
            self.environment.process_append_thread(id);
        }
    }

    fn propose_change(&mut self, id: u64) {
        let kinds = [
            ConfChangeKind::AddNode,
            ConfChangeKind::AddNode,
            ConfChangeKind::RemoveNode,
            ConfChangeKind::AddLearnerNode,
        ];
        let count = self.dice.below(3);
        let changes = (0..count)
            .map(|_| ConfChangeSingle {
                kind: kinds[self.dice.below(4) as usize],
                node_id: NodeId(1 + self.dice.below(5)),
            })
            .collect();
        let transition = match self.dice.below(3) {
            0 => ConfChangeTransition::JointExplicit,
            _ => ConfChangeTransition::Auto,
        };
        let change = ConfChangeV2 { transition, changes, context: Bytes::new() };
        let _ = self.environment.member(id).raw.propose_conf_change(change);
    }

    fn step(&mut self) {
        let id = 1 + self.dice.below(5);
        match self.dice.below(100) {
            0..45 => self.deliver_one(),
            45..65 => self.handle_ready(id),
            65..75 => self.work(id),
            75..85 => self.environment.member(id).raw.tick(),
            85..90 => {
                self.proposals += 1;
                let data = format!("p{}", self.proposals);
                let _ = self.environment.member(id).raw.propose(data);
            }
            90..95 => {
                self.proposals += 1;
                let context = Bytes::from(format!("r{}", self.proposals));
                if self.environment.member(id).raw.read_index(context.clone()).is_ok() {
                    self.checker.reads.insert(context, self.checker.committed);
                }
            }
            95 => self.propose_change(id),
            96 => {
                let to = NodeId(1 + self.dice.below(5));
                self.environment.member(id).raw.transfer_leadership(to);
            }
            97 => self.compact(id),
            98 => {
                let to = NodeId(1 + self.dice.below(5));
                self.environment.member(id).raw.report_unreachable(to);
            }
            _ => self.environment.restart(id),
        }
        self.checker.check(&self.environment);
    }

    fn compact(&mut self, id: u64) {
        let member = self.environment.member(id);
        let known = member.raw.raft().applied();
        let storage = member.raw.storage_mut();
        let applied = storage.history.last().expect("a first state").metadata.index.min(known);
        if applied > storage.first_index() && applied <= storage.last_index() {
            storage.log.compact(applied.prev()).expect("an index in the log");
        }
    }

    /// All messages arrive and all members work: the cluster must find a leader and commit.
    fn heal(&mut self) {
        let before = self.checker.committed;
        for _ in 0..40 {
            for id in 1..=5 {
                self.environment.member(id).raw.tick();
            }
            self.environment.messages.retain(is_local);
            self.report_lost_snapshots();
            for _ in 0..30 {
                for id in 1..=5 {
                    self.handle_ready(id);
                    while !self.environment.member(id).apply_work.is_empty() {
                        self.environment.process_apply_thread(id);
                    }
                    while !self.environment.member(id).append_work.is_empty() {
                        self.environment.process_append_thread(id);
                    }
                }
                let messages = std::mem::take(&mut self.environment.messages);
                for message in messages {
                    let to = message.to.0;
                    let result = self.environment.member(to).raw.step(message);
                    assert!(!result.as_ref().is_err_and(|error| error.is_fatal()), "{result:?}");
                }
            }
            self.checker.check(&self.environment);
            let leader = self.leader();
            if leader.is_some_and(|id| {
                let raft = self.environment.member(id).raw.raft();
                raft.committed() == raft.last_index() && raft.committed() > before
            }) {
                return;
            }
            if let Some(id) = leader {
                let _ = self.environment.member(id).raw.propose("healed");
            }
        }
        for member in &self.environment.members {
            eprintln!("{:?}", member.raw.status());
        }
        panic!("no progress after the faults ended");
    }

    /// Nothing is on its way, so snapshots that are waited for are lost: their senders have to
    /// say so.
    fn report_lost_snapshots(&mut self) {
        for member in &mut self.environment.members {
            for (id, progress) in member.raw.status().progress {
                if progress.state == ProgressState::Snapshot {
                    member.raw.report_snapshot(id, SnapshotStatus::Failure);
                }
            }
        }
    }

    fn leader(&self) -> Option<u64> {
        let leaders = self.environment.members.iter().map(|member| member.raw.raft());
        let leaders = leaders.filter(|raft| raft.role() == Role::Leader);
        leaders.max_by_key(|raft| raft.term()).map(|raft| raft.id().0)
    }
}

/// Clusters that are walked through; each is a matter of milliseconds.
const SEEDS: u64 = 150;
/// Steps with faults in each.
const STEPS: usize = 3000;

#[test]
fn safety_holds_under_faults_and_progress_comes_after() {
    let (mut elections, mut applied, mut reads) = (0, 0, 0);
    let seeds: Vec<u64> = match std::env::var("QUORATE_SEED") {
        Ok(seed) => vec![seed.parse().expect("a seed")],
        Err(_) => (1..=SEEDS).collect(),
    };
    let is_whole = seeds.len() > 1;
    for seed in seeds {
        eprintln!("QUORATE_SEED={seed}");
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.step();
        }
        walk.heal();
        elections += walk.checker.elections;
        applied += walk.checker.applied.len();
        reads += walk.checker.reads_confirmed;
    }
    eprintln!("{elections} elections, {applied} entries applied, {reads} reads confirmed");
    let much = elections > 100 && applied > 1000 && reads > 100;
    assert!(much || !is_whole, "too little happened");
}
