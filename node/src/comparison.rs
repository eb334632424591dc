//! Whether members have the same data: hashes of their keys, compared.
//!
//! ```text
//!   before anybody is served (InitialCorruptCheck):   other data at a peer ─► the member ends
//!   now and then, by the leader (--corrupt-check-time): other data at a peer ─► alarm CORRUPT
//! ```
//! A peer that does not answer, has not come as far, or has compacted otherwise, is no proof of
//! anything. It changes nothing but the alarm.

use std::time::{Duration, Instant};

use quorate_api::Error;
use quorate_api::etcdserverpb::alarm_request::AlarmAction;
use quorate_api::etcdserverpb::{AlarmRequest, AlarmType, HashKvResponse};
use quorate_api::identity::format_id;
use quorate_api::member_json;
use quorate_member::route::Request;

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
    let own = Inbox::hash_kv(member, 0).await.map_err(ComparisonError::Unreadable)?;
    let others = peers_with_other_data(member, &own).await;
    if others.is_empty() {
        tracing::info!(revision = own.hash_revision, "no other data was found at peers");
        return Ok(());
    }
    let peers: Vec<String> = others.into_iter().map(format_id).collect();
    Err(ComparisonError::Inconsistent {
        member: format_id(member.ids().member),
        peers: peers.join(", "),
        revision: own.hash_revision,
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
        let Ok(own) = Inbox::hash_kv(member, 0).await else { continue };
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

async fn peers_with_other_data(member: &Member, own: &HashKvResponse) -> Vec<u64> {
    let mut others = Vec::new();
    for peer in &member.known_members().members {
        if peer.id == member.ids().member {
            continue;
        }
        let answer = member.peer_hash(peer, own.hash_revision).await;
        if is_other(peer, own, &answer) {
            others.push(peer.id);
        }
    }
    others
}

/// Whether a peer's answer says that its data are others.
fn is_other(
    peer: &member_json::Member,
    own: &HashKvResponse,
    answer: &Result<HashKvResponse, Error>,
) -> bool {
    let peer = format_id(peer.id);
    match answer {
        Ok(theirs) if theirs.hash == own.hash => false,
        Ok(theirs) if theirs.compact_revision != own.compact_revision => {
            tracing::warn!(
                peer,
                own = own.compact_revision,
                theirs = theirs.compact_revision,
                "a peer has compacted otherwise: data cannot be compared"
            );
            false
        }
        Ok(theirs) => {
            tracing::error!(
                peer,
                revision = own.hash_revision,
                own = own.hash,
                theirs = theirs.hash,
                "a peer has other data"
            );
            true
        }
        Err(error) => {
            tracing::warn!(peer, %error, "a peer's data cannot be compared");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_data_at_the_same_state_are_other() {
        let peer = member_json::Member::default();
        let hash = |hash, compact_revision| HashKvResponse {
            header: None,
            hash,
            compact_revision,
            hash_revision: 9,
        };
        let own = hash(1, 5);
        assert!(is_other(&peer, &own, &Ok(hash(2, 5))));
        assert!(!is_other(&peer, &own, &Ok(hash(1, 5))));
        assert!(!is_other(&peer, &own, &Ok(hash(2, 6))));
        assert!(!is_other(&peer, &own, &Err(Error::FutureRevision)));
        assert!(!is_other(&peer, &own, &Err(Error::Timeout)));
    }
}
