//! Watches: one stream to one member, which carries any number of them.

use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::client::MESSAGE_BYTES_MAX;
use crate::stubs::etcdserverpb::watch_client::WatchClient;
use crate::{Client, Error};

/// Requests on their way to the member; more wait, because a watch has few.
const REQUESTS_PENDING_MAX: usize = 16;

/// A stream of watches. It ends when it is dropped, and does not survive its connection: the caller
/// opens another from the revision after the last one it saw.
#[derive(Debug)]
pub struct Watch {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Client {
    /// Opens a stream with one watch. The member's first answer says that the watch is created.
    pub async fn watch(&self, create: WatchCreateRequest) -> Result<Watch, Error> {
        let (requests, receiver) = mpsc::channel(REQUESTS_PENDING_MAX);
        // Members answer a stream only after its first request.
        let first = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(first).await.map_err(|_| Error::StreamEnded)?;
        let call = |channel, request| async move {
            let mut client = WatchClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            client.watch(request).await
        };
        let responses = self.open(ReceiverStream::new(receiver), call).await?;
        Ok(Watch { requests, responses })
    }
}

impl Watch {
    /// The next answer; answers of all watches come in one order.
    pub async fn next(&mut self) -> Result<WatchResponse, Error> {
        self.responses.message().await?.ok_or(Error::StreamEnded)
    }

    /// Asks for one more watch on the stream.
    pub async fn create(&self, create: WatchCreateRequest) -> Result<(), Error> {
        self.send(RequestUnion::CreateRequest(create)).await
    }

    /// Asks for the end of one watch.
    pub async fn cancel(&self, watch_id: i64) -> Result<(), Error> {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })).await
    }

    /// Asks up to which revision all watches of the stream have seen everything.
    pub async fn request_progress(&self) -> Result<(), Error> {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await
    }

    async fn send(&self, request: RequestUnion) -> Result<(), Error> {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.map_err(|_| Error::StreamEnded)
    }
}
