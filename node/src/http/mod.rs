//! What a member answers to plain HTTP: health, versions and metrics.
//!
//! ```text
//!   GET /health              {"health":"true","reason":""}        kubelet, load balancers
//!   GET /livez  /livez/<check>    ok     GET /readyz  /readyz/<check>
//!   GET /version             what clients look at
//!   GET /metrics             Prometheus
//! ```
//! Bodies, codes and headers are etcd's. It changes nothing.

mod access;
mod checks;
mod health;
mod metrics_page;
mod version;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;

use crate::member::Member;
use crate::memory::Budget;
pub(crate) use access::{Access, Transport};

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Which paths an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// All of them.
    All,
    /// Health and metrics only, as on `--listen-metrics-urls`.
    Metrics,
}

/// What plain HTTP is answered with at one address. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) member: Member,
    pub(crate) paths: Paths,
    pub(crate) transport: Transport,
    pub(crate) access: Arc<Access>,
    pub(crate) budget: Budget,
}

impl Plain {
    /// Answer a request. Its body is not looked at: no request here needs one.
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        if self.paths == Paths::Metrics {
            return answer(self, method, uri).await;
        }
        if let Some(refusal) = self.access.refuse(self.transport, uri, headers) {
            return refusal;
        }
        let mut answer = if method == Method::OPTIONS {
            Response::new(Full::default())
        } else {
            answer(self, method, uri).await
        };
        self.access.allow(headers, &mut answer);
        answer
    }
}

/// The answer to what is not for this address.
pub(crate) fn only_grpc() -> Answer {
    error(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "this address serves gRPC alone; plain HTTP is at --listen-client-http-urls",
    )
}

async fn answer(plain: &Plain, method: &Method, uri: &Uri) -> Answer {
    let Plain { member, paths, .. } = plain;
    let path = uri.path();
    let query = Query(uri.query().unwrap_or_default());
    let check = |root: &str| path.strip_prefix(root)?.strip_prefix('/').map(str::to_owned);
    match path {
        "/health" => health::answer(member, method, query).await,
        "/livez" => checks::answer(member, checks::LIVEZ, None, method, query).await,
        "/readyz" => checks::answer(member, checks::READYZ, None, method, query).await,
        "/metrics" => metrics_page::answer(plain).await,
        "/version" if *paths == Paths::All => version::answer(member, method).await,
        _ => {
            for kind in [checks::LIVEZ, checks::READYZ] {
                if let Some(name) = check(kind.root)
                    && kind.has(&name)
                {
                    return checks::answer(member, kind, Some(&name), method, query).await;
                }
            }
            error(StatusCode::NOT_FOUND, "404 page not found")
        }
    }
}

fn with_type(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An error in Go's way: the text and a line end.
fn error(status: StatusCode, text: &str) -> Answer {
    let mut answer = with_type("text/plain; charset=utf-8", format!("{text}\n"));
    *answer.status_mut() = status;
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// The answer to anything but GET.
fn only_get() -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    answer
}

/// A query: names and values as they are written, for no name or value here needs an escape.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let parts = self.0.split('&').filter(|part| !part.is_empty());
        parts.map(|part| part.split_once('=').unwrap_or((part, "")))
    }

    /// All values of a name that are not empty.
    fn all(self, name: &str) -> Vec<&'a str> {
        let named = self.pairs().filter(|(pair, value)| *pair == name && !value.is_empty());
        named.map(|(_, value)| value).collect()
    }

    /// The first value of a name.
    fn first(self, name: &str) -> Option<&'a str> {
        self.pairs().find(|(pair, _)| *pair == name).map(|(_, value)| value)
    }

    fn has(self, name: &str) -> bool {
        self.first(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_written() {
        let query = Query("exclude=NOSPACE&verbose&exclude=&exclude=CORRUPT&serializable=true");
        assert_eq!(query.all("exclude"), ["NOSPACE", "CORRUPT"]);
        assert_eq!(query.first("serializable"), Some("true"));
        assert!(query.has("verbose"));
        assert!(!query.has("verb"));
        assert!(Query("").all("exclude").is_empty());
    }
}
