//! Bodies whose bytes and ends are counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use quorate_api::Code;
use tonic::body::Body;

use super::status;
use crate::metrics::{self, Call};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// A client's request, counted as it arrives.
pub(super) struct Received(pub(super) Incoming);

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            metrics::client_received(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// An answer, counted as it goes; its trailers end the call.
pub(crate) struct Measured {
    body: Body,
    call: Option<Call>,
}

impl Measured {
    /// An answer that is no call's.
    pub(crate) fn plain(body: Body) -> Self {
        Self { body, call: None }
    }
}

/// Count an answer. One that failed at once ends its call here.
pub(super) fn measure(mut response: Response<Body>, call: &mut Call) -> Response<Measured> {
    if let Some(code) = code_of(response.headers()) {
        call.end(code);
        say_as_etcd(response.headers_mut());
    }
    let call = std::mem::replace(call, Call::none());
    response.map(|body| Measured { body, call: Some(call) })
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    let number = headers.get(STATUS)?.to_str().ok()?.parse().ok()?;
    Some(Code::from_number(number).unwrap_or(Code::Unknown))
}

/// A message above the limit has another code and text in etcd than in tonic.
fn say_as_etcd(headers: &mut HeaderMap) {
    let text = headers.get(MESSAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The message is percent-encoded; spaces and commas of this one stand for themselves or as %20.
    let Some(message) = status::too_large(&text.replace("%20", " ")) else { return };
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(MESSAGE, message);
        headers.insert(STATUS, HeaderValue::from(Code::ResourceExhausted.number()));
    }
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(Ok(frame)), Some(call)) = (&frame, &mut self.call) {
            if let Some(data) = frame.data_ref() {
                metrics::client_sent(data.len());
            } else if let Some(code) = frame.trailers_ref().and_then(code_of) {
                call.end(code);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
