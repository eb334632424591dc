//! Receiving a snapshot: its message, and its file as it arrives.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use http::StatusCode;
use hyper::body::Incoming;
use quorate_api::identity::format_id;
use quorate_api::peer::{FrameError, decode_snapshot_head};
use quorate_api::raftpb::{Message, MessageType};
use quorate_replica::wire;
use thiserror::Error;
use tokio::task::spawn_blocking;

use super::body::{self, BodyError};
use super::settings::SNAPSHOT_SILENCE;
use super::transport::Shared;
use crate::metrics;

/// How the names of files start, …
pub(super) const PREFIX: &str = "received-";
/// … end when they are whole, …
pub(super) const SUFFIX: &str = ".snap";
/// … and while they arrive.
pub(super) const PART_SUFFIX: &str = ".part";

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Why a snapshot is not taken.
#[derive(Debug, Error)]
pub(super) enum Refused {
    #[error("failed to decode raft message ({0})")]
    Head(#[from] FrameError),
    #[error("failed to decode raft message (it ends early)")]
    NoHead,
    #[error("failed to decode raft message ({0})")]
    Wire(#[from] wire::WireError),
    #[error("wrong raft message type")]
    WrongKind,
    #[error("cannot process message from removed member")]
    Removed,
    #[error("cannot process message to mismatch member")]
    NotForUs,
    #[error("too many snapshots arrive")]
    Busy,
    #[error("failed to save KV snapshot ({0})")]
    Body(#[from] BodyError),
    #[error("failed to save KV snapshot ({0})")]
    Disk(#[from] io::Error),
    #[error("failed to save KV snapshot (it is larger than {0} bytes)")]
    TooLarge(u64),
    #[error("failed to process raft message ({0})")]
    Member(quorate_api::Error),
}

impl Refused {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Head(_) | Self::NoHead | Self::Wire(_) | Self::WrongKind => {
                StatusCode::BAD_REQUEST
            }
            Self::Removed | Self::NotForUs => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) | Self::Disk(_) | Self::Member(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Takes a snapshot in, and hands it to the member.
pub(super) async fn receive(shared: &Arc<Shared>, mut stream: Incoming) -> Result<(), Refused> {
    let _place = shared.snapshots_arriving.try_acquire().map_err(|_| Refused::Busy)?;
    let mut buffer = BytesMut::new();
    let message = loop {
        if let Some(message) = decode_snapshot_head(&mut buffer)? {
            break message;
        }
        let bytes = body::next(&mut stream, SNAPSHOT_SILENCE).await?.ok_or(Refused::NoHead)?;
        buffer.extend_from_slice(&bytes);
    };
    let (from, index) = admit(shared, &message)?;
    let message = Box::new(wire::message_from_pb(message)?);
    let peer = format_id(from);
    let start = Instant::now();
    let _arriving = metrics::Transfer::from(from);
    tracing::info!(peer, index, "receiving a snapshot");
    let name = format!("{PREFIX}{from:016x}-{index:016x}");
    let mut arriving = Arriving::create(shared.settings.snapshot_folder.clone(), name).await?;
    let mut bytes = 0;
    loop {
        bytes += buffer.len() as u64;
        if bytes > shared.settings.snapshot_bytes_max {
            return Err(Refused::TooLarge(shared.settings.snapshot_bytes_max));
        }
        buffer = arriving.write(buffer).await?;
        let is_end = fill(&mut stream, &mut buffer).await?;
        if is_end && buffer.is_empty() {
            break;
        }
    }
    let file = arriving.finish().await?;
    metrics::snapshot_received(from, start.elapsed());
    metrics::received_saved(start.elapsed());
    tracing::info!(peer, index, bytes, "received a snapshot");
    shared.inbox().receive_snapshot(message, file).await.map_err(Refused::Member)
}

/// The sender and the index of a snapshot that is for this member.
fn admit(shared: &Shared, message: &Message) -> Result<(u64, u64), Refused> {
    if message.r#type() != MessageType::MsgSnap {
        return Err(Refused::WrongKind);
    }
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    let index = metadata.map_or(0, |metadata| metadata.index());
    let from = message.from();
    if from == 0 || from == shared.settings.member || index == 0 {
        return Err(Refused::WrongKind);
    }
    if shared.inbox().is_removed(from) {
        return Err(Refused::Removed);
    }
    if message.to() != shared.settings.member {
        return Err(Refused::NotForUs);
    }
    Ok((from, index))
}

/// Gathers what is worth a write; says whether the body has ended.
async fn fill(stream: &mut Incoming, buffer: &mut BytesMut) -> Result<bool, BodyError> {
    while buffer.len() < WRITE_BYTES {
        match body::next(stream, SNAPSHOT_SILENCE).await? {
            None => return Ok(true),
            Some(bytes) => buffer.extend_from_slice(&bytes),
        }
    }
    Ok(false)
}

/// A file that arrives; removed unless it becomes whole.
struct Arriving {
    file: Option<File>,
    folder: PathBuf,
    part: PathBuf,
    whole: PathBuf,
}

impl Arriving {
    /// The name is taken while the file arrives, so that the same snapshot does not arrive twice
    /// at a time.
    async fn create(folder: PathBuf, name: String) -> Result<Self, Refused> {
        let part = folder.join(format!("{name}{PART_SUFFIX}"));
        let whole = folder.join(format!("{name}{SUFFIX}"));
        let path = part.clone();
        let file =
            blocking(move || OpenOptions::new().write(true).create_new(true).open(path)).await;
        match file {
            Ok(file) => Ok(Self { file: Some(file), folder, part, whole }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Refused::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes, and gives the buffer back empty.
    async fn write(&mut self, mut buffer: BytesMut) -> io::Result<BytesMut> {
        let Some(mut file) = self.file.take() else { return Ok(buffer) };
        let (file, buffer) = blocking(move || {
            file.write_all(&buffer)?;
            buffer.clear();
            Ok((file, buffer))
        })
        .await?;
        self.file = Some(file);
        Ok(buffer)
    }

    /// Makes the file durable under its name.
    async fn finish(mut self) -> io::Result<PathBuf> {
        let Some(file) = self.file.take() else { return Err(io::ErrorKind::NotFound.into()) };
        let (part, whole, folder) = (self.part.clone(), self.whole.clone(), self.folder.clone());
        blocking(move || {
            let began = Instant::now();
            file.sync_all()?;
            metrics::received_fsync(began.elapsed());
            std::fs::rename(part, whole)?;
            sync_folder(&folder)
        })
        .await?;
        Ok(self.whole.clone())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = std::fs::remove_file(&self.part);
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
