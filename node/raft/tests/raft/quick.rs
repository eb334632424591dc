//! Quick checks: quorums against slow references, and joint changes against chains of simple ones.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_raft::membership::{Changer, restore};
use quorate_raft::quorum::{JointConfig, MajorityConfig, VoteResult};
use quorate_raft::{
    AutoLeave, ConfChangeKind, ConfChangeSingle, Entry, Index, Inflights, NodeId, Term, Tracker,
};

fn any_majority() -> impl Strategy<Value = MajorityConfig> {
    prop::collection::btree_set(1..12u64, 0..9)
        .prop_map(|ids| MajorityConfig(ids.into_iter().map(NodeId).collect()))
}

fn any_joint() -> impl Strategy<Value = JointConfig> {
    (any_majority(), any_majority())
        .prop_map(|(incoming, outgoing)| JointConfig { incoming, outgoing })
}

/// The committed index as its definition has it: the highest number that more than half reached.
fn slow_committed(config: &MajorityConfig, acked: &BTreeMap<u64, u64>) -> u64 {
    if config.0.is_empty() {
        return u64::MAX;
    }
    let reached = |id: NodeId| acked.get(&id.0).copied().unwrap_or(0);
    let candidates: BTreeSet<u64> = config.0.iter().map(reached).chain([0]).collect();
    let by_majority = |index: &u64| {
        config.0.iter().filter(|id| reached(*id) >= *index).count() * 2 > config.0.len()
    };
    candidates.into_iter().filter(by_majority).max().unwrap_or(0)
}

/// The result of a vote by trying both extremes for those who have not voted.
fn slow_vote(config: &JointConfig, votes: &BTreeMap<u64, bool>) -> VoteResult {
    let wins_if_rest = |rest: bool| {
        [&config.incoming, &config.outgoing].into_iter().all(|half| {
            let yes = |id: &NodeId| votes.get(&id.0).copied().unwrap_or(rest);
            half.0.is_empty() || half.0.iter().filter(yes).count() * 2 > half.0.len()
        })
    };
    match (wins_if_rest(false), wins_if_rest(true)) {
        (true, _) => VoteResult::Won,
        (false, true) => VoteResult::Pending,
        (false, false) => VoteResult::Lost,
    }
}

proptest! {
    #[test]
    fn committed_index_is_what_a_majority_reached(
        config in any_joint(),
        acked in prop::collection::btree_map(1..12u64, 0..20u64, 0..12),
    ) {
        let lookup = |id: NodeId| acked.get(&id.0).copied().map(Index);
        let slow = [&config.incoming, &config.outgoing].map(|half| slow_committed(half, &acked));
        prop_assert_eq!(config.incoming.committed_index(lookup).0, slow[0]);
        prop_assert_eq!(config.committed_index(lookup).0, slow[0].min(slow[1]));
    }

    #[test]
    fn a_vote_is_decided_when_no_vote_can_change_it(
        config in any_joint(),
        votes in prop::collection::btree_map(1..12u64, any::<bool>(), 0..12),
    ) {
        let lookup = |id: NodeId| votes.get(&id.0).copied();
        prop_assert_eq!(config.vote_result(lookup), slow_vote(&config, &votes));
    }

    #[test]
    fn a_window_counts_what_is_in_flight(
        operations in prop::collection::vec((any::<bool>(), 1..5u64, 0..50u64), 1..60),
    ) {
        let mut window = Inflights::new(4, 100);
        let mut slow: Vec<(u64, u64)> = Vec::new();
        let mut next = 0;
        for (is_add, step, bytes) in operations {
            let is_full = slow.len() >= 4 || slow.iter().map(|(_, b)| b).sum::<u64>() >= 100;
            prop_assert_eq!(window.is_full(), is_full);
            if is_add && !is_full {
                next += step;
                window.add(Index(next), bytes);
                slow.push((next, bytes));
            } else if !is_add {
                let acked = next.saturating_sub(step);
                window.free_to(Index(acked));
                slow.retain(|(last, _)| *last > acked);
            }
            prop_assert_eq!(window.len(), slow.len());
            prop_assert_eq!(window.bytes(), slow.iter().map(|(_, b)| b).sum::<u64>());
        }
    }
}

fn any_changes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<ConfChangeSingle>> {
    let kind = prop_oneof![
        Just(ConfChangeKind::AddNode),
        Just(ConfChangeKind::RemoveNode),
        Just(ConfChangeKind::UpdateNode),
        Just(ConfChangeKind::AddLearnerNode),
    ];
    let change =
        (kind, 1..8u64).prop_map(|(kind, id)| ConfChangeSingle { kind, node_id: NodeId(id) });
    prop::collection::vec(change, count)
}

/// A tracker with a voter 1 and whatever else `setup` leads to.
fn start(setup: &[ConfChangeSingle]) -> Tracker {
    let mut tracker = Tracker::new(10, 0);
    let first = ConfChangeSingle { kind: ConfChangeKind::AddNode, node_id: NodeId(1) };
    for change in std::iter::once(&first).chain(setup) {
        let changer = Changer { tracker: &tracker, last_index: Index(1) };
        if let Ok((configuration, progress)) = changer.simple(std::slice::from_ref(change)) {
            tracker.configuration = configuration;
            tracker.progress = progress;
        }
    }
    tracker
}

proptest! {
    /// To enter and leave a joint configuration leads where the same changes lead one by one.
    #[test]
    fn a_joint_change_equals_its_simple_changes(
        setup in any_changes(0..8),
        changes in any_changes(1..8),
        auto_leave in any::<bool>(),
    ) {
        let mut simple = start(&setup);
        let joint = simple.clone();
        let mut is_possible = true;
        for change in &changes {
            let changer = Changer { tracker: &simple, last_index: Index(10) };
            match changer.simple(std::slice::from_ref(change)) {
                Ok(changed) => (simple.configuration, simple.progress) = changed,
                Err(_) => is_possible = false,
            }
        }
        // A voter that is removed and added again keeps its progress in a joint change, and does
        // not in two simple ones: what is compared is the configuration.
        prop_assume!(is_possible);
        let auto_leave = if auto_leave { AutoLeave::Yes } else { AutoLeave::No };
        let changer = Changer { tracker: &joint, last_index: Index(10) };
        let mut entered = joint.clone();
        (entered.configuration, entered.progress) =
            changer.enter_joint(auto_leave, &changes).expect("possible one by one");
        prop_assert!(entered.configuration.voters.is_joint());
        prop_assert_eq!(
            &entered.configuration.voters.outgoing,
            &joint.configuration.voters.incoming
        );
        let again = Changer { tracker: &entered, last_index: Index(10) };
        prop_assert!(again.enter_joint(auto_leave, &changes).is_err());
        prop_assert!(again.simple(&changes).is_err());
        let (left, progress) = again.leave_joint().expect("it is joint");
        prop_assert_eq!(left, simple.configuration);
        let tracked: Vec<NodeId> = progress.iter().map(|(id, _)| id).collect();
        let expected: Vec<NodeId> = simple.progress.iter().map(|(id, _)| id).collect();
        prop_assert_eq!(tracked, expected);
    }

    /// Whatever configuration changes lead to comes back from its stored form.
    #[test]
    fn a_stored_configuration_is_restored(
        setup in any_changes(0..10),
        changes in any_changes(0..6),
        auto_leave in any::<bool>(),
    ) {
        let mut tracker = start(&setup);
        let auto_leave = if auto_leave { AutoLeave::Yes } else { AutoLeave::No };
        let changer = Changer { tracker: &tracker, last_index: Index(10) };
        if let Ok(changed) = changer.enter_joint(auto_leave, &changes) {
            (tracker.configuration, tracker.progress) = changed;
        }
        let stored = tracker.conf_state();
        let (configuration, progress) =
            restore(&Tracker::new(10, 0), Index(10), &stored).expect("a legal configuration");
        prop_assert_eq!(configuration, tracker.configuration);
        prop_assert_eq!(progress.len(), tracker.progress.len());
    }

    /// A majority of the old configuration and one of the new one always share a voter, for each
    /// change that is allowed without a joint configuration.
    #[test]
    fn majorities_before_and_after_a_simple_change_overlap(
        setup in any_changes(0..10),
        changes in any_changes(1..4),
    ) {
        let tracker = start(&setup);
        let changer = Changer { tracker: &tracker, last_index: Index(10) };
        if let Ok((configuration, _)) = changer.simple(&changes) {
            let before = &tracker.configuration.voters.incoming.0;
            let after = &configuration.voters.incoming.0;
            let both = before.iter().filter(|id| after.contains(*id)).count();
            let all = before.len() + after.len() - both;
            prop_assert!(before.len() / 2 + 1 + after.len() / 2 + 1 > all);
        }
    }
}

/// `Entry{Term: 300, Index: 7, Data: "abc"}` has ten bytes in etcd's own library.
#[test]
fn an_entry_is_as_large_as_raftpb_makes_it() {
    let entry = Entry { term: Term(300), index: Index(7), ..Entry::normal("abc") };
    assert_eq!(entry.size(), 10);
    assert_eq!(Entry { data: bytes::Bytes::new(), ..entry }.size(), 5);
}
