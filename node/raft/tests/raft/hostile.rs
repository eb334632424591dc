//! Messages that no member would send, and ones that show that somebody lost what it had promised:
//! an error each, never a panic, and nothing half done.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_raft::{
    ConfState, Config, Entry, EntryId, EntryKind, Index, MemoryStorage, Message, MessageKind,
    NodeId, Participation, READS_MAX, RawNode, Role, Snapshot, SnapshotMetadata, StepError,
    Storage, Term,
};

use crate::environment::config_stub;

fn entry(term: u64, index: u64) -> Entry {
    Entry { term: Term(term), index: Index(index), ..Entry::normal("x") }
}

/// Member 1 of three with the given terms in its log, all committed up to `commit`.
pub(crate) fn member(terms: &[u64], commit: u64) -> RawNode<MemoryStorage> {
    let voters = vec![NodeId(1), NodeId(2), NodeId(3)];
    member_with(config_stub(NodeId(1)), ConfState::new(voters, Vec::new()), terms, commit)
}

pub(crate) fn member_with(
    config: Config,
    conf_state: ConfState,
    terms: &[u64],
    commit: u64,
) -> RawNode<MemoryStorage> {
    let mut storage = MemoryStorage::with_conf_state(conf_state);
    let entries: Vec<Entry> =
        terms.iter().zip(1..).map(|(term, index)| entry(*term, index)).collect();
    storage.append(&entries);
    storage.set_hard_state(quorate_raft::HardState {
        term: Term(terms.last().copied().unwrap_or(0)),
        vote: NodeId::NONE,
        commit: Index(commit),
    });
    RawNode::new(config, storage).expect("a valid setup")
}

pub(crate) fn message(kind: MessageKind, from: u64, term: u64) -> Message {
    let mut message = Message::new(kind, NodeId(1));
    message.from = NodeId(from);
    message.term = Term(term);
    message
}

/// Handles everything that is ready and gives the messages to others.
pub(crate) fn flush(raw: &mut RawNode<MemoryStorage>) -> Vec<Message> {
    let mut messages = Vec::new();
    while raw.has_ready() {
        let mut ready = raw.ready();
        let storage = raw.storage_mut();
        if let Some(hard_state) = ready.hard_state {
            storage.set_hard_state(hard_state);
        }
        if let Some(snapshot) = ready.snapshot.clone() {
            storage.apply_snapshot(snapshot).expect("a newer snapshot");
        }
        storage.append(&ready.entries);
        messages.append(&mut ready.messages);
        raw.advance(ready);
    }
    messages
}

/// Member 1 as leader of a new term, elected with the vote of 2 and with nothing acknowledged.
pub(crate) fn leader(terms: &[u64], commit: u64) -> RawNode<MemoryStorage> {
    let mut raw = member(terms, commit);
    raw.campaign();
    flush(&mut raw);
    let term = raw.raft().term().0;
    raw.step(message(MessageKind::MsgVoteResp, 2, term)).expect("a vote");
    assert_eq!(raw.raft().role(), Role::Leader);
    raw
}

#[test]
fn entries_that_do_not_fit_together_are_malformed() {
    let cases: [(u64, u64, Vec<Entry>); 4] = [
        (1, 1, vec![entry(1, 3)]),
        (1, 1, vec![entry(1, 2), entry(1, 4)]),
        (2, 1, vec![entry(1, 2)]),
        (1, 1, vec![entry(9, 2)]),
    ];
    for (log_term, index, entries) in cases {
        let mut raw = member(&[1], 1);
        let mut append = message(MessageKind::MsgApp, 2, 2);
        append.log_term = Term(log_term);
        append.index = Index(index);
        append.entries = entries;
        let result = raw.step(append);
        assert!(matches!(result, Err(StepError::Malformed { .. })), "{result:?}");
        assert_eq!(raw.raft().term(), Term(1), "nothing has changed");
    }
}

#[test]
fn messages_without_what_they_need_are_malformed() {
    let mut raw = leader(&[1], 1);
    for kind in [
        MessageKind::MsgProp,
        MessageKind::MsgReadIndex,
        MessageKind::MsgReadIndexResp,
        MessageKind::MsgSnap,
    ] {
        let result = raw.step(message(kind, 2, 2));
        assert!(matches!(result, Err(StepError::Malformed { .. })), "{kind:?}: {result:?}");
    }
    // Without a term it would pass for a message of the member to itself.
    let result = raw.step(message(MessageKind::MsgAppResp, 2, 0));
    assert!(matches!(result, Err(StepError::Malformed { .. })), "{result:?}");
}

#[test]
fn local_messages_and_strangers_answers_are_refused() {
    let mut raw = leader(&[1], 1);
    for kind in MessageKind::ALL.into_iter().filter(|kind| kind.is_local()) {
        assert_eq!(raw.step(message(kind, 2, 2)), Err(StepError::LocalMessage));
    }
    let result = raw.step(message(MessageKind::MsgAppResp, 9, 2));
    assert_eq!(result, Err(StepError::PeerNotFound));
}

#[test]
fn a_commit_index_beyond_the_log_is_fatal() {
    let mut raw = member(&[1, 1], 1);
    let mut heartbeat = message(MessageKind::MsgHeartbeat, 2, 1);
    heartbeat.commit = Index(3);
    let error = raw.step(heartbeat).expect_err("beyond the log");
    assert!(error.is_fatal(), "{error}");
    assert_eq!(raw.raft().committed(), Index(1));
    assert!(flush(&mut raw).is_empty(), "it is not acknowledged");
}

#[test]
fn entries_that_contradict_committed_ones_are_fatal() {
    let mut raw = member(&[1, 1, 1], 2);
    let mut append = message(MessageKind::MsgApp, 2, 3);
    append.log_term = Term(1);
    append.index = Index(2);
    append.entries = vec![entry(3, 3)];
    raw.step(append.clone()).expect("what is not committed may be replaced");
    // The same, one position earlier, would replace what is committed; it is answered with the
    // commit index, as every append behind it is.
    append.index = Index(1);
    append.entries = vec![entry(3, 2)];
    raw.step(append).expect("old news");
    assert_eq!(raw.raft().committed(), Index(2));

    let mut raw = member(&[1, 1, 1], 3);
    let mut append = message(MessageKind::MsgApp, 2, 3);
    append.index = Index(3);
    append.log_term = Term(2);
    append.entries = vec![entry(3, 4)];
    raw.step(append).expect("a mismatch is only rejected");
    let answer = flush(&mut raw).pop().expect("an answer");
    assert!(answer.reject);
}

#[test]
fn an_acknowledgement_of_unknown_entries_is_fatal() {
    let mut raw = leader(&[1], 1);
    let mut answer = message(MessageKind::MsgAppResp, 2, 2);
    answer.index = Index(3);
    let error = raw.step(answer).expect_err("beyond the log");
    assert!(matches!(error, StepError::AcknowledgedBeyondLog { .. }) && error.is_fatal());
    assert_eq!(raw.raft().committed(), Index(1));
}

#[test]
fn two_leaders_of_one_term_are_fatal() {
    let mut raw = leader(&[1], 1);
    let error = raw.step(message(MessageKind::MsgHeartbeat, 3, 2)).expect_err("it leads itself");
    assert!(matches!(error, StepError::SecondLeader { .. }) && error.is_fatal());
    let mut raw = member(&[1], 1);
    raw.step(message(MessageKind::MsgHeartbeat, 2, 2)).expect("the leader");
    let error = raw.step(message(MessageKind::MsgHeartbeat, 3, 2)).expect_err("another one");
    assert!(matches!(error, StepError::SecondLeader { .. }) && error.is_fatal());
}

#[test]
fn a_snapshot_with_an_impossible_configuration_is_fatal() {
    let mut raw = member(&[1], 1);
    let both = ConfState::new(vec![NodeId(1), NodeId(2)], vec![NodeId(2)]);
    let metadata = SnapshotMetadata { conf_state: both, index: Index(9), term: Term(2) };
    let mut snap = message(MessageKind::MsgSnap, 2, 2);
    snap.snapshot = Some(Snapshot { metadata, data: Bytes::new() });
    let error = raw.step(snap).expect_err("voter and learner at once");
    assert!(matches!(error, StepError::SnapshotConfState { .. }) && error.is_fatal());
    assert_eq!(raw.raft().committed(), Index(1), "nothing has changed");
}

#[test]
fn a_proposed_change_that_does_not_parse_is_refused() {
    let mut raw = leader(&[1], 1);
    let last = raw.raft().last_index();
    let bad = Entry { kind: EntryKind::ConfChange, ..Entry::normal(&b"\xff"[..]) };
    let result = raw.propose_with(vec![Entry::normal("good"), bad]);
    assert!(matches!(result, Err(StepError::UndecodableConfChange(_))), "{result:?}");
    assert_eq!(raw.raft().last_index(), last, "neither of both is appended");
}

#[test]
fn reads_are_limited() {
    let mut raw = leader(&[1], 1);
    for _ in 0..READS_MAX {
        raw.read_index("r").expect("room");
    }
    assert_eq!(raw.read_index("r"), Err(StepError::TooManyReads));
}

#[test]
fn invented_answers_to_reads_confirm_nothing() {
    let mut raw = leader(&[1], 1);
    let mut answer = message(MessageKind::MsgAppResp, 2, 2);
    answer.index = raw.raft().last_index();
    flush(&mut raw);
    raw.step(answer).expect("an acknowledgement");
    raw.read_index("r").expect("room");
    let round = flush(&mut raw)
        .into_iter()
        .find(|message| message.kind == MessageKind::MsgHeartbeat)
        .expect("a heartbeat")
        .context;
    let mut beyond = round.to_vec();
    beyond[8] += 1;
    let mut earlier_term = round.to_vec();
    earlier_term[0] -= 1;
    let invented: [&[u8]; 5] = [&beyond, &earlier_term, &round[..8], b"x", &[0xff; 16]];
    for context in invented {
        let mut answer = message(MessageKind::MsgHeartbeatResp, 2, 2);
        answer.context = Bytes::copy_from_slice(context);
        raw.step(answer).expect("a heartbeat's answer");
        let confirmed = raw.has_ready() && !raw.ready_reads().is_empty();
        assert!(!confirmed, "{context:?} confirmed a read");
    }
    let mut answer = message(MessageKind::MsgHeartbeatResp, 2, 2);
    answer.context = round;
    raw.step(answer).expect("a heartbeat's answer");
    assert_eq!(raw.ready_reads().len(), 1);
}

/// Gives the reads that are confirmed, and handles the rest of what is ready.
trait ReadyReads {
    fn ready_reads(&mut self) -> Vec<quorate_raft::ReadState>;
}

impl ReadyReads for RawNode<MemoryStorage> {
    fn ready_reads(&mut self) -> Vec<quorate_raft::ReadState> {
        let ready = self.ready();
        let reads = ready.read_states.clone();
        self.storage_mut().append(&ready.entries);
        self.advance(ready);
        reads
    }
}

#[test]
fn a_member_under_repair_takes_in_entries_and_does_not_lead() {
    let floor = EntryId { term: Term(2), index: Index(4) };
    let mut raw = member(&[1], 1);
    flush(&mut raw);
    raw.set_participation(Participation::VotesOnly { floor });
    let mut append = message(MessageKind::MsgApp, 2, 2);
    (append.log_term, append.index) = (Term(1), Index(1));
    append.entries = vec![entry(2, 2)];
    raw.step(append).expect("an append");
    assert_eq!(raw.raft().last_index(), Index(2));
    assert!(flush(&mut raw).iter().any(|answer| answer.index == Index(2) && !answer.reject));

    let mut raw = leader(&[1], 1);
    raw.set_participation(Participation::VotesOnly { floor });
    assert_eq!(raw.raft().role(), Role::Follower);
}

#[test]
fn a_member_that_votes_as_if_it_had_its_lost_end_refuses_shorter_logs() {
    for (log_term, index, is_granted) in [(1, 9, false), (2, 3, false), (2, 4, true), (3, 1, true)]
    {
        let mut raw = member(&[1], 1);
        flush(&mut raw);
        let floor = EntryId { term: Term(2), index: Index(4) };
        raw.set_participation(Participation::VotesOnly { floor });
        (0..100).for_each(|_| raw.tick());
        raw.step(message(MessageKind::MsgTimeoutNow, 2, 1)).expect("ignored");
        assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Follower, Term(1)));
        let mut request = message(MessageKind::MsgVote, 2, 5);
        (request.log_term, request.index) = (Term(log_term), Index(index));
        raw.step(request).expect("a request");
        assert_eq!(flush(&mut raw)[0].reject, !is_granted, "{index} of {log_term}");
    }
}

#[test]
fn a_store_that_lost_its_end_is_not_started_from() {
    let voters = ConfState::new(vec![NodeId(1)], Vec::new());
    let mut storage = MemoryStorage::with_conf_state(voters);
    storage.append(&[entry(1, 1)]);
    storage.set_hard_state(quorate_raft::HardState {
        term: Term(1),
        vote: NodeId(1),
        commit: Index(2),
    });
    assert!(RawNode::new(config_stub(NodeId(1)), storage.clone()).is_err());
    storage.append(&[entry(1, 2)]);
    assert!(RawNode::new(config_stub(NodeId(1)), storage.clone()).is_ok());
    let beyond = Config { applied: Index(3), ..config_stub(NodeId(1)) };
    assert!(RawNode::new(beyond, storage).is_err());
}

fn any_message() -> impl Strategy<Value = Message> {
    let small = || prop_oneof![4 => 0..8u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1)];
    let entries = prop::collection::vec((0..3u8, 0..5u64, small()), 0..4).prop_map(|entries| {
        let kinds = [EntryKind::Normal, EntryKind::ConfChange, EntryKind::ConfChangeV2];
        entries
            .into_iter()
            .map(|(kind, term, index)| Entry { kind: kinds[kind as usize], ..entry(term, index) })
            .collect::<Vec<Entry>>()
    });
    let numbers = (0..24usize, 0..5u64, small(), small(), small(), small(), small());
    (numbers, entries, any::<bool>(), any::<bool>(), prop::collection::vec(0..3u8, 0..18)).prop_map(
        |((kind, from, term, log_term, index, commit, hint), entries, reject, snap, context)| {
            let mut message = message(MessageKind::ALL[kind], from, term);
            message.log_term = Term(log_term);
            message.index = Index(index);
            message.commit = Index(commit);
            message.reject_hint = Index(hint);
            message.entries = entries;
            message.reject = reject;
            message.context = Bytes::from(context);
            message.snapshot = snap.then(|| Snapshot {
                metadata: SnapshotMetadata {
                    conf_state: ConfState::new(vec![NodeId(1), NodeId(from)], Vec::new()),
                    index: Index(hint),
                    term: Term(log_term),
                },
                data: Bytes::new(),
            });
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// No sequence of messages from the network makes a member panic, whatever it is, and the
    /// commit index never moves back nor beyond the log.
    #[test]
    fn no_messages_make_it_panic(
        role in 0..4u8,
        messages in prop::collection::vec(any_message(), 1..40),
    ) {
        let mut raw = match role {
            0 => member(&[1, 1, 2], 2),
            1 => leader(&[1, 1, 2], 2),
            _ => member(&[], 0),
        };
        if role == 3 {
            raw.campaign();
        }
        let mut committed = raw.raft().committed();
        for message in messages {
            let result = raw.step(message);
            if result.is_err_and(|error| error.is_fatal()) {
                return Ok(());
            }
            flush(&mut raw);
            let raft = raw.raft();
            prop_assert!(raft.committed() >= committed);
            prop_assert!(raft.committed() <= raft.last_index());
            committed = raft.committed();
            prop_assert_eq!(raw.storage().last_index(), raft.last_index());
        }
    }
}
