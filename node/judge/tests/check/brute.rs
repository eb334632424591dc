//! The check of order against a search through all orders, on histories small enough for it.

use crate::generate::{Profile, generate};
use judge::check::linearizable::{self, Witness};
use judge::history::{Body, History, Operation, Outcome};
use judge::model::Model;
use judge::random::Random;

/// Whether some order of everything that happened, and of any of what may have, explains all
/// answers.
fn has_an_order(history: &History) -> bool {
    let operations: Vec<&Operation> = history
        .operations()
        .iter()
        .filter(|operation| match operation.outcome {
            Outcome::Ok(_) => true,
            Outcome::Unknown => operation.request.may_write(),
            Outcome::Refused(_) | Outcome::NotApplied => false,
        })
        .collect();
    extend(&operations, &mut vec![false; operations.len()], &Model::without_lease_checks())
}

fn extend(operations: &[&Operation], placed: &mut [bool], model: &Model) -> bool {
    let is_open =
        |index: usize, placed: &[bool]| !placed[index] && operations[index].response().is_some();
    if !(0..operations.len()).any(|index| is_open(index, placed)) {
        return true;
    }
    for index in 0..operations.len() {
        let operation = operations[index];
        let too_early = (0..operations.len()).any(|other| {
            is_open(other, placed)
                && operations[other].returned.is_some_and(|before| before < operation.invoked)
        });
        if placed[index] || too_early {
            continue;
        }
        let mut next = model.clone();
        let Ok(done) = next.apply(&operation.request) else { continue };
        if operation.response().is_some_and(|response| *response != done.response) {
            continue;
        }
        placed[index] = true;
        if extend(operations, placed, &next) {
            return true;
        }
        placed[index] = false;
    }
    false
}

#[test]
fn agrees_with_all_orders() {
    let profile =
        Profile { operations: 9, clients: 4, keys: 2, unknown: 30, watchers: 0, leases: false };
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..1500 {
        let mut run = generate(seed, profile);
        for operation in run.history.operations_mut() {
            // Serializable reads and old revisions have no place in a plain order.
            let is_plain = match &operation.request {
                judge::history::Request::Range(range) => {
                    range.revision == 0 && !operation.request.is_serializable()
                }
                judge::history::Request::Compact { .. } => false,
                _ => true,
            };
            if !is_plain {
                operation.outcome = Outcome::NotApplied;
            }
        }
        let mut random = Random::new(seed);
        if seed % 3 > 0 {
            disturb(&mut run.history, &mut random);
        }
        let found = linearizable::check(&run.history, &Witness::new());
        let exists = has_an_order(&run.history);
        assert_eq!(found.is_ok(), exists, "seed {seed}: {found:?}\n{:#?}", run.history);
        if exists { right += 1 } else { wrong += 1 }
    }
    println!("{right} histories with an order, {wrong} without");
    assert!(right > 300 && wrong > 300, "{right} {wrong}");
}

/// Changes something small, which may or may not be a lie.
fn disturb(history: &mut History, random: &mut Random) {
    let operations = history.operations_mut();
    let index = random.index(operations.len());
    let draw = random.below(5);
    let other = operations[random.index(operations.len())].outcome.clone();
    let operation = &mut operations[index];
    let same_kind = match (&operation.outcome, &other) {
        (Outcome::Ok(one), Outcome::Ok(two)) => {
            std::mem::discriminant(&one.body) == std::mem::discriminant(&two.body)
        }
        _ => false,
    };
    match (&mut operation.outcome, draw) {
        (outcome, 0) => *outcome = Outcome::Unknown,
        (outcome, 1) if same_kind => *outcome = other,
        (Outcome::Ok(response), 2) => response.revision += random.range(0..3) as i64 - 1,
        (Outcome::Ok(_), 3) => {
            let later = judge::history::Time(random.below(20_000_000));
            operation.invoked = operation.invoked.plus(later);
            operation.returned = operation.returned.map(|returned| returned.plus(later));
        }
        (Outcome::Ok(response), _) => match &mut response.body {
            Body::Range(range) => range.count += 1,
            Body::Put { prev_kv } => *prev_kv = None,
            Body::Txn { succeeded, .. } => *succeeded = !*succeeded,
            _ => response.revision += 1,
        },
        (outcome, _) => *outcome = Outcome::NotApplied,
    }
}
