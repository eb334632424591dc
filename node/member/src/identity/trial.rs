//! Whether a member that peers refuse goes on. The reasons are in the [module](super).

use std::collections::{BTreeMap, BTreeSet};

/// What the peers of a member think of it.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    accepting: BTreeSet<u64>,
    refusing: BTreeMap<u64, String>,
    has_worked: bool,
}

/// Where a member stands, as far as it knows.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The member.
    pub member: u64,
    /// Who leads.
    pub leader: Option<u64>,
    /// Who votes.
    pub voters: &'a [u64],
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The member goes on.
    GoOn,
    /// It stops.
    Stop {
        /// The peers that refuse it.
        by: Vec<u64>,
        /// Why the first of them does.
        why: String,
    },
}

impl Trial {
    /// A peer has heard the member.
    pub fn on_accepted(&mut self, peer: u64) {
        self.refusing.remove(&peer);
        self.accepting.insert(peer);
    }

    /// A peer refuses it; whether that is new.
    pub fn on_refused(&mut self, peer: u64, why: &str) -> bool {
        self.accepting.remove(&peer);
        self.refusing.insert(peer, why.to_owned()).as_deref() != Some(why)
    }

    /// A peer is no member any more.
    pub fn forget(&mut self, peer: u64) {
        self.accepting.remove(&peer);
        self.refusing.remove(&peer);
    }

    /// Look at the member where it stands: now and then, and at each refusal.
    pub fn judge(&mut self, situation: Situation<'_>) -> Verdict {
        let works = self.works(situation);
        self.has_worked |= works;
        if works || self.refusing.is_empty() {
            return Verdict::GoOn;
        }
        let others = situation.voters.iter().filter(|voter| **voter != situation.member);
        let refusing = others.clone().filter(|voter| self.refusing.contains_key(voter)).count();
        if self.has_worked && refusing * 2 <= others.count() {
            return Verdict::GoOn;
        }
        Verdict::Stop {
            by: self.refusing.keys().copied().collect(),
            why: self.refusing.values().next().cloned().unwrap_or_default(),
        }
    }

    /// A majority is needed to lead, and to have a leader: whoever does has been taken in by one.
    fn works(&self, situation: Situation<'_>) -> bool {
        match situation.leader {
            None => false,
            Some(leader) if leader == situation.member => true,
            Some(leader) => self.accepting.contains(&leader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: &[u64] = &[1, 2, 3];

    /// Member 1 of three, with this leader.
    fn under(leader: Option<u64>) -> Situation<'static> {
        Situation { member: 1, leader, voters: VOTERS }
    }

    fn stop(by: &[u64]) -> Verdict {
        Verdict::Stop { by: by.to_vec(), why: "old".to_owned() }
    }

    #[test]
    fn one_witness_stops_a_member_that_has_not_worked() {
        let mut trial = Trial::default();
        trial.on_accepted(2);
        assert_eq!(trial.judge(under(None)), Verdict::GoOn);
        assert!(trial.on_refused(3, "old"));
        assert_eq!(trial.judge(under(None)), stop(&[3]));
        // It hears of a leader that does not hear it.
        assert_eq!(trial.judge(under(Some(3))), stop(&[3]));
    }

    #[test]
    fn one_witness_does_not_stop_a_member_that_works_or_has_worked() {
        for leader in [1, 2] {
            let mut trial = Trial::default();
            trial.on_accepted(2);
            assert_eq!(trial.judge(under(Some(leader))), Verdict::GoOn);
            trial.on_refused(3, "old");
            assert!(!trial.on_refused(3, "old"), "it was said before");
            for now in [Some(leader), None, Some(3)] {
                assert_eq!(trial.judge(under(now)), Verdict::GoOn);
            }
            trial.on_refused(2, "old");
            assert_eq!(trial.judge(under(None)), stop(&[2, 3]));
            assert_eq!(trial.judge(under(Some(1))), Verdict::GoOn, "as long as it leads");
            trial.on_accepted(2);
            assert_eq!(trial.judge(under(None)), Verdict::GoOn);
        }
    }

    #[test]
    fn a_leader_that_does_not_hear_the_member_is_no_proof() {
        let mut trial = Trial::default();
        assert_eq!(trial.judge(under(Some(2))), Verdict::GoOn);
        trial.on_refused(2, "old");
        assert_eq!(trial.judge(under(Some(2))), stop(&[2]));
    }

    #[test]
    fn of_two_the_other_decides_unless_it_is_gone() {
        let situation = |leader| Situation { member: 1, leader, voters: &[1, 2] };
        let mut trial = Trial::default();
        trial.on_accepted(2);
        assert_eq!(trial.judge(situation(Some(2))), Verdict::GoOn);
        trial.on_refused(2, "old");
        assert_eq!(trial.judge(situation(None)), stop(&[2]));
        trial.forget(2);
        assert_eq!(trial.judge(situation(None)), Verdict::GoOn);
    }
}
