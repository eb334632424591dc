//! What a member starts with.

use quorate_raft::{Entry, Index, MessageKind, NodeId, Term};
use quorate_replica::{Boot, BootError, Config, Effect, Event, Replica, Time};

use crate::cluster::{boot, config, learner, voter};

fn entry(index: u64, term: u64) -> Entry {
    Entry { index: Index(index), term: Term(term), ..Entry::default() }
}

fn start(boot: Boot) -> Result<Replica, BootError> {
    Replica::new(config(1), boot, Time(0))
}

fn three() -> Boot {
    boot(&[voter(1), voter(2), voter(3)])
}

#[test]
fn entries_between_store_and_log_that_are_nowhere_are_refused() {
    let found = start(Boot { log_start: (5, 1), ..three() }).err();
    assert_eq!(found, Some(BootError::Gap { checkpoint: 1, log_start: 5 }));
    assert!(start(Boot { log_start: (1, 1), ..three() }).is_ok());
}

#[test]
fn entries_that_do_not_follow_each_other_are_refused() {
    let entries = vec![entry(2, 1), entry(4, 1)];
    let found = start(Boot { entries, ..three() }).err();
    assert_eq!(found, Some(BootError::Order { expected: 3, found: 4 }));
    let entries = vec![entry(3, 1)];
    let found = start(Boot { entries, ..three() }).err();
    assert_eq!(found, Some(BootError::Order { expected: 2, found: 3 }));
}

#[test]
fn what_raft_cannot_start_with_is_refused() {
    let mut config = config(1);
    config.member = NodeId::NONE;
    let found = Replica::new(config, three(), Time(0)).err();
    assert!(matches!(found, Some(BootError::Raft(_))), "{found:?}");
}

#[test]
fn a_commit_that_was_not_synced_is_what_the_store_applied() {
    let mut boot = three();
    boot.entries = vec![entry(2, 1), entry(3, 1), entry(4, 1)];
    boot.checkpoint.index = 3;
    boot.hard_state.commit = Index(1);
    let standing = start(boot.clone()).unwrap().standing();
    assert_eq!((standing.commit, standing.applied, standing.last_index), (3, 3, 4));
    // And never beyond the log.
    boot.hard_state.commit = Index(90);
    assert_eq!(start(boot).unwrap().standing().commit, 4);
}

#[test]
fn a_store_ahead_of_its_log_is_where_the_log_goes_on() {
    let mut boot = three();
    boot.entries = vec![entry(2, 1)];
    boot.checkpoint.index = 40;
    boot.checkpoint.term = 6;
    let standing = start(boot).unwrap().standing();
    assert_eq!((standing.first_index, standing.last_index, standing.commit), (41, 40, 40));
    assert_eq!(standing.term, 6);
}

/// Ticks until the member asks for votes.
fn ticks_to_election(config: Config, boot: Boot) -> Option<u32> {
    let mut replica = Replica::new(config, boot, Time(0)).unwrap();
    (0..100).find(|tick| {
        if *tick > 0 {
            replica.on(Time(0), Event::Tick);
        }
        let mut effects = Vec::new();
        replica.effects(&mut effects);
        let asks = |effect: &Effect| match effect {
            Effect::Send { message, .. } => message.kind == MessageKind::MsgPreVote,
            Effect::Persist(batch) => batch.hard_state.is_some_and(|state| state.vote == NodeId(1)),
            _ => false,
        };
        effects.iter().any(asks)
    })
}

#[test]
fn who_votes_alone_waits_for_nobody() {
    for advance_first_election in [false, true] {
        let config = Config { advance_first_election, ..config(1) };
        assert_eq!(ticks_to_election(config, boot(&[voter(1), learner(2)])), Some(0));
    }
}

#[test]
fn the_first_election_timeout_can_be_a_short_one() {
    for seed in 1..50 {
        let with = |advance_first_election| Config { advance_first_election, seed, ..config(1) };
        let whole = ticks_to_election(with(false), three()).unwrap();
        let short = ticks_to_election(with(true), three()).unwrap();
        assert!((10..20).contains(&whole) && short == whole - 7, "{whole} and {short}");
    }
}
