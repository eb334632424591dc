//! Sending a snapshot: its message and its file in one POST.

use std::error::Error;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use quorate_api::identity::format_id;
use quorate_api::peer::{SNAPSHOT_CONTENT_TYPE, SNAPSHOT_PATH, encode_message};
use quorate_api::raftpb::Message;
use quorate_replica::SnapshotOutcome;
use quorate_store::snapshot::{SnapshotStream, Step};
use tokio::sync::{mpsc, oneshot};

use super::body::{self, Broken};
use super::pipeline::{self, PostError};
use super::receive_snapshot::{PART_SUFFIX, PREFIX, SUFFIX};
use super::remote::Remote;
use super::transport::Shared;
use crate::metrics;

/// Chunks read ahead of the socket.
const CHUNKS_AHEAD: usize = 4;

/// The wait for the answer after the last byte: the receiver makes the file durable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a snapshot cannot be read.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// The bytes of a snapshot, read by a thread of their own.
pub trait SnapshotSource: Send {
    /// The next bytes; `None` at the end. May read the disk.
    ///
    /// # Errors
    /// When the snapshot cannot be read: what was sent is worthless.
    fn next(&mut self) -> Result<Option<Bytes>, SourceError>;
}

impl SnapshotSource for SnapshotStream {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            match self.step()? {
                Step::Again => {}
                Step::Chunk(bytes) => return Ok(Some(bytes)),
                Step::End => return Ok(None),
            }
        }
    }
}

/// Sends, as a task of the peer.
pub(super) fn start(shared: &Arc<Shared>, message: Message, source: Box<dyn SnapshotSource>) {
    let to = message.to();
    let remote = shared.remote(to);
    let shared = shared.clone();
    let runtime = shared.runtime().clone();
    let report = Report { shared: shared.clone(), to, outcome: SnapshotOutcome::Failed };
    let owner = remote.clone();
    let task = runtime.spawn(async move {
        let mut report = report;
        let Some(remote) = remote else { return };
        let (peer, index) = (format_id(to), index_of(&message));
        let start = Instant::now();
        let _on_its_way = metrics::Transfer::to(to);
        tracing::info!(peer, index, "sending a snapshot");
        match send(&shared, &remote, message, source).await {
            Ok(bytes) => {
                report.outcome = SnapshotOutcome::Finished;
                remote.sent.inc_by(bytes);
                metrics::snapshot_sent(to, start.elapsed());
                metrics::snapshot_read(start.elapsed());
                tracing::info!(peer, index, bytes, "sent a snapshot");
            }
            Err(error) => {
                remote.note_lost();
                metrics::snapshot_send_failure(to);
                tracing::warn!(peer, index, %error, "could not send a snapshot");
            }
        }
    });
    if let Some(owner) = owner {
        owner.own(task.abort_handle());
    }
}

fn index_of(message: &Message) -> u64 {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    metadata.map_or(0, |metadata| metadata.index())
}

/// Tells the member how it ended, also when the task is aborted.
struct Report {
    shared: Arc<Shared>,
    to: u64,
    outcome: SnapshotOutcome,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.shared.inbox().snapshot_sent(self.to, self.outcome);
    }
}

async fn send(
    shared: &Shared,
    remote: &Remote,
    message: Message,
    mut source: Box<dyn SnapshotSource>,
) -> Result<u64, PostError> {
    let url = remote.url().ok_or(PostError::NoAddress)?;
    if remote.is_doubted() {
        return Err(PostError::Doubted);
    }
    let (chunks_in, mut chunks) = mpsc::channel::<Result<Bytes, SourceError>>(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        while let Some(chunk) = source.next().transpose() {
            let is_broken = chunk.is_err();
            if chunks_in.blocking_send(chunk).is_err() || is_broken {
                return;
            }
        }
    });
    // Before its first bytes a stream measures itself, for longer than a receiver waits.
    let first = chunks.recv().await.transpose();
    let first = first.map_err(|error| PostError::Source(error.to_string()))?;
    let mut head = BytesMut::new();
    encode_message(&message, &mut head);
    let (ended, at_end) = oneshot::channel();
    let body =
        SnapshotBody { head: Some(head.freeze()), first, chunks, bytes: 0, ended: Some(ended) };
    let request =
        pipeline::request(shared, SNAPSHOT_PATH, SNAPSHOT_CONTENT_TYPE, body::boxed(body));
    let posted = async {
        let mut connection = shared.dial(&url).await?;
        pipeline::check(shared, remote, connection.send(request).await?).await
    };
    let mut bytes = 0;
    let too_late = async {
        // Without a number the body was given up, and the post says why.
        match at_end.await {
            Ok(sent) => bytes = sent,
            Err(_) => std::future::pending().await,
        }
        tokio::time::sleep(ANSWER_TIMEOUT).await;
    };
    let posted = tokio::select! {
        posted = posted => posted,
        () = too_late => Err(PostError::NoAnswer),
    };
    if posted.is_err() {
        remote.avoid(&url);
    }
    posted.map(|()| bytes)
}

/// The message, then the file.
struct SnapshotBody {
    head: Option<Bytes>,
    first: Option<Bytes>,
    chunks: mpsc::Receiver<Result<Bytes, SourceError>>,
    bytes: u64,
    ended: Option<oneshot::Sender<u64>>,
}

impl Body for SnapshotBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let chunk = match this.head.take().or_else(|| this.first.take()) {
            Some(bytes) => Some(Ok(bytes)),
            None => std::task::ready!(this.chunks.poll_recv(context)),
        };
        match &chunk {
            Some(Ok(bytes)) => this.bytes += bytes.len() as u64,
            Some(Err(_)) => {}
            None => {
                if let Some(ended) = this.ended.take() {
                    let _ = ended.send(this.bytes);
                }
            }
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

/// Removes what earlier runs left behind: a snapshot that was not taken is sent anew.
pub(super) fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| {
            name.starts_with(PREFIX) && (name.ends_with(SUFFIX) || name.ends_with(PART_SUFFIX))
        });
        if is_ours {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
