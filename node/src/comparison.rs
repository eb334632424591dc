//! Whether members have the same data: hashes of their keys, compared.
//!
//! ```text
//!   before anybody is served (InitialCorruptCheck):   other data at a peer ─► the member ends
//!   now and then, by the leader (--corrupt-check-time): other data at a peer ─► alarm CORRUPT
//! ```
//! A peer that does not answer, has not come as far, or has compacted otherwise, is no proof of
//! anything. It changes nothing but the alarm.
//!
//! Of a revision that a compaction left a hash of, a peer says that one if it remembers it, and
//! the hash of its data if it has started since: this member compares with the same of its own.

use std::time::{Duration, Instant};

use quorate_api::Error;
use quorate_api::etcdserverpb::alarm_request::AlarmAction;
use quorate_api::etcdserverpb::{AlarmRequest, AlarmType, HashKvResponse};
use quorate_api::identity::format_id;
use quorate_api::member_json;
use quorate_member::route::Request;
use quorate_store::hash::CompactionHash;

use crate::member::Member;
use crate::peer::Inbox;

/// The wait for the log's replay.
const REPLAY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(10);

/// Why the data do not allow a member to serve.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// Peers have other data at the same revision.
    #[error(
        "{member} found data inconsistency with peers: {peers} have other data at revision \
         {revision}; find out which members agree, then remove this one from the cluster and add \
         it again with an empty directory"
    )]
    Inconsistent {
        /// This member.
        member: String,
        /// Who has other data.
        peers: String,
        /// At which revision.
        revision: i64,
    },
    /// This member's own data cannot be read.
    #[error("this member's data cannot be compared with its peers': {0}")]
    Unreadable(Error),
}

/// Compare the member's data with that of all peers that answer.
///
/// # Errors
/// [`ComparisonError`] if the member must not serve.
pub(crate) async fn before_serving(member: &Member) -> Result<(), ComparisonError> {
    caught_up(member).await;
    let own = Own::of(member).await.map_err(ComparisonError::Unreadable)?;
    let others = peers_with_other_data(member, &own).await;
    if others.is_empty() {
        tracing::info!(revision = own.revision(), "no other data was found at peers");
        return Ok(());
    }
    let peers: Vec<String> = others.into_iter().map(format_id).collect();
    Err(ComparisonError::Inconsistent {
        member: format_id(member.ids().member),
        peers: peers.join(", "),
        revision: own.revision(),
    })
}

/// Wait until the store has what the log held at the start: the members are known then, and peers
/// need not have kept what is older.
async fn caught_up(member: &Member) {
    let committed = member.status().commit;
    let until = Instant::now() + REPLAY_WAIT_MAX;
    while member.readable_store().await.applied_index() < committed {
        if Instant::now() > until {
            tracing::warn!("the log's replay takes long; data are compared as of now");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Compare while this member leads, once in every interval, and raise an alarm for whoever has
/// other data.
pub(crate) async fn regularly(member: &Member, interval: Option<Duration>) {
    let Some(interval) = interval else { return std::future::pending().await };
    loop {
        tokio::time::sleep(interval).await;
        // What is compared must not be older than what peers have.
        if !member.is_leader() || member.confirm().await.is_err() {
            continue;
        }
        let Ok(own) = Own::of(member).await else { continue };
        for peer in peers_with_other_data(member, &own).await {
            let alarm = AlarmRequest {
                action: AlarmAction::Activate.into(),
                member_id: peer,
                alarm: AlarmType::Corrupt.into(),
            };
            if let Err(error) = member.request(Request::Alarm(alarm)).await {
                tracing::warn!(%error, "the alarm of other data could not be raised");
            }
        }
    }
}

/// This member's hashes at its current revision.
struct Own {
    /// That of its data.
    data: HashKvResponse,
    /// What a compaction to just that revision left behind.
    remembered: Option<CompactionHash>,
}

impl Own {
    async fn of(member: &Member) -> Result<Self, Error> {
        let data = Inbox::hash_kv(member, 0).await?;
        let store = member.readable_store().await;
        let remembered = store.mvcc().compaction().remembered().get(data.hash_revision);
        Ok(Self { data, remembered })
    }

    fn revision(&self) -> i64 {
        self.data.hash_revision
    }

    /// Hash and compacted revision that are to be those of an answer.
    fn like(&self, answer: &HashKvResponse) -> (u32, i64) {
        let is_like = |hash: &CompactionHash| hash.compact_revision == answer.compact_revision;
        match self.remembered.filter(is_like) {
            Some(hash) => (hash.hash, hash.compact_revision),
            None => (self.data.hash, self.data.compact_revision),
        }
    }
}

async fn peers_with_other_data(member: &Member, own: &Own) -> Vec<u64> {
    let mut others = Vec::new();
    for peer in &member.known_members().members {
        if peer.id == member.ids().member {
            continue;
        }
        let answer = member.peer_hash(peer, own.revision()).await;
        if is_other(peer, own, &answer) {
            others.push(peer.id);
        }
    }
    others
}

/// Whether a peer's answer says that its data are others.
fn is_other(peer: &member_json::Member, own: &Own, answer: &Result<HashKvResponse, Error>) -> bool {
    let peer = format_id(peer.id);
    let theirs = match answer {
        Ok(theirs) => theirs,
        Err(error) => {
            tracing::warn!(peer, %error, "a peer's data cannot be compared");
            return false;
        }
    };
    let (hash, compact_revision) = own.like(theirs);
    if theirs.hash == hash {
        return false;
    }
    if theirs.compact_revision != compact_revision {
        tracing::warn!(
            peer,
            own = compact_revision,
            theirs = theirs.compact_revision,
            "a peer has compacted otherwise: data cannot be compared"
        );
        return false;
    }
    tracing::error!(
        peer,
        revision = own.revision(),
        own = hash,
        theirs = theirs.hash,
        "a peer has other data"
    );
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(hash: u32, compact_revision: i64) -> HashKvResponse {
        HashKvResponse { header: None, hash, compact_revision, hash_revision: 9 }
    }

    #[test]
    fn only_other_data_at_the_same_state_are_other() {
        let peer = member_json::Member::default();
        let own = Own { data: hash(1, 5), remembered: None };
        assert!(is_other(&peer, &own, &Ok(hash(2, 5))));
        assert!(!is_other(&peer, &own, &Ok(hash(1, 5))));
        assert!(!is_other(&peer, &own, &Ok(hash(2, 6))));
        assert!(!is_other(&peer, &own, &Err(Error::FutureRevision)));
        assert!(!is_other(&peer, &own, &Err(Error::Timeout)));
    }

    #[test]
    fn what_a_peer_remembers_is_compared_with_what_this_member_does() {
        let peer = member_json::Member::default();
        let remembered = CompactionHash { hash: 3, revision: 9, compact_revision: 4 };
        let own = Own { data: hash(1, 9), remembered: Some(remembered) };
        assert!(!is_other(&peer, &own, &Ok(hash(3, 4))));
        assert!(is_other(&peer, &own, &Ok(hash(1, 4))));
        assert!(!is_other(&peer, &own, &Ok(hash(1, 9))), "it has started since");
        assert!(is_other(&peer, &own, &Ok(hash(3, 9))));
        let started = Own { remembered: None, ..own };
        assert!(!is_other(&peer, &started, &Ok(hash(3, 4))), "nothing to compare with");
    }
}
