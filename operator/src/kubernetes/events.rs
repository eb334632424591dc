//! What a person wants to know, as Events of the resource that it is about.
//!
//! One that is repeated is counted in the Event that is there, and not oftener written than every
//! [`QUIET`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::objects::CALL_TIMEOUT;
use super::{Error, ErrorKind};
use crate::clock::Clock;

/// How long an Event is remembered, to be counted when it is repeated.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);
/// How long a repetition is only counted.
const QUIET: Duration = Duration::from_secs(15);
/// Bytes of a note at most: the API server takes 1 kB.
const NOTE_BYTES_MAX: usize = 1000;
/// Events that are remembered at most. Beyond them repetitions are Events of their own.
const REMEMBERED_MAX: usize = 4096;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It is as it should be.
    Normal,
    /// It is not.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Writes Events.
#[derive(Clone)]
pub struct Events {
    client: Client,
    /// Which operator it is.
    instance: String,
    clock: Clock,
    written: Arc<Mutex<HashMap<Key, Written>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    reason: String,
    note: String,
}

#[derive(Clone, Debug)]
struct Written {
    name: String,
    count: i32,
    at: Instant,
}

/// What to do about something that is to be told.
enum Telling {
    Anew,
    Again { name: String, count: i32 },
    Nothing,
}

impl Events {
    /// Of an operator of this name.
    #[must_use]
    pub fn new(client: Client, instance: &str, clock: Clock) -> Self {
        Self { client, instance: instance.to_owned(), clock, written: Arc::default() }
    }

    /// Tells something. That it cannot be told is logged, and changes nothing.
    pub async fn tell(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let note = shortened(note);
        let uid = about.uid.clone().unwrap_or_default();
        let key = Key { uid, reason: reason.to_owned(), note: note.to_owned() };
        let namespace = about.namespace.clone().unwrap_or_default();
        let events = Api::<Event>::namespaced(self.client.clone(), &namespace);
        if let Telling::Again { name, count } = match self.telling(&key) {
            Telling::Nothing => return,
            telling => telling,
        } {
            let series = EventSeries { count, last_observed_time: MicroTime(self.clock.wall()) };
            let patch = Patch::Merge(json!({ "series": series }));
            let params = PatchParams::default();
            if within(events.patch(&name, &params, &patch)).await.is_ok() {
                return;
            }
            // It is gone: Events do not live long.
        }
        let now = self.clock.wall();
        let name =
            format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            action: Some(action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note.to_owned()),
            reason: Some(reason.to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some("quorate-operator".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(severity.as_str().to_owned()),
            ..Event::default()
        };
        match within(events.create(&PostParams::default(), &event)).await {
            Ok(_) => self.remember(key, name),
            // A namespace that goes takes nothing new.
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                tracing::debug!(%error, reason, note, "an Event may not be written");
            }
            Err(error) => tracing::warn!(%error, reason, note, "an Event cannot be written"),
        }
    }

    fn telling(&self, key: &Key) -> Telling {
        let mut written = self.written.lock();
        written.retain(|_, event| event.at.elapsed() < REMEMBERED);
        let Some(event) = written.get_mut(key) else { return Telling::Anew };
        event.count = event.count.saturating_add(1);
        if event.at.elapsed() < QUIET {
            return Telling::Nothing;
        }
        event.at = Instant::now();
        Telling::Again { name: event.name.clone(), count: event.count }
    }

    fn remember(&self, key: Key, name: String) {
        let mut written = self.written.lock();
        if written.len() < REMEMBERED_MAX {
            written.insert(key, Written { name, count: 1, at: Instant::now() });
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Events").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// As much of a note as an Event takes.
fn shortened(note: &str) -> &str {
    let end = (0..=NOTE_BYTES_MAX.min(note.len())).rev().find(|end| note.is_char_boundary(*end));
    note.get(..end.unwrap_or_default()).unwrap_or_default()
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    let name = "write an Event";
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| Error::of(name, &error)),
        Err(_) => Err(Error::new(name, ErrorKind::Away, "no answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::{NOTE_BYTES_MAX, shortened};

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ü".repeat(NOTE_BYTES_MAX);
        let cut = shortened(&long);
        assert!(cut.len() <= NOTE_BYTES_MAX && cut.chars().all(|c| c == 'ü'));
        assert!(cut.len() > NOTE_BYTES_MAX - 2);
    }
}
