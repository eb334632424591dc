//! The book: what a member knows of itself, and remembers of its peers.

use std::collections::BTreeMap;

use quorate_api::peer::{Claim, LogEnd, NONCES_MAX};

use super::rule::{Doubt, Judgement, Remembered, judge};

/// Peers that are remembered at most: more than a cluster has. Of others everything is taken.
pub(super) const PEERS_MAX: usize = 48;

/// What a member knows of itself, and remembers of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    pub(super) own: Own,
    pub(super) peers: BTreeMap<u64, Remembered>,
}

/// What a member knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The cluster; 0 until it is founded.
    pub cluster: u64,
    /// The member; 0 until it is founded.
    pub member: u64,
    /// Which data directory this is.
    pub incarnation: u64,
    /// How often the member was started on it.
    pub boot: u64,
    /// The nonce of this start and of those before, the newest first.
    pub nonces: Vec<u64>,
    /// How far its directory has come.
    pub stage: Stage,
}

/// How far a directory has come. The block is written before the log is made and again after, so
/// that whichever is missing later was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There may not be a log yet.
    Founding,
    /// There is one.
    Founded,
}

impl Book {
    /// Of a directory that is new, under a number drawn for it.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        let own = Own {
            cluster: 0,
            member: 0,
            incarnation,
            boot: 0,
            nonces: Vec::new(),
            stage: Stage::Founding,
        };
        Self { own, peers: BTreeMap::new() }
    }

    /// What the member knows of itself.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// What is remembered of a peer.
    #[must_use]
    pub fn peer(&self, peer: u64) -> Option<&Remembered> {
        self.peers.get(&peer)
    }

    /// The member starts again, with a nonce drawn for this start.
    pub fn begin(&mut self, nonce: u64) {
        self.own.boot += 1;
        self.own.nonces.insert(0, nonce);
        self.own.nonces.truncate(NONCES_MAX);
    }

    /// There is a log, of this cluster, member and directory.
    pub fn found(&mut self, cluster: u64, member: u64, incarnation: u64) {
        let Own { boot: _, nonces: _, cluster: of, member: is, incarnation: has, stage } =
            &mut self.own;
        (*of, *is, *has, *stage) = (cluster, member, incarnation, Stage::Founded);
    }

    /// What the member says of itself.
    #[must_use]
    pub fn claim(&self, end: Option<LogEnd>) -> Claim {
        let Own { incarnation, boot, nonces, .. } = self.own.clone();
        Claim { incarnation, boot, nonces, end }
    }

    /// Whether somebody is this peer.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, peer: u64, claim: Option<&Claim>) -> Result<Judgement, Doubt> {
        judge(self.peers.get(&peer), claim)
    }

    /// Remember what a peer has claimed and was taken for; whether that changes anything.
    pub fn remember(&mut self, peer: u64, claim: &Claim) -> bool {
        if let Some(remembered) = self.peers.get_mut(&peer) {
            return changes(remembered, |remembered| remembered.note(claim));
        }
        let has_room = self.peers.len() < PEERS_MAX;
        if has_room {
            self.peers.insert(peer, Remembered::first(claim));
        }
        has_room
    }

    /// Remember what a peer has acknowledged to this member as the leader of a term, who knows so
    /// much to be committed; whether that changes anything. Nothing of a peer that claims nothing.
    pub fn note_acknowledged(&mut self, peer: u64, term: u64, index: u64, committed: u64) -> bool {
        let Some(remembered) = self.peers.get_mut(&peer) else { return false };
        changes(remembered, |remembered| remembered.note_acknowledged(term, index, committed))
    }

    /// A member was removed, and may be forgotten: one that is added again has another id. Whether
    /// it was. As long as there is room enough it is not: a crash may bring back a time at which it
    /// was a member still, and whoever then comes under its name must be known.
    pub fn forget(&mut self, peer: u64) -> bool {
        self.peers.len() > PEERS_MAX / 2 && self.peers.remove(&peer).is_some()
    }
}

fn changes(remembered: &mut Remembered, change: impl FnOnce(&mut Remembered)) -> bool {
    let before = remembered.clone();
    change(remembered);
    *remembered != before
}
