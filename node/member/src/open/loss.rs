//! What a damaged log lost, as far as it tells itself.

use quorate_replica::Repair;
use quorate_wal::{self as wal, Damage, HardStateCertainty, Outcome, Recovered};

/// What a member begins its repair with; both are to be durable before it answers for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) repair: Repair,
    pub(super) hard_state: wal::HardState,
}

impl Loss {
    /// What the log lost, or was being repaired of when the member stopped; if anything.
    pub(super) fn of_log(recovered: &Recovered) -> Option<Self> {
        match &recovered.outcome {
            Outcome::Clean | Outcome::TornTail { .. } => {
                let until = recovered.repairing_until?;
                Some(Self::up_to(until, recovered))
            }
            Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
                Some(Self::by(damage, recovered))
            }
        }
    }

    /// What a member lacks whose entries are of no use any more.
    pub(super) fn of_everything(recovered: &Recovered) -> Self {
        let last = recovered.entries.last().map_or_else(
            || recovered.mark.as_ref().map_or((0, 0), |mark| (mark.term, mark.index)),
            |entry| (entry.term, entry.index),
        );
        let end = wal::End { term: last.0, index: last.1 };
        match Self::of_log(recovered) {
            // The entries that were there are lost with the others.
            Some(loss) if loss.end() >= end => loss,
            _ => Self::up_to(end, recovered),
        }
    }

    fn by(damage: &Damage, recovered: &Recovered) -> Self {
        match damage.hard_state {
            HardStateCertainty::Certain => Self::up_to(damage.end, recovered),
            HardStateCertainty::AtLeastTerm(_) => Self::of_end(recovered.hard_state),
        }
    }

    fn up_to(end: wal::End, recovered: &Recovered) -> Self {
        let hard_state = recovered.hard_state;
        if end.term == 0 && end.index > 0 {
            // Written before logs said of which term that is.
            return Self::of_end(hard_state);
        }
        let repair = Repair { last_index: end.index.max(1), last_term: end.term.max(1) };
        Self { repair, hard_state }
    }

    /// Nobody knows how much was behind what is readable.
    fn of_end(hard_state: wal::HardState) -> Self {
        let (repair, term) = Repair::of_lost_end(hard_state.term);
        Self { repair, hard_state: wal::HardState { term, vote: 0, ..hard_state } }
    }

    /// Where the log must end for the member to be whole.
    pub(super) fn end(&self) -> wal::End {
        end_of(self.repair)
    }
}

/// The same, as the log writes it.
pub(crate) fn end_of(repair: Repair) -> wal::End {
    let Repair { last_index, last_term } = repair;
    wal::End { term: last_term, index: last_index }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovered(repairing_until: Option<wal::End>) -> Recovered {
        Recovered {
            identity: wal::Identity::default(),
            hard_state: wal::HardState { term: 9, vote: 2, commit: 40 },
            mark: Some(wal::Mark { index: 50, term: 8, conf_state: bytes::Bytes::new() }),
            entries: Vec::new(),
            repairing_until,
            outcome: Outcome::Clean,
        }
    }

    #[test]
    fn a_repair_is_what_it_was_and_one_of_an_older_log_of_unknown_size() {
        assert_eq!(Loss::of_log(&recovered(None)), None);
        let until = wal::End { term: 7, index: 60 };
        let loss = Loss::of_log(&recovered(Some(until))).expect("a loss");
        assert_eq!((loss.end(), loss.hard_state), (until, recovered(None).hard_state));

        let loss = Loss::of_log(&recovered(Some(wal::End { term: 0, index: 60 }))).expect("a loss");
        assert!(loss.hard_state.term > 9 && loss.hard_state.vote == 0);
        assert!(loss.end().term > loss.hard_state.term);
    }

    #[test]
    fn a_lost_store_takes_the_entries_with_it_that_a_repair_had_brought() {
        let end = |until| Loss::of_everything(&recovered(until)).end();
        assert_eq!(end(None), wal::End { term: 8, index: 50 });
        assert_eq!(end(Some(wal::End { term: 7, index: 60 })), wal::End { term: 8, index: 50 });
        let later = wal::End { term: 8, index: 60 };
        assert_eq!(end(Some(later)), later);
    }
}
