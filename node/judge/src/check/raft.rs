//! Raft's safety, from what each member holds after each step.
//!
//! The figure 3 properties of the Raft paper (Ongaro and Ousterhout 2014) plus what durability
//! adds to them. The check keeps a mirror of every log, fed by what changed, and two tables over
//! all members: which digest and predecessor an (index, term) has, and which entry was chosen at
//! an index. By induction over the predecessors, the first table is log matching.
//!
//! ```text
//!   member ─ View{ changed entries, term, vote, commit, applied } ─► mirror of its log
//!                       │                                   │
//!            entries: (index, term) → digest, previous      chosen: index → term, digest
//! ```

use super::{Rule, Violation};
use crate::history::{MemberId, Time};
use std::collections::BTreeMap;

/// An entry of a log, by what identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// A hash of its kind and data.
    pub digest: u64,
}

/// What a member does in its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Follows, as voter or learner.
    Follower,
    /// Asks for votes, or whether it would get them.
    Candidate,
    /// Leads.
    Leader,
}

/// What survives a crash of the member now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    /// The term.
    pub term: u64,
    /// Whom it votes for in that term.
    pub vote: Option<MemberId>,
    /// The last index of its log, or of its snapshot.
    pub last_index: u64,
    /// The applied index that a restart would begin with at most.
    pub applied: u64,
}

/// A member after a step.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The member.
    pub member: MemberId,
    /// How often it had started before.
    pub incarnation: u32,
    /// What it does.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Whom it votes for in that term.
    pub vote: Option<MemberId>,
    /// Up to where it knows the log to be committed.
    pub commit: u64,
    /// Up to where it has applied.
    pub applied: u64,
    /// The first index in its log; what is before is in its snapshot.
    pub first_index: u64,
    /// The last index in its log.
    pub last_index: u64,
    /// The entries written since the member's last view, in order; all on its first view of an
    /// incarnation.
    pub changed: &'a [LogEntry],
    /// What survives a crash.
    pub durable: Durable,
}

#[derive(Debug, Clone, Default)]
struct Mirror {
    incarnation: Option<u32>,
    leads: Option<u64>,
    term: u64,
    vote: Option<MemberId>,
    commit: u64,
    applied: u64,
    last_index: u64,
    log: BTreeMap<u64, LogEntry>,
    durable: Durable,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    digest: u64,
    /// Term of the entry before; none if it is not in a log that was seen.
    previous: Option<u64>,
    member: MemberId,
}

#[derive(Debug, Clone, Copy)]
struct Chosen {
    entry: LogEntry,
    /// The term of the member that first knew; the entry was committed in it or before.
    known_in_term: u64,
    member: MemberId,
}

/// Compares what all members hold.
#[derive(Debug, Clone, Default)]
pub struct Raft {
    members: BTreeMap<MemberId, Mirror>,
    leaders: BTreeMap<u64, MemberId>,
    votes: BTreeMap<(u64, MemberId), MemberId>,
    entries: BTreeMap<(u64, u64), Written>,
    chosen: BTreeMap<u64, Chosen>,
}

impl Raft {
    /// A check that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A member took a step, or started.
    ///
    /// # Errors
    /// The first of Raft's promises that the view breaks.
    pub fn observe(&mut self, time: Time, view: &View<'_>) -> Result<(), Violation> {
        let mut mirror = self.members.remove(&view.member).unwrap_or_default();
        let result = self.step(&mut mirror, view);
        self.members.insert(view.member, mirror);
        result.map_err(|(rule, text)| {
            let text = format!("member {:x}/{}: {text}", view.member.0, view.incarnation);
            Violation::at(rule, time, text)
        })
    }

    /// A member sends its vote in `term` to `candidate`. Whoever was told must never hear
    /// otherwise, whatever the member's disk says later.
    ///
    /// # Errors
    /// [`Rule::SingleVote`] if it voted for another in that term, in this life or a former one.
    pub fn on_vote_sent(
        &mut self,
        time: Time,
        voter: MemberId,
        term: u64,
        candidate: MemberId,
    ) -> Result<(), Violation> {
        let first = *self.votes.entry((term, voter)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        let text = format!(
            "member {:x} votes for {:x} in term {term}, after {:x}",
            voter.0, candidate.0, first.0
        );
        Err(Violation::at(Rule::SingleVote, time, text))
    }

    /// A member ended, perhaps between two views. Of its log, term and vote at least `left` is
    /// there when it starts again: batches on their way to the disk may have reached it, and they
    /// can make the log shorter. Applied is at most what `left` says: a checkpoint of a snapshot
    /// may be durable before the member is looked at again.
    pub fn end(&mut self, member: MemberId, left: Durable) {
        if let Some(mirror) = self.members.get_mut(&member) {
            let applied = left.applied.max(mirror.durable.applied);
            mirror.durable = Durable { applied, ..left };
        }
    }

    /// A member's disk lost or damaged part of its log: it may start again with less. What it
    /// voted stands, and what was committed must be with the others.
    pub fn damage(&mut self, member: MemberId) {
        if let Some(mirror) = self.members.get_mut(&member) {
            mirror.durable.last_index = 0;
        }
    }

    /// A member left the cluster for good; its id does not come back.
    pub fn forget(&mut self, member: MemberId) {
        self.members.remove(&member);
    }

    /// Up to where anybody knows the log to be committed.
    #[must_use]
    pub fn highest_commit(&self) -> u64 {
        self.chosen.last_key_value().map_or(0, |(index, _)| *index)
    }

    fn step(&mut self, mirror: &mut Mirror, view: &View<'_>) -> Result<(), Broken> {
        if mirror.incarnation == Some(view.incarnation) {
            check_running(mirror, view)?;
        } else {
            check_restart(mirror, view)?;
            mirror.log.clear();
            mirror.leads = None;
        }
        check_indexes(view)?;
        self.check_log(mirror, view)?;
        check_own_commit(mirror, view)?;
        self.check_leader(mirror, view)?;
        self.check_commit(mirror, view)?;
        check_durable(mirror, view)?;
        mirror.incarnation = Some(view.incarnation);
        mirror.term = view.term;
        mirror.vote = view.vote;
        mirror.commit = view.commit;
        mirror.applied = view.applied;
        mirror.last_index = view.last_index;
        mirror.durable = view.durable;
        Ok(())
    }

    fn check_log(&mut self, mirror: &mut Mirror, view: &View<'_>) -> Result<(), Broken> {
        if let Some(first) = view.changed.first() {
            let kept_leading = view.role == Role::Leader && mirror.leads == Some(view.term);
            if kept_leading && first.index <= mirror.last_index {
                return broken(
                    Rule::LeaderAppendOnly,
                    format!("leads term {} and rewrites {first:?}", view.term),
                );
            }
            mirror.log.split_off(&first.index);
        }
        for entry in view.changed {
            // What is before the first entry is in a snapshot, which may have replaced another.
            let before = entry.index.checked_sub(1).filter(|index| *index >= view.first_index);
            let previous =
                before.and_then(|index| mirror.log.get(&index)).map(|before| before.term);
            self.check_entry(view.member, *entry, previous)?;
            mirror.log.insert(entry.index, *entry);
        }
        mirror.log.split_off(&view.last_index.saturating_add(1));
        mirror.log = mirror.log.split_off(&view.first_index);
        let held = mirror.log.len() as u64;
        let wanted = view.last_index.saturating_add(1).saturating_sub(view.first_index);
        if held != wanted {
            return broken(
                Rule::LogMatching,
                format!(
                    "log {}..={} should hold {wanted} entries, {held} were written",
                    view.first_index, view.last_index
                ),
            );
        }
        Ok(())
    }

    fn check_entry(
        &mut self,
        member: MemberId,
        entry: LogEntry,
        previous: Option<u64>,
    ) -> Result<(), Broken> {
        if previous.is_some_and(|term| term > entry.term) {
            return broken(
                Rule::LogMatching,
                format!("{entry:?} follows an entry of term {previous:?}"),
            );
        }
        let fresh = Written { digest: entry.digest, previous, member };
        let seen = self.entries.entry((entry.index, entry.term)).or_insert(fresh);
        let differs =
            matches!((seen.previous, previous), (Some(there), Some(here)) if there != here);
        if seen.digest != entry.digest || differs {
            return broken(
                Rule::LogMatching,
                format!(
                    "{entry:x?} after term {previous:?}, but member {:x} has digest {:x} after \
                     term {:?}",
                    seen.member.0, seen.digest, seen.previous
                ),
            );
        }
        seen.previous = seen.previous.or(previous);
        Ok(())
    }

    fn check_leader(&mut self, mirror: &mut Mirror, view: &View<'_>) -> Result<(), Broken> {
        if view.role != Role::Leader {
            mirror.leads = None;
            return Ok(());
        }
        let leader = *self.leaders.entry(view.term).or_insert(view.member);
        if leader != view.member {
            return broken(
                Rule::ElectionSafety,
                format!("leads term {}, as did member {:x}", view.term, leader.0),
            );
        }
        if mirror.leads == Some(view.term) {
            return Ok(());
        }
        mirror.leads = Some(view.term);
        for chosen in self.chosen.range(view.first_index..).map(|(_, chosen)| chosen) {
            let entry = chosen.entry;
            if chosen.known_in_term < view.term && mirror.log.get(&entry.index) != Some(&entry) {
                return broken(
                    Rule::LeaderCompleteness,
                    format!(
                        "leads term {} without {entry:?}, which member {:x} knew to be committed \
                         in term {}",
                        view.term, chosen.member.0, chosen.known_in_term
                    ),
                );
            }
        }
        Ok(())
    }

    fn check_commit(&mut self, mirror: &Mirror, view: &View<'_>) -> Result<(), Broken> {
        // What was chosen once must stay so: also what this member knew already is compared,
        // as far as its log was rewritten.
        let rewritten = view.changed.first().map_or(u64::MAX, |entry| entry.index);
        let known = if mirror.incarnation == Some(view.incarnation) { mirror.commit } else { 0 };
        let from = rewritten.min(known.saturating_add(1)).max(view.first_index);
        if from > view.commit {
            return Ok(());
        }
        for entry in mirror.log.range(from..=view.commit).map(|(_, entry)| *entry) {
            let fresh = Chosen { entry, known_in_term: view.term, member: view.member };
            let chosen = self.chosen.entry(entry.index).or_insert(fresh);
            if chosen.entry != entry {
                return broken(
                    Rule::StateMachineSafety,
                    format!(
                        "commits {entry:?}, but member {:x} committed {:?}",
                        chosen.member.0, chosen.entry
                    ),
                );
            }
            chosen.known_in_term = chosen.known_in_term.min(view.term);
        }
        Ok(())
    }
}

type Broken = (Rule, String);

fn broken<T>(rule: Rule, text: String) -> Result<T, Broken> {
    Err((rule, text))
}

/// A leader counts acknowledgements only of entries of its own term (paper §5.4.2).
fn check_own_commit(mirror: &Mirror, view: &View<'_>) -> Result<(), Broken> {
    let led_before = mirror.incarnation == Some(view.incarnation)
        && mirror.leads == Some(view.term)
        && view.role == Role::Leader;
    let term = mirror.log.get(&view.commit).map(|entry| entry.term);
    if led_before && view.commit > mirror.commit && term.is_some_and(|term| term != view.term) {
        let text = format!(
            "leads term {} and commits {}, an entry of term {term:?}",
            view.term, view.commit
        );
        return broken(Rule::LeaderCommit, text);
    }
    Ok(())
}

/// While a member runs, nothing goes back.
fn check_running(mirror: &Mirror, view: &View<'_>) -> Result<(), Broken> {
    if view.term < mirror.term {
        return broken(Rule::TermMonotone, format!("term {} after {}", view.term, mirror.term));
    }
    if view.commit < mirror.commit {
        let text = format!("commit {} after {}", view.commit, mirror.commit);
        return broken(Rule::CommitMonotone, text);
    }
    if view.applied < mirror.applied {
        let text = format!("applied {} after {}", view.applied, mirror.applied);
        return broken(Rule::AppliedMonotone, text);
    }
    check_vote(view.term, view.vote, mirror.term, mirror.vote)
}

/// A restart begins with what was durable: not less, and not with more applied.
fn check_restart(mirror: &Mirror, view: &View<'_>) -> Result<(), Broken> {
    let durable = mirror.durable;
    if view.term < durable.term {
        let text = format!("restarts in term {}, {} was durable", view.term, durable.term);
        return broken(Rule::TermMonotone, text);
    }
    if view.last_index < durable.last_index {
        let text = format!(
            "restarts with a log up to {}, {} was durable",
            view.last_index, durable.last_index
        );
        return broken(Rule::CommitMonotone, text);
    }
    if mirror.incarnation.is_some() && view.applied > durable.applied {
        let text = format!(
            "restarts with {} applied, at most {} was durable",
            view.applied, durable.applied
        );
        return broken(Rule::AppliedMonotone, text);
    }
    check_vote(view.term, view.vote, durable.term, durable.vote)
}

fn check_vote(
    term: u64,
    vote: Option<MemberId>,
    old_term: u64,
    old_vote: Option<MemberId>,
) -> Result<(), Broken> {
    match old_vote {
        Some(old) if term == old_term && vote != old_vote => {
            let text = format!("votes for {vote:x?} in term {term}, after {:x}", old.0);
            broken(Rule::SingleVote, text)
        }
        Some(_) | None => Ok(()),
    }
}

fn check_indexes(view: &View<'_>) -> Result<(), Broken> {
    if view.commit > view.last_index {
        let text = format!("commit {} is beyond the log's end {}", view.commit, view.last_index);
        return broken(Rule::CommitMonotone, text);
    }
    if view.applied > view.commit {
        let text = format!("applied {} is beyond commit {}", view.applied, view.commit);
        return broken(Rule::AppliedMonotone, text);
    }
    if view.first_index > view.applied.saturating_add(1) {
        let text =
            format!("the log begins at {}, applied is only {}", view.first_index, view.applied);
        return broken(Rule::AppliedMonotone, text);
    }
    Ok(())
}

/// What is durable keeps its term and vote, and is never ahead of what the member holds.
fn check_durable(mirror: &Mirror, view: &View<'_>) -> Result<(), Broken> {
    let (old, new) = (mirror.durable, view.durable);
    if new.term < old.term || new.term > view.term {
        let text = format!("durable term {} after {}, in term {}", new.term, old.term, view.term);
        return broken(Rule::TermMonotone, text);
    }
    check_vote(new.term, new.vote, old.term, old.vote)?;
    if new.term == view.term && new.vote.is_some() && new.vote != view.vote {
        let text = format!("durable vote {:x?}, but votes {:x?}", new.vote, view.vote);
        return broken(Rule::SingleVote, text);
    }
    if new.applied > view.applied {
        let text = format!("durable applied {}, applied {}", new.applied, view.applied);
        return broken(Rule::AppliedMonotone, text);
    }
    Ok(())
}
