//! The endpoints of a cluster, and how a call goes to one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_api::limits::RESPONSE_BYTES_MAX;
use tonic::codegen::http::Uri;
use tonic::codegen::{Service, StdError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::Error;

/// The largest message taken from a member: as much as one sends.
pub(crate) const MESSAGE_BYTES_MAX: usize = RESPONSE_BYTES_MAX as usize;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time for a connection to stand.
    pub connect_timeout: Duration,
    /// The time for an answer of one endpoint. Streams have none.
    pub call_timeout: Duration,
    /// The time between pings on a connection with calls under way, so that a dead member is
    /// noticed. Members cut connections that ping more often than every 5 s, or without a call.
    pub keep_alive_interval: Duration,
    /// The time for a ping's answer.
    pub keep_alive_timeout: Duration,
    /// The token of [`Client::authenticate`].
    pub token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            token: None,
        }
    }
}

/// A client of one cluster, or of one member if it is given one endpoint. Cheap to clone; clones
/// share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// At least one.
    channels: Vec<Channel>,
    /// The channel that is asked first, modulo their number.
    current: AtomicUsize,
    call_timeout: Duration,
    token: Option<MetadataValue<Ascii>>,
}

/// Which calls may go to a second endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It only reads: whenever the first endpoint had trouble.
    Reads,
    /// It changes something: only if the first endpoint was never reached.
    Changes,
}

impl Client {
    /// A client of these endpoints, `http://host:port` or `host:port`. Nothing is connected yet:
    /// connections are made when they are used. To be called within a Tokio runtime.
    pub fn connect<S: AsRef<str>>(endpoints: &[S], options: Options) -> Result<Self, Error> {
        let channel = |endpoint: &S| {
            let endpoint = endpoint.as_ref();
            if endpoint.starts_with("https://") {
                return Err(Error::Endpoint(endpoint.to_owned()));
            }
            Ok(endpoint_of(endpoint, &options)?.connect_lazy())
        };
        Self::over(endpoints.iter().map(channel).collect::<Result<_, Error>>()?, options)
    }

    /// A client of these endpoints, `https://` ones too, whose connections are made by
    /// `connector`. It is called with the endpoint, and gives a stream that is ready for HTTP/2.
    pub fn connect_with<S, C>(
        endpoints: &[S],
        options: Options,
        connector: &C,
    ) -> Result<Self, Error>
    where
        S: AsRef<str>,
        C: Service<Uri> + Clone + Send + 'static,
        C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin,
        C::Future: Send,
        StdError: From<C::Error> + Send,
    {
        let channel = |endpoint: &S| {
            let endpoint = endpoint_of(endpoint.as_ref(), &options)?;
            Ok(endpoint.connect_with_connector_lazy(connector.clone()))
        };
        Self::over(endpoints.iter().map(channel).collect::<Result<_, Error>>()?, options)
    }

    fn over(channels: Vec<Channel>, options: Options) -> Result<Self, Error> {
        if channels.is_empty() {
            return Err(Error::Endpoint("none is given".to_owned()));
        }
        let token = match options.token {
            Some(token) => Some(token.parse().map_err(|_| Error::Token)?),
            None => None,
        };
        let current = AtomicUsize::new(0);
        let call_timeout = options.call_timeout;
        Ok(Self { shared: Arc::new(Shared { channels, current, call_timeout, token }) })
    }

    /// One call with a deadline, on the first endpoint that takes it.
    pub(crate) async fn call<Req, Resp, Call, Answer>(
        &self,
        repeat: Repeat,
        request: Req,
        call: Call,
    ) -> Result<Resp, Error>
    where
        Req: Clone,
        Call: Fn(Channel, Request<Req>) -> Answer,
        Answer: Future<Output = Result<Response<Resp>, Status>>,
    {
        let timeout = self.shared.call_timeout;
        let with_deadline = |channel, mut request: Request<Req>| {
            request.set_timeout(timeout);
            call(channel, request)
        };
        self.call_without_deadline(repeat, request, with_deadline).await
    }

    /// One call without a deadline, for streams, on the first endpoint that takes it.
    pub(crate) async fn call_without_deadline<Req, Resp, Call, Answer>(
        &self,
        repeat: Repeat,
        request: Req,
        call: Call,
    ) -> Result<Resp, Error>
    where
        Req: Clone,
        Call: Fn(Channel, Request<Req>) -> Answer,
        Answer: Future<Output = Result<Response<Resp>, Status>>,
    {
        let endpoints = self.shared.channels.len();
        let mut last = Error::Unreachable("not tried".to_owned());
        for _ in 0..endpoints {
            let (at, channel) = self.current();
            match call(channel, self.request(request.clone())).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => last = Error::from(status),
            }
            if last.is_about_member() {
                self.leave(at);
            }
            let again = match repeat {
                Repeat::Reads => last.is_about_member(),
                Repeat::Changes => matches!(last, Error::Unreachable(_)),
            };
            if !again {
                break;
            }
        }
        Err(last)
    }

    /// A stream in both directions, which is never repeated: what it carries has been taken.
    pub(crate) async fn open<Req, Resp, Call, Answer>(
        &self,
        requests: Req,
        call: Call,
    ) -> Result<Streaming<Resp>, Error>
    where
        Call: FnOnce(Channel, Request<Req>) -> Answer,
        Answer: Future<Output = Result<Response<Streaming<Resp>>, Status>>,
    {
        let (at, channel) = self.current();
        match call(channel, self.request(requests)).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let error = Error::from(status);
                if error.is_about_member() {
                    self.leave(at);
                }
                Err(error)
            }
        }
    }

    /// A request with the token.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.shared.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    /// The endpoint to ask, and its turn.
    fn current(&self) -> (usize, Channel) {
        let turn = self.shared.current.load(Ordering::Relaxed);
        let channels = &self.shared.channels;
        (turn, channels[turn % channels.len()].clone())
    }

    /// Turns to the next endpoint, unless another call has turned already.
    fn leave(&self, turn: usize) {
        let next = turn.wrapping_add(1);
        let current = &self.shared.current;
        // A failure means that somebody else has turned.
        let _ = current.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The endpoint with its timeouts.
fn endpoint_of(endpoint: &str, options: &Options) -> Result<Endpoint, Error> {
    let invalid = || Error::Endpoint(endpoint.to_owned());
    let url = match endpoint.contains("://") {
        true => endpoint.to_owned(),
        false => format!("http://{endpoint}"),
    };
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(invalid());
    }
    Ok(Endpoint::from_shared(url)
        .map_err(|_| invalid())?
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(false)
        .tcp_nodelay(true))
}

/// The answers of a stream.
#[derive(Debug)]
pub struct Responses<T>(pub(crate) Streaming<T>);

impl<T> Responses<T> {
    /// The next answer; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        Ok(self.0.message().await?)
    }
}
