//! An etcd of one model and its lagging copies, on a network that delays, loses and breaks.

use super::super::{Action, Call, Client, ClientOptions, Stream};
use crate::check::Circumstances;
use crate::check::durability::FinalState;
use crate::check::lease::Terms;
use crate::check::serializable::AfterRestart;
use crate::check::watch::Ending;
use crate::history::{
    Body, ClientId, Event, History, MemberId, OperationId, Outcome, Request, Response, Session,
    StreamId, Time, WatchCreate, WatchMessage,
};
use crate::model::Model;
use crate::random::Random;
use std::collections::BTreeMap;

const MEMBERS: [MemberId; 3] = [MemberId(1), MemberId(2), MemberId(3)];
const CLIENTS: u64 = 3;
/// How late a request arrives at most, after its client gave up.
const LATE: Time = Time::from_secs(3);

/// What a server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// It forgets a write in a hundred.
    Forgets,
    /// It answers every read from what the asked member has.
    ReadsStale,
    /// Leases end by revocation only.
    LeasesStay,
    /// A watcher that resumes starts one revision too late.
    SkipsOnResume,
}

#[derive(Debug)]
enum Happening {
    Wake { client: u64 },
    Arrive { client: u64, call: Call, member: MemberId, request: Request, heard: Heard },
    Answer { client: u64, call: Call, outcome: Outcome },
    Told { client: u64, stream: Stream, message: WatchMessage },
    Message { client: u64, stream: Stream, message: WatchMessage },
    Poll,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
}

#[derive(Debug)]
struct Watcher {
    id: i64,
    create: WatchCreate,
    next: i64,
}

#[derive(Debug)]
struct Link {
    id: StreamId,
    watchers: Vec<Watcher>,
    created: i64,
    wants_progress: bool,
    last: Time,
}

pub(super) struct Server {
    random: Random,
    flaw: Flaw,
    now: Time,
    number: u64,
    queue: BTreeMap<(Time, u64), Happening>,
    clients: Vec<Client>,
    calls: BTreeMap<(u64, Call), OperationId>,
    links: BTreeMap<(u64, Stream), Link>,
    model: Model,
    members: Vec<Model>,
    log: BTreeMap<i64, Vec<Event>>,
    deadlines: BTreeMap<i64, Time>,
    chosen: i64,
    stopped: bool,
    pub(super) history: History,
    pub(super) actions: Vec<(Time, u64, Action)>,
}

impl Server {
    pub(super) fn new(seed: u64, flaw: Flaw) -> Self {
        let mut random = Random::new(seed);
        let clients = (0..CLIENTS).map(|id| {
            let options = ClientOptions { think_ms_max: 60, ..ClientOptions::draw(&mut random) };
            Client::new(ClientId(id), random.fork(id), options)
        });
        Self {
            flaw,
            now: Time(0),
            number: 0,
            queue: BTreeMap::new(),
            clients: clients.collect(),
            calls: BTreeMap::new(),
            links: BTreeMap::new(),
            model: Model::new(),
            members: vec![Model::new(); MEMBERS.len()],
            log: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            chosen: 0,
            stopped: false,
            history: History::new(),
            actions: Vec::new(),
            random,
        }
    }

    /// Runs for `seconds`, lets things come to rest, and tells how it ended.
    pub(super) fn run(&mut self, seconds: u64) -> Circumstances {
        (0..CLIENTS).for_each(|client| self.after(1, Happening::Wake { client }));
        self.after(1, Happening::Poll);
        self.after(seconds * 1_000, Happening::Stop);
        let end = Time::from_secs(seconds + 20);
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.now = time;
            self.happen(happening);
        }
        assert!(self.calls.is_empty(), "every call ends");
        let revision = self.model.revision();
        let ending = Ending::Healed { at: end, until: end, revision, progress_within: None };
        let leases = self.model.leases().keys().copied().collect();
        let terms = Terms {
            clock_skew: Time::from_millis(1),
            late_bound: Time::from_millis(200),
            delivery_bound: LATE,
            stable: vec![(Time(0), end)],
            leader_grace: Time(0),
            checkpoint_interval: None,
            ending: Some((end, leases)),
        };
        let all = crate::history::KeyRange::all();
        let kvs = self.model.range_at(&all, revision).cloned().collect();
        let last = FinalState { revision, kvs, changes: self.log.clone() };
        let after_restart = AfterRestart::StaysMonotone;
        Circumstances { ending, terms, after_restart, last: Some(last) }
    }

    fn after(&mut self, millis: u64, happening: Happening) {
        self.at(self.now.plus(Time::from_millis(millis)), happening);
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.number += 1;
        self.queue.insert((time, self.number), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake { client } => {
                let now = self.now;
                self.with(client, |it| it.wake(now, &MEMBERS));
            }
            Happening::Arrive { client, call, member, request, heard } => {
                let outcome = self.execute(member, &request);
                if heard == Heard::Yes {
                    let delay = 1 + self.random.below(30);
                    self.after(delay, Happening::Answer { client, call, outcome });
                }
            }
            Happening::Answer { client, call, outcome } => {
                let Some(id) = self.calls.remove(&(client, call)) else { return };
                let now = self.now;
                self.history.complete(id, now, outcome.clone());
                self.with(client, |it| it.on_answer(now, call, &outcome, &MEMBERS));
            }
            Happening::Told { client, stream, message } => self.hear(client, stream, message),
            Happening::Message { client, stream, message } => {
                let Some(link) = self.links.get(&(client, stream)) else { return };
                let now = self.now;
                self.history.message(link.id, now, message.clone());
                self.with(client, |it| it.on_watch_message(now, stream, &message, &MEMBERS));
            }
            Happening::Poll => self.poll(),
            Happening::Stop => {
                self.stopped = true;
                self.clients.iter_mut().for_each(Client::stop);
            }
        }
    }

    fn with(&mut self, client: u64, event: impl FnOnce(&mut Client) -> Vec<Action>) {
        let actions = event(&mut self.clients[client as usize]);
        for action in actions {
            self.actions.push((self.now, client, action.clone()));
            self.act(client, action);
        }
    }

    fn act(&mut self, client: u64, action: Action) {
        let session = |member| Session { client: ClientId(client), member, incarnation: 0 };
        match action {
            Action::Ask { member, call, request } => {
                assert!(!self.stopped, "a stopped client asks nothing");
                let id = self.history.invoke(self.now, session(member), request.clone());
                assert_eq!(self.calls.insert((client, call), id), None, "{call:?} is used once");
                self.send(client, call, member, request);
            }
            Action::GiveUp { call } => {
                let id = self.calls.remove(&(client, call)).expect("the call is under way");
                self.history.complete(id, self.now, Outcome::Unknown);
            }
            Action::OpenWatch { member, stream } => {
                let id = self.history.open_stream(self.now, session(member));
                let last = self.now;
                let link =
                    Link { id, watchers: Vec::new(), created: 0, wants_progress: false, last };
                assert!(self.links.insert((client, stream), link).is_none(), "used once");
            }
            Action::WatchSend { stream, message } => {
                let link = self.links.get_mut(&(client, stream)).expect("the stream is open");
                self.history.message(link.id, self.now, message.clone());
                self.after(5, Happening::Told { client, stream, message });
            }
            Action::CloseWatch { stream } => {
                let link = self.links.remove(&(client, stream)).expect("the stream is open");
                self.history.close_stream(link.id, self.now);
            }
            Action::WakeAt(time) => {
                assert!(time > self.now, "a client does not wake itself at once");
                self.at(time, Happening::Wake { client });
            }
        }
    }

    fn send(&mut self, client: u64, call: Call, member: MemberId, request: Request) {
        let (delay, fate) = (1 + self.random.below(30), self.random.below(100));
        let mut arrive = |heard, delay| {
            let request = request.clone();
            self.after(delay, Happening::Arrive { client, call, member, request, heard });
        };
        match fate {
            0 => self.after(2, Happening::Answer { client, call, outcome: Outcome::NotApplied }),
            1 => self.after(9, Happening::Answer { client, call, outcome: Outcome::Unknown }),
            2 => {}
            3 => arrive(Heard::No, delay),
            4 => arrive(Heard::No, delay * 100),
            _ => arrive(Heard::Yes, delay),
        }
    }

    fn execute(&mut self, member: MemberId, request: &Request) -> Outcome {
        self.expire();
        let index = (member.0 - 1) as usize;
        let is_read = matches!(request, Request::Range(_));
        if request.is_serializable() || (is_read && self.flaw == Flaw::ReadsStale) {
            return match self.members[index].evaluate(request) {
                Ok(evaluated) => Outcome::Ok(evaluated.response),
                Err(refusal) => Outcome::Refused(refusal),
            };
        }
        let mut request = request.clone();
        if let Request::LeaseGrant { id, .. } = &mut request
            && *id == 0
        {
            self.chosen += 1;
            *id = self.chosen;
        }
        let before = self.model.clone();
        let answer = match self.model.apply(&request) {
            Ok(evaluated) if !evaluated.events.is_empty() => {
                let revision = evaluated.response.revision;
                if self.flaw == Flaw::Forgets && self.random.chance(1, 100) {
                    self.model = before;
                } else {
                    self.log.insert(revision, evaluated.events);
                }
                Ok(evaluated.response)
            }
            Ok(evaluated) => Ok(evaluated.response),
            Err(refusal) => Err(refusal),
        };
        self.members[index] = self.model.clone();
        match answer {
            Ok(response) => Outcome::Ok(self.mind_leases(response)),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn mind_leases(&mut self, mut response: Response) -> Response {
        match &mut response.body {
            Body::LeaseGrant { id, ttl } | Body::LeaseKeepAlive { id, ttl } if *ttl > 0 => {
                let deadline = self.now.plus(Time::from_secs(*ttl as u64));
                self.deadlines.insert(*id, deadline);
            }
            Body::LeaseTimeToLive { id, ttl, .. } if *ttl > 0 => {
                let left = self.deadlines[id].minus(self.now);
                *ttl = (left.0 / Time::from_secs(1).0) as i64;
            }
            _ => {}
        }
        response
    }

    fn expire(&mut self) {
        if self.flaw == Flaw::LeasesStay {
            return;
        }
        let now = self.now;
        let over = self.deadlines.iter().filter(|(_, at)| **at <= now);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.deadlines.remove(&id);
            if let Ok(evaluated) = self.model.apply(&Request::LeaseRevoke { id })
                && !evaluated.events.is_empty()
            {
                self.log.insert(evaluated.response.revision, evaluated.events);
            }
        }
    }

    fn hear(&mut self, client: u64, stream: Stream, message: WatchMessage) {
        let Some(link) = self.links.get_mut(&(client, stream)) else { return };
        match message {
            WatchMessage::CreateRequest(create) if create.start_revision < 0 => {
                let reason = "there is no such revision".to_owned();
                self.tell(client, stream, WatchMessage::CreateRefused { reason });
            }
            WatchMessage::CreateRequest(create) => {
                let (id, revision) = (link.created, self.model.revision());
                link.created += 1;
                let next = match create.start_revision {
                    0 => revision + 1,
                    start if self.flaw == Flaw::SkipsOnResume && start <= revision => start + 1,
                    start => start,
                };
                link.watchers.push(Watcher { id, create, next });
                self.tell(client, stream, WatchMessage::Created { watch_id: id, revision });
            }
            WatchMessage::CancelRequest { watch_id } => {
                let before = link.watchers.len();
                link.watchers.retain(|watcher| watcher.id != watch_id);
                if link.watchers.len() < before {
                    let canceled = WatchMessage::Canceled { watch_id, compact_revision: 0 };
                    self.tell(client, stream, canceled);
                }
            }
            WatchMessage::ProgressRequest => link.wants_progress = true,
            other => panic!("a client does not send {other:?}"),
        }
    }

    /// Messages keep their order.
    fn tell(&mut self, client: u64, stream: Stream, message: WatchMessage) {
        let delay = Time::from_millis(1 + self.random.below(40));
        let Some(link) = self.links.get_mut(&(client, stream)) else { return };
        link.last = link.last.plus(Time(1)).max(self.now.plus(delay));
        let at = link.last;
        self.at(at, Happening::Message { client, stream, message });
    }

    fn poll(&mut self) {
        self.after(20, Happening::Poll);
        self.expire();
        let keys: Vec<(u64, Stream)> = self.links.keys().copied().collect();
        for (client, stream) in keys {
            let (is_broken, lags) = (self.random.chance(1, 100), self.random.chance(1, 2));
            if is_broken && !self.stopped {
                let link = self.links.remove(&(client, stream)).expect("it is open");
                let now = self.now;
                self.history.close_stream(link.id, now);
                self.with(client, |it| it.on_stream_closed(now, stream, &MEMBERS));
            } else if !lags {
                for message in self.news(client, stream) {
                    self.tell(client, stream, message);
                }
            }
        }
    }

    fn news(&mut self, client: u64, stream: Stream) -> Vec<WatchMessage> {
        let Self { random, links, model, log, .. } = self;
        let Some(link) = links.get_mut(&(client, stream)) else { return Vec::new() };
        let (revision, compact_revision) = (model.revision(), model.compact_revision());
        let mut messages = Vec::new();
        link.watchers.retain_mut(|watcher| {
            let is_gone = watcher.next < compact_revision;
            if is_gone {
                messages.push(WatchMessage::Canceled { watch_id: watcher.id, compact_revision });
            } else {
                watcher.news(random, log, revision, &mut messages);
            }
            !is_gone
        });
        let synced = link.watchers.iter().all(|watcher| watcher.is_at(revision));
        if std::mem::take(&mut link.wants_progress) && synced {
            messages.push(WatchMessage::Progress { watch_id: -1, revision });
        }
        messages
    }
}

impl Watcher {
    /// Whether it has all up to `revision`. Nobody speaks of what is before its start.
    fn is_at(&self, revision: i64) -> bool {
        self.next == revision + 1 && self.create.start_revision <= revision
    }

    fn news(
        &mut self,
        random: &mut Random,
        log: &BTreeMap<i64, Vec<Event>>,
        revision: i64,
        messages: &mut Vec<WatchMessage>,
    ) {
        if self.next > revision {
            if self.create.progress_notify && self.is_at(revision) && random.chance(1, 20) {
                messages.push(WatchMessage::Progress { watch_id: self.id, revision });
            }
            return;
        }
        let mut events: Vec<Event> = Vec::new();
        for event in log.range(self.next..=revision).flat_map(|(_, events)| events) {
            let is_put = matches!(event.kind, crate::history::EventKind::Put(_));
            let filtered = if is_put { self.create.no_put } else { self.create.no_delete };
            if self.create.keys.contains(&event.key) && !filtered {
                let keeps = self.create.prev_kv;
                events.push(if keeps { event.clone() } else { event.without_prev_kv() });
            }
        }
        self.next = revision + 1;
        let watch_id = self.id;
        if self.create.fragment && events.len() > 1 {
            let rest = events.split_off(random.index(events.len() - 1) + 1);
            let first = std::mem::replace(&mut events, rest);
            messages.push(WatchMessage::Events {
                watch_id,
                revision,
                fragment: true,
                events: first,
            });
        }
        if !events.is_empty() {
            messages.push(WatchMessage::Events { watch_id, revision, fragment: false, events });
        }
    }
}
