//! Counting calls: which were made, and how they were answered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

/// What is done with each call when it has been answered.
pub type CallCount = Arc<dyn Fn(&str, u16) + Send + Sync>;

/// Counts calls: the verb as Kubernetes has it, and the status of the answer, 0 for none.
#[derive(Clone)]
pub struct Counted {
    count: CallCount,
}

impl Counted {
    /// With what is done with each call.
    #[must_use]
    pub fn new(count: CallCount) -> Self {
        Self { count }
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Counted")
    }
}

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountedService { inner, count: Arc::clone(&self.count) }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub struct CountedService<S> {
    inner: S,
    count: CallCount,
}

impl<S> std::fmt::Debug for CountedService<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CountedService")
    }
}

impl<S, B, R> Service<Request<B>> for CountedService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send,
    R: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(request.method(), request.uri().path(), request.uri().query());
        let count = Arc::clone(&self.count);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            count(verb, answer.as_ref().map_or(0, |response| response.status().as_u16()));
            answer
        })
    }
}

/// The verb of a call, as roles have it.
fn verb(method: &Method, path: &str, query: Option<&str>) -> &'static str {
    let is_watch = query.is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    match method.as_str() {
        "GET" if is_watch => "watch",
        "GET" if is_one(path) => "get",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// Whether a path is that of one object: `/api/v1/[namespaces/x/]pods/y`, `/apis/g/v1/…`.
fn is_one(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let begin = if parts.first() == Some(&"apis") { 3 } else { 2 };
    parts.drain(..begin.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    parts.len() > 1
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::verb;

    #[test]
    fn calls_are_named_as_roles_name_them() {
        for (method, path, query, expected) in [
            (Method::GET, "/api/v1/namespaces/a/pods", None, "list"),
            (Method::GET, "/api/v1/namespaces/a/pods/b", None, "get"),
            (Method::GET, "/api/v1/pods", Some("limit=1&watch=true"), "watch"),
            (Method::GET, "/api/v1/nodes/n", None, "get"),
            (Method::GET, "/api/v1/namespaces/a", None, "get"),
            (Method::GET, "/apis/apps/v1/statefulsets", None, "list"),
            (Method::GET, "/apis/apps/v1/namespaces/a/statefulsets/b", None, "get"),
            (Method::PATCH, "/apis/quorate.io/v1alpha1/namespaces/a/x/b/status", None, "patch"),
            (Method::DELETE, "/api/v1/namespaces/a/pods/b", None, "delete"),
        ] {
            assert_eq!(verb(&method, path, query), expected, "{method} {path}");
        }
    }
}
