//! The answers of a watch stream on the wire, around events that all who watch them share.
//!
//! ```text
//!   gRPC prefix │ header, numbers │ tag, length │ event │ tag, length │ event …
//!   └───────────── written anew ──────────────┘ └ shared ┘
//! ```
//! Events are the bytes that the hub has encoded once: large ones go to the connection as they are,
//! so that a client which does not read holds none of its own, whatever their size.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame};
use prost::Message as _;
use quorate_api::etcdserverpb as pb;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;

use super::encoded::WatchResponse;
use super::etcdserverpb::watch_server::Watch as _;
use super::measured::Received;
use super::streams::Answers;
use super::watch::Watch;

/// The method that is served here.
const PATH: &str = "/etcdserverpb.Watch/Watch";

/// Events below this are copied: a piece of their own would cost more.
const SHARED_BYTES_MIN: usize = 4 << 10;
/// Small answers go together until they have so many bytes.
const TOGETHER_BYTES: usize = 32 << 10;
/// How messages are compressed.
const ENCODING: &str = "grpc-encoding";

/// Whether a request is served here: one whose messages are compressed is left to the library.
pub(super) fn is_for_us<B>(request: &Request<B>) -> bool {
    let encoding = request.headers().get(ENCODING);
    request.uri().path() == PATH
        && encoding.is_none_or(|encoding| encoding.as_bytes() == b"identity")
}

/// Answer a call of the method.
pub(super) async fn serve(
    watch: &Watch,
    request: Request<Received>,
    message_bytes_max: usize,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let decoder: ProstDecoder<pb::WatchRequest> = ProstDecoder::default();
    let requests = Streaming::new_request(decoder, body, None, Some(message_bytes_max));
    let metadata = MetadataMap::from_headers(parts.headers);
    let request = tonic::Request::from_parts(metadata, parts.extensions, requests);
    match watch.watch(request).await {
        Err(status) => status.into_http(),
        Ok(answers) => {
            let mut response = Response::new(Body::new(WatchBody::new(answers.into_inner())));
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(CONTENT_TYPE, grpc);
            response
        }
    }
}

struct WatchBody {
    /// `None` once they have ended.
    answers: Option<Answers<WatchResponse>>,
    pieces: Pieces,
    /// What comes after the last piece.
    trailers: Option<HeaderMap>,
}

/// Bytes in their order.
#[derive(Default)]
struct Pieces {
    ready: VecDeque<Bytes>,
    /// The last piece, to which more is written.
    open: BytesMut,
}

impl Pieces {
    fn add(&mut self, answer: &WatchResponse) {
        let length = u32::try_from(answer.encoded_len()).unwrap_or(u32::MAX);
        self.open.put_u8(0);
        self.open.put_u32(length);
        answer.response.encode_head(&answer.header, &mut self.open);
        for event in &answer.response.events {
            quorate_store::watch::Response::encode_event_head(event.len(), &mut self.open);
            if event.len() < SHARED_BYTES_MIN {
                self.open.put_slice(event);
            } else {
                self.close();
                self.ready.push_back(event.clone());
            }
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.ready.push_back(self.open.split().freeze());
        }
    }

    fn is_enough(&self) -> bool {
        !self.ready.is_empty() || self.open.len() >= TOGETHER_BYTES
    }
}

impl WatchBody {
    fn new(answers: Answers<WatchResponse>) -> Self {
        Self { answers: Some(answers), pieces: Pieces::default(), trailers: None }
    }

    fn end(&mut self, status: &Status) {
        self.answers = None;
        let mut trailers = HeaderMap::new();
        if let Err(status) = status.add_header(&mut trailers) {
            tracing::warn!(%status, "a status that cannot be sent");
        }
        self.trailers = Some(trailers);
    }

    /// Take answers as long as there are any at once, but not more than go together.
    fn poll_answers(&mut self, context: &mut Context<'_>) {
        while !self.pieces.is_enough()
            && let Some(answers) = &mut self.answers
        {
            match answers.as_mut().poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(answer))) => self.pieces.add(&answer),
                Poll::Ready(Some(Err(status))) => self.end(&status),
                Poll::Ready(None) => self.end(&Status::ok("")),
            }
        }
        self.pieces.close();
    }
}

impl HttpBody for WatchBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.pieces.ready.is_empty() {
            this.poll_answers(context);
        }
        if let Some(piece) = this.pieces.ready.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match (this.trailers.take(), &this.answers) {
            (Some(trailers), _) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            (None, Some(_)) => Poll::Pending,
            (None, None) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_store::watch::Response;

    use super::*;

    #[test]
    fn pieces_are_the_message_and_large_events_are_shared() {
        let events = [10, SHARED_BYTES_MIN, 20, 3 * SHARED_BYTES_MIN]
            .map(|bytes| Bytes::from(vec![7; bytes]));
        let header = pb::ResponseHeader { member_id: 9, ..pb::ResponseHeader::default() };
        let answer = |events: &[Bytes]| {
            let response = Response {
                watch_id: 3,
                revision: 8,
                events: events.to_vec(),
                ..Response::default()
            };
            WatchResponse { header, response }
        };
        let mut pieces = Pieces::default();
        let mut expected = Vec::new();
        for answer in [answer(&events), answer(&[]), answer(&events[..1])] {
            pieces.add(&answer);
            let message = answer.encode_to_vec();
            expected.push(0);
            expected.extend(u32::try_from(message.len()).expect("small").to_be_bytes());
            expected.extend(message);
        }
        pieces.close();
        let shared =
            |event: &Bytes| pieces.ready.iter().any(|piece| piece.as_ptr() == event.as_ptr());
        assert!(shared(&events[1]) && shared(&events[3]) && !shared(&events[0]));
        let sent: Vec<u8> = pieces.ready.iter().flat_map(|piece| piece.to_vec()).collect();
        assert_eq!(sent, expected);
    }
}
