//! Which of the survivors goes on. Pure.

use std::collections::BTreeSet;

use quorate_api::identity::format_id;

/// What counts of a survivor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its cluster.
    pub(super) cluster: u64,
    /// Which member it is.
    pub(super) member: u64,
    /// Term and index of its last entry: what Raft compares.
    pub(super) last: (u64, u64),
    /// Whether nothing of it is damaged.
    pub(super) is_whole: bool,
    /// Whether it has a store to begin with.
    pub(super) has_store: bool,
}

/// Whether a damaged one may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damaged {
    /// Never.
    Refused,
    /// If no whole one has as much.
    Allowed,
}

/// Why none goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChoiceError {
    #[error("these directories are of different clusters, {}: give those of one", list(.0))]
    Clusters(BTreeSet<u64>),
    #[error("two of these directories are of member {}: give the newer one", format_id(*.0))]
    Twice(u64),
    #[error(
        "all of these directories are damaged: restore a backup, or take the best of them as it is \
         with --allow-damaged"
    )]
    AllDamaged,
    #[error("none of these directories has a store that can be read: restore a backup")]
    NoStore,
}

/// The one that Raft would elect: of the highest term, and of those with the longest log. Gives
/// its place.
pub(super) fn choose(candidates: &[Candidate], damaged: Damaged) -> Result<usize, ChoiceError> {
    let clusters: BTreeSet<u64> = candidates.iter().map(|one| one.cluster).collect();
    if clusters.len() > 1 {
        return Err(ChoiceError::Clusters(clusters));
    }
    let mut members = BTreeSet::new();
    if let Some(twice) = candidates.iter().find(|one| !members.insert(one.member)) {
        return Err(ChoiceError::Twice(twice.member));
    }
    let may_go_on = |one: &Candidate| match damaged {
        Damaged::Refused => one.is_whole,
        Damaged::Allowed => one.has_store,
    };
    // A whole one before a damaged one of the same log, and the first before others.
    let rank = |at: usize| (candidates[at].last, candidates[at].is_whole, usize::MAX - at);
    let best =
        (0..candidates.len()).filter(|at| may_go_on(&candidates[*at])).max_by_key(|at| rank(*at));
    best.ok_or_else(|| match candidates.iter().any(|one| one.has_store) {
        true => ChoiceError::AllDamaged,
        false => ChoiceError::NoStore,
    })
}

/// What people must know of what is lost, when the chosen one says that these vote.
pub(super) fn losses(
    candidates: &[Candidate],
    chosen: usize,
    voters: &BTreeSet<u64>,
) -> Vec<String> {
    let best = &candidates[chosen];
    let mut lines = Vec::new();
    let whole = |one: &&Candidate| one.is_whole && voters.contains(&one.member);
    let seen = candidates.iter().filter(whole).count();
    let quorum = voters.len() / 2 + 1;
    if seen < quorum {
        lines.push(format!(
            "May be lost: what was acknowledged by others and reached none of these; {seen} of {} \
             voters are here, and whole.",
            voters.len()
        ));
    } else {
        lines.push(
            "A majority of the voters is here, and whole: nothing that was acknowledged is lost, \
             and starting them would do."
                .to_owned(),
        );
    }
    if !best.is_whole {
        lines.push("Lost: what the damaged part of the chosen one held.".to_owned());
    }
    for one in candidates {
        if one.last > best.last {
            let (term, index) = one.last;
            lines.push(format!(
                "May be lost: entries up to {index} of term {term}, which only member {} has, who \
                 is damaged.",
                format_id(one.member)
            ));
        }
    }
    lines
}

fn list(ids: &BTreeSet<u64>) -> String {
    ids.iter().map(|id| format_id(*id)).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(member: u64, last: (u64, u64)) -> Candidate {
        Candidate { cluster: 9, member, last, is_whole: true, has_store: true }
    }

    fn damaged(candidate: Candidate) -> Candidate {
        Candidate { is_whole: false, ..candidate }
    }

    #[test]
    fn the_later_term_goes_before_the_longer_log() {
        let refused = Damaged::Refused;
        assert_eq!(choose(&[one(1, (2, 50)), one(2, (3, 40))], refused), Ok(1));
        assert_eq!(choose(&[one(1, (3, 50)), one(2, (3, 40))], refused), Ok(0));
        assert_eq!(choose(&[one(1, (3, 50)), one(2, (3, 50))], refused), Ok(0));
        assert_eq!(choose(&[one(3, (1, 1))], refused), Ok(0));
    }

    #[test]
    fn a_damaged_one_goes_on_only_if_it_may_and_has_more() {
        let two = [damaged(one(1, (3, 50))), one(2, (3, 40))];
        assert_eq!(choose(&two, Damaged::Refused), Ok(1));
        assert_eq!(choose(&two, Damaged::Allowed), Ok(0));
        let equal = [damaged(one(1, (3, 50))), one(2, (3, 50))];
        assert_eq!(choose(&equal, Damaged::Allowed), Ok(1));
        let all = [damaged(one(1, (3, 50)))];
        assert_eq!(choose(&all, Damaged::Refused), Err(ChoiceError::AllDamaged));
        let none = [Candidate { has_store: false, ..damaged(one(1, (3, 50))) }];
        for damaged in [Damaged::Refused, Damaged::Allowed] {
            assert_eq!(choose(&none, damaged), Err(ChoiceError::NoStore));
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let other = Candidate { cluster: 8, ..one(2, (1, 1)) };
        let refused = choose(&[one(1, (1, 1)), other], Damaged::Allowed);
        assert_eq!(refused, Err(ChoiceError::Clusters(BTreeSet::from([8, 9]))));
        let twice = [one(1, (1, 1)), one(1, (1, 2))];
        assert_eq!(choose(&twice, Damaged::Allowed), Err(ChoiceError::Twice(1)));
    }

    #[test]
    fn what_may_be_lost_is_said() {
        let losses = |candidates: &[Candidate], chosen| {
            losses(candidates, chosen, &BTreeSet::from([1, 2, 3])).join("\n")
        };
        let alone = losses(&[one(1, (3, 50))], 0);
        assert!(alone.contains("1 of 3 voters"), "{alone}");
        let majority = losses(&[one(1, (3, 50)), one(2, (3, 40))], 0);
        assert!(majority.contains("nothing that was acknowledged is lost"), "{majority}");
        let behind = losses(&[damaged(one(1, (3, 50))), one(2, (3, 40))], 1);
        assert!(
            behind.contains("1 of 3 voters") && behind.contains("up to 50 of term 3"),
            "{behind}"
        );
        // A learner, or one that was removed, makes no majority.
        let learner = losses(&[one(1, (3, 50)), one(7, (3, 40))], 0);
        assert!(learner.contains("1 of 3 voters"), "{learner}");
    }
}
