//! The rules of the Raft paper (sections 5 and 6) and of the thesis (3.10, 4, 6.4, 9.6), each as
//! a test of one member, fed and read message by message.

use bytes::Bytes;
use quorate_raft::{
    AnyConfChange, ConfChange, ConfChangeKind, ConfState, Config, Entry, HardState, Index,
    MemoryStorage, Message, MessageKind, NodeId, RawNode, Role, Storage, Term,
};

use crate::environment::config_stub;
use crate::hostile::{flush, leader, member, member_with, message};

fn step(raw: &mut RawNode<MemoryStorage>, message: Message) -> Vec<Message> {
    raw.step(message).expect("a message that is taken in");
    flush(raw)
}

fn vote_request(from: u64, term: u64, log_term: u64, index: u64) -> Message {
    let mut request = message(MessageKind::MsgVote, from, term);
    request.log_term = Term(log_term);
    request.index = Index(index);
    request
}

fn append(term: u64, previous: (u64, u64), terms: &[u64], commit: u64) -> Message {
    let mut append = message(MessageKind::MsgApp, 2, term);
    append.log_term = Term(previous.0);
    append.index = Index(previous.1);
    append.commit = Index(commit);
    append.entries = terms
        .iter()
        .zip(previous.1 + 1..)
        .map(|(term, index)| Entry { term: Term(*term), index: Index(index), ..Entry::normal("x") })
        .collect();
    append
}

fn acknowledge(from: u64, term: u64, index: Index) -> Message {
    let mut answer = message(MessageKind::MsgAppResp, from, term);
    answer.index = index;
    answer
}

fn terms_of(storage: &MemoryStorage) -> Vec<u64> {
    let (first, last) = (storage.first_index(), storage.last_index());
    let entries = storage.entries(first, last.next(), u64::MAX).expect("it is there");
    entries.iter().map(|entry| entry.term.0).collect()
}

/// An entry as the tables name it: term and index.
type Id = (u64, u64);

fn cluster_of(size: u64) -> ConfState {
    ConfState::new((1..=size).map(NodeId).collect(), Vec::new())
}

// §5.1: terms

#[test]
fn s5_1_every_role_follows_a_newer_term() {
    let mut candidate = member(&[1], 1);
    candidate.campaign();
    for mut raw in [member(&[1], 1), candidate, leader(&[1], 1)] {
        flush(&mut raw);
        step(&mut raw, append(9, (1, 1), &[], 0));
        assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Follower, Term(9)));
        assert_eq!(raw.raft().lead(), NodeId(2));
        assert_eq!(raw.storage().hard_state().term, Term(9), "before anything is answered");
    }
}

#[test]
fn s5_1_messages_of_an_older_term_change_nothing() {
    let mut raw = member(&[1, 5], 1);
    assert!(step(&mut raw, append(4, (1, 1), &[4], 2)).is_empty());
    assert_eq!(terms_of(raw.storage()), [1, 5]);
    assert_eq!(raw.raft().committed(), Index(1));
}

// §5.2: elections

#[test]
fn s5_2_members_start_as_followers() {
    let raw = member(&[1], 1);
    assert_eq!((raw.raft().role(), raw.raft().lead()), (Role::Follower, NodeId::NONE));
}

#[test]
fn s5_2_a_leader_sends_heartbeats_every_interval() {
    let config = Config { heartbeat_ticks: 2, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config, cluster_of(3), &[1], 1);
    raw.campaign();
    flush(&mut raw);
    step(&mut raw, message(MessageKind::MsgVoteResp, 2, 2));
    for _ in 0..3 {
        raw.tick();
        assert!(flush(&mut raw).is_empty());
        raw.tick();
        let beats = flush(&mut raw);
        assert!(beats.iter().all(|message| message.kind == MessageKind::MsgHeartbeat));
        assert_eq!(beats.iter().map(|message| message.to.0).collect::<Vec<u64>>(), [2, 3]);
    }
}

#[test]
fn s5_2_without_a_leader_an_election_starts_in_a_new_term() {
    let mut candidate = member(&[1], 1);
    candidate.campaign();
    for mut raw in [member(&[1], 1), candidate] {
        flush(&mut raw);
        let term = raw.raft().term();
        let timeout = raw.raft().randomized_election_timeout();
        (0..timeout).for_each(|_| raw.tick());
        let requests = flush(&mut raw);
        assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Candidate, term.next()));
        assert_eq!(raw.storage().hard_state().vote, NodeId(1), "its own vote is durable");
        assert_eq!(requests.iter().map(|message| message.to.0).collect::<Vec<u64>>(), [2, 3]);
    }
}

#[test]
fn s5_2_a_majority_of_votes_elects() {
    // Size, votes for, votes against, outcome.
    let cases = [
        (1, 0, 0, Role::Leader),
        (3, 1, 0, Role::Leader),
        (3, 1, 1, Role::Leader),
        (3, 0, 2, Role::Follower),
        (3, 0, 1, Role::Candidate),
        (5, 2, 2, Role::Leader),
        (5, 1, 2, Role::Candidate),
        (5, 1, 3, Role::Follower),
    ];
    for (size, granted, rejected, outcome) in cases {
        let mut raw = member_with(config_stub(NodeId(1)), cluster_of(size), &[1], 1);
        raw.campaign();
        flush(&mut raw);
        for voter in 2..2 + granted + rejected {
            let mut vote = message(MessageKind::MsgVoteResp, voter, 2);
            vote.reject = voter >= 2 + granted;
            step(&mut raw, vote);
        }
        assert_eq!(raw.raft().role(), outcome, "{granted} of {size}");
    }
}

#[test]
fn s5_2_a_member_votes_once_in_a_term() {
    for (first, second, second_granted) in [(2, 3, false), (2, 2, true)] {
        let mut raw = member(&[1], 1);
        let answers = step(&mut raw, vote_request(first, 2, 1, 1));
        assert!(!answers[0].reject);
        assert_eq!(raw.storage().hard_state().vote, NodeId(first), "durable before the answer");
        let answers = step(&mut raw, vote_request(second, 2, 1, 1));
        assert_eq!(answers[0].reject, !second_granted);
    }
}

#[test]
fn s5_2_a_vote_outlives_a_restart() {
    let mut raw = member(&[1], 1);
    step(&mut raw, vote_request(2, 2, 1, 1));
    let storage = raw.storage().clone();
    let mut raw = RawNode::new(config_stub(NodeId(1)), storage).expect("a valid setup");
    assert!(step(&mut raw, vote_request(3, 2, 1, 1))[0].reject);
}

#[test]
fn s5_2_a_candidate_follows_a_leader_of_its_term() {
    let mut raw = member(&[1], 1);
    raw.campaign();
    flush(&mut raw);
    step(&mut raw, append(2, (1, 1), &[], 0));
    assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Follower, Term(2)));
}

#[test]
fn s5_2_election_timeouts_are_spread() {
    let mut seen = std::collections::BTreeSet::new();
    let config = Config { election_ticks: 10, ..config_stub(NodeId(1)) };
    for seed in 0..200 {
        let config = Config { seed, ..config.clone() };
        let raw = member_with(config, cluster_of(3), &[1], 1);
        seen.insert(raw.raft().randomized_election_timeout());
    }
    assert_eq!(seen.into_iter().collect::<Vec<u32>>(), (10..20).collect::<Vec<u32>>());
}

#[test]
fn s5_2_equal_seeds_give_equal_timeouts() {
    let timeouts = |seed| {
        let config = Config { election_ticks: 100, seed, ..config_stub(NodeId(1)) };
        let mut raw = member_with(config, cluster_of(3), &[1], 1);
        let draw = |_| {
            raw.campaign();
            flush(&mut raw);
            raw.raft().randomized_election_timeout()
        };
        (0..10).map(draw).collect::<Vec<u32>>()
    };
    assert_eq!(timeouts(7), timeouts(7));
    assert_ne!(timeouts(7), timeouts(8));
}

// §5.3: replication

#[test]
fn s5_3_a_leader_sends_what_is_proposed_with_its_predecessor() {
    let mut raw = leader(&[1], 1);
    flush(&mut raw);
    step(&mut raw, acknowledge(2, 2, Index(2)));
    raw.propose("a").expect("a leader");
    let sent = flush(&mut raw);
    let to_two = sent.iter().find(|message| message.to == NodeId(2)).expect("an append");
    assert_eq!((to_two.log_term, to_two.index), (Term(2), Index(2)));
    assert_eq!((to_two.entries.len(), to_two.commit), (1, Index(2)));
}

#[test]
fn s5_3_a_majority_of_acknowledgements_commits() {
    for (size, acknowledging, is_committed) in
        [(1, 0, true), (3, 0, false), (3, 1, true), (5, 1, false), (5, 2, true)]
    {
        let mut raw = member_with(config_stub(NodeId(1)), cluster_of(size), &[1], 1);
        raw.campaign();
        flush(&mut raw);
        for voter in 2..=size {
            step(&mut raw, message(MessageKind::MsgVoteResp, voter, 2));
        }
        flush(&mut raw);
        for follower in 2..2 + acknowledging {
            step(&mut raw, acknowledge(follower, 2, Index(2)));
        }
        assert_eq!(raw.raft().committed() == Index(2), is_committed, "{acknowledging} of {size}");
    }
}

#[test]
fn s5_3_committing_an_entry_commits_those_before_it() {
    let mut raw = leader(&[1, 1, 1], 0);
    flush(&mut raw);
    step(&mut raw, acknowledge(3, 2, Index(4)));
    assert_eq!(raw.raft().committed(), Index(4));
}

#[test]
fn s5_3_a_follower_learns_the_commit_index() {
    for (commit, expected) in [(1, 1), (2, 2), (9, 3)] {
        let mut raw = member(&[1], 1);
        step(&mut raw, append(2, (1, 1), &[2, 2], commit));
        assert_eq!(raw.raft().committed(), Index(expected), "never beyond what was sent");
    }
}

#[test]
fn s5_3_a_follower_rejects_what_does_not_follow_its_log() {
    // Its log, the entry before what is sent, and the hint: term and index.
    let cases: [(&[u64], Id, Id); 4] = [
        (&[1, 1], (1, 5), (1, 2)),
        (&[1, 2, 2], (3, 3), (2, 3)),
        (&[1, 4, 4, 4], (3, 4), (1, 1)),
        (&[1, 1, 5], (2, 3), (1, 2)),
    ];
    for (log, previous, (hint_term, hint)) in cases {
        let mut raw = member(log, 1);
        let answers = step(&mut raw, append(9, previous, &[9], 9));
        assert!(answers[0].reject);
        assert_eq!(answers[0].index, Index(previous.1));
        assert_eq!((answers[0].log_term, answers[0].reject_hint), (Term(hint_term), Index(hint)));
        assert_eq!(terms_of(raw.storage()), log);
    }
}

#[test]
fn s5_3_a_follower_replaces_what_conflicts_and_only_that() {
    let cases: [(Id, &[u64], &[u64]); 5] = [
        ((2, 3), &[3], &[1, 2, 2, 3]),
        ((1, 1), &[3, 4], &[1, 3, 4]),
        ((1, 1), &[2], &[1, 2, 2]),
        ((1, 1), &[2, 2], &[1, 2, 2]),
        ((2, 2), &[3], &[1, 2, 3]),
    ];
    for (previous, sent, expected) in cases {
        let mut raw = member(&[1, 2, 2], 1);
        step(&mut raw, append(4, previous, sent, 0));
        assert_eq!(terms_of(raw.storage()), expected);
    }
}

/// Figure 7: whatever a follower's log looks like, the leader of term 8 makes it equal its own.
#[test]
fn s5_3_figure_7_every_log_is_brought_into_line() {
    let leaders = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for log in followers {
        let mut first = member(&leaders, 3);
        step(&mut first, append(7, (6, 10), &[], 0));
        first.campaign();
        flush(&mut first);
        let second_config = Config { id: NodeId(2), ..config_stub(NodeId(2)) };
        let mut second = member_with(second_config, cluster_of(3), log, 3);
        let mut messages = step(&mut first, message(MessageKind::MsgVoteResp, 3, 8));
        let mut rounds = 0;
        while !messages.is_empty() {
            rounds += 1;
            assert!(rounds < 20, "one probe for each term is enough");
            let mut answers = Vec::new();
            for message in messages.drain(..).filter(|message| message.to == NodeId(2)) {
                answers.extend(step(&mut second, message));
            }
            for answer in answers.into_iter().filter(|answer| answer.to == NodeId(1)) {
                messages.extend(step(&mut first, answer));
            }
        }
        assert_eq!(terms_of(second.storage()), terms_of(first.storage()), "{log:?}");
        assert_eq!(second.raft().committed(), Index(11));
    }
}

// §5.4: safety

#[test]
fn s5_4_1_only_a_log_that_holds_at_least_as_much_gets_a_vote() {
    let cases: [(&[u64], Id, bool); 8] = [
        (&[1], (1, 1), true),
        (&[1], (1, 2), true),
        (&[1, 1], (1, 1), false),
        (&[1], (2, 1), true),
        (&[1, 1], (2, 1), true),
        (&[2], (1, 1), false),
        (&[2], (1, 9), false),
        (&[1, 2], (1, 9), false),
    ];
    for (log, (log_term, index), is_granted) in cases {
        let mut raw = member(log, 0);
        let answers = step(&mut raw, vote_request(2, 5, log_term, index));
        assert_eq!(answers[0].reject, !is_granted, "{log:?} against {index} of {log_term}");
    }
}

#[test]
fn s5_4_1_a_request_carries_the_end_of_the_log() {
    let mut raw = member(&[1, 2, 2], 1);
    raw.campaign();
    for request in flush(&mut raw) {
        assert_eq!(request.kind, MessageKind::MsgVote);
        assert_eq!((request.log_term, request.index), (Term(2), Index(3)));
    }
}

/// Figure 8: an entry of an older term is not committed by counting, however many have it.
#[test]
fn s5_4_2_figure_8_only_entries_of_the_own_term_are_committed_by_counting() {
    let mut raw = leader(&[1, 2], 0);
    flush(&mut raw);
    for follower in [2, 3] {
        step(&mut raw, acknowledge(follower, 3, Index(2)));
    }
    assert_eq!(raw.raft().committed(), Index(0), "all have it, but it is of term 2");
    step(&mut raw, acknowledge(2, 3, Index(3)));
    assert_eq!(raw.raft().committed(), Index(3));
}

#[test]
fn s5_4_3_what_is_not_durable_does_not_count() {
    let config = Config { async_storage_writes: true, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config, cluster_of(1), &[1], 1);
    raw.campaign();
    let ready = raw.ready();
    assert_eq!(raw.raft().role(), Role::Candidate, "its own vote is not durable yet");
    let write = ready.messages.into_iter().next().expect("a write");
    assert_eq!(write.to, NodeId::APPEND_THREAD);
    for response in write.responses {
        raw.step(response).expect("a response");
    }
    assert_eq!(raw.raft().role(), Role::Leader);
    let write = raw.ready().messages.into_iter().next().expect("a write");
    assert_eq!(raw.raft().committed(), Index(1), "its own entry is not durable yet");
    raw.storage_mut().append(&write.entries);
    for response in write.responses {
        raw.step(response).expect("a response");
    }
    assert_eq!(raw.raft().committed(), Index(2));
}

/// The storage work of a member with asynchronous storage, after it took in `message`.
fn write_after(raw: &mut RawNode<MemoryStorage>, message: Message) -> Message {
    raw.step(message).expect("a message that is taken in");
    let messages = raw.ready().messages;
    messages.into_iter().find(|sent| sent.to == NodeId::APPEND_THREAD).expect("a write")
}

fn indexes_and_terms(entries: &[Entry]) -> Vec<(u64, u64)> {
    entries.iter().map(|entry| (entry.index.0, entry.term.0)).collect()
}

/// An entry is replaced and comes back while the first write of it is confirmed: the replacement
/// is still to be written in between, so the log in memory must not be given up for storage's.
#[test]
fn s5_4_3_a_confirmation_of_an_older_term_does_not_count() {
    let config = Config { async_storage_writes: true, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config, cluster_of(3), &[1], 1);
    let first = write_after(&mut raw, append(2, (1, 1), &[2], 0));
    let second = write_after(&mut raw, append(3, (1, 1), &[3], 0));
    let third = write_after(&mut raw, append(4, (1, 1), &[2], 0));
    for write in [first, second] {
        raw.storage_mut().append(&write.entries);
        let own = write.responses.into_iter().filter(|response| response.to == NodeId(1));
        own.for_each(|response| raw.step(response).expect("a confirmation"));
    }
    assert_eq!(terms_of(raw.storage()), [1, 3], "the third write has not happened yet");
    let fourth = write_after(&mut raw, append(4, (2, 2), &[4], 0));
    let answer = fourth.responses.iter().find(|sent| sent.to == NodeId(2)).expect("an answer");
    assert!(!answer.reject, "the log has entry 2 of term 2");
    for write in [third, fourth] {
        raw.storage_mut().append(&write.entries);
    }
    assert_eq!(terms_of(raw.storage()), [1, 2, 4]);
}

#[test]
fn s5_4_3_what_is_replaced_while_it_is_written_is_written_again() {
    let config = Config { async_storage_writes: true, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config, cluster_of(3), &[1], 1);
    let first = write_after(&mut raw, append(2, (1, 1), &[2, 2, 2], 0));
    assert_eq!(indexes_and_terms(&first.entries), [(2, 2), (3, 2), (4, 2)]);
    let second = write_after(&mut raw, append(3, (2, 2), &[3, 3], 0));
    assert_eq!(indexes_and_terms(&second.entries), [(3, 3), (4, 3)]);
}

// §6 and thesis 4: membership

#[test]
fn s6_one_change_at_a_time() {
    let mut raw = leader(&[1], 1);
    flush(&mut raw);
    step(&mut raw, acknowledge(2, 2, Index(2)));
    let add = |id| ConfChange {
        kind: ConfChangeKind::AddNode,
        node_id: NodeId(id),
        ..ConfChange::default()
    };
    raw.propose_conf_change(add(4)).expect("a leader");
    raw.propose_conf_change(add(5)).expect("a leader");
    flush(&mut raw);
    let entries = raw.storage().entries(Index(3), Index(5), u64::MAX).expect("both");
    assert_eq!(entries[0].data, add(4).encode());
    assert_eq!(entries[1], Entry { term: Term(2), index: Index(4), ..Entry::default() });
}

#[test]
fn s6_a_new_leader_takes_no_change_before_it_has_applied_its_log() {
    let mut raw = leader(&[1, 1], 1);
    let remove = ConfChange {
        kind: ConfChangeKind::RemoveNode,
        node_id: NodeId(3),
        ..ConfChange::default()
    };
    raw.propose_conf_change(remove).expect("a leader");
    flush(&mut raw);
    let entries = raw.storage().entries(Index(4), Index(5), u64::MAX).expect("an entry");
    assert!(entries[0].data.is_empty(), "there may be a change in entry 2");
}

#[test]
fn s6_who_has_not_applied_a_committed_change_does_not_campaign() {
    let change =
        ConfChange { kind: ConfChangeKind::AddNode, node_id: NodeId(4), ..ConfChange::default() };
    let mut storage = MemoryStorage::with_conf_state(cluster_of(3));
    let entry = AnyConfChange::V1(change.clone()).to_entry();
    storage.append(&[Entry { term: Term(1), index: Index(1), ..entry }]);
    let state = HardState { term: Term(1), vote: NodeId::NONE, commit: Index(1) };
    storage.set_hard_state(state);
    let mut raw = RawNode::new(config_stub(NodeId(1)), storage).expect("a valid setup");
    raw.campaign();
    assert_eq!(raw.raft().role(), Role::Follower);
    let ready = raw.ready();
    assert_eq!(ready.committed_entries.len(), 1);
    raw.apply_conf_change(&change.into_v2()).expect("it applies");
    raw.advance(ready);
    raw.campaign();
    assert_eq!(flush(&mut raw).len(), 3, "the new member is asked too");
}

#[test]
fn t4_2_1_a_learner_does_not_count() {
    let learners = ConfState::new(vec![NodeId(1), NodeId(2)], vec![NodeId(3)]);
    let mut raw = member_with(config_stub(NodeId(1)), learners, &[1], 1);
    raw.campaign();
    flush(&mut raw);
    step(&mut raw, message(MessageKind::MsgVoteResp, 3, 2));
    assert_eq!(raw.raft().role(), Role::Candidate);
    step(&mut raw, message(MessageKind::MsgVoteResp, 2, 2));
    assert_eq!(raw.raft().role(), Role::Leader);
    flush(&mut raw);
    step(&mut raw, acknowledge(3, 2, Index(2)));
    assert_eq!(raw.raft().committed(), Index(1));
    step(&mut raw, acknowledge(2, 2, Index(2)));
    assert_eq!(raw.raft().committed(), Index(2));
}

#[test]
fn t4_2_1_a_learner_does_not_campaign() {
    let learners = ConfState::new(vec![NodeId(2)], vec![NodeId(1)]);
    let mut raw = member_with(config_stub(NodeId(1)), learners, &[1], 1);
    (0..100).for_each(|_| raw.tick());
    raw.campaign();
    step(&mut raw, message(MessageKind::MsgTimeoutNow, 2, 1));
    assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Follower, Term(1)));
}

#[test]
fn t4_2_3_who_hears_a_leader_ignores_candidates() {
    let config = Config { check_quorum: true, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config, cluster_of(3), &[1], 1);
    step(&mut raw, append(2, (1, 1), &[], 0));
    assert!(step(&mut raw, vote_request(3, 7, 2, 9)).is_empty());
    assert_eq!(raw.raft().term(), Term(2));
    // The leader asked it to campaign: that is something else.
    let mut forced = vote_request(3, 7, 2, 9);
    forced.context = Bytes::from_static(b"CampaignTransfer");
    assert!(!step(&mut raw, forced)[0].reject);
}

#[test]
fn t4_3_a_joint_configuration_needs_both_majorities() {
    let joint = ConfState {
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        voters_outgoing: vec![NodeId(1), NodeId(4), NodeId(5)],
        ..ConfState::default()
    };
    let mut raw = member_with(config_stub(NodeId(1)), joint, &[1], 1);
    raw.campaign();
    assert_eq!(flush(&mut raw).len(), 4, "both halves are asked");
    step(&mut raw, message(MessageKind::MsgVoteResp, 2, 2));
    step(&mut raw, message(MessageKind::MsgVoteResp, 3, 2));
    assert_eq!(raw.raft().role(), Role::Candidate);
    step(&mut raw, message(MessageKind::MsgVoteResp, 4, 2));
    assert_eq!(raw.raft().role(), Role::Leader);
    flush(&mut raw);
    for follower in [2, 3] {
        step(&mut raw, acknowledge(follower, 2, Index(2)));
    }
    assert_eq!(raw.raft().committed(), Index(1));
    step(&mut raw, acknowledge(5, 2, Index(2)));
    assert_eq!(raw.raft().committed(), Index(2));
}

// Thesis 3.10: transfers

#[test]
fn t3_10_a_transfer_waits_until_the_log_is_there() {
    let mut raw = leader(&[1], 1);
    flush(&mut raw);
    raw.transfer_leadership(NodeId(3));
    assert!(flush(&mut raw).iter().all(|sent| sent.kind != MessageKind::MsgTimeoutNow));
    let sent = step(&mut raw, acknowledge(3, 2, Index(2)));
    let told: Vec<u64> = sent
        .iter()
        .filter(|sent| sent.kind == MessageKind::MsgTimeoutNow)
        .map(|sent| sent.to.0)
        .collect();
    assert_eq!(told, [3]);
}

// Thesis 6.4: reads

#[test]
fn t6_4_a_read_waits_for_a_commit_in_the_term_and_a_quorum_after_it() {
    let mut raw = leader(&[1, 1], 1);
    flush(&mut raw);
    raw.read_index("r").expect("room");
    assert!(flush(&mut raw).is_empty(), "nothing is committed in this term");
    raw.step(acknowledge(2, 2, Index(3))).expect("an acknowledgement");
    let sent = flush(&mut raw);
    let heartbeat = sent.iter().find(|sent| sent.kind == MessageKind::MsgHeartbeat);
    let mut answer = message(MessageKind::MsgHeartbeatResp, 3, 2);
    answer.context = heartbeat.expect("a round").context.clone();
    raw.step(answer).expect("an answer");
    let ready = raw.ready();
    assert_eq!(ready.read_states.len(), 1);
    assert_eq!(ready.read_states[0].index, Index(3));
}

// Thesis 9.6: pre-vote

#[test]
fn t9_6_asking_changes_no_term() {
    let config = Config { pre_vote: true, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config.clone(), cluster_of(3), &[1], 1);
    raw.campaign();
    let asked = flush(&mut raw);
    assert!(asked.iter().all(|sent| sent.kind == MessageKind::MsgPreVote && sent.term == Term(2)));
    assert_eq!((raw.raft().role(), raw.raft().term()), (Role::PreCandidate, Term(1)));
    step(&mut raw, message(MessageKind::MsgPreVoteResp, 2, 2));
    assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Candidate, Term(2)));

    let mut other = member_with(config, cluster_of(3), &[1], 1);
    let mut request = vote_request(2, 2, 1, 1);
    request.kind = MessageKind::MsgPreVote;
    let answers = step(&mut other, request.clone());
    assert!(!answers[0].reject && answers[0].term == Term(2));
    assert_eq!((other.raft().term(), other.storage().hard_state().vote), (Term(1), NodeId::NONE));
    // To say yes to one binds nobody.
    request.from = NodeId(3);
    assert!(!step(&mut other, request)[0].reject);
}

#[test]
fn t9_6_a_refusal_in_a_newer_term_ends_the_attempt() {
    let config = Config { pre_vote: true, ..config_stub(NodeId(1)) };
    let mut raw = member_with(config, cluster_of(3), &[1], 1);
    raw.campaign();
    flush(&mut raw);
    let mut refusal = message(MessageKind::MsgPreVoteResp, 2, 6);
    refusal.reject = true;
    step(&mut raw, refusal);
    assert_eq!((raw.raft().role(), raw.raft().term()), (Role::Follower, Term(6)));
}
