//! Some members, the messages between them, and their storage threads, as a script drives them.

use std::fmt::Write as _;

use bytes::BytesMut;
use quorate_raft::{
    AnyConfChange, Config, Entry, HardState, Index, Message, MessageKind, NodeId, RawNode,
    ReadState, Snapshot, Storage, Term,
};

use crate::describe;
use crate::storage::TestStorage;

pub(crate) struct Member {
    pub(crate) raw: RawNode<TestStorage>,
    pub(crate) config: Config,
    pub(crate) append_work: Vec<Message>,
    pub(crate) apply_work: Vec<Message>,
}

/// Whether something was printed or only done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volume {
    Loud,
    Quiet,
}

pub(crate) struct Environment {
    pub(crate) members: Vec<Member>,
    pub(crate) messages: Vec<Message>,
    /// Copies of messages that a script wants to deliver a second time.
    pub(crate) copies: Vec<Message>,
    pub(crate) output: String,
    pub(crate) volume: Volume,
}

/// Whom messages are delivered to, or lost to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Deliver,
    Drop,
}

/// The settings of etcd's environment: no limits, three ticks to an election.
pub(crate) fn config_stub(id: NodeId) -> Config {
    Config {
        election_ticks: 3,
        heartbeat_ticks: 1,
        max_message_bytes: u64::MAX,
        max_inflight_messages: i32::MAX as usize,
        check_quorum: false,
        pre_vote: false,
        ..Config::new(id)
    }
}

pub(crate) fn is_local(message: &Message) -> bool {
    message.from == message.to || message.from.is_local_thread() || message.to.is_local_thread()
}

impl Environment {
    pub(crate) fn new() -> Environment {
        Environment {
            members: Vec::new(),
            messages: Vec::new(),
            copies: Vec::new(),
            output: String::new(),
            volume: Volume::Loud,
        }
    }

    pub(crate) fn print(&mut self, text: &str) {
        if self.volume == Volume::Loud {
            self.output.push_str(text);
        }
    }

    pub(crate) fn print_line(&mut self, text: &str) {
        self.print(text);
        self.print("\n");
    }

    fn indented(&mut self, run: impl FnOnce(&mut Environment)) {
        let outer = std::mem::take(&mut self.output);
        run(self);
        let inner = std::mem::replace(&mut self.output, outer);
        for line in inner.lines() {
            self.print_line(&format!("  {line}"));
        }
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        &mut self.members[id as usize - 1]
    }

    /// Adds `count` members that start from `snapshot`.
    pub(crate) fn add_members(&mut self, count: u64, config: &Config, mut snapshot: Snapshot) {
        for _ in 0..count {
            let id = NodeId(self.members.len() as u64 + 1);
            let mut storage = TestStorage::default();
            if snapshot != Snapshot::default() {
                assert!(snapshot.metadata.index > Index(1), "a log starts behind index 1");
                snapshot.metadata.term = Term(1);
                storage.log.apply_snapshot(snapshot.clone()).expect("the first snapshot");
            }
            storage.history.push(snapshot.clone());
            let config = Config { id, seed: id.0, ..config.clone() };
            let raw = RawNode::new(config.clone(), storage).expect("a valid setup");
            let member = Member { raw, config, append_work: Vec::new(), apply_work: Vec::new() };
            self.members.push(member);
        }
    }

    /// Starts a member again from what it had made durable, applying from its last snapshot.
    pub(crate) fn restart(&mut self, id: u64) {
        let member = self.member(id);
        let storage = member.raw.storage().clone();
        let applied = storage.history.last().expect("a first state").metadata.index;
        let config = Config { applied, ..member.config.clone() };
        member.config = config.clone();
        member.append_work.clear();
        member.apply_work.clear();
        self.messages.retain(|message| !(message.to == NodeId(id) && is_local(message)));
        let member = self.member(id);
        let configuration = storage.history.last().expect("a first state").metadata.clone();
        let mut storage = storage;
        // The state machine remembers the configuration that it has applied.
        storage.log = with_conf_state(&storage, configuration.conf_state);
        member.raw = RawNode::new(config, storage).expect("a valid setup");
    }

    fn store(
        member: &mut Member,
        hard_state: Option<HardState>,
        entries: &[Entry],
        snapshot: Option<&Snapshot>,
    ) {
        let storage = member.raw.storage_mut();
        if let Some(hard_state) = hard_state {
            storage.log.set_hard_state(hard_state);
        }
        if let Some(snapshot) = snapshot {
            storage.log.apply_snapshot(snapshot.clone()).expect("a newer snapshot");
            storage.history.push(snapshot.clone());
        }
        storage.log.append(entries);
    }

    /// Applies entries to a state machine that appends each command to its state.
    fn apply(member: &mut Member, entries: &[Entry]) {
        for entry in entries {
            if entry.index < member.raw.raft().first_index() {
                // A snapshot was faster: its configuration is in force already, and its state
                // has the entry or will, once it is stored.
                continue;
            }
            let change = AnyConfChange::from_entry(entry).expect("a change that parses");
            let mut conf_state = None;
            let mut update = entry.data.clone();
            if let Some(change) = change.map(AnyConfChange::into_v2) {
                conf_state = Some(member.raw.apply_conf_change(&change).expect("it applies"));
                update = change.context;
            }
            let history = &mut member.raw.storage_mut().history;
            let mut state = history.last().cloned().unwrap_or_default();
            let mut data = BytesMut::from(&state.data[..]);
            data.extend_from_slice(&update);
            state.data = data.freeze();
            state.metadata.index = entry.index;
            state.metadata.term = entry.term;
            if let Some(conf_state) = conf_state {
                state.metadata.conf_state = conf_state;
            }
            history.push(state);
        }
    }

    pub(crate) fn process_ready(&mut self, id: u64) {
        self.process_ready_seen(id);
    }

    /// Handles what is ready, and gives the reads that are confirmed and the entries to apply.
    pub(crate) fn process_ready_seen(&mut self, id: u64) -> (Vec<ReadState>, Vec<Entry>) {
        let mut ready = self.member(id).raw.ready();
        if self.volume == Volume::Loud {
            self.print(&describe::ready(&ready));
        }
        let reads = std::mem::take(&mut ready.read_states);
        let mut applied = ready.committed_entries.clone();
        let member = &mut self.members[id as usize - 1];
        let is_async = member.config.async_storage_writes;
        if !is_async {
            Environment::store(member, ready.hard_state, &ready.entries, ready.snapshot.as_ref());
            Environment::apply(member, &ready.committed_entries);
        }
        for message in std::mem::take(&mut ready.messages) {
            match message.to {
                NodeId::APPEND_THREAD => member.append_work.push(message),
                NodeId::APPLY_THREAD => {
                    applied.extend_from_slice(&message.entries);
                    member.apply_work.push(message);
                }
                _ => self.messages.push(message),
            }
        }
        if !is_async {
            member.raw.advance(ready);
        }
        (reads, applied)
    }

    pub(crate) fn process_append_thread(&mut self, id: u64) {
        let member = self.member(id);
        if member.append_work.is_empty() {
            self.print("no append work to perform");
            return;
        }
        let mut work = member.append_work.remove(0);
        let responses = std::mem::take(&mut work.responses);
        Environment::store(member, work.hard_state(), &work.entries, work.snapshot.as_ref());
        self.finish_work(&work, responses);
    }

    pub(crate) fn process_apply_thread(&mut self, id: u64) {
        let member = self.member(id);
        if member.apply_work.is_empty() {
            self.print("no apply work to perform");
            return;
        }
        let mut work = member.apply_work.remove(0);
        let responses = std::mem::take(&mut work.responses);
        Environment::apply(member, &work.entries);
        self.finish_work(&work, responses);
    }

    fn finish_work(&mut self, work: &Message, responses: Vec<Message>) {
        self.print_line("Processing:");
        self.print_line(&describe::message(work));
        self.print_line("Responses:");
        for response in &responses {
            self.print_line(&describe::message(response));
        }
        self.messages.extend(responses);
    }

    fn take_messages(&mut self, to: u64, kind: Option<MessageKind>, fate: Fate) -> Vec<Message> {
        let (taken, rest) = std::mem::take(&mut self.messages).into_iter().partition(|message| {
            message.to == NodeId(to)
                && kind.is_none_or(|kind| message.kind == kind)
                && !(fate == Fate::Drop && is_local(message))
        });
        self.messages = rest;
        taken
    }

    /// Delivers, or loses, what is on its way to each of `recipients`; says how many messages.
    pub(crate) fn deliver(
        &mut self,
        kind: Option<MessageKind>,
        recipients: &[(u64, Fate)],
    ) -> usize {
        let mut count = 0;
        for (to, fate) in recipients {
            for message in self.take_messages(*to, kind, *fate) {
                count += 1;
                let prefix = if *fate == Fate::Drop { "dropped: " } else { "" };
                self.print_line(&format!("{prefix}{}", describe::message(&message)));
                if *fate == Fate::Deliver
                    && let Err(error) = self.member(*to).raw.step(message)
                {
                    self.print_line(&error.to_string());
                }
            }
        }
        count
    }

    /// Lets `ids` work and receive until nothing is left to do.
    pub(crate) fn stabilize(&mut self, ids: &[u64]) {
        let all: Vec<u64> = (1..=self.members.len() as u64).collect();
        let ids = if ids.is_empty() { &all[..] } else { ids };
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for &id in ids {
                if self.member(id).raw.has_ready() {
                    self.print_line(&format!("> {id} handling Ready"));
                    self.indented(|environment| environment.process_ready(id));
                    is_done = false;
                }
            }
            for &id in ids {
                if self.messages.iter().any(|message| message.to == NodeId(id)) {
                    self.print_line(&format!("> {id} receiving messages"));
                    self.indented(|environment| {
                        environment.deliver(None, &[(id, Fate::Deliver)]);
                    });
                    is_done = false;
                }
            }
            for &id in ids {
                if !self.member(id).append_work.is_empty() {
                    self.print_line(&format!("> {id} processing append thread"));
                    is_done = false;
                }
                while !self.member(id).append_work.is_empty() {
                    self.indented(|environment| environment.process_append_thread(id));
                }
            }
            for &id in ids {
                if !self.member(id).apply_work.is_empty() {
                    self.print_line(&format!("> {id} processing apply thread"));
                    is_done = false;
                }
                while !self.member(id).apply_work.is_empty() {
                    self.indented(|environment| environment.process_apply_thread(id));
                }
            }
        }
    }

    /// Runs `step` for each id, under a headline if there are several.
    pub(crate) fn for_each(
        &mut self,
        ids: &[u64],
        headline: &str,
        step: fn(&mut Environment, u64),
    ) {
        for &id in ids {
            if ids.len() > 1 {
                self.print_line(&format!("> {id} {headline}"));
                self.indented(|environment| step(environment, id));
            } else {
                step(self, id);
            }
        }
    }

    pub(crate) fn raft_log(&mut self, id: u64) {
        let storage = self.member(id).raw.storage();
        let (first, last) = (storage.first_index(), storage.last_index());
        let text = if last < first {
            format!("log is empty: first index={first}, last index={last}")
        } else {
            let entries = storage.entries(first, last.next(), u64::MAX).expect("it is there");
            describe::entries(&entries)
        };
        self.print(&text);
    }

    pub(crate) fn raft_state(&mut self) {
        let mut text = String::new();
        for member in &self.members {
            let status = member.raw.status();
            let basic = status.basic;
            let votes = status.configuration.voters.contains(basic.id);
            let _ = writeln!(
                text,
                "{}: {} {} Term:{} Lead:{}",
                basic.id.0,
                describe::role(basic.soft_state.role),
                if votes { "(Voter)" } else { "(Non-Voter)" },
                basic.hard_state.term,
                basic.soft_state.lead.0
            );
        }
        self.print(&text);
    }

    pub(crate) fn status(&mut self, id: u64) {
        let status = self.member(id).raw.status();
        let mut text = String::new();
        for (id, progress) in &status.progress {
            let _ = writeln!(text, "{}: {}", id.0, describe::progress(progress));
        }
        self.print(&text);
    }
}

/// The same log, under another stored configuration.
fn with_conf_state(
    storage: &TestStorage,
    conf_state: quorate_raft::ConfState,
) -> quorate_raft::MemoryStorage {
    let mut snapshot = storage.log.snapshot().expect("memory always has one");
    snapshot.metadata.conf_state = conf_state;
    let compacted = storage.first_index().prev();
    snapshot.metadata.index = compacted;
    snapshot.metadata.term = storage.term(compacted).expect("the last compacted term");
    let mut log = quorate_raft::MemoryStorage::new();
    log.apply_snapshot(snapshot).expect("the first snapshot");
    let (first, last) = (storage.first_index(), storage.last_index());
    if first <= last {
        log.append(&storage.entries(first, last.next(), u64::MAX).expect("it is there"));
    }
    log.set_hard_state(storage.log.hard_state());
    log
}

impl Environment {
    /// Cuts the durable log of `id` behind `last`, as a damaged disk may.
    pub(crate) fn lose_log(&mut self, id: u64, last: Index) {
        let storage = self.member(id).raw.storage_mut();
        let first = storage.first_index();
        let kept = if first <= last {
            storage.entries(first, last.next(), u64::MAX).expect("it is there")
        } else {
            Vec::new()
        };
        let mut log = quorate_raft::MemoryStorage::new();
        let mut snapshot = storage.log.snapshot().expect("memory always has one");
        let compacted = first.prev();
        snapshot.metadata.index = compacted;
        snapshot.metadata.term = storage.term(compacted).expect("the last compacted term");
        log.apply_snapshot(snapshot).expect("the first snapshot");
        log.append(&kept);
        let state = storage.log.hard_state();
        log.set_hard_state(HardState { commit: state.commit.min(last), ..state });
        storage.log = log;
        storage.history.retain(|state| state.metadata.index <= last);
    }
}
