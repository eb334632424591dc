//! The server as the operator's client meets it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::faults::{Call, Fault};
use super::life::Life;
use super::patch::PatchKind;
use super::refusal::Refusal;
use super::request::{Part, Request, Verb};
use super::rights::Rights;
use super::selector::Selector;
use super::state::Writer;
use super::store::Key;
use super::{Shared, discovery, kinds, metadata_of, watches};

/// How long a call is under way.
const LATENCY: Duration = Duration::from_millis(1);

/// How long a client waits for a call that got lost.
const LOST: Duration = Duration::from_secs(10);

/// One process' way to the server.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    life: Life,
    rights: Option<Rights>,
}

/// What the server sends.
pub(crate) enum Body {
    Whole(Option<Bytes>),
    Lines(mpsc::Receiver<Bytes>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Lines(lines) => {
                lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
            }
        }
    }
}

impl tower_service::Service<http::Request<kube::client::Body>> for Connection {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let answer = connection.answer(&parts, &body).await;
            connection.life.or_never(answer).await
        })
    }
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, life: Life, rights: Option<Rights>) -> Self {
        Self { shared, life, rights }
    }

    /// A client that uses it.
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    async fn answer(&self, parts: &Parts, body: &[u8]) -> io::Result<Response<Body>> {
        tokio::time::sleep(LATENCY).await;
        if self.life.is_over() {
            return std::future::pending().await;
        }
        if self.shared.faults.lock().is_down {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens"));
        }
        if let Some(found) = discovery::answer(&self.shared.state.lock(), parts.uri.path()) {
            return Ok(whole(200, &found));
        }
        let Some(request) = Request::parse(parts).filter(|request| self.is_there(request)) else {
            let answer = Response::builder().status(StatusCode::NOT_FOUND);
            let text = Bytes::from_static(b"404 page not found\n");
            return Ok(answer.body(Body::Whole(Some(text))).expect("a response"));
        };
        let mut call = self.call_of(&request);
        let fault = (self.shared.faults.lock().of_call)(&call);
        let refusal = match fault {
            Fault::Lost => {
                tokio::time::sleep(LOST).await;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was heard"));
            }
            Fault::Conflict => Some(Refusal::modified(request.kind, &request.name)),
            Fault::TooMany => Some(Refusal::too_many(1)),
            Fault::Internal => Some(Refusal::new(500, "InternalError", "an internal error")),
            Fault::None | Fault::TimeoutAfter | Fault::CutAfter => None,
        };
        let before = self.shared.state.lock().store.revision();
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None => self.carry_out(&request, body),
        };
        self.shared.tell();
        call.code = match &result {
            Ok((code, _)) => *code,
            Err(refusal) => refusal.code,
        };
        let has_written = self.shared.state.lock().store.revision() > before;
        if call.is_write() && has_written {
            self.life.wrote(format!("{} {} {}", call.verb, call.resource, call.name));
        }
        self.shared.calls.lock().push(call);
        match fault {
            Fault::TimeoutAfter => Ok(refused(&Refusal::timeout())),
            Fault::CutAfter => Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut off")),
            _ => Ok(match result {
                Ok((code, Answer::Whole(value))) => whole(code, &value),
                Ok((code, Answer::Lines(lines))) => respond(code, Body::Lines(lines)),
                Err(refusal) => refused(&refusal),
            }),
        }
    }

    fn is_there(&self, request: &Request) -> bool {
        !self.shared.state.lock().absent.contains(request.kind)
    }

    fn call_of(&self, request: &Request) -> Call {
        let resource = match request.part {
            Part::Object => request.kind.plural.to_owned(),
            part => format!("{}/{}", request.kind.plural, part.as_str()),
        };
        Call {
            verb: request.verb.as_str(),
            group: request.kind.group.to_owned(),
            resource,
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            code: 0,
        }
    }

    /// Whether it may, and whatever else it has to be allowed for that.
    fn check_rights(&self, request: &Request, wanted: &Value) -> Result<(), Refusal> {
        let Some(rights) = &self.rights else { return Ok(()) };
        let mut calls = vec![self.call_of(request)];
        let key = key_of(request);
        let is_new = self.shared.state.lock().store.get(&key).is_none();
        if request.verb == Verb::Patch(PatchKind::Apply) && is_new {
            calls.push(Call { verb: "create", ..self.call_of(request) });
        }
        let owners = wanted["metadata"]["ownerReferences"].as_array();
        for owner in owners.into_iter().flatten() {
            let kind = kinds::of(
                owner["apiVersion"].as_str().unwrap_or_default(),
                owner["kind"].as_str().unwrap_or_default(),
            );
            if let Some(kind) = kind.filter(|_| owner["blockOwnerDeletion"] == true) {
                calls.push(Call {
                    verb: "update",
                    group: kind.group.to_owned(),
                    resource: format!("{}/finalizers", kind.plural),
                    ..self.call_of(request)
                });
            }
        }
        let mut log = self.shared.calls.lock();
        for call in calls {
            if !rights.allow(&call) {
                return Err(Refusal::forbidden(format!(
                    "{} is forbidden: User cannot {} resource {:?} in API group {:?} in the \
                     namespace {:?}",
                    call.name, call.verb, call.resource, call.group, call.namespace
                )));
            }
            if call != self.call_of(request) {
                log.push(Call { code: 200, ..call });
            }
        }
        Ok(())
    }

    fn carry_out(&self, request: &Request, body: &[u8]) -> Result<(u16, Answer), Refusal> {
        let sent: Value = match body {
            [] => Value::Null,
            body => serde_json::from_slice(body)
                .map_err(|error| Refusal::bad_request(error.to_string()))?,
        };
        self.check_rights(request, &sent)?;
        let query = &request.query;
        let key = key_of(request);
        let is_dry = query.get("dryRun").is_some();
        let writer = Writer { manager: query.get("fieldManager").unwrap_or("unknown"), is_dry };
        let whole = |object: &Value| {
            Answer::Whole(match (request.part, request.is_metadata_only) {
                (Part::Scale, _) => scale_of(object),
                (_, true) => metadata_of(object),
                (_, false) => object.clone(),
            })
        };
        let state = || self.shared.state.lock();
        match request.verb {
            Verb::Get => Ok((200, whole(&*self.shared.read(&key)?))),
            Verb::List => Ok((200, Answer::Whole(self.list(request)))),
            Verb::Watch => {
                let lines = watches::begin(&self.shared, request.clone(), self.life.clone())?;
                Ok((200, Answer::Lines(lines)))
            }
            Verb::Create if request.part == Part::Eviction => {
                Err(Refusal::new(405, "MethodNotAllowed", "the operator evicts nobody"))
            }
            Verb::Create => {
                let made = state().create(request.kind, &request.namespace, sent, writer)?;
                Ok((201, whole(&made)))
            }
            Verb::Update => Ok((200, whole(&*state().replace(&key, request.part, sent, writer)?))),
            Verb::Patch(PatchKind::Apply) => {
                if query.get("fieldManager").is_none() {
                    return Err(Refusal::bad_request("fieldManager is required for apply patch"));
                }
                let is_forced = query.is_set("force");
                let is_new = state().store.get(&key).is_none();
                let made = state().apply(&key, request.part, &sent, is_forced, writer)?;
                Ok((if is_new { 201 } else { 200 }, whole(&made)))
            }
            Verb::Patch(kind) => {
                Ok((200, whole(&*state().patch(&key, request.part, kind, &sent, writer)?)))
            }
            Verb::Delete => Ok((200, Answer::Whole(state().delete(&key, &sent)?))),
            Verb::DeleteCollection => {
                Err(Refusal::new(405, "MethodNotAllowed", "not more than one at a time"))
            }
        }
    }

    fn list(&self, request: &Request) -> Value {
        let query = &request.query;
        let selector = Selector::new(query.get("labelSelector"), query.get("fieldSelector"));
        let (mut objects, revision) = self.shared.list(request, &selector);
        let kind = request.kind;
        let metadata = json!({ "resourceVersion": revision.to_string() });
        if request.is_metadata_only {
            let items: Vec<Value> = objects.iter().map(metadata_of).collect();
            return json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": metadata, "items": items,
            });
        }
        if !kind.is_custom {
            for object in objects.iter_mut().filter_map(Value::as_object_mut) {
                object.remove("apiVersion");
                object.remove("kind");
            }
        }
        json!({
            "apiVersion": kind.api_version(), "kind": format!("{}List", kind.name),
            "metadata": metadata, "items": objects,
        })
    }
}

/// An object as the scale that it has.
fn scale_of(object: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object["metadata"],
        "spec": { "replicas": object["spec"]["replicas"] },
        "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or_default() },
    })
}

enum Answer {
    Whole(Value),
    Lines(mpsc::Receiver<Bytes>),
}

fn key_of(request: &Request) -> Key {
    let Request { kind, namespace, name, .. } = request;
    Key { kind, namespace: namespace.clone(), name: name.clone() }
}

fn respond(code: u16, body: Body) -> Response<Body> {
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(body).expect("a response")
}

fn whole(code: u16, value: &Value) -> Response<Body> {
    respond(code, Body::Whole(Some(value.to_string().into())))
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = whole(refusal.code, &refusal.status());
    if let Some(seconds) = refusal.retry_after_seconds {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
