//! Streams of answers that are made when the client has room for them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Code, Status};

use crate::metrics;

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where a stream's answers go.
pub(super) type Sender<T> = mpsc::Sender<T>;

/// What makes a stream's answers, until it ends.
type Driver = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// A driver and what it has made. The driver runs only when the stream is asked: it is no task of
/// its own, and a client that does not read stops it.
struct Driven<T> {
    driver: Option<Driver>,
    made: mpsc::Receiver<T>,
}

impl<T> Stream for Driven<T> {
    type Item = Result<T, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Status>>> {
        // What is made already goes first.
        if self.made.is_empty()
            && let Some(driver) = &mut self.driver
            && let Poll::Ready(end) = driver.as_mut().poll(context)
        {
            self.driver = None;
            if let Err(status) = end {
                return Poll::Ready(Some(Err(status)));
            }
        }
        if self.driver.is_none() && self.made.is_empty() {
            return Poll::Ready(None);
        }
        self.made.poll_recv(context).map(|answer| answer.map(Ok))
    }
}

/// The stream of what `driver` sends, at most `ahead` answers before the client takes them. An
/// error ends the stream at once.
pub(super) fn driven<T, F>(ahead: usize, driver: impl FnOnce(Sender<T>) -> F) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, made) = mpsc::channel(ahead);
    Box::pin(Driven { driver: Some(Box::pin(driver(sender))), made })
}

/// Send an answer; an error if nobody listens any more.
pub(super) async fn send<T>(sender: &Sender<T>, answer: T) -> Result<(), Status> {
    sender.send(answer).await.map_err(|_| Status::cancelled("context canceled"))
}

/// What a stream of requests gave; one that broke is counted for its API. A client that goes away
/// is no failure.
pub(super) fn noted<T>(request: Result<T, Status>, api: &str) -> Result<T, Status> {
    request.inspect_err(|status| {
        if status.code() != Code::Cancelled {
            metrics::stream_broke(api);
        }
    })
}
