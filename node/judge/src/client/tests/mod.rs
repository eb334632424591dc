//! Clients against an etcd that is right, and against some that are not.

mod coverage;
mod server;

use crate::check::{Rule, clients};
use server::{Flaw, Server};
use std::collections::BTreeSet;

const SECONDS: u64 = 12;
const SEEDS: u64 = 20;

#[test]
fn what_clients_see_of_a_correct_server_passes_all_checks_and_is_of_every_kind() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut server = Server::new(seed, Flaw::None);
        let circumstances = server.run(SECONDS);
        let asked = server.history.operations().len();
        assert!((50..3_000).contains(&asked), "seed {seed} asked {asked} times");
        if let Err(violation) = clients(&server.history, &circumstances) {
            panic!("seed {seed}: {violation}");
        }
        coverage::collect(&server.history, &mut seen);
    }
    let missing: Vec<&str> =
        coverage::WANTED.iter().copied().filter(|label| !seen.contains(label)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {seen:?}");
}

#[test]
fn equal_seeds_give_equal_actions() {
    let run = |seed| {
        let mut server = Server::new(seed, Flaw::None);
        server.run(SECONDS);
        server.actions
    };
    assert!(run(3) == run(3));
    assert!(run(3) != run(4));
}

#[test]
fn clients_find_what_is_wrong() {
    for flaw in [Flaw::Forgets, Flaw::ReadsStale, Flaw::SkipsOnResume, Flaw::LeasesStay] {
        let mut found: Vec<Rule> = Vec::new();
        for seed in 0..16 {
            let mut server = Server::new(seed, flaw);
            let circumstances = server.run(SECONDS);
            found.extend(clients(&server.history, &circumstances).err().map(|it| it.rule));
        }
        assert!(found.len() >= 8, "{flaw:?}: {found:?}");
    }
}

#[test]
fn values_and_lease_ids_are_used_once() {
    let mut server = Server::new(11, Flaw::None);
    server.run(SECONDS);
    let mut leases = BTreeSet::new();
    let mut values = BTreeSet::new();
    for operation in server.history.operations() {
        match &operation.request {
            crate::history::Request::LeaseGrant { id, .. } if *id != 0 => {
                assert!(leases.insert(*id), "{operation}");
            }
            crate::history::Request::Put(put) if !put.ignore_value => {
                assert!(values.insert(put.value.clone()), "{operation}");
            }
            _ => {}
        }
    }
    assert!(!leases.is_empty() && values.len() > 20);
}
