//! Whom the member hears, and who hears it: the simulator's part of [`quorate_member::identity`].

use std::collections::BTreeSet;

use quorate_disk::Disk as _;
use quorate_member::identity::{Book, BookFile, Claim, Judgement, Situation, Trial, Verdict};
use quorate_raft::Role;
use sim_disk::{FaultyHandle, HandleId};

use super::{Output, Process, Stop};

/// Ticks between two looks at what followers have acknowledged.
const LOOK_TICKS: u64 = 20;

/// A start of a member's, of all starts in the run.
pub(crate) type Life = (u64, u32);

/// What a member knows of who is who.
pub(crate) struct Identity {
    book: Book,
    file: BookFile,
    disk: FaultyHandle,
    /// Whose connections are open: what comes on one was said by who opened it.
    heard: BTreeSet<Life>,
    /// At whose addresses others answer.
    doubted: BTreeSet<Life>,
    writing: Option<(Life, Claim)>,
    is_dirty: bool,
    trial: Trial,
}

/// Whether what somebody sends is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    Heard,
    /// Not yet.
    Unwritten,
    /// Not, for this reason.
    Refused(String),
}

impl Identity {
    pub(crate) fn new(book: Book, file: BookFile, disk: FaultyHandle) -> Self {
        let (heard, doubted, trial) = (BTreeSet::new(), BTreeSet::new(), Trial::default());
        Self { book, file, disk, heard, doubted, writing: None, is_dirty: false, trial }
    }

    pub(super) fn handle(&self) -> HandleId {
        self.disk.id()
    }
}

impl Process {
    /// What the member says of itself.
    pub(crate) fn claim(&self) -> Claim {
        let standing = self.replica.standing();
        let end = self.writer.durable_end(standing.commit);
        self.identity.book.claim((!standing.is_repairing).then_some(end))
    }

    /// Whether it takes one that introduces itself for the member that it knows.
    pub(crate) fn takes(&self, peer: u64, claim: &Claim) -> Result<(), String> {
        let judged = self.identity.book.judge(peer, Some(claim));
        judged.map(|_| ()).map_err(|doubt| doubt.to_string())
    }

    /// Whether it hears what a peer sends that claims this.
    pub(crate) fn hears(&mut self, life: Life, claim: &Claim) -> Hearing {
        let is_known = self.store.members().iter().any(|member| member.id == life.0);
        let identity = &mut self.identity;
        if identity.heard.contains(&life) {
            return Hearing::Heard;
        }
        match identity.book.judge(life.0, Some(claim)) {
            Err(doubt) => Hearing::Refused(doubt.to_string()),
            Ok(Judgement::First | Judgement::Later) if is_known => {
                if identity.writing.is_none() && !identity.file.is_writing() {
                    let mut book = identity.book.clone();
                    book.remember(life.0, claim);
                    identity.file.write(&mut identity.disk, &book);
                    identity.writing = Some((life, claim.clone()));
                }
                Hearing::Unwritten
            }
            Ok(_) => {
                if is_known {
                    identity.is_dirty |= identity.book.remember(life.0, claim);
                    identity.heard.insert(life);
                }
                Hearing::Heard
            }
        }
    }

    /// Hear again what a peer says of itself that is heard.
    pub(crate) fn note_claim(&mut self, life: Life, claim: &Claim) {
        let identity = &mut self.identity;
        if identity.heard.contains(&life) && identity.book.peer(life.0).is_some() {
            identity.is_dirty |= identity.book.remember(life.0, claim);
        }
    }

    /// Whether it sends nothing more to who answers at a peer's address: it finds out by the first
    /// answer.
    pub(crate) fn shuns(&mut self, life: Life, claim: &Claim) -> bool {
        let is_doubted = self.identity.book.judge(life.0, Some(claim)).is_err();
        let is_heard = self.identity.heard.contains(&life);
        is_doubted && !is_heard && !self.identity.doubted.insert(life)
    }

    /// A peer hears it.
    pub(crate) fn accepted_by(&mut self, peer: u64) {
        self.identity.trial.on_accepted(peer);
    }

    /// A peer does not.
    pub(crate) fn refused_by(&mut self, peer: u64, why: &str) {
        self.identity.trial.on_refused(peer, why);
        self.judge_self();
    }

    fn judge_self(&mut self) {
        let members = self.store.members().iter();
        let voters = members.filter(|member| !member.is_learner).map(|member| member.id);
        let voters: Vec<u64> = voters.collect();
        let leader = self.replica.standing().leader.map(|leader| leader.0);
        let situation = Situation { member: self.id, leader, voters: &voters };
        if let Verdict::Stop { why, .. } = self.identity.trial.judge(situation) {
            self.stop(Stop::Refused(why));
        }
    }

    /// Now and then: what followers have acknowledged, and who is gone.
    pub(super) fn look_around(&mut self) {
        if !self.ticks.is_multiple_of(LOOK_TICKS) || self.stopped {
            return;
        }
        self.judge_self();
        let identity = &mut self.identity;
        for removed in self.store.members().removed() {
            identity.trial.forget(removed);
            identity.is_dirty |= identity.book.forget(removed);
        }
        if self.replica.standing().role == Role::Leader {
            let status = self.replica.status();
            for follower in &status.followers {
                let (term, commit) = (status.term, status.commit);
                let peer = follower.member.0;
                identity.is_dirty |=
                    identity.book.note_acknowledged(peer, term, follower.matched, commit);
            }
        }
        if identity.is_dirty && !identity.file.is_writing() {
            identity.is_dirty = false;
            identity.file.write(&mut identity.disk, &identity.book);
        }
    }

    /// Hear what the book's disk has done.
    pub(super) fn poll_book(&mut self) {
        let mut completions = Vec::new();
        let identity = &mut self.identity;
        identity.disk.poll(&mut completions);
        for completion in completions {
            match identity.file.on_completion(completion) {
                Ok(false) => {}
                Ok(true) => {
                    if let Some((life, claim)) = identity.writing.take() {
                        identity.book.remember(life.0, &claim);
                        identity.heard.insert(life);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    identity.writing = None;
                    identity.is_dirty = true;
                }
                Err(_) => {
                    self.outputs.push(Output::Reached(super::Mark::DiskFailed));
                    return self.stop(Stop::DiskFailed);
                }
            }
        }
    }
}
