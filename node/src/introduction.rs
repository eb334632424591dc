//! A member introduces itself before it runs: peers that remember something else of it say so.
//!
//! It is not needed by anybody yet, so one that refuses it is enough to end the start, and those
//! that are silent do not hold it up: the reasons are in [`quorate_member::identity`].

use std::time::Duration;

use quorate_api::identity::format_id;
use quorate_api::member_json;
use quorate_api::urls::Url;
use quorate_member::identity::{Claim, Situation, Trial, Verdict};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::member::{Ids, Stop};
use crate::peer::Dialer;
use crate::peer::client::{self, Introduced};

/// The wait for the answer of a peer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The wait for peers that are still connected to this member as it was started before: twice what
/// they take to notice that nothing comes any more.
const CONNECTED_PATIENCE: Duration = Duration::from_secs(10);

/// Between two introductions to a peer that is still connected.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a member does not start after it introduced itself.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Peers do not take it for the member that it was.
    #[error(transparent)]
    Refused(Stop),
    /// It runs already.
    #[error(
        "another process runs as this member: peer {0} is connected to it. End that one first; a \
         copy of its data directory cannot run as well"
    )]
    Runs(String),
    /// Its directory is another cluster's.
    #[error(
        "the data directory is of cluster {here}, and {url} in --initial-cluster is of cluster \
         {there}: nothing is changed. Put back this member's own directory, or name the members of \
         the directory's cluster in --initial-cluster"
    )]
    OtherCluster {
        /// The directory's.
        here: String,
        /// That of whom the member was told to be with.
        there: String,
        /// Who that is.
        url: String,
    },
}

/// Who introduces itself.
pub(crate) struct Newcomer<'a> {
    pub(crate) ids: Ids,
    /// Where its peers reach it.
    pub(crate) advertise: &'a [Url],
    /// What it says of itself.
    pub(crate) claim: Claim,
}

/// Ask those whom the member was told to be with whether they are of its directory's cluster. One
/// that is says enough; so does one that is of another, if all else are silent.
///
/// # Errors
/// When the directory is another cluster's.
pub(crate) async fn check_cluster(
    dialer: &Dialer,
    here: u64,
    others: impl Iterator<Item = Vec<String>>,
) -> Result<(), NotTaken> {
    let mut asked = JoinSet::new();
    for urls in others {
        let dialer = dialer.clone();
        asked.spawn(async move {
            let answer = client::fetch_members(&dialer, &urls, PATIENCE).await;
            (answer.map(|(cluster, _)| cluster), urls.join(","))
        });
    }
    let mut other = None;
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok((Ok(there), _)) if there == here => return Ok(()),
            Ok((Ok(there), url)) => other = Some((there, url)),
            Ok((Err(_), _)) | Err(_) => {}
        }
    }
    match other {
        None => Ok(()),
        Some((there, url)) => {
            Err(NotTaken::OtherCluster { here: format_id(here), there: format_id(there), url })
        }
    }
}

/// Ask all peers at once whether they take the member for the one that they know.
///
/// # Errors
/// When it must not start.
pub(crate) async fn introduce(
    dialer: &Dialer,
    newcomer: Newcomer<'_>,
    peers: &[member_json::Member],
) -> Result<(), NotTaken> {
    let Newcomer { ids, advertise, claim } = newcomer;
    let headers = client::introduction(ids, advertise, &claim);
    let mut asked = JoinSet::new();
    for peer in peers.iter().filter(|peer| peer.id != ids.member) {
        let (dialer, headers) = (dialer.clone(), headers.clone());
        let (id, urls) = (peer.id, peer.peer_urls.clone().unwrap_or_default());
        asked.spawn(async move { (id, ask(&dialer, &urls, &headers).await) });
    }
    let mut trial = Trial::default();
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok((peer, Some(Introduced::Heard))) => trial.on_accepted(peer),
            Ok((peer, Some(Introduced::Refused(why)))) => {
                trial.on_refused(peer, &why);
            }
            Ok((peer, Some(Introduced::Connected))) => {
                return Err(NotTaken::Runs(format_id(peer)));
            }
            Ok((_, None)) | Err(_) => {}
        }
    }
    let voters: Vec<u64> = peers.iter().map(|peer| peer.id).collect();
    let situation = Situation { member: ids.member, leader: None, voters: &voters };
    match trial.judge(situation) {
        Verdict::GoOn => Ok(()),
        Verdict::Stop { by, why } => Err(NotTaken::Refused(Stop::refused(&by, &why))),
    }
}

/// What a peer says, if it says something.
async fn ask(
    dialer: &Dialer,
    urls: &[String],
    headers: &[(&'static str, String)],
) -> Option<Introduced> {
    let until = Instant::now() + CONNECTED_PATIENCE;
    loop {
        match client::introduce(dialer, urls, headers, PATIENCE).await {
            Ok(Introduced::Connected) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            Ok(introduced) => return Some(introduced),
            Err(error) => {
                tracing::debug!(%error, ?urls, "a peer does not say whether it knows this member");
                return None;
            }
        }
    }
}
