//! Watches: what happened behind a revision, and what happens from then on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::faults::EventFault;
use super::kinds::Kind;
use super::life::Life;
use super::refusal::Refusal;
use super::request::Request;
use super::selector::Selector;
use super::store::Change;
use super::{Shared, metadata_of};

/// How often the server says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch lasts that says nothing of it.
const LASTS: Duration = Duration::from_secs(1800);

/// Events that a reader may be behind.
const QUEUE: usize = 1024;

pub(super) struct Watch {
    shared: Arc<Shared>,
    request: Request,
    selector: Selector,
    /// What has been told.
    position: u64,
    out: mpsc::Sender<Bytes>,
}

/// Whether a stream goes on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    End,
}

/// Begins a watch; its lines come out of the receiver.
pub(super) fn begin(
    shared: &Arc<Shared>,
    request: Request,
    life: Life,
) -> Result<mpsc::Receiver<Bytes>, Refusal> {
    let (out, lines) = mpsc::channel(QUEUE);
    let query = &request.query;
    let selector = Selector::new(query.get("labelSelector"), query.get("fieldSelector"));
    let asked = query.get("resourceVersion").unwrap_or("0");
    let position: u64 =
        asked.parse().map_err(|_| Refusal::bad_request("the resourceVersion is no number"))?;
    let shared = Arc::clone(shared);
    let watch = Watch { shared, request, selector, position, out };
    tokio::spawn(async move {
        tokio::select! {
            () = watch.run() => {}
            () = life.ended() => {}
        }
    });
    Ok(lines)
}

impl Watch {
    async fn run(mut self) {
        let seconds = self.request.query.get("timeoutSeconds").and_then(|text| text.parse().ok());
        let end = Instant::now() + seconds.map_or(LASTS, Duration::from_secs);
        let mut bookmark = Instant::now() + BOOKMARK_EVERY;
        let mut changed = self.shared.changed.subscribe();
        let begins_anew = self.position == 0 || self.request.query.is_set("sendInitialEvents");
        if begins_anew && self.tell_all().await == Goes::End {
            return;
        }
        loop {
            if self.tell_changes().await == Goes::End {
                return;
            }
            tokio::select! {
                biased;
                changed = changed.changed() => if changed.is_err() { return },
                () = self.out.closed() => return,
                () = tokio::time::sleep_until(bookmark) => {
                    bookmark += BOOKMARK_EVERY;
                    if self.bookmark(json!({})).await == Goes::End {
                        return;
                    }
                }
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }

    /// Everything that there is, as if it had come just now.
    async fn tell_all(&mut self) -> Goes {
        let (objects, revision) = self.shared.list(&self.request, &self.selector);
        self.position = revision;
        for object in objects {
            if self.send("ADDED", &object).await == Goes::End {
                return Goes::End;
            }
        }
        if self.request.query.is_set("sendInitialEvents") {
            return self.bookmark(json!({ "k8s.io/initial-events-end": "true" })).await;
        }
        Goes::On
    }

    async fn tell_changes(&mut self) -> Goes {
        let found = self.changes();
        let (changes, visible) = match found {
            Ok(found) => found,
            Err(refusal) => {
                let _ = self.line("ERROR", &refusal.status()).await;
                return Goes::End;
            }
        };
        for change in changes {
            if let Some((kind, object)) = self.event(&change) {
                let fault = (self.shared.faults.lock().of_event)(&object);
                let times = match fault {
                    EventFault::None => 1,
                    EventFault::Dropped => 0,
                    EventFault::Repeated => 2,
                    EventFault::Cut => return Goes::End,
                    EventFault::Forgotten => {
                        let refusal = Refusal::expired(self.position, change.revision);
                        let _ = self.line("ERROR", &refusal.status()).await;
                        return Goes::End;
                    }
                };
                for _ in 0..times {
                    if self.send(kind, &object).await == Goes::End {
                        return Goes::End;
                    }
                }
            }
            self.position = change.revision;
        }
        self.position = self.position.max(visible);
        Goes::On
    }

    fn changes(&self) -> Result<(Vec<Change>, u64), Refusal> {
        if self.shared.faults.lock().is_down {
            return Err(Refusal::new(503, "ServiceUnavailable", "the server goes down"));
        }
        let visible = self.shared.visible();
        let state = self.shared.state.lock();
        if self.position < state.store.forgotten() {
            return Err(Refusal::expired(self.position, state.store.forgotten()));
        }
        let Request { kind, namespace, name, .. } = &self.request;
        let changes = state.store.changes(self.position, visible).filter(|change| {
            change.key.kind == *kind
                && (namespace.is_empty() || change.key.namespace == *namespace)
                && (name.is_empty() || change.key.name == *name)
        });
        Ok((changes.cloned().collect(), visible))
    }

    /// What a change is for whoever selects some objects.
    fn event(&self, change: &Change) -> Option<(&'static str, Value)> {
        let was = change.before.as_ref().is_some_and(|before| self.selector.matches(before));
        let is = !change.is_deletion && self.selector.matches(&change.after);
        let kind = match (was, is) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some((kind, (*change.after).clone()))
    }

    async fn bookmark(&self, annotations: Value) -> Goes {
        if !self.request.query.is_set("allowWatchBookmarks") {
            return Goes::On;
        }
        let kind: &Kind = self.request.kind;
        let object = json!({
            "apiVersion": kind.api_version(), "kind": kind.name,
            "metadata": {
                "resourceVersion": self.position.to_string(), "annotations": annotations,
            },
        });
        self.line("BOOKMARK", &object).await
    }

    async fn send(&self, kind: &str, object: &Value) -> Goes {
        if self.request.is_metadata_only {
            return self.line(kind, &metadata_of(object)).await;
        }
        self.line(kind, object).await
    }

    async fn line(&self, kind: &str, object: &Value) -> Goes {
        let mut line = json!({ "type": kind, "object": object }).to_string().into_bytes();
        line.push(b'\n');
        match self.out.send(line.into()).await {
            Ok(()) => Goes::On,
            Err(_) => Goes::End,
        }
    }
}
