//! Random histories against a naive list of entries.

use proptest::prelude::*;
use quorate_wal::{Batch, HardState, Mark, Outcome};
use sim_disk::CrashPolicy;

use crate::support::{Rig, SMALL, entry, held, is_same, open, resume};

#[derive(Clone, Debug)]
enum Step {
    Append { back: u64, count: u64, size: usize },
    HardState,
    Mark { back: u64 },
    Replace { ahead: u64 },
    Complete { count: u8 },
    Settle,
    Crash { policy: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u64, 1..5_u64, 0..900_usize)
            .prop_map(|(back, count, size)| Step::Append { back, count, size }),
        1 => Just(Step::HardState),
        1 => (0..6_u64).prop_map(|back| Step::Mark { back }),
        1 => (1..9_u64).prop_map(|ahead| Step::Replace { ahead }),
        4 => (1..9_u8).prop_map(|count| Step::Complete { count }),
        2 => Just(Step::Settle),
        1 => (0..4_usize).prop_map(|policy| Step::Crash { policy }),
    ]
}

fn mark(rig: &mut Rig, index: u64, term: u64) {
    let mark = Mark { index, term, conf_state: index.to_le_bytes().to_vec().into() };
    rig.append(Batch { mark: Some(mark), ..Batch::default() });
}

fn run(seed: u64, steps: Vec<Step>) {
    let mut rig = Rig::create(seed, SMALL);
    rig.settle();
    let mut term = 1;
    for step in steps {
        let model = rig.model().clone();
        match step {
            Step::Append { back, count, size } => {
                let base = model.mark.as_ref().map_or(0, |mark| mark.index);
                term += u64::from(back > 0);
                let first = (model.last_index() + 1).saturating_sub(back).max(base + 1);
                let entries = (first..first + count).map(|at| entry(at, term, size)).collect();
                rig.append(Batch { entries, ..Batch::default() });
            }
            Step::HardState => {
                term += 1;
                let hard_state = Some(HardState { term, vote: 1, commit: model.last_index() });
                rig.append(Batch { hard_state, ..Batch::default() });
            }
            Step::Mark { back } => {
                let Some(at) = model.entries.len().checked_sub(back as usize + 1) else { continue };
                let (index, term) = (model.entries[at].index, model.entries[at].term);
                mark(&mut rig, index, term);
                rig.settle();
                rig.log.release(index);
            }
            Step::Replace { ahead } => {
                term += 1;
                mark(&mut rig, model.last_index() + ahead, term);
            }
            Step::Complete { count } => {
                for _ in 0..count {
                    rig.step().unwrap();
                }
            }
            Step::Settle => rig.settle(),
            Step::Crash { policy } => {
                rig.disk.crash(CrashPolicy::EACH[policy]);
                let (log, recovered) = open(&rig.disk, SMALL).unwrap();
                let is_whole =
                    matches!(recovered.outcome, Outcome::Clean | Outcome::TornTail { .. });
                assert!(is_whole, "{:?}", recovered.outcome);
                let allowed = rig.allowed();
                assert!(
                    allowed.iter().any(|model| is_same(&recovered, model)),
                    "{:?}\nnot in {allowed:?}",
                    held(&recovered)
                );
                term = term.max(recovered.hard_state.term);
                rig = resume(&rig.disk.clone(), log, &recovered);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_histories(seed: u64, steps in prop::collection::vec(step(), 1..60)) {
        run(seed, steps);
    }
}
