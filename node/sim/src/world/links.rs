//! Clients' connections: what is under way on them, and the history of what clients saw.
//!
//! A connection keeps the order of what it carries, as TCP does; when it breaks, what was under
//! way is lost.

use std::collections::BTreeMap;

use super::network::{End, Network};
use super::{Happening, MILLIS, Mark, World};
use crate::client::{Action, Call, Stream};
use crate::history::{
    ClientId, History, MemberId, OperationId, Outcome, Request, Session, StreamId, Time,
    WatchMessage,
};

/// Milliseconds until a client hears that a connection is refused.
const REFUSAL_MS: u64 = 2;

#[derive(Clone, Copy, Debug)]
struct OpenStream {
    id: StreamId,
    member: u64,
    incarnation: u32,
    /// Something on it was lost, so nothing that comes after it arrives.
    lossy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    ToMember,
    ToClient,
}

/// All connections of clients.
#[derive(Debug, Default)]
pub(crate) struct Links {
    history: History,
    calls: BTreeMap<(ClientId, Call), (OperationId, u64)>,
    streams: BTreeMap<(ClientId, Stream), OpenStream>,
    last: BTreeMap<(Direction, u64, ClientId), Time>,
}

impl Links {
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn calls_at(&self, member: u64) -> Vec<(ClientId, Call)> {
        let at_member = self.calls.iter().filter(|(_, (_, asked))| *asked == member);
        at_member.map(|(key, _)| *key).collect()
    }

    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    fn streams_at(&self, member: u64) -> Vec<(ClientId, Stream)> {
        let at_member = self.streams.iter().filter(|(_, stream)| stream.member == member);
        at_member.map(|(key, _)| *key).collect()
    }

    /// When something that a member sends now reaches a client.
    pub(crate) fn arrival_at_client(
        &mut self,
        network: &mut Network,
        now: Time,
        member: u64,
        client: ClientId,
    ) -> Time {
        let at = network.send(now, End::Member(member), End::Clients);
        self.in_order(Direction::ToClient, member, client, at.first().copied().unwrap_or(now))
    }

    fn arrival_at_member(
        &mut self,
        network: &mut Network,
        now: Time,
        member: u64,
        client: ClientId,
    ) -> Time {
        let at = network.send(now, End::Clients, End::Member(member));
        self.in_order(Direction::ToMember, member, client, at.first().copied().unwrap_or(now))
    }

    fn in_order(&mut self, way: Direction, member: u64, client: ClientId, at: Time) -> Time {
        let last = self.last.entry((way, member, client)).or_insert(Time(0));
        *last = (*last).max(at).plus(Time(1));
        *last
    }
}

impl World {
    /// Carry out what a client wants.
    pub(super) fn act(&mut self, client: ClientId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Ask { member, call, request } => self.ask(client, member, call, request),
                Action::GiveUp { call } => {
                    if let Some((operation, _)) = self.links.calls.remove(&(client, call)) {
                        self.marks.reach(Mark::UnknownOutcome);
                        self.links.history.complete(operation, self.now, Outcome::Unknown);
                    }
                }
                Action::OpenWatch { member, stream } => self.open_stream(client, member, stream),
                Action::WatchSend { stream, message } => self.tell_stream(client, stream, message),
                Action::CloseWatch { stream } => {
                    if let Some(open) = self.links.streams.remove(&(client, stream)) {
                        self.links.history.close_stream(open.id, self.now);
                        self.hang_up(client, stream, open);
                    }
                }
                Action::WakeAt(time) => self.queue.push(time, Happening::Wake { client }),
            }
        }
    }

    pub(super) fn ask(&mut self, client: ClientId, member: MemberId, call: Call, request: Request) {
        let session = self.session(client, member);
        let operation = self.links.history.invoke(self.now, session, request.clone());
        self.links.calls.insert((client, call), (operation, member.0));
        let to = member.0;
        if self.is_out_of_reach(to) {
            return;
        }
        if !self.machines.get(&to).is_some_and(super::Machine::is_on) {
            let outcome = Box::new(Outcome::NotApplied);
            return self.after(REFUSAL_MS * MILLIS, Happening::Answer { client, call, outcome });
        }
        let at = self.links.arrival_at_member(&mut self.network, self.now, to, client);
        let (incarnation, request) = (session.incarnation, Box::new(request));
        self.queue.push(at, Happening::Ask { to, incarnation, client, call, request });
    }

    /// A member answers.
    pub(super) fn answer(&mut self, client: ClientId, call: Call, outcome: Outcome) {
        let Some(&(_, member)) = self.links.calls.get(&(client, call)) else { return };
        if self.is_out_of_reach(member) {
            return;
        }
        let at = self.links.arrival_at_client(&mut self.network, self.now, member, client);
        self.queue.push(at, Happening::Answer { client, call, outcome: Box::new(outcome) });
    }

    /// An answer arrives.
    pub(super) fn on_answer(&mut self, client: ClientId, call: Call, outcome: &Outcome) {
        let Some((operation, _)) = self.links.calls.remove(&(client, call)) else { return };
        self.judge.on_outcome(outcome, &mut self.marks);
        let asked = self.links.history.operations().get(operation.0).map(|asked| &asked.request);
        if let (Some(Request::Range(range)), Outcome::Ok(response)) = (asked, outcome)
            && range.revision > 0
            && range.revision < response.revision
        {
            self.marks.reach(Mark::OldRevisionRead);
        }
        self.links.history.complete(operation, self.now, outcome.clone());
        let members = self.member_ids();
        if let Some(asker) = self.clients.get_mut(&client) {
            let actions = asker.on_answer(self.now, call, outcome, &members);
            self.act(client, actions);
        } else {
            self.on_last_answer(call, outcome);
        }
    }

    fn session(&self, client: ClientId, member: MemberId) -> Session {
        let machine = self.machines.get(&member.0);
        let incarnation = machine.map_or(0, |machine| machine.incarnation);
        Session { client, member, incarnation }
    }

    fn is_out_of_reach(&self, member: u64) -> bool {
        self.network.is_cut(End::Clients, End::Member(member))
            || self.network.is_cut(End::Member(member), End::Clients)
    }

    fn open_stream(&mut self, client: ClientId, member: MemberId, stream: Stream) {
        let session = self.session(client, member);
        let id = self.links.history.open_stream(self.now, session);
        let is_on = self.machines.get(&member.0).is_some_and(super::Machine::is_on);
        let lossy = !is_on || self.is_out_of_reach(member.0);
        let open = OpenStream { id, member: member.0, incarnation: session.incarnation, lossy };
        self.links.streams.insert((client, stream), open);
        if lossy {
            self.break_stream(client, stream);
        }
    }

    fn tell_stream(&mut self, client: ClientId, stream: Stream, message: WatchMessage) {
        let Some(&open) = self.links.streams.get(&(client, stream)) else { return };
        self.links.history.message(open.id, self.now, message.clone());
        if self.loses(client, stream) {
            return;
        }
        let (to, incarnation) = (open.member, open.incarnation);
        let at = self.links.arrival_at_member(&mut self.network, self.now, to, client);
        self.queue.push(at, Happening::ToStream { to, incarnation, client, stream, message });
    }

    /// A message arrives on a stream.
    pub(super) fn on_stream(&mut self, client: ClientId, stream: Stream, message: WatchMessage) {
        let Some(&open) = self.links.streams.get(&(client, stream)) else { return };
        if self.loses(client, stream) {
            return;
        }
        self.judge.on_watch(&message, &mut self.marks);
        self.links.history.message(open.id, self.now, message.clone());
        let members = self.member_ids();
        if let Some(watcher) = self.clients.get_mut(&client) {
            let actions = watcher.on_watch_message(self.now, stream, &message, &members);
            self.act(client, actions);
        }
    }

    /// Whether a stream loses what passes on it now. From the first loss on it loses everything,
    /// also when its ends reach each other again, until its client notices.
    fn loses(&mut self, client: ClientId, stream: Stream) -> bool {
        let Some(&open) = self.links.streams.get(&(client, stream)) else { return true };
        if !open.lossy && self.is_out_of_reach(open.member) {
            if let Some(open) = self.links.streams.get_mut(&(client, stream)) {
                open.lossy = true;
            }
            self.break_stream(client, stream);
            return true;
        }
        open.lossy
    }

    /// A stream's connection is gone; its client is going to notice.
    pub(super) fn break_stream(&mut self, client: ClientId, stream: Stream) {
        self.after(super::NOTICE_MS * MILLIS, Happening::Broken { client, stream });
    }

    pub(super) fn break_streams_at(&mut self, member: u64) {
        for (client, stream) in self.links.streams_at(member) {
            self.break_stream(client, stream);
        }
    }

    /// Break the streams at machines that are not members any more: such a machine may never hear
    /// of its removal and stand still for ever, until somebody switches it off.
    pub(super) fn break_streams_at_removed(&mut self) {
        let members: Vec<u64> = self.admin.members().collect();
        let mut left = Vec::new();
        for (key, open) in &mut self.links.streams {
            if !members.contains(&open.member) {
                open.lossy = true;
                left.push(*key);
            }
        }
        for (client, stream) in left {
            self.break_stream(client, stream);
        }
    }

    /// A client notices that a stream's connection is gone.
    pub(super) fn on_broken(&mut self, client: ClientId, stream: Stream) {
        let Some(open) = self.links.streams.remove(&(client, stream)) else { return };
        self.links.history.close_stream(open.id, self.now);
        self.hang_up(client, stream, open);
        let members = self.member_ids();
        if let Some(watcher) = self.clients.get_mut(&client) {
            let actions = watcher.on_stream_closed(self.now, stream, &members);
            self.act(client, actions);
        }
    }

    fn hang_up(&mut self, client: ClientId, stream: Stream, open: OpenStream) {
        let (to, incarnation) = (open.member, open.incarnation);
        let at = self.links.arrival_at_member(&mut self.network, self.now, to, client);
        self.queue.push(at, Happening::Hangup { to, incarnation, client, stream });
    }
}
