//! Members as broken consensus leaves them.

use crate::script::expect;
use judge::check::raft::{Durable, LogEntry, Raft, Role, View};
use judge::check::{Rule, Violation};
use judge::history::{MemberId, Time};

/// An owned view: what a step leaves, and the entries it wrote.
#[derive(Clone)]
struct Step {
    member: u64,
    incarnation: u32,
    role: Role,
    term: u64,
    vote: Option<u64>,
    commit: u64,
    applied: u64,
    first_index: u64,
    last_index: u64,
    changed: Vec<LogEntry>,
    durable: Option<Durable>,
}

fn entry(index: u64, term: u64) -> LogEntry {
    LogEntry { index, term, digest: index * 100 + term }
}

/// A follower in term 1 that wrote `terms` from index 1 on, none of it committed.
fn step(member: u64, terms: &[u64]) -> Step {
    let entries = (1..).zip(terms).map(|(index, term)| entry(index, *term));
    Step {
        member,
        incarnation: 0,
        role: Role::Follower,
        term: terms.last().copied().unwrap_or(1),
        vote: None,
        commit: 0,
        applied: 0,
        first_index: 1,
        last_index: terms.len() as u64,
        changed: entries.collect(),
        durable: None,
    }
}

impl Step {
    fn lead(mut self, term: u64) -> Self {
        (self.role, self.term, self.vote) = (Role::Leader, term, Some(self.member));
        self
    }

    fn commit(mut self, commit: u64) -> Self {
        (self.commit, self.applied) = (commit, commit);
        self
    }

    fn term(mut self, term: u64) -> Self {
        self.term = term;
        self
    }

    fn vote(mut self, term: u64, vote: u64) -> Self {
        (self.term, self.vote) = (term, Some(vote));
        self
    }

    fn restart(mut self) -> Self {
        self.incarnation += 1;
        self
    }

    /// The same state with nothing written since.
    fn quiet(mut self) -> Self {
        self.changed.clear();
        self
    }

    fn view(&self) -> View<'_> {
        let vote = self.vote.map(MemberId);
        let durable = self.durable.unwrap_or(Durable {
            term: self.term,
            vote,
            last_index: self.last_index,
            applied: self.applied,
        });
        View {
            member: MemberId(self.member),
            incarnation: self.incarnation,
            role: self.role,
            term: self.term,
            vote,
            commit: self.commit,
            applied: self.applied,
            first_index: self.first_index,
            last_index: self.last_index,
            changed: &self.changed,
            durable,
        }
    }
}

fn run(steps: &[Step]) -> Result<(), Violation> {
    let mut check = Raft::new();
    (1..)
        .zip(steps)
        .try_for_each(|(second, step)| check.observe(Time::from_secs(second), &step.view()))
}

#[test]
fn what_raft_does_passes() {
    let mut check = Raft::new();
    let mut observe = |step: Step| {
        check.observe(Time(1), &step.view()).expect("as Raft does");
    };
    observe(step(1, &[1, 1]).lead(1).commit(2));
    observe(step(2, &[1, 1, 1]));
    observe(step(2, &[1, 1, 1]).quiet().commit(2));
    observe(step(3, &[1, 1]).vote(2, 3));
    observe(step(3, &[1, 1, 2]).lead(2).commit(1));
    // A conflicting tail is replaced, a member restarts, another gets a snapshot.
    let mut replaced = step(2, &[1, 1, 2]);
    replaced.changed.drain(..2);
    observe(replaced.commit(2));
    observe(step(2, &[1, 1, 2]).commit(1).restart());
    let mut snapshot = step(4, &[]).commit(3).term(2);
    (snapshot.first_index, snapshot.last_index) = (4, 3);
    observe(snapshot);
    let mut on = step(3, &[1, 1, 2, 2]).lead(2).commit(1);
    on.changed.drain(..3);
    observe(on);
    // One that had another tail gets a snapshot before it is looked at, and what follows it.
    let mut behind = step(5, &[1, 1, 1, 2]).commit(3);
    behind.first_index = 4;
    observe(behind);
    assert_eq!(check.highest_commit(), 2);
}

#[test]
fn every_break_gets_its_name() {
    let two = step(1, &[1, 1]).commit(2);
    let cases: Vec<(&str, Vec<Step>, Rule)> = vec![
        (
            "two leaders in a term",
            vec![step(1, &[1]).lead(3), step(2, &[1]).lead(3)],
            Rule::ElectionSafety,
        ),
        (
            "one term and index, two entries",
            vec![step(1, &[1]), {
                let mut other = step(2, &[1]);
                other.changed[0].digest += 1;
                other
            }],
            Rule::LogMatching,
        ),
        (
            "one entry after two histories",
            vec![step(1, &[1, 3]), step(2, &[2, 3])],
            Rule::LogMatching,
        ),
        (
            "entries missing in the middle",
            vec![step(1, &[1]), {
                let mut hole = step(1, &[1, 1, 1]);
                hole.changed.drain(..2);
                hole
            }],
            Rule::LogMatching,
        ),
        (
            "B05: acknowledged before its sync, lost, and elected without it",
            vec![two.clone().lead(1), step(2, &[1]).vote(2, 3), step(3, &[1]).lead(2)],
            Rule::LeaderCompleteness,
        ),
        (
            "an entry of an older term is committed by counting",
            vec![step(1, &[1]).lead(2), step(1, &[1]).quiet().lead(2).commit(1)],
            Rule::LeaderCommit,
        ),
        (
            "a leader rewrites its log",
            vec![step(1, &[1, 1]).lead(2), step(1, &[1, 2]).lead(2)],
            Rule::LeaderAppendOnly,
        ),
        (
            "two entries committed at an index",
            vec![two.clone(), step(2, &[1, 2]).commit(2)],
            Rule::StateMachineSafety,
        ),
        (
            "B51: a committed entry is overwritten",
            vec![two.clone(), {
                let mut over = step(1, &[1, 2]).commit(2);
                over.changed.remove(0);
                over
            }],
            Rule::StateMachineSafety,
        ),
        (
            "a term goes back",
            vec![step(1, &[1]).term(4), step(1, &[1]).term(3)],
            Rule::TermMonotone,
        ),
        (
            "a durable term is forgotten",
            vec![step(1, &[1]).term(4), step(1, &[1]).term(3).restart()],
            Rule::TermMonotone,
        ),
        (
            "a durable tail is forgotten",
            vec![step(1, &[1, 1]), step(1, &[1]).restart()],
            Rule::CommitMonotone,
        ),
        (
            "a commit goes back",
            vec![two.clone(), two.clone().quiet().commit(1)],
            Rule::CommitMonotone,
        ),
        ("B48: commit beyond the log", vec![step(1, &[1]).commit(5)], Rule::CommitMonotone),
        (
            "applied goes back",
            vec![two.clone(), {
                let mut back = two.clone().quiet();
                back.applied = 1;
                back
            }],
            Rule::AppliedMonotone,
        ),
        (
            "applied what is not committed",
            vec![{
                let mut early = step(1, &[1, 1]);
                early.applied = 1;
                early
            }],
            Rule::AppliedMonotone,
        ),
        (
            "B01: a restart skips what was not durable",
            vec![
                {
                    let mut half = two.clone();
                    half.durable = Some(Durable { term: 1, vote: None, last_index: 2, applied: 1 });
                    half
                },
                two.clone().restart(),
            ],
            Rule::AppliedMonotone,
        ),
        (
            "a vote changes in its term",
            vec![step(1, &[1]).vote(2, 2), step(1, &[1]).vote(2, 3)],
            Rule::SingleVote,
        ),
        (
            "a vote is forgotten in a restart",
            vec![step(1, &[1]).vote(2, 2), step(1, &[1]).term(2).restart()],
            Rule::SingleVote,
        ),
    ];
    for (name, steps, rule) in cases {
        expect(name, run(&steps), Some(rule));
        expect(name, run(&steps[..steps.len() - 1]), None);
    }
}

#[test]
fn a_vote_that_was_sent_stands() {
    let mut check = Raft::new();
    let mut send = |voter, term, candidate| {
        check.on_vote_sent(Time(1), MemberId(voter), term, MemberId(candidate))
    };
    expect("first", send(1, 2, 3), None);
    expect("again", send(1, 2, 3), None);
    expect("next term", send(1, 3, 2), None);
    expect("another", send(1, 2, 2), Some(Rule::SingleVote));
}

#[test]
fn a_damaged_log_may_be_shorter_but_not_lead() {
    let mut check = Raft::new();
    let whole = step(1, &[1, 1]).commit(2);
    check.observe(Time(1), &whole.view()).expect("as Raft does");
    check.damage(MemberId(1));
    let damaged = step(1, &[1]).commit(1).restart();
    expect("shorter", check.observe(Time(2), &damaged.view()), None);
    let leads = step(1, &[1]).restart().quiet().commit(1).lead(2);
    let result = check.observe(Time(3), &leads.view());
    expect("leads", result, Some(Rule::LeaderCompleteness));
}

#[test]
fn what_was_on_its_way_to_the_disk_may_be_there_after_a_crash() {
    let mut check = Raft::new();
    let longer = step(1, &[1, 1, 1]).commit(1);
    check.observe(Time(1), &longer.view()).expect("as Raft does");
    // A new leader's entry replaced two of them, and a snapshot came: neither was seen durable.
    check.end(MemberId(1), Durable { term: 1, vote: None, last_index: 2, applied: 2 });
    let shorter = step(1, &[1, 2]).term(2).commit(2).restart();
    let mut unseen = check.clone();
    expect("shorter", check.observe(Time(2), &shorter.view()), None);
    let shortest = step(1, &[1]).commit(1).restart();
    let result = unseen.observe(Time(2), &shortest.view());
    expect("shortest", result, Some(Rule::CommitMonotone));
}
