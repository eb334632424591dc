//! Random histories of a correct etcd: clients in parallel, lost answers, members that lag,
//! watchers that lag, leases that run out.

use bytes::Bytes;
use judge::check::durability::FinalState;
use judge::check::lease::Terms;
use judge::check::serializable::AfterRestart;
use judge::check::watch::Ending;
use judge::check::{Circumstances, clients};
use judge::history::{
    ClientId, Compare, DeleteRange, Event, History, KeyRange, MemberId, OperationId, Outcome,
    Projection, Put, Range, Relation, Request, Session, StreamId, Target, Time, Txn, TxnOperation,
    WatchCreate, WatchMessage,
};
use judge::model::Model;
use judge::random::Random;
use std::collections::BTreeMap;

/// What kind of history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) operations: usize,
    pub(crate) clients: u64,
    pub(crate) keys: u64,
    /// Answers lost, in percent.
    pub(crate) unknown: u64,
    pub(crate) watchers: usize,
    pub(crate) leases: bool,
}

impl Profile {
    pub(crate) const SMALL: Self =
        Self { operations: 300, clients: 4, keys: 6, unknown: 6, watchers: 4, leases: true };
}

/// A run that is over.
pub(crate) struct Run {
    pub(crate) history: History,
    pub(crate) ending: Ending,
    pub(crate) terms: Terms,
    pub(crate) last: FinalState,
}

#[derive(Debug)]
struct Plan {
    client: u64,
    invoked: u64,
    executed: u64,
    returned: u64,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    LostAnswer,
    LostRequest,
}

struct Watcher {
    stream: StreamId,
    create: WatchCreate,
    next: i64,
}

struct Generator {
    random: Random,
    profile: Profile,
    now: Time,
    model: Model,
    members: Vec<Model>,
    log: BTreeMap<i64, Vec<Event>>,
    history: History,
    watchers: Vec<Watcher>,
    deadlines: BTreeMap<i64, Time>,
    next_lease: i64,
    next_value: u64,
}

const TTL_SECONDS: i64 = 2;

pub(crate) fn generate(seed: u64, profile: Profile) -> Run {
    let mut random = Random::new(seed);
    let plans = plan(&mut random, profile);
    let mut generator = Generator {
        random,
        profile,
        now: Time(0),
        model: Model::new(),
        members: vec![Model::new(); 3],
        log: BTreeMap::new(),
        history: History::new(),
        watchers: Vec::new(),
        deadlines: BTreeMap::new(),
        next_lease: 1,
        next_value: 0,
    };
    generator.run(&plans)
}

fn plan(random: &mut Random, profile: Profile) -> Vec<Plan> {
    let mut clocks = vec![1_u64; profile.clients as usize];
    let mut plans: Vec<Plan> = (0..profile.operations)
        .map(|_| {
            let client = random.index(clocks.len());
            let clock = &mut clocks[client];
            let invoked = *clock + random.range(1..4_000_000);
            let mut executed = invoked + random.range(1..5_000_000);
            let returned = executed + random.range(1..5_000_000);
            *clock = returned;
            let fate = match random.below(100) {
                draw if draw >= profile.unknown => Fate::Answered,
                draw if draw % 2 == 0 => Fate::LostRequest,
                _ => Fate::LostAnswer,
            };
            if fate == Fate::LostAnswer && random.chance(1, 2) {
                executed += random.range(0..200_000_000);
            }
            Plan { client: client as u64, invoked, executed, returned, fate }
        })
        .collect();
    plans.sort_by_key(|plan| plan.invoked);
    plans
}

impl Generator {
    fn run(&mut self, plans: &[Plan]) -> Run {
        // Requests are chosen when they execute, and asked in the order of their invocation.
        let mut order: Vec<usize> = (0..plans.len()).collect();
        order.sort_by_key(|&index| plans[index].executed);
        let mut done: BTreeMap<usize, (Session, Request, Outcome)> = BTreeMap::new();
        for index in order {
            let plan = &plans[index];
            self.now = Time(plan.executed);
            self.expire_leases();
            self.step_watchers();
            let member = self.random.below(3);
            let session = Session {
                client: ClientId(plan.client),
                member: MemberId(member + 1),
                incarnation: 0,
            };
            let request = self.request();
            let outcome = self.execute(&request, plan, member as usize);
            done.insert(index, (session, request, outcome));
        }
        let mut ids: Vec<(Time, OperationId, Outcome)> = Vec::new();
        for (index, (session, request, outcome)) in done {
            let plan = &plans[index];
            let id = self.history.invoke(Time(plan.invoked), session, request);
            ids.push((Time(plan.returned), id, outcome));
        }
        for (returned, id, outcome) in ids {
            self.history.complete(id, returned, outcome);
        }
        self.finish()
    }

    fn finish(&mut self) -> Run {
        self.now = self.now.plus(Time::from_secs(1));
        self.members.fill(self.model.clone());
        let revision = self.model.revision();
        while self.watchers.iter().any(|watcher| watcher.next <= revision) {
            self.step_watchers();
        }
        let session = Session { client: ClientId(0), member: MemberId(1), incarnation: 0 };
        let request = Request::Range(Range::current(KeyRange::all()));
        let response = self.model.evaluate(&request).expect("a plain read").response;
        let id = self.history.invoke(self.now, session, request);
        self.history.complete(id, self.now.plus(Time(1)), Outcome::Ok(response));
        let kvs = self.model.range_at(&KeyRange::all(), revision).cloned().collect();
        let at = self.now.plus(Time(2));
        let leases = self.model.leases().keys().copied().collect();
        Run {
            history: std::mem::take(&mut self.history),
            ending: Ending::Healed { at, until: at, revision, progress_within: None },
            terms: Terms {
                clock_skew: Time(0),
                late_bound: Time::from_secs(2),
                delivery_bound: Time::from_secs(1),
                stable: vec![(Time(0), Time::NEVER)],
                leader_grace: Time(0),
                checkpoint_interval: None,
                ending: Some((at, leases)),
            },
            last: FinalState { revision, kvs, changes: std::mem::take(&mut self.log) },
        }
    }

    fn execute(&mut self, request: &Request, plan: &Plan, member: usize) -> Outcome {
        if plan.fate == Fate::LostRequest {
            return match self.random.chance(1, 2) {
                true => Outcome::Unknown,
                false => Outcome::NotApplied,
            };
        }
        let result = if request.is_serializable() {
            self.members[member].evaluate(request)
        } else {
            let result = self.model.apply(request);
            self.members[member] = self.model.clone();
            result
        };
        if let Ok(done) = &result {
            if !done.events.is_empty() {
                self.log.insert(done.response.revision, done.events.clone());
            }
            self.note_lease(request);
        }
        match result {
            _ if plan.fate == Fate::LostAnswer => Outcome::Unknown,
            Ok(done) => Outcome::Ok(done.response),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn note_lease(&mut self, request: &Request) {
        match request {
            Request::LeaseGrant { id, .. } | Request::LeaseKeepAlive { id }
                if self.model.leases().contains_key(id) =>
            {
                let end = self.now.plus(Time::from_secs(TTL_SECONDS as u64));
                self.deadlines.insert(*id, end);
            }
            Request::LeaseRevoke { id } => {
                self.deadlines.remove(id);
            }
            _ => {}
        }
    }

    fn expire_leases(&mut self) {
        let over = self.deadlines.iter().filter(|(_, end)| **end < self.now);
        let over: Vec<i64> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.deadlines.remove(&id);
            let done = self.model.apply(&Request::LeaseRevoke { id }).expect("it is there");
            if !done.events.is_empty() {
                self.log.insert(done.response.revision, done.events);
            }
        }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("k{}", self.random.below(self.profile.keys)))
    }

    fn keys(&mut self) -> KeyRange {
        match self.random.below(4) {
            0 => KeyRange::all(),
            1 => KeyRange::between(self.key(), Bytes::from_static(b"z")),
            _ => KeyRange::single(self.key()),
        }
    }

    fn put(&mut self) -> Put {
        self.next_value += 1;
        let mut put = Put::new(self.key(), format!("v{}", self.next_value));
        put.prev_kv = self.random.chance(1, 3);
        if self.profile.leases && self.random.chance(1, 5) {
            put.lease = 1 + self.random.below(self.next_lease as u64) as i64;
        }
        put
    }

    fn range(&mut self) -> Range {
        let mut range = Range::current(self.keys());
        if self.random.chance(1, 3) {
            range.consistency = judge::history::Consistency::Serializable;
        }
        if self.random.chance(1, 5) {
            range.revision = 1 + self.random.below(self.model.revision() as u64 + 1) as i64;
        }
        range.limit = self.random.below(3) as i64;
        range.projection = match self.random.below(6) {
            0 => Projection::KeysOnly,
            1 => Projection::CountOnly,
            _ => Projection::Full,
        };
        range
    }

    fn txn(&mut self) -> Txn {
        let key = self.key();
        let current = self.model.get_at(&key, i64::MAX).map_or(0, |kv| kv.mod_revision);
        let stale = self.random.chance(1, 4);
        let target = Target::Mod(if stale { current + 1 } else { current });
        let keys = KeyRange::single(key.clone());
        let compare = vec![Compare { keys: keys.clone(), relation: Relation::Equal, target }];
        let mut put = self.put();
        put.key = key;
        put.lease = 0;
        let read = TxnOperation::Range(Range::current(keys.clone()));
        let success = match self.random.below(3) {
            0 => vec![TxnOperation::DeleteRange(DeleteRange { keys, prev_kv: true })],
            _ => vec![TxnOperation::Put(put), read.clone()],
        };
        Txn { compare, success, failure: vec![read] }
    }

    fn request(&mut self) -> Request {
        let draw = self.random.below(if self.profile.leases { 100 } else { 85 });
        match draw {
            0..35 => Request::Put(self.put()),
            35..60 => Request::Range(self.range()),
            60..68 => {
                let keys = KeyRange::single(self.key());
                let prev_kv = self.random.chance(1, 2);
                Request::DeleteRange(DeleteRange { keys, prev_kv })
            }
            68..84 => Request::Txn(self.txn()),
            84 => {
                let revision = 1 + self.random.below(self.model.revision() as u64) as i64;
                Request::Compact { revision }
            }
            85..89 => {
                self.next_lease += 1;
                Request::LeaseGrant { id: self.next_lease, ttl: TTL_SECONDS }
            }
            89..96 => Request::LeaseKeepAlive { id: self.lease() },
            96..98 => Request::LeaseRevoke { id: self.lease() },
            _ => Request::LeaseKeepAlive { id: self.lease() },
        }
    }

    fn lease(&mut self) -> i64 {
        1 + self.random.below(self.next_lease as u64) as i64
    }

    fn step_watchers(&mut self) {
        if self.watchers.len() < self.profile.watchers && self.random.chance(1, 10) {
            self.create_watcher();
        }
        for member in 0..self.members.len() {
            if self.random.chance(1, 3) {
                self.members[member] = self.model.clone();
            }
        }
        for index in 0..self.watchers.len() {
            match self.random.below(12) {
                0..5 => self.deliver(index),
                5 => self.progress(index),
                _ => {}
            }
        }
    }

    fn create_watcher(&mut self) {
        let revision = self.model.revision();
        let oldest = self.model.compact_revision().max(1);
        let start = match self.random.below(3) {
            0 => 0,
            1 => revision + self.random.below(5) as i64,
            _ => oldest + self.random.below((revision - oldest + 1) as u64) as i64,
        };
        let keys = self.keys();
        let create = WatchCreate {
            prev_kv: self.random.chance(1, 2),
            no_put: self.random.chance(1, 10),
            no_delete: self.random.chance(1, 10),
            ..WatchCreate::new(keys, start)
        };
        let session = Session { client: ClientId(99), member: MemberId(1), incarnation: 0 };
        let stream = self.history.open_stream(self.now, session);
        let request = WatchMessage::CreateRequest(create.clone());
        self.history.message(stream, self.now, request);
        let created = WatchMessage::Created { watch_id: 0, revision };
        self.history.message(stream, self.now, created);
        let next = if start == 0 { revision + 1 } else { start };
        self.watchers.push(Watcher { stream, create, next });
    }

    fn deliver(&mut self, index: usize) {
        let revisions = 1 + self.random.below(5) as i64;
        let watcher = &mut self.watchers[index];
        let last = (watcher.next + revisions - 1).min(self.model.revision());
        if last < watcher.next {
            return;
        }
        let create = &watcher.create;
        let wanted = self.log.range(watcher.next..=last).flat_map(|(_, events)| events);
        let events: Vec<Event> = wanted
            .filter(|event| create.keys.contains(&event.key))
            .filter(|event| match event.kind {
                judge::history::EventKind::Put(_) => !create.no_put,
                judge::history::EventKind::Delete => !create.no_delete,
            })
            .map(|event| if create.prev_kv { event.clone() } else { event.without_prev_kv() })
            .collect();
        watcher.next = last + 1;
        if !events.is_empty() {
            let revision = self.model.revision();
            let (watch_id, fragment) = (0, false);
            let message = WatchMessage::Events { watch_id, revision, fragment, events };
            self.history.message(watcher.stream, self.now, message);
        }
    }

    fn progress(&mut self, index: usize) {
        let watcher = &self.watchers[index];
        let revision = watcher.next - 1;
        let is_synced = revision == self.model.revision();
        if is_synced && revision >= watcher.create.start_revision {
            let message = WatchMessage::Progress { watch_id: -1, revision };
            self.history.message(watcher.stream, self.now, message);
        }
    }
}

/// Whether the judges may see the log of a healed member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Shown,
    Hidden,
}

/// Everything that judges a run.
pub(crate) fn judge(run: &Run, log: Log) -> Result<(), judge::check::Violation> {
    let mut last = run.last.clone();
    if log == Log::Hidden {
        last.changes.clear();
    }
    let circumstances = Circumstances {
        ending: run.ending,
        terms: run.terms.clone(),
        after_restart: AfterRestart::StaysMonotone,
        last: Some(last),
    };
    clients(&run.history, &circumstances).map(|_| ())
}
