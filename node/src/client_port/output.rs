//! What a connection sends, gathered into few system calls.
//!
//! ```text
//!   HTTP ── write, write, flush, write, flush ──► gathered ── end of the connection's turn ──► socket
//! ```
//!
//! HTTP/2 hands every frame to the socket by itself, and asks for each to go out at once. But all
//! frames of a turn of the connection's task come one after the other, and none can be waited for
//! before the turn ends: so they go out together then. A call of the system costs more than a
//! small answer does.
//!
//! What is gathered is bounded: what does not fit, or is large anyway, goes out with what was
//! gathered before it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pace;

/// Bytes that are gathered before they are sent, in any case.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// Bytes of a buffer that a connection keeps while it has nothing to send: connections are many.
const KEPT_BYTES_MAX: usize = 4 << 10;
/// More bytes than this, in one write, are not copied: a frame of HTTP/2's usual size still is.
const COPIED_BYTES_MAX: usize = (16 << 10) + 64;
/// A turn that writes so much is no small call's.
const LARGE_BYTES: usize = 32 << 10;

/// A stream whose output is gathered until the end of a turn.
pub(super) struct Gathered<S>(Arc<Mutex<State<S>>>);

/// Sends what a [`Gathered`] stream was given, at the ends of turns.
pub(super) struct Output<S>(Arc<Mutex<State<S>>>);

struct State<S> {
    stream: S,
    gathered: Vec<u8>,
    /// Bytes at the front of `gathered` that have been sent.
    sent: usize,
    failed: Option<io::Error>,
    /// Bytes that were written in this turn.
    written: usize,
}

/// A stream that gathers what it is given, and what sends it.
pub(super) fn gather<S>(stream: S) -> (Gathered<S>, Output<S>) {
    let state = State { stream, gathered: Vec::new(), sent: 0, failed: None, written: 0 };
    let state = Arc::new(Mutex::new(state));
    (Gathered(state.clone()), Output(state))
}

impl<S: AsyncWrite + Unpin> Output<S> {
    /// Poll a connection to its end, and send what it has written at the end of each turn.
    pub(super) async fn drive<C: Future>(&self, mut connection: Pin<&mut C>) -> C::Output {
        let mut ended = None;
        poll_fn(|context| {
            let began = Instant::now();
            if ended.is_none()
                && let Poll::Ready(end) = connection.as_mut().poll(context)
            {
                ended = Some(end);
            }
            let sent = self.poll_send(context);
            let written = std::mem::take(&mut self.0.lock().written);
            if written >= LARGE_BYTES {
                pace::charge(began.elapsed());
            }
            ready!(sent);
            ended.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Send what was gathered. An error is told to whoever writes next.
    fn poll_send(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if let Err(error) = ready!(state.poll_send(context)) {
            state.failed = Some(error);
            // Whoever writes has to hear of it.
            context.waker().wake_by_ref();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncWrite + Unpin> State<S> {
    fn unsent(&self) -> &[u8] {
        self.gathered.get(self.sent..).unwrap_or_default()
    }

    fn on_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.gathered.len() {
            self.sent = 0;
            self.gathered.clear();
            if self.gathered.capacity() > KEPT_BYTES_MAX {
                self.gathered = Vec::new();
            }
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent().is_empty() {
            let unsent = self.gathered.get(self.sent..).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(context, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.on_sent(sent),
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        self.written += bytes;
        if bytes <= COPIED_BYTES_MAX && self.unsent().len() + bytes <= GATHERED_BYTES_MAX {
            slices.iter().for_each(|slice| self.gathered.extend_from_slice(slice));
            return Poll::Ready(Ok(bytes));
        }
        loop {
            let unsent = self.gathered.get(self.sent..).unwrap_or_default();
            let before = unsent.len();
            let mut all = Vec::with_capacity(slices.len() + 1);
            all.push(IoSlice::new(unsent));
            all.extend(slices.iter().map(|slice| IoSlice::new(slice)));
            match ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &all))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent if sent > before => {
                    self.on_sent(before);
                    return Poll::Ready(Ok(sent - before));
                }
                sent => self.on_sent(sent),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: what was gathered is sent at the end of the connection's turn.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        ready!(state.poll_send(context))?;
        Pin::new(&mut state.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(task)
    }

    #[test]
    fn small_writes_leave_together() {
        run(async {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let (mut gathered, output) = gather(near);
            for _ in 0..3 {
                gathered.write_all(b"frame").await.unwrap();
                gathered.flush().await.unwrap();
            }
            let mut buffer = [0; 64];
            let mut early = std::pin::pin!(far.read(&mut buffer));
            let is_early = poll_fn(|context| Poll::Ready(early.as_mut().poll(context).is_ready()));
            assert!(!is_early.await, "sent before the turn ended");
            poll_fn(|context| output.poll_send(context)).await;
            assert_eq!(early.await.unwrap(), 15);
        });
    }

    #[test]
    fn who_writes_hears_that_the_other_side_is_gone() {
        run(async {
            let (near, far) = tokio::io::duplex(1 << 10);
            let (mut gathered, output) = gather(near);
            gathered.write_all(b"frame").await.unwrap();
            drop(far);
            poll_fn(|context| output.poll_send(context)).await;
            assert!(gathered.write_all(b"frame").await.is_err());
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever is written arrives, in its order, over a stream that takes little at a time.
        #[test]
        fn all_bytes_arrive_in_order(
            writes in vec((1usize..100_000, any::<bool>()), 1..12),
            room in 1usize..70_000,
        ) {
            run(async {
                let (near, mut far) = tokio::io::duplex(room);
                let (mut gathered, output) = gather(near);
                let mut wanted = Vec::new();
                let write = async {
                    for (number, (bytes, sends)) in writes.into_iter().enumerate() {
                        let chunk: Vec<u8> = (0..bytes).map(|at| (at * 7 + number) as u8).collect();
                        wanted.extend_from_slice(&chunk);
                        let mut rest = chunk.as_slice();
                        while !rest.is_empty() {
                            let (head, tail) = rest.split_at(rest.len().div_ceil(2));
                            let slices = [IoSlice::new(head), IoSlice::new(tail)];
                            let written = poll_fn(|context| {
                                Pin::new(&mut gathered).poll_write_vectored(context, &slices)
                            });
                            let written = written.await.unwrap();
                            rest = &rest[written..];
                        }
                        if sends {
                            poll_fn(|context| output.poll_send(context)).await;
                        }
                    }
                    gathered.shutdown().await.unwrap();
                };
                let mut arrived = Vec::new();
                let read = far.read_to_end(&mut arrived);
                let ((), read) = tokio::join!(write, read);
                read.unwrap();
                assert!(arrived == wanted, "{} of {} bytes", arrived.len(), wanted.len());
            });
        }
    }
}
