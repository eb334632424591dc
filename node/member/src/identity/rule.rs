//! Whether somebody is the member that it says it is.

use quorate_api::peer::{Claim, LogEnd, NONCES_MAX};
use thiserror::Error;

/// What is remembered of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Its data directory.
    pub incarnation: u64,
    /// Its newest start that was heard of.
    pub boot: u64,
    /// The nonces of that start and those before, the newest first.
    pub nonces: Vec<u64>,
    /// The highest term that it was in.
    pub term: u64,
    /// Up to here it had what was committed.
    pub committed: u64,
    /// The last index that it acknowledged to a leader, and the leader's term.
    pub acknowledged: (u64, u64),
}

/// What a claim is to those who remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing is known, and nothing is claimed: a member of etcd's.
    Silent,
    /// Nothing is known, and something is claimed: to be remembered before it is heard.
    First,
    /// It has started anew: likewise.
    Later,
    /// It is who it was.
    Known,
}

/// Why somebody is not taken for the member that it says it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Doubt {
    /// It says nothing.
    #[error(
        "it does not say which data directory it has, as it did before: it is another program, or \
         an older release"
    )]
    NoClaim,
    /// It has another directory.
    #[error("it has another data directory than before: its own was lost or replaced")]
    OtherDirectory,
    /// Its directory is older.
    #[error(
        "its data directory is an older copy: this is start number {claimed} on it, and number \
         {known} has been heard"
    )]
    OlderDirectory {
        /// Which start it says this is.
        claimed: u64,
        /// Which start is known.
        known: u64,
    },
    /// Its directory parted from the known one.
    #[error(
        "its data directory is a copy: start number {boot} on it was another's; two processes run \
         as this member, or a copy was put back"
    )]
    Copy {
        /// A start that both know, and not the same.
        boot: u64,
    },
    /// Its log is shorter.
    #[error(
        "its log ends at index {index} in term {term}, and it has had index {known} in term \
         {known_term}: its data directory is an older copy, the end of its log is damaged, or its \
         disk did not keep what it said was written (no fsync, or a cache that was lost with the \
         power)"
    )]
    ShortLog {
        /// Where it says that its log ends.
        index: u64,
        /// Its term.
        term: u64,
        /// What it is known to have had.
        known: u64,
        /// The term that it was in.
        known_term: u64,
    },
}

/// Whether who claims this may be the member of which that is remembered.
///
/// # Errors
/// Why it is not.
pub fn judge(remembered: Option<&Remembered>, claim: Option<&Claim>) -> Result<Judgement, Doubt> {
    match (remembered, claim) {
        (None, None) => Ok(Judgement::Silent),
        (None, Some(_)) => Ok(Judgement::First),
        (Some(_), None) => Err(Doubt::NoClaim),
        (Some(remembered), Some(claim)) => remembered.judge(claim),
    }
}

impl Remembered {
    /// Of one that was not known.
    pub(super) fn first(claim: &Claim) -> Self {
        let mut remembered = Self::default();
        remembered.note(claim);
        remembered
    }

    fn judge(&self, claim: &Claim) -> Result<Judgement, Doubt> {
        if claim.incarnation != self.incarnation {
            return Err(Doubt::OtherDirectory);
        }
        if let Some(boot) = self.parting(claim) {
            return Err(Doubt::Copy { boot });
        }
        if claim.boot < self.boot {
            return Err(Doubt::OlderDirectory { claimed: claim.boot, known: self.boot });
        }
        if claim.boot == self.boot {
            // It runs on, and loses nothing. What it says arrives in any order.
            return Ok(Judgement::Known);
        }
        if let Some(end) = claim.end {
            self.judge_end(end)?;
        }
        Ok(Judgement::Later)
    }

    /// A start that both know by other nonces.
    fn parting(&self, claim: &Claim) -> Option<u64> {
        if claim.boot == self.boot && claim.nonces.first() == self.nonces.first() {
            return None;
        }
        let starts = (0..).map_while(|back| claim.boot.checked_sub(back)).zip(&claim.nonces);
        let parts = |(boot, nonce): &(u64, &u64)| {
            let back = self.boot.checked_sub(*boot).and_then(|back| usize::try_from(back).ok());
            let known = back.and_then(|back| self.nonces.get(back));
            known.is_some_and(|known| known != *nonce)
        };
        starts.into_iter().find(parts).map(|(boot, _)| boot)
    }

    fn judge_end(&self, end: LogEnd) -> Result<(), Doubt> {
        let (index, term) = (end.index, end.term);
        let short = |known, known_term| Doubt::ShortLog { index, term, known, known_term };
        if term < self.term || index < self.committed {
            return Err(short(self.committed, self.term));
        }
        // In a later term, another leader may have cut off what was never committed.
        let (acknowledged, in_term) = self.acknowledged;
        if term == in_term && index < acknowledged {
            return Err(short(acknowledged, in_term));
        }
        Ok(())
    }

    /// Remember what was claimed and taken.
    pub(super) fn note(&mut self, claim: &Claim) {
        self.incarnation = claim.incarnation;
        if claim.boot > self.boot {
            self.boot = claim.boot;
            self.nonces = claim.nonces.iter().copied().take(NONCES_MAX).collect();
        }
        if let Some(end) = claim.end {
            self.term = self.term.max(end.term);
            self.committed = self.committed.max(end.committed.min(end.index));
        }
    }

    /// Remember what it acknowledged to the leader of a term, who knows so much to be committed.
    pub(super) fn note_acknowledged(&mut self, term: u64, index: u64, committed: u64) {
        if index == 0 {
            // Nothing yet: it may not even have heard of the term.
            return;
        }
        if term >= self.acknowledged.1 {
            let before = if term == self.acknowledged.1 { self.acknowledged.0 } else { 0 };
            self.acknowledged = (before.max(index), term);
        }
        self.term = self.term.max(term);
        self.committed = self.committed.max(committed.min(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(boot: u64, nonces: &[u64], end: (u64, u64, u64)) -> Claim {
        let (term, index, committed) = end;
        let end = Some(LogEnd { term, index, committed });
        Claim { incarnation: 9, boot, nonces: nonces.to_vec(), end }
    }

    /// Of one that has started three times, the last time as 30, and has had index 50 of 60.
    fn remembered() -> Remembered {
        let mut remembered = Remembered::first(&claim(3, &[30, 20, 10], (5, 50, 50)));
        remembered.note_acknowledged(5, 60, 55);
        remembered
    }

    #[test]
    fn who_goes_on_is_known_and_who_comes_back_is_new() {
        let of = |claim: &Claim| judge(Some(&remembered()), Some(claim));
        assert_eq!(of(&claim(3, &[30, 20, 10], (5, 60, 55))), Ok(Judgement::Known));
        assert_eq!(of(&claim(3, &[30, 20, 10], (4, 2, 2))), Ok(Judgement::Known), "said earlier");
        assert_eq!(of(&claim(4, &[40, 30, 20, 10], (5, 60, 0))), Ok(Judgement::Later));
        // So often away that no start is known to both.
        assert_eq!(of(&claim(90, &[1, 2], (7, 80, 0))), Ok(Judgement::Later));
        // Its uncommitted tail was cut off by a later leader.
        assert_eq!(of(&claim(4, &[40, 30], (6, 55, 55))), Ok(Judgement::Later));
        // Under repair, it says what it lacks by other means.
        let repairing = Claim { end: None, ..claim(4, &[40, 30], (0, 0, 0)) };
        assert_eq!(of(&repairing), Ok(Judgement::Later));
    }

    #[test]
    fn who_has_less_than_it_had_is_refused() {
        let short = |index, term, known| Doubt::ShortLog { index, term, known, known_term: 5 };
        let older = Doubt::OlderDirectory { claimed: 2, known: 3 };
        let cases = [
            (claim(2, &[20, 10], (5, 60, 55)), older),
            (claim(3, &[31, 20, 10], (5, 60, 55)), Doubt::Copy { boot: 3 }),
            (claim(5, &[50, 40, 31, 20], (5, 60, 55)), Doubt::Copy { boot: 3 }),
            (claim(2, &[21, 10], (5, 60, 55)), Doubt::Copy { boot: 2 }),
            (claim(4, &[40, 30], (5, 59, 55)), short(59, 5, 60)),
            (claim(4, &[40, 30], (9, 54, 54)), short(54, 9, 55)),
            (claim(4, &[40, 30], (4, 60, 55)), short(60, 4, 55)),
            (Claim { incarnation: 8, ..claim(3, &[30], (5, 60, 55)) }, Doubt::OtherDirectory),
        ];
        for (claim, doubt) in cases {
            assert_eq!(judge(Some(&remembered()), Some(&claim)), Err(doubt), "{claim}");
        }
        assert_eq!(judge(Some(&remembered()), None), Err(Doubt::NoClaim));
    }

    #[test]
    fn of_whom_nothing_is_remembered_everything_is_taken() {
        assert_eq!(judge(None, None), Ok(Judgement::Silent));
        assert_eq!(judge(None, Some(&claim(1, &[1], (0, 0, 0)))), Ok(Judgement::First));
    }

    #[test]
    fn what_was_acknowledged_in_an_older_term_does_not_replace_the_newer() {
        let mut remembered = remembered();
        remembered.note_acknowledged(4, 90, 20);
        assert_eq!((remembered.acknowledged, remembered.committed), ((60, 5), 55));
        remembered.note_acknowledged(6, 56, 56);
        assert_eq!((remembered.acknowledged, remembered.term), ((56, 6), 6));
        remembered.note_acknowledged(7, 0, 56);
        assert_eq!(remembered.term, 6, "it has acknowledged nothing in that term");
    }
}
