//! Histories of a correct etcd pass; the same histories with one lie in them do not.

use crate::generate::{Log, Profile, Run, generate, judge};
use judge::check::linearizable::{self, Witness};
use judge::history::{Body, Event, EventKind, Outcome, Request, WatchMessage};
use judge::random::Random;
use std::time::Instant;

#[test]
fn correct_histories_pass() {
    for seed in 0..150 {
        let run = generate(seed, Profile::SMALL);
        for log in [Log::Shown, Log::Hidden] {
            if let Err(violation) = judge(&run, log) {
                panic!("seed {seed}, log {log:?}: {violation}");
            }
        }
    }
}

#[test]
fn without_watchers_too() {
    let profile = Profile { watchers: 0, unknown: 4, ..Profile::SMALL };
    for seed in 0..60 {
        let run = generate(seed, profile);
        for log in [Log::Shown, Log::Hidden] {
            if let Err(violation) = judge(&run, log) {
                panic!("seed {seed}, log {log:?}: {violation}");
            }
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn ten_thousand_operations_take_less_than_a_second() {
    let profile =
        Profile { operations: 10_000, clients: 8, keys: 50, watchers: 10, ..Profile::SMALL };
    let run = generate(1, profile);
    let began = Instant::now();
    judge(&run, Log::Hidden).expect("a correct history");
    let bare = linearizable::check(&run.history, &run.last.changes).expect("with a witness too");
    assert!(bare.revision() > 3000, "{}", bare.revision());
    let took = began.elapsed();
    println!("10,000 operations, {} revisions: {took:?}", bare.revision());
    assert!(took.as_millis() < 4000, "{took:?}");
}

/// Lies that clients can see. Each says whether it found something to lie about.
type Lie = fn(&mut Run, &mut Random) -> bool;

const LIES: &[(&str, Lie)] = &[
    ("a read shows another value", |run, random| {
        lie_in_answer(run, random, |body| match body {
            Body::Range(range) => match range.kvs.first_mut() {
                Some(kv) if !kv.value.is_empty() => {
                    kv.value = "lie".into();
                    true
                }
                _ => false,
            },
            _ => false,
        })
    }),
    ("a read leaves out a key", |run, random| {
        lie_in_answer(run, random, |body| match body {
            Body::Range(range) => range.kvs.pop().is_some(),
            _ => false,
        })
    }),
    ("a count is one too high", |run, random| {
        lie_in_answer(run, random, |body| match body {
            Body::Range(range) => {
                range.count += 1;
                true
            }
            _ => false,
        })
    }),
    ("a deletion tells another number", |run, random| {
        lie_in_answer(run, random, |body| match body {
            Body::DeleteRange { deleted, .. } if *deleted > 0 => {
                *deleted += 1;
                true
            }
            _ => false,
        })
    }),
    ("a transaction takes the other branch", |run, random| {
        lie_in_answer(run, random, |body| match body {
            Body::Txn { succeeded, .. } => {
                *succeeded = !*succeeded;
                true
            }
            _ => false,
        })
    }),
    ("an acknowledged write never happened", |run, random| {
        let operations = run.history.operations_mut();
        let start = random.index(operations.len());
        let mut writes = operations[start..].iter_mut().filter(|operation| {
            // Another request without answer may make the same deletion, but no other value.
            matches!(operation.request, Request::Put(_)) && operation.response().is_some()
        });
        writes.next().map(|operation| operation.outcome = Outcome::NotApplied).is_some()
    }),
    ("an answer goes back in time", |run, random| {
        let operations = run.history.operations_mut();
        let start = random.index(operations.len());
        for operation in &mut operations[start..] {
            let writes = operation.request.may_write();
            if let Outcome::Ok(answer) = &mut operation.outcome
                && writes
                && answer.revision > 12
            {
                answer.revision -= 10;
                return true;
            }
        }
        false
    }),
    ("an event is dropped", |run, random| {
        lie_in_events(run, random, |events| {
            events.pop();
            true
        })
    }),
    ("an event comes twice", |run, random| {
        lie_in_events(run, random, |events| {
            let first = events[0].clone();
            events.insert(0, first);
            true
        })
    }),
    ("events change places", |run, random| {
        lie_in_events(run, random, |events| {
            let last = events.len() - 1;
            events.swap(0, last);
            last > 0
        })
    }),
    ("an event shows another value", |run, random| {
        lie_in_events(run, random, |events| match &mut events[0].kind {
            EventKind::Put(kv) => {
                kv.value = "lie".into();
                true
            }
            EventKind::Delete => false,
        })
    }),
    ("an event shows a wrong predecessor", |run, random| {
        lie_in_events(run, random, |events| match &mut events[0].prev_kv {
            Some(kv) => {
                kv.value = "lie".into();
                true
            }
            None => false,
        })
    }),
    ("an event claims to create", |run, random| {
        lie_in_events(run, random, |events| match &mut events[0].kind {
            EventKind::Put(kv) if kv.create_revision < kv.mod_revision => {
                kv.create_revision = kv.mod_revision;
                true
            }
            EventKind::Put(_) | EventKind::Delete => false,
        })
    }),
    ("a whole response is sent again", |run, random| {
        let streams = run.history.streams_mut();
        if streams.is_empty() {
            return false;
        }
        let stream = random.index(streams.len());
        let messages = &mut streams[stream].messages;
        let position =
            messages.iter().position(|(_, message)| matches!(message, WatchMessage::Events { .. }));
        position.is_some_and(|position| {
            let copy = messages[position].clone();
            messages.push(copy);
            true
        })
    }),
    ("progress runs ahead", |run, random| {
        let streams = run.history.streams_mut();
        if streams.is_empty() {
            return false;
        }
        let stream = random.index(streams.len());
        let messages = &mut streams[stream].messages;
        let position =
            messages.iter().position(|(_, message)| matches!(message, WatchMessage::Events { .. }));
        position.is_some_and(|position| {
            let (time, WatchMessage::Events { events, .. }) = &messages[position] else {
                return false;
            };
            let revision = events.last().expect("never empty").mod_revision;
            let progress = WatchMessage::Progress { watch_id: 0, revision };
            messages.insert(position, (*time, progress));
            true
        })
    }),
    ("a key is lost at the end", |run, _| run.last.kvs.pop().is_some()),
    ("a key stands at the end in an older version", |run, _| {
        run.last.kvs.first_mut().is_some_and(|kv| {
            kv.mod_revision -= 1;
            true
        })
    }),
    ("a lease stays for ever", |run, _| {
        let (at, _) = run.terms.ending.take().expect("runs end");
        let operations = run.history.operations();
        let granted = operations.iter().find_map(|operation| match operation.response()?.body {
            Body::LeaseGrant { id, .. } => Some(id),
            _ => None,
        });
        let at = at.plus(judge::history::Time::from_secs(60));
        run.terms.ending = Some((at, granted.into_iter().collect()));
        granted.is_some()
    }),
];

fn lie_in_answer(run: &mut Run, random: &mut Random, lie: fn(&mut Body) -> bool) -> bool {
    let operations = run.history.operations_mut();
    let start = random.index(operations.len());
    operations[start..].iter_mut().any(|operation| match &mut operation.outcome {
        Outcome::Ok(answer) => lie(&mut answer.body),
        Outcome::Refused(_) | Outcome::NotApplied | Outcome::Unknown => false,
    })
}

fn lie_in_events(run: &mut Run, random: &mut Random, lie: fn(&mut Vec<Event>) -> bool) -> bool {
    let streams = run.history.streams_mut();
    if streams.is_empty() {
        return false;
    }
    let stream = random.index(streams.len());
    let messages = &mut streams[stream].messages;
    let start = random.index(messages.len());
    messages[start..].iter_mut().any(|(_, message)| match message {
        WatchMessage::Events { events, .. } => lie(events),
        _ => false,
    })
}

#[test]
fn one_lie_is_found() {
    let rounds = 60;
    for (name, lie) in LIES {
        let (mut told, mut missed) = (0, Vec::new());
        for seed in 0..rounds {
            let mut run = generate(1000 + seed, Profile::SMALL);
            if !lie(&mut run, &mut Random::new(seed)) {
                continue;
            }
            told += 1;
            let log = if seed % 2 == 0 { Log::Shown } else { Log::Hidden };
            if judge(&run, log).is_ok() {
                missed.push(1000 + seed);
            }
        }
        println!("{name}: {told} told, missed {missed:?}");
        assert!(told >= rounds / 4, "{name}: told only {told} times");
        assert!(missed.len() * 100 <= told as usize, "{name}: missed {missed:?} of {told}");
    }
}

#[test]
fn a_witness_agrees_with_the_search() {
    for seed in 300..320 {
        let run = generate(seed, Profile { watchers: 0, ..Profile::SMALL });
        let alone = linearizable::check(&run.history, &Witness::new()).expect("correct");
        let told = linearizable::check(&run.history, &run.last.changes).expect("correct");
        assert_eq!(alone.revision(), told.revision());
        for (revision, events) in &run.last.changes {
            let made = told.made(*revision).expect("every revision is explained");
            assert_eq!(*made.events, *events, "seed {seed} revision {revision}");
        }
    }
}
