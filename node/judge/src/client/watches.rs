//! A client's watch streams: watchers that come and go, and resume elsewhere where they were.
//!
//! ```text
//!   closed ──reopen at another member──► open ──create, cancel, ask for progress──┐
//!     ▲    each watcher from the          │ ▲                                     │
//!     │    last revision it has whole     │ └─────────────────────────────────────┘
//!     └──── broken, or left ──────────────┘
//! ```
//! Invariant: answers to create requests are taken in the order of the requests.

use super::keys::some_keys;
use super::knowledge::Knowledge;
use super::{Action, ClientOptions, Stream};
use crate::history::{MemberId, Time, WatchCreate, WatchMessage};
use crate::random::Random;
use std::collections::BTreeSet;

/// Milliseconds until a client opens a stream anew, at most.
const REOPEN_MS_MAX: u64 = 1_500;

/// What a client does on its streams with: everything of it but the streams.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) random: &'a mut Random,
    pub(super) options: &'a ClientOptions,
    pub(super) knowledge: &'a mut Knowledge,
    pub(super) members: &'a [MemberId],
    pub(super) actions: &'a mut Vec<Action>,
}

/// Where a watcher is between its request and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Asked,
    Open(i64),
    Canceling(i64),
}

#[derive(Debug, Clone)]
struct Watcher {
    create: WatchCreate,
    /// The first revision of which something may be missing; 0 if it is not known yet.
    next: i64,
    place: Place,
}

impl Watcher {
    fn id(&self) -> Option<i64> {
        match self.place {
            Place::Asked => None,
            Place::Open(id) | Place::Canceling(id) => Some(id),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { reopen: Time },
    Open { stream: Stream, member: MemberId, next_act: Time },
}

#[derive(Debug, Clone)]
struct Link {
    state: State,
    /// Where it was last.
    left: Option<MemberId>,
    /// In the order of their requests.
    watchers: Vec<Watcher>,
    /// Watchers that ended on this stream.
    ended: BTreeSet<i64>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Create,
    Cancel,
    AskProgress,
    Leave,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Now,
    Seen,
    Future,
    /// Which is refused.
    Negative,
    Compacted,
}

#[derive(Debug, Clone)]
pub(super) struct Watches {
    links: Vec<Link>,
    opened: u64,
}

impl Watches {
    pub(super) fn new(count: usize) -> Self {
        let state = State::Closed { reopen: Time(0) };
        let link = Link { state, left: None, watchers: Vec::new(), ended: BTreeSet::new() };
        Self { links: vec![link; count], opened: 0 }
    }

    /// When something is to be done next.
    pub(super) fn next_due(&self) -> Option<Time> {
        let dues = self.links.iter().map(|link| match link.state {
            State::Closed { reopen } => reopen,
            State::Open { next_act, .. } => next_act,
        });
        dues.min()
    }

    /// Does what is due.
    pub(super) fn step(&mut self, context: &mut Context<'_>) {
        for link in &mut self.links {
            match link.state {
                State::Closed { reopen } if reopen <= context.now => {
                    self.opened += 1;
                    link.open(context, Stream(self.opened));
                }
                State::Open { stream, next_act, .. } if next_act <= context.now => {
                    link.act(context, stream);
                }
                State::Closed { .. } | State::Open { .. } => {}
            }
        }
    }

    /// A message arrives. `resumes` says whether the client still wants watchers.
    pub(super) fn on_message(
        &mut self,
        context: &mut Context<'_>,
        stream: Stream,
        message: &WatchMessage,
        resumes: Resumes,
    ) {
        if let Some(link) = self.link(stream) {
            link.on_message(context, stream, message, resumes);
        }
    }

    pub(super) fn on_closed(&mut self, context: &mut Context<'_>, stream: Stream) {
        if let Some(link) = self.link(stream) {
            link.close(context);
        }
    }

    fn link(&mut self, wanted: Stream) -> Option<&mut Link> {
        self.links
            .iter_mut()
            .find(|link| matches!(link.state, State::Open { stream, .. } if stream == wanted))
    }
}

/// Whether a client makes anew what a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumes {
    Yes,
    No,
}

impl Link {
    fn open(&mut self, context: &mut Context<'_>, stream: Stream) {
        let elsewhere: Vec<MemberId> =
            context.members.iter().copied().filter(|member| Some(*member) != self.left).collect();
        let known = context.random.pick(context.members).copied();
        let Some(member) = context.random.pick(&elsewhere).copied().or(known) else {
            self.state = State::Closed { reopen: pause(context, REOPEN_MS_MAX) };
            return;
        };
        self.ended.clear();
        context.actions.push(Action::OpenWatch { member, stream });
        for watcher in &mut self.watchers {
            if watcher.next > 0 {
                watcher.create.start_revision = watcher.next;
            }
            watcher.place = Place::Asked;
            send(context, stream, WatchMessage::CreateRequest(watcher.create.clone()));
        }
        if self.watchers.is_empty() {
            self.create(context, stream);
        }
        let next_act = pause(context, context.options.watch_think_ms_max);
        self.state = State::Open { stream, member, next_act };
    }

    fn act(&mut self, context: &mut Context<'_>, stream: Stream) {
        let acts = [(5, Act::Create), (3, Act::Cancel), (3, Act::AskProgress), (1, Act::Leave)];
        let act = context.random.weighted(&acts).copied().unwrap_or(Act::AskProgress);
        let next = pause(context, context.options.watch_think_ms_max);
        if let State::Open { next_act, .. } = &mut self.state {
            *next_act = next;
        }
        match act {
            Act::Create if self.watchers.len() < context.options.watchers_max => {
                self.create(context, stream);
            }
            Act::Create | Act::AskProgress => send(context, stream, WatchMessage::ProgressRequest),
            Act::Cancel => self.cancel(context, stream),
            Act::Leave => {
                context.actions.push(Action::CloseWatch { stream });
                self.close(context);
            }
        }
    }

    fn create(&mut self, context: &mut Context<'_>, stream: Stream) {
        let create = some_watch(context);
        let next = create.start_revision;
        send(context, stream, WatchMessage::CreateRequest(create.clone()));
        self.watchers.push(Watcher { create, next, place: Place::Asked });
    }

    fn cancel(&mut self, context: &mut Context<'_>, stream: Stream) {
        let mut open: Vec<(i64, &mut Place)> = Vec::new();
        for watcher in &mut self.watchers {
            if let Place::Open(id) = watcher.place {
                open.push((id, &mut watcher.place));
            }
        }
        if open.is_empty() {
            return;
        }
        let (watch_id, place) = open.swap_remove(context.random.index(open.len()));
        *place = Place::Canceling(watch_id);
        send(context, stream, WatchMessage::CancelRequest { watch_id });
        if context.random.chance(1, 4) {
            // Once is enough; the second is not answered.
            send(context, stream, WatchMessage::CancelRequest { watch_id });
        }
    }

    /// The stream is gone, and with it what was being canceled.
    fn close(&mut self, context: &mut Context<'_>) {
        if let State::Open { member, .. } = self.state {
            self.left = Some(member);
        }
        self.watchers.retain(|watcher| !matches!(watcher.place, Place::Canceling(_)));
        self.state = State::Closed { reopen: pause(context, REOPEN_MS_MAX) };
    }

    fn on_message(
        &mut self,
        context: &mut Context<'_>,
        stream: Stream,
        message: &WatchMessage,
        resumes: Resumes,
    ) {
        match message {
            WatchMessage::Created { watch_id, revision } => {
                context.knowledge.learn_revision(*revision);
                if let Some(watcher) = self.first_asked() {
                    watcher.place = Place::Open(*watch_id);
                    if watcher.next == 0 {
                        watcher.next = revision.saturating_add(1);
                    }
                }
            }
            WatchMessage::CreateRefused { .. } => self.remove_first_asked(),
            WatchMessage::Events { watch_id, fragment, events, .. } => {
                for event in events {
                    context.knowledge.learn_event(event);
                }
                let last = events.last().map_or(0, |event| event.mod_revision);
                // Of a fragment's last revision more may come: it is to be seen again.
                let next = last.saturating_add(i64::from(!*fragment));
                self.advance(|id| id == *watch_id, next);
            }
            WatchMessage::Progress { watch_id, revision } => {
                context.knowledge.learn_revision(*revision);
                let next = revision.saturating_add(1);
                self.advance(|id| *watch_id == -1 || id == *watch_id, next);
            }
            WatchMessage::Canceled { watch_id, compact_revision } => {
                let (watch_id, compact_revision) = (*watch_id, *compact_revision);
                self.on_canceled(context, stream, watch_id, compact_revision, resumes);
            }
            WatchMessage::CreateRequest(_)
            | WatchMessage::CancelRequest { .. }
            | WatchMessage::ProgressRequest => {}
        }
    }

    fn advance(&mut self, concerns: impl Fn(i64) -> bool, next: i64) {
        for watcher in &mut self.watchers {
            if watcher.id().is_some_and(&concerns) {
                watcher.next = watcher.next.max(next);
            }
        }
    }

    fn first_asked(&mut self) -> Option<&mut Watcher> {
        self.watchers.iter_mut().find(|watcher| watcher.place == Place::Asked)
    }

    fn remove_first_asked(&mut self) {
        if let Some(at) = self.watchers.iter().position(|one| one.place == Place::Asked) {
            self.watchers.remove(at);
        }
    }

    fn on_canceled(
        &mut self,
        context: &mut Context<'_>,
        stream: Stream,
        watch_id: i64,
        compact_revision: i64,
        resumes: Resumes,
    ) {
        context.knowledge.learn_compaction(compact_revision);
        let by_id = self.watchers.iter().position(|watcher| watcher.id() == Some(watch_id));
        // A request to cancel may cross the end of its watcher, which is then told twice.
        if by_id.is_none() && self.ended.contains(&watch_id) {
            return;
        }
        self.ended.insert(watch_id);
        // A watcher that was canceled at once has no id yet.
        let asked = || self.watchers.iter().position(|watcher| watcher.place == Place::Asked);
        let Some(at) = by_id.or_else(asked) else { return };
        let watcher = self.watchers.remove(at);
        let is_wanted = !matches!(watcher.place, Place::Canceling(_));
        if is_wanted && compact_revision > 0 && resumes == Resumes::Yes {
            let create = WatchCreate { start_revision: compact_revision, ..watcher.create };
            send(context, stream, WatchMessage::CreateRequest(create.clone()));
            self.watchers.push(Watcher { create, next: compact_revision, place: Place::Asked });
        }
    }
}

fn some_watch(context: &mut Context<'_>) -> WatchCreate {
    let starts = [
        (5, Start::Now),
        (4, Start::Seen),
        (2, Start::Future),
        (2, Start::Compacted),
        (1, Start::Negative),
    ];
    let start = context.random.weighted(&starts).copied().unwrap_or(Start::Now);
    let (random, knowledge) = (&mut *context.random, &*context.knowledge);
    let start_revision = match start {
        Start::Now => 0,
        Start::Seen => knowledge.some_revision(random),
        Start::Future => knowledge.revision + random.range(1..30) as i64,
        Start::Negative => -1 - random.below(3) as i64,
        Start::Compacted => 1 + random.below(knowledge.compacted.max(1) as u64) as i64,
    };
    let keys = some_keys(random, context.options.keys);
    let filter = random.below(8);
    WatchCreate {
        progress_notify: random.chance(1, 3),
        prev_kv: random.chance(1, 3),
        fragment: random.chance(1, 3),
        no_put: filter == 0,
        no_delete: filter == 1,
        ..WatchCreate::new(keys, start_revision)
    }
}

fn send(context: &mut Context<'_>, stream: Stream, message: WatchMessage) {
    context.actions.push(Action::WatchSend { stream, message });
}

/// Some time from now, at most `ms_max` milliseconds.
fn pause(context: &mut Context<'_>, ms_max: u64) -> Time {
    context.now.plus(Time::from_millis(1 + context.random.below(ms_max.max(1))))
}
