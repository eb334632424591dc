//! Keys and values.

use quorate_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
};
use tonic::transport::Channel;

use crate::client::{MESSAGE_BYTES_MAX, Repeat};
use crate::stubs::etcdserverpb::kv_client::KvClient;
use crate::{Client, Error, Responses};

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Reads keys.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.call(Repeat::Reads, request, |channel, request| async move {
            kv(channel).range(request).await
        })
        .await
    }

    /// Reads keys chunk by chunk. The last chunk has header and count.
    pub async fn range_stream(
        &self,
        request: RangeRequest,
    ) -> Result<Responses<RangeStreamResponse>, Error> {
        let call = |channel, request| async move { kv(channel).range_stream(request).await };
        Ok(Responses(self.call_without_deadline(Repeat::Reads, request, call).await?))
    }

    /// Writes a key.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            kv(channel).put(request).await
        })
        .await
    }

    /// Deletes keys.
    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            kv(channel).delete_range(request).await
        })
        .await
    }

    /// Compares, then does one of two lists of operations. Sent once, even if it only reads.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            kv(channel).txn(request).await
        })
        .await
    }

    /// Drops what later revisions have replaced.
    pub async fn compact(&self, request: CompactionRequest) -> Result<CompactionResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            kv(channel).compact(request).await
        })
        .await
    }
}
