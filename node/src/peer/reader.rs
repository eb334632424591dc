//! Reading a stream that a peer sends: dialled by us, again and again.

use std::sync::Arc;

use bytes::BytesMut;
use http::{Request, StatusCode};
use hyper::body::Incoming as IncomingBody;
use quorate_api::identity::format_id;
use quorate_api::peer::{
    AppendDecoder, FrameError, Incoming, MessageDecoder, RAFT_TO_HEADER, Refusal,
    STREAM_APPEND_PATH_PREFIX, STREAM_MESSAGE_PATH_PREFIX,
};
use quorate_api::raftpb::Message;
use quorate_api::urls::Url;
use quorate_raft::MessageKind;
use quorate_replica::wire;
use thiserror::Error;

use super::body::{self, BodyError};
use super::dial::DialError;
use super::identity::{self, Unheard};
use super::remote::Remote;
use super::settings::{REDIAL, SILENCE};
use super::stream_body::Channel;
use super::transport::Shared;
use crate::metrics;

/// The longest text of a refusal that is read.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// Why a stream does not come up, or has ended.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no answer in time")]
    NoAnswer,
    #[error("the peer refuses: {0}")]
    Refused(Refusal),
    #[error("the peer does not take this member for the one that it was: {0}")]
    RefusedUs(String),
    #[error(transparent)]
    Unheard(#[from] Unheard),
    #[error("the peer answers {0}")]
    Answer(StatusCode),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer ended the stream")]
    Ended,
}

/// Reads until the task is aborted.
pub(super) async fn run(shared: Arc<Shared>, remote: Arc<Remote>, channel: Channel) {
    let peer = format_id(remote.id);
    // What went wrong last, so that it is said once.
    let mut said = String::new();
    loop {
        if let Some(url) = remote.url() {
            let error = match ask(&shared, &remote, channel, &url).await {
                Err(error) => {
                    remote.avoid(&url);
                    error
                }
                Ok(stream) => {
                    tracing::info!(peer, ?channel, %url, "a stream of a peer is up");
                    said.clear();
                    let link = Link::up(&shared, &remote);
                    let Err(error) = read(&shared, &remote, channel, stream).await;
                    drop(link);
                    error
                }
            };
            if matches!(error, StreamError::Refused(Refusal::Removed)) {
                shared.inbox().told_removed(remote.id);
            }
            let text = error.to_string();
            if text != said {
                tracing::warn!(peer, ?channel, %url, error = text, "no stream of a peer");
                said = text;
            }
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// A stream that is up. The first and the last one of a peer are told to the member.
struct Link<'a> {
    shared: &'a Shared,
    remote: &'a Remote,
}

impl<'a> Link<'a> {
    fn up(shared: &'a Shared, remote: &'a Remote) -> Self {
        if remote.stream_up() {
            metrics::peer_connected(shared.settings.member, remote.id);
            shared.inbox().connected(remote.id);
        }
        Self { shared, remote }
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        // A peer that is not one any more has been reported.
        if self.remote.stream_down() && self.shared.member(self.remote.id).is_some() {
            metrics::peer_disconnected(self.shared.settings.member, self.remote.id);
            self.shared.inbox().disconnected(self.remote.id);
        }
    }
}

async fn ask(
    shared: &Shared,
    remote: &Remote,
    channel: Channel,
    url: &Url,
) -> Result<IncomingBody, StreamError> {
    let prefix = match channel {
        Channel::Append => STREAM_APPEND_PATH_PREFIX,
        Channel::Message => STREAM_MESSAGE_PATH_PREFIX,
    };
    let path = format!("{prefix}{}", format_id(shared.settings.member));
    let mut request = Request::get(path).header(RAFT_TO_HEADER, format_id(remote.id));
    for (name, value) in shared.headers() {
        request = request.header(name, value);
    }
    let request = request.body(body::empty()).expect("ids, versions and URLs are header values");
    let mut connection = shared.dial(url).await?;
    let answer = tokio::time::timeout(SILENCE, connection.send(request)).await;
    let answer = answer.map_err(|_| StreamError::NoAnswer)??;
    let status = answer.status();
    if status == StatusCode::OK {
        identity::hear_answer(shared, remote, answer.headers()).await?;
        return Ok(answer.into_body());
    }
    let mut body = answer.into_body();
    match status {
        StatusCode::GONE => Err(StreamError::Refused(Refusal::Removed)),
        _ => {
            let text = body::collect(&mut body, REFUSAL_BYTES_MAX, SILENCE).await?;
            if status == identity::REFUSED {
                let why = String::from_utf8_lossy(&text).trim_end().to_owned();
                shared.inbox().refused_by(remote.id, &why);
                return Err(StreamError::RefusedUs(why));
            }
            let refusal = std::str::from_utf8(&text).ok().and_then(Refusal::from_body);
            Err(refusal.map_or(StreamError::Answer(status), StreamError::Refused))
        }
    }
}

enum Decoder {
    Append(AppendDecoder),
    Message(MessageDecoder),
}

async fn read(
    shared: &Shared,
    remote: &Remote,
    channel: Channel,
    mut stream: IncomingBody,
) -> Result<std::convert::Infallible, StreamError> {
    let mut decoder = match channel {
        Channel::Append => Decoder::Append(AppendDecoder::new(shared.settings.member, remote.id)),
        Channel::Message => Decoder::Message(MessageDecoder),
    };
    let mut buffer = BytesMut::new();
    loop {
        let bytes = body::next(&mut stream, SILENCE).await?.ok_or(StreamError::Ended)?;
        remote.received.inc_by(bytes.len() as u64);
        buffer.extend_from_slice(&bytes);
        loop {
            let incoming = match &mut decoder {
                Decoder::Append(decoder) => decoder.decode(&mut buffer)?,
                Decoder::Message(decoder) => decoder.decode(&mut buffer)?,
            };
            match incoming {
                None => break,
                Some(Incoming::LinkHeartbeat) => {}
                Some(Incoming::Message(message)) => deliver(shared, remote, *message),
            }
        }
    }
}

/// Gives the member what a peer's stream brought, unless it is not for it.
fn deliver(shared: &Shared, remote: &Remote, message: Message) {
    match admit(shared, message, Some(remote.id)) {
        Ok(message) => shared.inbox().receive(message),
        Err(refused) => {
            metrics::peer_received_failure(remote.id);
            let peer = format_id(remote.id);
            tracing::warn!(peer, error = %refused, "a message of a peer is refused");
        }
    }
}

/// Why a message does not reach the member. The texts of the first two are etcd's.
#[derive(Debug, Error)]
pub(super) enum NotAdmitted {
    #[error("cannot process message from removed member")]
    Removed,
    #[error("cannot process message to mismatch member")]
    NotForUs,
    #[error("it names a sender that is not its sender")]
    NotFromSender,
    #[error("messages of its kind do not travel this way")]
    WrongKind,
    #[error(transparent)]
    Wire(#[from] wire::WireError),
}

/// Checks a message that came without a snapshot's body; `sender` is who was dialled for it.
pub(super) fn admit(
    shared: &Shared,
    message: Message,
    sender: Option<u64>,
) -> Result<Box<quorate_raft::Message>, NotAdmitted> {
    if shared.inbox().is_removed(message.from()) {
        return Err(NotAdmitted::Removed);
    }
    if message.to() != shared.settings.member {
        return Err(NotAdmitted::NotForUs);
    }
    let message = wire::message_from_pb(message)?;
    if message.kind.is_local()
        || matches!(message.kind, MessageKind::MsgSnap | MessageKind::MsgForgetLeader)
    {
        return Err(NotAdmitted::WrongKind);
    }
    // Members forward these, and then they carry the first sender, or the member to transfer to.
    let is_forwarded = matches!(
        message.kind,
        MessageKind::MsgProp | MessageKind::MsgReadIndex | MessageKind::MsgTransferLeader
    );
    let is_of_sender = sender.is_none_or(|sender| sender == message.from.0);
    let is_nobody = message.from.is_local_thread() || message.from.is_none();
    let is_ourselves = message.from.0 == shared.settings.member;
    if is_nobody || (!is_forwarded && (!is_of_sender || is_ourselves)) {
        return Err(NotAdmitted::NotFromSender);
    }
    Ok(Box::new(message))
}
