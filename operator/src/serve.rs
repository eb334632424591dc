//! What the operator answers over HTTP: `/healthz`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::health::Health;
use crate::metrics::Metrics;

/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last: whoever asks once in a while connects again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// How long to wait when no connection can be taken, such as for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on a listener as long as it is polled.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &health, &metrics);
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever asks may go at any time.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
    }
}

fn answer(
    method: &Method,
    path: &str,
    health: &Health,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned());
    }
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => {
            let (is_ready, said) = health.readiness();
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(status, said + "\n")
        }
        "/metrics" => text(StatusCode::OK, metrics.text()),
        _ => text(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::answer;
    use crate::clock::Clock;
    use crate::health::{Health, State};
    use crate::metrics::Metrics;

    #[test]
    fn readiness_says_what_is_waited_for() {
        let (health, metrics) = (Health::default(), Metrics::new(Clock::system()));
        let status = |path: &str| answer(&Method::GET, path, &health, &metrics).status();
        assert_eq!(status("/healthz"), StatusCode::OK);
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        health.set(State::Waiting("no definitions".to_owned()));
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        for state in [State::StandingBy, State::Acting] {
            health.set(state);
            assert_eq!(status("/readyz"), StatusCode::OK);
        }
        assert_eq!(status("/metrics"), StatusCode::OK);
        assert_eq!(status("/"), StatusCode::NOT_FOUND);
        let post = answer(&Method::POST, "/metrics", &health, &metrics).status();
        assert_eq!(post, StatusCode::METHOD_NOT_ALLOWED);
    }
}
