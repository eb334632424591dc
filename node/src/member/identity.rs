//! The member's book while it runs. One thread writes it, so that nobody else waits for a disk.
//!
//! ```text
//!   peer's new claim ── remember ──► thread: written, synced ──► heard
//!   every 2 s, at a disconnection ─► thread: what followers have acknowledged, written if it grew
//!   peer's refusal ──── trial ─────► the member goes on, or stops
//! ```
//!
//! A disk that is full loses nothing that is in the book: a new claim is then not heard, and is
//! tried again when its sender is. Any other failure ends the member, as that of its log does.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use quorate_api::Error;
use quorate_api::identity::format_id;
use quorate_disk::{Disk as _, RealDisk};
use quorate_member::identity::{
    Book, BookFile, Claim, Doubt, Judgement, Situation, Trial, Verdict,
};
use tokio::sync::oneshot;

use super::stop::Stop;
use super::{Member, Shared};
use crate::metrics;

/// Between two looks at what followers have acknowledged.
const LOOK: Duration = Duration::from_secs(2);

/// What the member knows of who is who.
pub(super) struct Identity {
    state: Mutex<State>,
    wants: Sender<Want>,
    /// For the thread.
    idle: Mutex<Option<(Receiver<Want>, BookDisk)>>,
}

struct State {
    book: Book,
    /// It says more than the file does.
    is_dirty: bool,
    trial: Trial,
}

enum Want {
    /// Write down a peer's claim before it is heard.
    Remember {
        peer: u64,
        claim: Claim,
        told: oneshot::Sender<Result<(), Error>>,
    },
    /// Look at the followers now.
    Look,
    End,
}

/// The book's file in its folder.
pub(crate) struct BookDisk {
    disk: RealDisk,
    file: BookFile,
}

impl BookDisk {
    /// Of a disk that does things at once.
    pub(crate) fn new(disk: RealDisk, file: BookFile) -> Self {
        Self { disk, file }
    }

    /// Make the book durable. Blocks.
    pub(crate) fn write(&mut self, book: &Book) -> io::Result<()> {
        self.file.write(&mut self.disk, book);
        let mut completions = Vec::new();
        self.disk.poll(&mut completions);
        for completion in completions {
            self.file.on_completion(completion)?;
        }
        assert!(!self.file.is_writing(), "this disk does things at once");
        Ok(())
    }
}

impl Identity {
    pub(super) fn new(book: Book, disk: BookDisk) -> Self {
        let (wants, receiver) = channel();
        let state = Mutex::new(State { book, is_dirty: false, trial: Trial::default() });
        Self { state, wants, idle: Mutex::new(Some((receiver, disk))) }
    }

    /// Look at the followers soon.
    pub(super) fn look(&self) {
        // Without a thread the member has ended.
        let _ = self.wants.send(Want::Look);
    }

    pub(super) fn end(&self) {
        let _ = self.wants.send(Want::End);
    }

    /// A member was removed, and does not come back.
    pub(super) fn forget(&self, members: impl Iterator<Item = u64>) {
        let mut state = self.state.lock();
        for member in members {
            state.trial.forget(member);
            state.is_dirty |= state.book.forget(member);
        }
    }
}

impl Member {
    /// What the member says of itself.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let end = (!self.standing().is_repairing).then(|| self.0.core.durable_end());
        self.0.identity.state.lock().book.claim(end)
    }

    /// Whether somebody is the peer that it says it is.
    ///
    /// # Errors
    /// Why not.
    pub fn judge_peer(&self, peer: u64, claim: Option<&Claim>) -> Result<Judgement, Doubt> {
        let mut state = self.0.identity.state.lock();
        let judgement = state.book.judge(peer, claim)?;
        if let (Judgement::Known, Some(claim)) = (judgement, claim) {
            state.is_dirty |= state.book.remember(peer, claim);
        }
        Ok(judgement)
    }

    /// Write down what a peer claims, before it is heard.
    ///
    /// # Errors
    /// When that cannot be written.
    pub async fn remember_peer(&self, peer: u64, claim: Claim) -> Result<(), Error> {
        let (told, answer) = oneshot::channel();
        let _ = self.0.identity.wants.send(Want::Remember { peer, claim, told });
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// A peer is not who it says it is.
    pub fn peer_doubted(&self, peer: u64, doubt: &Doubt) {
        metrics::identity_refused(peer);
        let peer = format_id(peer);
        tracing::error!(peer, reason = %doubt, "a peer is refused: it is not the member it was");
    }

    /// A peer hears this member.
    pub fn accepted_by(&self, peer: u64) {
        self.0.identity.state.lock().trial.on_accepted(peer);
        self.0.judge_self();
    }

    /// A peer does not take this member for the one that it was.
    pub fn refused_by(&self, peer: u64, why: &str) {
        metrics::refused_by_peer(peer);
        if self.0.identity.state.lock().trial.on_refused(peer, why) {
            let peer = format_id(peer);
            tracing::error!(peer, reason = why, "a peer refuses this member");
        }
        self.0.judge_self();
    }
}

impl Shared {
    /// Stop if peers refuse this member, and are to be believed.
    fn judge_self(&self) {
        let known = self.members.lock().clone();
        let voters: Vec<u64> = known
            .members
            .iter()
            .filter(|member| !member.is_learner)
            .map(|member| member.id)
            .collect();
        let leader = self.leadership.borrow().leader;
        let situation = Situation { member: self.ids.member, leader, voters: &voters };
        let verdict = self.identity.state.lock().trial.judge(situation);
        if let Verdict::Stop { by, why } = verdict {
            self.stop(Stop::refused(&by, &why));
        }
    }

    /// Write the book whenever there is something for it, until the end.
    pub(super) fn run_identity(&self) {
        let Some((wants, mut disk)) = self.identity.idle.lock().take() else { return };
        while self.ending.reason().is_none() {
            let done = match wants.recv_timeout(LOOK) {
                Ok(Want::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Want::Remember { peer, claim, told }) => {
                    let written = self.write_claim(&mut disk, peer, &claim);
                    let heard = written.as_ref().copied().map_err(|_| Error::NoSpace);
                    // Whoever asked may be gone.
                    let _ = told.send(heard);
                    written
                }
                Ok(Want::Look) | Err(RecvTimeoutError::Timeout) => self.look_around(&mut disk),
            };
            if let Err(error) = done {
                self.on_book_failure(&error);
            }
        }
    }

    fn write_claim(&self, disk: &mut BookDisk, peer: u64, claim: &Claim) -> io::Result<()> {
        let mut book = self.identity.state.lock().book.clone();
        if book.judge(peer, Some(claim)) == Ok(Judgement::Known) {
            // Another connection of the peer's brought it before.
            return Ok(());
        }
        book.remember(peer, claim);
        disk.write(&book)?;
        // What it was known to have had may have grown meanwhile.
        self.identity.state.lock().book.remember(peer, claim);
        Ok(())
    }

    fn look_around(&self, disk: &mut BookDisk) -> io::Result<()> {
        self.judge_self();
        let status = self.core.status();
        let book = {
            let mut state = self.identity.state.lock();
            if self.leads() {
                for follower in &status.followers {
                    let peer = follower.member.0;
                    let (term, commit) = (status.term, status.commit);
                    state.is_dirty |=
                        state.book.note_acknowledged(peer, term, follower.matched, commit);
                }
            }
            if !std::mem::take(&mut state.is_dirty) {
                return Ok(());
            }
            state.book.clone()
        };
        disk.write(&book).inspect_err(|_| self.identity.state.lock().is_dirty = true)
    }

    fn on_book_failure(&self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                tracing::warn!(%error, "what is known of peers cannot be written: it is tried again");
            }
            _ => self.stop(Stop::StoreFailed(format!("what is known of peers: {error}"))),
        }
    }
}
