//! Who is heard: the claim of whoever asks or answers, against what is remembered of it.

use http::{HeaderMap, StatusCode};
use quorate_api::peer::{Claim, IDENTITY_HEADER};
use quorate_member::identity::{Doubt, Judgement};
use thiserror::Error;

use super::remote::Remote;
use super::serve::{Reply, error, set, text};
use super::transport::Shared;

/// What a peer answers that does not take the asking member for the one that it was.
pub(super) const REFUSED: StatusCode = StatusCode::CONFLICT;

/// Why a peer is not heard.
#[derive(Debug, Error)]
pub(super) enum Unheard {
    /// It is not who it says it is.
    #[error(transparent)]
    Doubted(#[from] Doubt),
    /// It has started anew, and as it was before it is still connected. It may be that its end has
    /// not been noticed yet; if not, two processes run as one member.
    #[error("the member is still connected as it was started before")]
    Connected,
    /// What it claims cannot be written down.
    #[error("what the member says of itself cannot be written down: {0}")]
    Unwritten(String),
}

impl Unheard {
    pub(super) fn reply(&self) -> Reply {
        let status = match self {
            Self::Doubted(_) => REFUSED,
            Self::Connected | Self::Unwritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        error(status, &self.to_string())
    }
}

/// What a peer says of itself is new.
struct News(u64, Claim);

/// Hears who a peer is that asks with these headers, or answers with them.
pub(super) async fn hear(shared: &Shared, peer: u64, headers: &HeaderMap) -> Result<(), Unheard> {
    let Some(News(peer, claim)) = consider(shared, peer, headers)? else { return Ok(()) };
    let remembered = shared.inbox().remember(peer, claim).await;
    remembered.map_err(|error| Unheard::Unwritten(error.message().to_owned()))
}

/// Says whether a peer would be heard that introduces itself, and remembers nothing of it: another
/// may refuse it, and then it has never been there.
pub(super) fn meet(shared: &Shared, peer: u64, headers: &HeaderMap) -> Result<(), Unheard> {
    consider(shared, peer, headers).map(|_| ())
}

fn consider(shared: &Shared, peer: u64, headers: &HeaderMap) -> Result<Option<News>, Unheard> {
    let claim = text(headers, IDENTITY_HEADER).and_then(Claim::parse);
    let judged = shared.inbox().judge(peer, claim.as_ref());
    let is_later = match judged.inspect_err(|doubt| shared.inbox().doubted(peer, doubt))? {
        Judgement::Silent | Judgement::Known => return Ok(None),
        Judgement::First => false,
        Judgement::Later => true,
    };
    // Of those that are no members nothing is remembered: they may never become any.
    let (Some(claim), Some(remote)) = (claim, shared.member(peer)) else { return Ok(None) };
    if is_later && remote.is_connected() {
        return Err(Unheard::Connected);
    }
    Ok(Some(News(peer, claim)))
}

/// Hears who has answered: nothing is sent to one who is not the peer that was meant.
pub(super) async fn hear_answer(
    shared: &Shared,
    remote: &Remote,
    headers: &HeaderMap,
) -> Result<(), Unheard> {
    let heard = hear(shared, remote.id, headers).await;
    remote.set_doubted(matches!(heard, Err(Unheard::Doubted(_))));
    if heard.is_ok() {
        shared.inbox().accepted_by(remote.id);
    }
    heard
}

/// Says who answers.
pub(super) fn sign(shared: &Shared, reply: &mut Reply) {
    set(reply, IDENTITY_HEADER, &shared.inbox().claim().to_string());
}
