//! Clients at work: what they want is done over the wire, and all that passes is written down.
//!
//! ```text
//!   judge::client ──Action──► Stage ──► tasks: one a call, one a watch stream
//!        ▲                      │                       │
//!        └── answers, messages ─┴──◄── News, in order ──┘        Stage ──► History
//! ```
//! A request is written down before it is sent, and an answer after it came, so that what the
//! history says of time is never tighter than what was. Everything is of one thread.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use judge::client::{Action, Call, Client as Asker, ClientOptions, Stream};
use judge::history::{
    ClientId, History, MemberId, OperationId, Outcome, Request, Session, StreamId, Time,
    WatchMessage,
};
use quorate_client::{Client, Options};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, spawn_local};

use super::ask::{self, Heard};
use super::witness::{self, Witness};

/// How long a connection may take to stand.
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(500);
/// Between pings on a connection in use, and for their answers: a way that is cut is noticed.
const PING_INTERVAL: Duration = Duration::from_millis(1_000);
/// Between two streams of the witness, when the first broke.
const WITNESS_PAUSE: Time = Time::from_millis(50);
/// Incarnations of members that cannot be told, as the member started while it was asked.
const UNCERTAIN: u32 = 1 << 31;

/// Something that happened to a client.
enum News {
    Woken,
    Answer(Call, Outcome),
    Heard(Stream, WatchMessage),
    Ended(Stream),
}

struct UnderWay {
    operation: OperationId,
    member: MemberId,
    incarnation: u32,
    task: AbortHandle,
}

/// A watch stream that is open.
pub(super) struct Open {
    id: StreamId,
    say: UnboundedSender<WatchMessage>,
    task: AbortHandle,
    /// The start revisions of watchers that were asked for and not answered yet, oldest first.
    wanted: VecDeque<i64>,
    /// The start revisions of those that are open.
    watchers: BTreeMap<i64, i64>,
    /// How far the stream says that it is.
    pub(super) progress: i64,
}

/// Members as their clients see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// Where each is found, and how often it was started.
    pub(super) known: BTreeMap<MemberId, (String, u32)>,
}

/// The clients, and what they saw.
pub(super) struct Stage {
    began: Instant,
    pub(super) history: History,
    askers: BTreeMap<ClientId, (Asker, Duration)>,
    pub(super) members: Members,
    connections: BTreeMap<(ClientId, MemberId), Client>,
    calls: BTreeMap<(ClientId, Call), UnderWay>,
    pub(super) streams: BTreeMap<(ClientId, Stream), Open>,
    pub(super) witness: Witness,
    /// The highest revision that anybody saw.
    pub(super) revision: i64,
    /// Requests that ended, but for those that surely never came to anything.
    pub(super) arrived: usize,
    uncertain: u32,
    errands: u64,
    news: UnboundedSender<(ClientId, News)>,
    inbox: Option<UnboundedReceiver<(ClientId, News)>>,
}

impl Stage {
    /// Clients that do nothing yet.
    pub(super) fn new(members: Members) -> Self {
        let (news, inbox) = unbounded_channel();
        Self {
            began: Instant::now(),
            history: History::new(),
            askers: BTreeMap::new(),
            members,
            connections: BTreeMap::new(),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            witness: Witness::default(),
            revision: 1,
            arrived: 0,
            uncertain: UNCERTAIN,
            errands: 0,
            news,
            inbox: Some(inbox),
        }
    }

    /// The time of the history.
    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The witness begins.
    pub(super) fn begin(&self) {
        let _ = self.news.send((witness::ID, News::Woken));
    }

    /// One more client, which begins at once.
    pub(super) fn add(&mut self, id: ClientId, asker: Asker, options: &ClientOptions) {
        let patience = Duration::from_millis(options.timeout_ms);
        self.askers.insert(id, (asker, patience));
        let _ = self.news.send((id, News::Woken));
    }

    /// What happens to clients; taken once.
    pub(super) fn take_inbox(&mut self) -> Inbox {
        Inbox(self.inbox.take().expect("taken once"))
    }

    /// No new requests; what is under way still ends.
    pub(super) fn stop(&mut self) {
        self.askers.values_mut().for_each(|(asker, _)| asker.stop());
    }

    /// Whether a request of a client is under way.
    pub(super) fn is_asking(&self) -> bool {
        !self.calls.is_empty()
    }

    fn ids(&self) -> Vec<MemberId> {
        self.members.known.keys().copied().collect()
    }

    fn session(&self, client: ClientId, member: MemberId) -> Session {
        let incarnation = self.members.known.get(&member).map_or(0, |(_, starts)| *starts);
        Session { client, member, incarnation }
    }

    /// A client's own connection to a member.
    fn connection(&mut self, client: ClientId, member: MemberId, patience: Duration) -> Client {
        let url = self.members.known.get(&member).map_or("http://127.0.0.1:1", |(url, _)| url);
        let connect = || {
            let options = Options {
                connect_timeout: CONNECT_WAIT_MAX,
                call_timeout: patience,
                keep_alive_interval: PING_INTERVAL,
                keep_alive_timeout: PING_INTERVAL,
                token: None,
            };
            Client::connect(&[url], options).expect("a URL")
        };
        self.connections.entry((client, member)).or_insert_with(connect).clone()
    }

    fn take(&mut self, client: ClientId, news: News) {
        let (now, ids) = (self.now(), self.ids());
        let wake = |asker: &mut Asker| asker.wake(now, &ids);
        let actions = match news {
            News::Woken if client == witness::ID => return self.watch_on(),
            News::Woken => self.askers.get_mut(&client).map(|(asker, _)| wake(asker)),
            News::Answer(call, outcome) => {
                let Some(under_way) = self.calls.remove(&(client, call)) else { return };
                self.note_certainty(&under_way);
                if let Outcome::Ok(response) = &outcome {
                    self.revision = self.revision.max(response.revision);
                }
                self.arrived += usize::from(outcome != Outcome::NotApplied);
                self.history.complete(under_way.operation, now, outcome.clone());
                let asker = self.askers.get_mut(&client);
                asker.map(|(asker, _)| asker.on_answer(now, call, &outcome, &ids))
            }
            News::Heard(stream, message) => {
                let Some(open) = self.streams.get_mut(&(client, stream)) else { return };
                self.history.message(open.id, now, message.clone());
                self.revision = self.revision.max(open.hear(&message));
                if client == witness::ID && self.witness.hear(&message) {
                    self.close(client, stream);
                    return self.watch_on();
                }
                let asker = self.askers.get_mut(&client);
                asker.map(|(asker, _)| asker.on_watch_message(now, stream, &message, &ids))
            }
            News::Ended(stream) => {
                if !self.close(client, stream) {
                    return;
                }
                if client == witness::ID {
                    return self.wake_at(client, now.plus(WITNESS_PAUSE));
                }
                let asker = self.askers.get_mut(&client);
                asker.map(|(asker, _)| asker.on_stream_closed(now, stream, &ids))
            }
        };
        self.act(client, actions.unwrap_or_default());
    }

    /// An answer of a member that was started anew meanwhile may be from before or after.
    fn note_certainty(&mut self, under_way: &UnderWay) {
        let starts = self.members.known.get(&under_way.member).map(|(_, starts)| *starts);
        if starts == Some(under_way.incarnation) {
            return;
        }
        self.uncertain += 1;
        let operations = self.history.operations_mut();
        if let Some(operation) = operations.get_mut(under_way.operation.0) {
            operation.session.incarnation = self.uncertain;
        }
    }

    fn act(&mut self, client: ClientId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Ask { member, call, request } => self.ask(client, member, call, request),
                Action::GiveUp { call } => {
                    if let Some(under_way) = self.calls.remove(&(client, call)) {
                        under_way.task.abort();
                        self.arrived += 1;
                        let now = self.now();
                        self.history.complete(under_way.operation, now, Outcome::Unknown);
                    }
                }
                Action::OpenWatch { member, stream } => self.open(client, member, stream),
                Action::WatchSend { stream, message } => self.say(client, stream, message),
                Action::CloseWatch { stream } => {
                    self.close(client, stream);
                }
                Action::WakeAt(time) => self.wake_at(client, time),
            }
        }
    }

    /// A client asks a member. For the last reads `client` may be one that is not on the stage.
    pub(super) fn ask(&mut self, client: ClientId, member: MemberId, call: Call, request: Request) {
        let request = match request {
            // The witness must see everything before it is forgotten.
            Request::Compact { revision } if revision > self.witness.revision() => {
                let far = revision > self.revision + 1_000;
                let revision = if far { revision } else { self.witness.revision() };
                Request::Compact { revision }
            }
            request => request,
        };
        let session = self.session(client, member);
        let operation = self.history.invoke(self.now(), session, request.clone());
        let patience = self.askers.get(&client).map_or(witness::PATIENCE, |(_, it)| *it);
        let connection = self.connection(client, member, patience);
        let news = self.news.clone();
        let task = spawn_local(async move {
            let outcome = ask::ask(&connection, &request).await;
            let _ = news.send((client, News::Answer(call, outcome)));
        });
        let incarnation = session.incarnation;
        let task = task.abort_handle();
        self.calls.insert((client, call), UnderWay { operation, member, incarnation, task });
    }

    /// Everything but what is newest is forgotten.
    pub(super) fn compact(&mut self) {
        let Some(member) = self.ids().first().copied() else { return };
        self.errands += 1;
        let request = Request::Compact { revision: self.witness.revision() };
        self.ask(witness::ID, member, Call(self.errands), request);
    }

    fn open(&mut self, client: ClientId, member: MemberId, stream: Stream) {
        let session = self.session(client, member);
        let id = self.history.open_stream(self.now(), session);
        let connection = self.connection(client, member, witness::PATIENCE);
        let (say, said) = unbounded_channel();
        let news = self.news.clone();
        let hear = move |heard| {
            let _ = news.send((
                client,
                match heard {
                    Heard::Message(message) => News::Heard(stream, message),
                    Heard::Ended => News::Ended(stream),
                },
            ));
        };
        let task = spawn_local(ask::watch(connection, said, hear)).abort_handle();
        let (wanted, watchers) = (VecDeque::new(), BTreeMap::new());
        let open = Open { id, say, task, wanted, watchers, progress: 0 };
        self.streams.insert((client, stream), open);
    }

    pub(super) fn say(&mut self, client: ClientId, stream: Stream, message: WatchMessage) {
        let now = self.now();
        let Some(open) = self.streams.get_mut(&(client, stream)) else { return };
        if let WatchMessage::CreateRequest(create) = &message {
            open.wanted.push_back(create.start_revision);
        }
        self.history.message(open.id, now, message.clone());
        let _ = open.say.send(message);
    }

    fn close(&mut self, client: ClientId, stream: Stream) -> bool {
        let now = self.now();
        let Some(open) = self.streams.remove(&(client, stream)) else { return false };
        open.task.abort();
        self.history.close_stream(open.id, now);
        true
    }

    fn wake_at(&self, client: ClientId, time: Time) {
        let (news, at) = (self.news.clone(), self.began + Duration::from_nanos(time.0));
        spawn_local(async move {
            tokio::time::sleep_until(at.into()).await;
            let _ = news.send((client, News::Woken));
        });
    }

    /// The witness looks whether it lags, and goes elsewhere.
    fn watch_on(&mut self) {
        let ids = self.ids();
        let number = self.witness.next_stream();
        let member = ids.get(number as usize % ids.len().max(1)).copied();
        if let Some(old) = self.witness.take_stream() {
            self.close(witness::ID, old);
        }
        let Some(member) = member else { return };
        let stream = Stream(number);
        self.witness.set_stream(stream);
        self.open(witness::ID, member, stream);
        let create = self.witness.create();
        self.say(witness::ID, stream, WatchMessage::CreateRequest(create));
    }

    /// Called now and then: a witness that stands still while revisions are made goes elsewhere.
    pub(super) fn look_at_witness(&mut self) {
        if self.witness.lags(self.revision, self.now()) {
            self.watch_on();
        }
    }
}

impl Open {
    /// The highest revision in a message.
    fn hear(&mut self, message: &WatchMessage) -> i64 {
        match message {
            WatchMessage::Created { watch_id, revision } => {
                let start = self.wanted.pop_front().unwrap_or(0);
                self.watchers.insert(*watch_id, start);
                *revision
            }
            WatchMessage::Events { revision, .. } => *revision,
            WatchMessage::Progress { watch_id, revision } => {
                if *watch_id == -1 {
                    self.progress = self.progress.max(*revision);
                }
                *revision
            }
            WatchMessage::Canceled { watch_id, .. } => {
                if self.watchers.remove(watch_id).is_none() {
                    self.wanted.pop_front();
                }
                0
            }
            WatchMessage::CreateRefused { .. } => {
                self.wanted.pop_front();
                0
            }
            WatchMessage::CreateRequest(_)
            | WatchMessage::CancelRequest { .. }
            | WatchMessage::ProgressRequest => 0,
        }
    }

    /// What is to be said so that the stream tells whether it has everything up to a revision;
    /// nothing if it has. A stream with a watcher of the future is not told how far it is.
    pub(super) fn asks(&self, revision: i64) -> Vec<WatchMessage> {
        if self.watchers.is_empty() && self.wanted.is_empty() {
            return Vec::new();
        }
        let future = self.watchers.iter().filter(|(_, start)| **start > revision);
        let mut asks: Vec<WatchMessage> =
            future.map(|(id, _)| WatchMessage::CancelRequest { watch_id: *id }).collect();
        if self.progress < revision {
            asks.push(WatchMessage::ProgressRequest);
        }
        asks
    }
}

/// What happens to the clients of a stage.
pub(super) struct Inbox(UnboundedReceiver<(ClientId, News)>);

impl Inbox {
    /// Take everything as it comes, for ever.
    pub(super) async fn serve(mut self, stage: Rc<std::cell::RefCell<Stage>>) {
        while let Some((client, news)) = self.0.recv().await {
            stage.borrow_mut().take(client, news);
        }
    }
}
