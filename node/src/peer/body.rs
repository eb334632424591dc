//! Bodies of requests and answers.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use thiserror::Error;

/// Why a body breaks off.
pub(super) type Broken = Box<dyn StdError + Send + Sync>;

/// A body to send.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Broken>;

/// Why a body was not read.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    /// It breaks off.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// It is longer than allowed.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// Nothing came for too long.
    #[error("the body stopped arriving")]
    Silent,
}

pub(super) fn empty() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Outgoing {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn boxed<B>(body: B) -> Outgoing
where
    B: Body<Data = Bytes, Error = Broken> + Send + 'static,
{
    body.boxed_unsync()
}

/// The next bytes; `None` at the end.
pub(super) async fn next(
    body: &mut Incoming,
    silence: Duration,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = tokio::time::timeout(silence, body.frame()).await;
        match frame.map_err(|_| BodyError::Silent)?.transpose()? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// All bytes.
pub(super) async fn collect(
    body: &mut Incoming,
    bytes_max: usize,
    silence: Duration,
) -> Result<Bytes, BodyError> {
    let mut all = BytesMut::new();
    while let Some(bytes) = next(body, silence).await? {
        if bytes.len() > bytes_max - all.len() {
            return Err(BodyError::TooLong(bytes_max));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}
