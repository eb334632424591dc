//! A snapshot for a client: a bbolt file in pieces, then its SHA-256.
//!
//! The first piece says of which cluster, member and revision the file is, as etcd's interface has it,
//! and as its server leaves out: who keeps a backup need not read the file for that.
//!
//! The pieces of the file are sent as they were read, with nothing but the frames around them made
//! anew.

use std::time::Instant;

use bytes::Bytes;
use quorate_api::etcdserverpb as pb;
use quorate_store::snapshot::{SnapshotStream, Step, StreamError, Trailer};
use quorate_store::store::Store;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tonic::Status;

use super::encoded::snapshot_pieces;
use super::status;
use super::streams::{Answers, Sender, driven, send};
use crate::member::Member;
use crate::metrics;

/// Bytes of a message at most: four times what etcd sends, for each has its costs, and far below what
/// clients take.
const PIECE_BYTES: usize = 128 * 1024;

/// What is read before the thread that sends hears of it: to wake one another costs both threads as
/// much as the reading of some pieces.
const BATCH_BYTES: usize = 1 << 20;

/// Batches read ahead of the client.
const BATCHES_AHEAD: usize = 2;

/// The first minor version of etcd 3 whose files name the version of their schema.
const NAMED_SINCE_MINOR: u64 = 6;

/// The version of the schema, which follows the cluster's; empty until there is one.
pub(crate) fn storage_version(store: &Store) -> String {
    let version = store.cluster().version.as_deref().and_then(quorate_api::version::Version::parse);
    match version {
        Some(version) if version.major == 3 && version.minor >= NAMED_SINCE_MINOR => {
            version.without_patch().to_string()
        }
        Some(_) | None => String::new(),
    }
}

/// Take a snapshot now and stream it: messages with their prefixes, in pieces. Reading it blocks, so a
/// thread of its own does.
pub(super) async fn send_snapshot(member: &Member) -> Result<Answers<Bytes>, Status> {
    let version = storage_version(&*member.readable_store().await);
    let (stream, revision) = member.capture_snapshot(Trailer::None).await.map_err(status::of)?;
    let mut header = Some(member.header_at(revision));
    let member = member.clone();
    Ok(driven(2, move |answers| async move {
        let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = tokio::task::spawn_blocking(move || read(stream, &sender));
        // Here, beside the reading: it takes about as long, and a piece does not keep the thread.
        let mut digest = Sha256::new();
        while let Some(Batch { chunks, mut remaining_bytes }) = batches.recv().await {
            for mut chunk in chunks {
                while !chunk.is_empty() {
                    let blob = chunk.split_to(chunk.len().min(PIECE_BYTES));
                    remaining_bytes = remaining_bytes.saturating_sub(blob.len() as u64);
                    digest.update(&blob);
                    let (header, version) = (header.take(), version.clone());
                    let piece = pb::SnapshotResponse { header, remaining_bytes, blob, version };
                    send_message(&answers, piece).await?;
                }
            }
        }
        match reader.await {
            Ok(Ok(())) => {
                let blob = Bytes::copy_from_slice(&digest.finalize());
                let last = pb::SnapshotResponse { header: None, remaining_bytes: 0, blob, version };
                send_message(&answers, last).await
            }
            Ok(Err(StreamError::Damage(damage))) => Err(status::of_damage(&member, &damage)),
            Ok(Err(StreamError::Write(error))) => Err(Status::data_loss(error.to_string())),
            Err(panic) => Err(Status::internal(panic.to_string())),
        }
    }))
}

async fn send_message(
    answers: &Sender<Bytes>,
    message: pb::SnapshotResponse,
) -> Result<(), Status> {
    for piece in snapshot_pieces(message) {
        send(answers, piece).await?;
    }
    Ok(())
}

/// A part of the file.
struct Batch {
    chunks: Vec<Bytes>,
    /// From its beginning to the end of the file.
    remaining_bytes: u64,
}

/// Read the file to its end, or until nobody takes it any more.
fn read(mut stream: SnapshotStream, batches: &mpsc::Sender<Batch>) -> Result<(), StreamError> {
    let began = Instant::now();
    let mut sent = 0;
    loop {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        let is_ended = loop {
            match stream.step()? {
                Step::Again => {}
                Step::Chunk(chunk) => {
                    bytes += chunk.len();
                    chunks.push(chunk);
                    if bytes >= BATCH_BYTES {
                        break false;
                    }
                }
                Step::End => break true,
            }
        };
        let remaining_bytes = stream.stream_bytes().unwrap_or_default().saturating_sub(sent);
        sent += bytes as u64;
        let is_gone = batches.blocking_send(Batch { chunks, remaining_bytes }).is_err();
        if is_ended && !is_gone {
            metrics::snapshot_read(began.elapsed());
        }
        if is_ended || is_gone {
            return Ok(());
        }
    }
}
