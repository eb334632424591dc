//! What answers and watchers show of a revision, for revisions that nobody acknowledged.

use super::{Witness, last_changes};
use crate::history::{
    Event, EventKind, History, KeyRange, KeyValue, WatchCreate, WatchMessage, WatchStream,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody saw of a key's changes in one revision. Both, where a transaction wrote the key
/// and deleted it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Mention {
    put: Option<KeyValue>,
    is_deleted: bool,
}

/// Revisions in which a watcher would have shown what it watches.
#[derive(Debug)]
struct Coverage {
    keys: KeyRange,
    no_put: bool,
    no_delete: bool,
    first: i64,
    last: i64,
}

/// What is known of revisions besides their acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Hints {
    mentions: BTreeMap<i64, BTreeMap<Bytes, Mention>>,
    values: BTreeSet<(Bytes, Bytes)>,
    coverage: Vec<Coverage>,
    witness: Witness,
    bind_writers: bool,
}

impl Hints {
    /// What answers show.
    pub(super) fn of_answers(history: &History) -> Self {
        let mut hints = Self::default();
        for operation in history.operations() {
            let Some(response) = operation.response() else { continue };
            response.body.visit_kvs(&mut |kv| hints.mention_kv(kv));
        }
        hints
    }

    /// What answers, watchers and the witness show. Watchers that are still open have shown
    /// everything up to `watched_to`.
    pub(super) fn new(history: &History, witness: &Witness, watched_to: i64) -> Self {
        let mut hints = Self::of_answers(history);
        for stream in history.streams() {
            hints.add_stream(stream, watched_to);
        }
        hints.bind_writers = true;
        for event in witness.values().flatten() {
            hints.mention_event(event);
        }
        hints.witness.clone_from(witness);
        hints
    }

    /// Whether acknowledged writes, too, must be what others saw of them. A version may tell
    /// which unacknowledged writes came before.
    pub(super) fn bind_writers(&self) -> bool {
        self.bind_writers
    }

    /// Whether a revision may have changed just this.
    pub(super) fn allow(&self, revision: i64, events: &[Event]) -> bool {
        if let Some(witness) = self.witness.get(&revision) {
            let same = witness.len() == events.len()
                && witness.iter().zip(events).all(|(a, b)| a.key == b.key && a.kind == b.kind);
            if !same {
                return false;
            }
        }
        let mentions = self.mentions.get(&revision);
        let shown = mentions.into_iter().flatten().all(|(key, mention)| {
            // A key may change twice in a revision: by a deletion without bound and a write.
            let changes = || events.iter().filter(|event| event.key == *key);
            let is_put = |seen| {
                changes().any(|event| matches!(&event.kind, EventKind::Put(kv) if shows(seen, kv)))
            };
            let is_deleted = || changes().any(|event| event.kind == EventKind::Delete);
            mention.put.as_ref().is_none_or(is_put) && (!mention.is_deleted || is_deleted())
        });
        shown && !self.coverage.iter().any(|coverage| self.missed(coverage, revision, events))
    }

    /// What was seen of a revision, in words.
    pub(super) fn seen(&self, revision: i64) -> String {
        let (witness, mentions) = (self.witness.get(&revision), self.mentions.get(&revision));
        format!("witness {witness:?}, mentions {mentions:?}")
    }

    /// Whether somebody saw what one of these events wrote, at whatever revision.
    pub(super) fn values_seen(&self, events: &[Event]) -> bool {
        events.iter().any(|event| match &event.kind {
            EventKind::Put(kv) => self.values.contains(&(kv.key.clone(), kv.value.clone())),
            EventKind::Delete => false,
        })
    }

    /// Whether a watcher would have shown one of these events and did not.
    fn missed(&self, coverage: &Coverage, revision: i64, events: &[Event]) -> bool {
        if revision < coverage.first || revision > coverage.last {
            return false;
        }
        // What a revision changes twice, only the last change of it is sure to be shown: see
        // `Linearization::compacted_to`.
        last_changes(events).any(|event| {
            let filtered = match event.kind {
                EventKind::Put(_) => coverage.no_put,
                EventKind::Delete => coverage.no_delete,
            };
            let mentions = self.mentions.get(&revision);
            let shown = mentions.is_some_and(|mentions| mentions.contains_key(&event.key));
            coverage.keys.contains(&event.key) && !filtered && !shown
        })
    }

    fn mention_kv(&mut self, kv: &KeyValue) {
        self.values.insert((kv.key.clone(), kv.value.clone()));
        let of_revision = self.mentions.entry(kv.mod_revision).or_default();
        let put = &mut of_revision.entry(kv.key.clone()).or_default().put;
        // An answer without values says less than one with them.
        if put.as_ref().is_none_or(|seen| seen.value.is_empty()) {
            *put = Some(kv.clone());
        }
    }

    fn mention_event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Put(kv) => self.mention_kv(kv),
            EventKind::Delete => {
                let of_revision = self.mentions.entry(event.mod_revision).or_default();
                of_revision.entry(event.key.clone()).or_default().is_deleted = true;
            }
        }
        if let Some(prev_kv) = &event.prev_kv {
            self.mention_kv(prev_kv);
        }
    }

    fn add_stream(&mut self, stream: &WatchStream, watched_to: i64) {
        let mut wanted: Vec<&WatchCreate> = Vec::new();
        let mut open: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
        let mut ended: BTreeSet<i64> = BTreeSet::new();
        let mut created = 0;
        for (_, message) in &stream.messages {
            match message {
                WatchMessage::CreateRequest(create) => wanted.push(create),
                WatchMessage::Created { watch_id, revision } => {
                    if let Some(create) = wanted.get(created) {
                        let first = match create.start_revision {
                            0 => revision.saturating_add(1),
                            start => start,
                        };
                        open.insert(*watch_id, (self.coverage.len(), first));
                        self.coverage.push(Coverage {
                            keys: create.keys.clone(),
                            no_put: create.no_put,
                            no_delete: create.no_delete,
                            first,
                            last: 0,
                        });
                    }
                    created += 1;
                }
                WatchMessage::CreateRefused { .. } => created += 1,
                WatchMessage::Events { watch_id, events, fragment, .. } => {
                    for event in events {
                        self.mention_event(event);
                    }
                    let last = events.last().map_or(0, |event| event.mod_revision);
                    let complete = last.saturating_sub(i64::from(*fragment));
                    self.cover(open.get(watch_id), complete);
                }
                WatchMessage::Progress { watch_id, revision } => {
                    let covered: Vec<(usize, i64)> = open
                        .iter()
                        .filter(|(id, _)| *watch_id == -1 || *id == watch_id)
                        .map(|(_, place)| *place)
                        .collect();
                    for place in &covered {
                        self.cover(Some(place), *revision);
                    }
                }
                WatchMessage::Canceled { watch_id, .. } => {
                    // A client may cancel what is being canceled already, and hear of it twice.
                    if open.remove(watch_id).is_some() {
                        ended.insert(*watch_id);
                    } else if !ended.contains(watch_id) {
                        created += 1;
                    }
                }
                WatchMessage::CancelRequest { .. } | WatchMessage::ProgressRequest => {}
            }
        }
        if stream.closed.is_none() {
            for place in open.values() {
                self.cover(Some(place), watched_to);
            }
        }
    }

    fn cover(&mut self, place: Option<&(usize, i64)>, last: i64) {
        if let Some(coverage) = place.and_then(|(index, _)| self.coverage.get_mut(*index)) {
            coverage.last = coverage.last.max(last);
        }
    }
}

/// Whether what was seen of a key is what it was. Answers may leave out value and lease.
fn shows(seen: &KeyValue, kv: &KeyValue) -> bool {
    seen.create_revision == kv.create_revision
        && seen.version == kv.version
        && (seen.value.is_empty() || seen.value == kv.value)
}
