//! A snapshot of a member as it arrives: counted, hashed, and compared with its own digest.
//!
//! ```text
//!   read through a quorum ─▶ the stream opens ─▶ pieces … ─▶ SHA-256 of what was before
//!                                 └─▶ hash of the keys at its revision, meanwhile
//! ```
//! The read comes first, so that everything that was acknowledged before is in the snapshot,
//! whichever member is asked.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use quorate_api::etcdserverpb::{HashKvRequest, RangeRequest};
use quorate_client::{Client, Responses};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::cause::{Cause, Failure};
use super::endpoint;
use super::task::{KeyHash, Source};

/// How long a member may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a member may take to hash all of its keys.
const HASH_TIMEOUT: Duration = Duration::from_secs(600);
/// How long no piece may come.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of the digest, which are the stream's last.
const DIGEST_BYTES: usize = 32;

/// A snapshot that arrives.
pub(super) struct Snapshot {
    endpoint: String,
    stream: Responses<quorate_api::etcdserverpb::SnapshotResponse>,
    first: Option<Bytes>,
    hash: JoinHandle<Option<KeyHash>>,
    check: Check,
    /// The cluster that it is of.
    pub(super) cluster_id: u64,
    /// The newest revision in it.
    pub(super) revision: i64,
    /// The version that the member says it has.
    pub(super) version: String,
    /// Bytes in all, as far as the member knows.
    pub(super) total: u64,
}

/// What a snapshot came to.
pub(super) struct Whole {
    /// Bytes.
    pub(super) bytes: u64,
    /// The SHA-256 of all of them, in hexadecimal digits.
    pub(super) sha256: String,
    /// The hash of its keys, if the member told it.
    pub(super) hash: Option<KeyHash>,
}

impl Snapshot {
    /// From the first of the members that answers.
    ///
    /// # Errors
    /// [`Failure`] of the last one.
    pub(super) async fn open(source: &Source, files: &Path) -> Result<Self, Failure> {
        let mut failure = Failure::new(Cause::Misconfigured, "no member is named");
        for endpoint in &source.endpoints {
            match Self::of(endpoint, source.cluster_id.as_deref(), files).await {
                Ok(snapshot) => return Ok(snapshot),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn of(endpoint: &str, cluster: Option<&str>, files: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::of_member(endpoint, &error);
        let client = endpoint::client(endpoint, files, CALL_TIMEOUT)?;
        let read = RangeRequest { key: "\0".into(), count_only: true, ..RangeRequest::default() };
        let read = client.range(read).await.map_err(failed)?.header.unwrap_or_default();
        let found = format!("{:x}", read.cluster_id);
        if cluster.is_some_and(|cluster| cluster != found) {
            let text = format!("{endpoint}: the member is of another cluster, {found}");
            return Err(Failure::new(Cause::OtherCluster, text));
        }
        let version = client.status().await.map_err(failed)?.version;
        let mut stream = client.snapshot().await.map_err(failed)?;
        let first = next(endpoint, &mut stream).await?;
        let Some(first) = first else {
            let text = format!("{endpoint}: the member sent nothing");
            return Err(Failure::new(Cause::MemberFailed, text));
        };
        // Members that do not say have at least what was read before.
        let revision = first.header.map_or(read.revision, |header| header.revision);
        Ok(Self {
            endpoint: endpoint.to_owned(),
            stream,
            hash: tokio::spawn(hash(endpoint.to_owned(), files.to_owned(), revision)),
            check: Check::default(),
            cluster_id: read.cluster_id,
            revision,
            version,
            total: first.remaining_bytes + first.blob.len() as u64,
            first: Some(first.blob),
        })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Failure`] if the connection is cut.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = match self.first.take() {
            Some(first) => Some(first),
            None => next(&self.endpoint, &mut self.stream).await?.map(|piece| piece.blob),
        };
        if let Some(piece) = &piece {
            self.check.add(piece);
        }
        Ok(piece)
    }

    /// What it came to, after its end.
    ///
    /// # Errors
    /// [`Failure`] if what arrived does not fit its digest.
    pub(super) async fn finish(self) -> Result<Whole, Failure> {
        let Some((bytes, sha256)) = self.check.finish() else {
            self.hash.abort();
            let text = "what the member sent does not fit its SHA-256, or has none";
            return Err(Failure::new(Cause::Damaged, format!("{}: {text}", self.endpoint)));
        };
        Ok(Whole { bytes, sha256, hash: self.hash.await.unwrap_or_default() })
    }
}

async fn next(
    endpoint: &str,
    stream: &mut Responses<quorate_api::etcdserverpb::SnapshotResponse>,
) -> Result<Option<quorate_api::etcdserverpb::SnapshotResponse>, Failure> {
    match tokio::time::timeout(PIECE_TIMEOUT, stream.next()).await {
        Ok(piece) => piece.map_err(|error| {
            let failure = Failure::of_member(endpoint, &error);
            Failure::new(failure.cause, format!("the snapshot was cut off: {}", failure.message))
        }),
        Err(_) => {
            let seconds = PIECE_TIMEOUT.as_secs();
            let text = format!("{endpoint}: nothing more of the snapshot came for {seconds} s");
            Err(Failure::new(Cause::MemberUnreachable, text))
        }
    }
}

/// The hash of the keys at a revision; none if it was compacted meanwhile, or nobody answers.
async fn hash(endpoint: String, files: std::path::PathBuf, revision: i64) -> Option<KeyHash> {
    let client = endpoint::client(&endpoint, &files, HASH_TIMEOUT).ok()?;
    of_member(&client, revision).await.ok()
}

/// The hash of a member's keys at a revision.
///
/// # Errors
/// The member's.
pub(super) async fn of_member(
    client: &Client,
    revision: i64,
) -> Result<KeyHash, quorate_client::Error> {
    let answer = client.hash_kv(HashKvRequest { revision }).await?;
    Ok(KeyHash { hash: answer.hash, revision, compact_revision: answer.compact_revision })
}

/// Digests of what has passed: of all of it, and of all but the last bytes, which are to be that.
#[derive(Default)]
struct Check {
    all: Sha256,
    body: Sha256,
    tail: Vec<u8>,
    bytes: u64,
}

impl Check {
    fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.all.update(piece);
        self.tail.extend_from_slice(piece);
        let before = self.tail.len().saturating_sub(DIGEST_BYTES);
        self.body.update(self.tail.get(..before).unwrap_or_default());
        self.tail.drain(..before);
    }

    /// Bytes and digest; `None` if the end is not what it has to be.
    fn finish(self) -> Option<(u64, String)> {
        let is_whole = self.tail.len() == DIGEST_BYTES && self.body.finalize()[..] == self.tail[..];
        is_whole.then(|| (self.bytes, hexadecimal(&self.all.finalize())))
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::{Check, hexadecimal};

    #[test]
    fn only_what_ends_with_its_digest_is_whole() {
        let body = vec![7; 1000];
        let whole = [&body[..], &Sha256::digest(&body)[..]].concat();
        let check = |bytes: &[u8], piece: usize| {
            let mut check = Check::default();
            bytes.chunks(piece).for_each(|piece| check.add(piece));
            check.finish()
        };
        for piece in [1, 7, 31, 32, 33, 999, 2000] {
            let expected = (1032, hexadecimal(&Sha256::digest(&whole)));
            assert_eq!(check(&whole, piece), Some(expected), "{piece}");
        }
        assert_eq!(check(&whole[..whole.len() - 1], 100), None);
        assert_eq!(check(&body, 100), None);
        assert_eq!(check(&body[..31], 100), None);
        let mut changed = whole;
        changed[500] ^= 1;
        assert_eq!(check(&changed, 100), None);
    }
}
