//! The applier's tasks, one at a time and in their order: entries, snapshots out and in.

use bytes::Bytes;
use prost::Message as _;
use quorate_api::mvccpb;
use quorate_member::applier;
use quorate_raft::{Entry, Message, SnapshotMetadata};
use quorate_replica::{Event, SnapshotOutcome, Time, wire};
use quorate_store::entry::{Fatal, Touched};
use quorate_store::log::Record;
use quorate_store::snapshot::{self, DigestRule, SnapshotFile, Trailer};

use super::{Output, Process, Stop};
use crate::history::{Event as HistoryEvent, EventKind};
use crate::world::chaos::Tender;
use crate::world::marks::{Mark, Marks};

/// Work of the applier, in its order.
pub(super) enum Task {
    Apply(Vec<Entry>),
    Pin,
    Install(SnapshotMetadata),
}

/// A snapshot on its way into the store.
pub(super) enum Installing {
    Records(SnapshotMetadata, Box<snapshot::Install<Bytes>>),
    Checkpoint(SnapshotMetadata),
}

impl Process {
    /// Whether the applier has something to do that it can do.
    fn has_tasks(&self) -> bool {
        !self.stopped
            && match self.installing {
                None => !self.tasks.is_empty() && !self.store.mvcc().log().must_wait(),
                Some(Installing::Records(..)) => !self.store.mvcc().log().must_wait(),
                Some(Installing::Checkpoint(_)) => false,
            }
    }

    /// Whether the applier was idle and has something to do now.
    pub(crate) fn wakes_applier(&mut self) -> bool {
        self.has_tasks() && !std::mem::replace(&mut self.applier_awake, true)
    }

    /// Whether the store is becoming another one.
    pub(crate) fn is_installing(&self) -> bool {
        self.installing.is_some() || self.tasks.iter().any(|task| matches!(task, Task::Install(_)))
    }

    /// Whether a snapshot fills the store.
    pub(super) fn is_filling(&self) -> bool {
        matches!(self.installing, Some(Installing::Records(..)))
    }

    /// Do the applier's next task.
    pub(crate) fn run_task(&mut self, now: Time, marks: &mut Marks) {
        self.applier_awake = false;
        if !self.has_tasks() {
            return;
        }
        if let Some(Installing::Records(metadata, install)) = self.installing.take() {
            return self.install_more(metadata, install);
        }
        match self.tasks.pop_front() {
            None => {}
            Some(Task::Apply(entries)) => self.apply(now, &entries, marks),
            Some(Task::Pin) => self.pin(now),
            Some(Task::Install(metadata)) => self.install(metadata, marks),
        }
    }

    fn apply(&mut self, now: Time, entries: &[Entry], marks: &mut Marks) {
        let waiting = &self.waiting;
        let batch = applier::apply(&mut self.store, entries, |id| waiting.contains_key(&id));
        let batch = match batch {
            Ok(batch) => batch,
            Err(Fatal::Damage(damage)) => return self.damaged(&damage),
            Err(fatal @ Fatal::Malformed { .. }) => {
                return self.stop(Stop::Broken(fatal.to_string()));
            }
        };
        if batch.members == Touched::Yes {
            self.outputs.push(Output::Tender(Tender::Members));
        }
        self.note_records(&batch.records);
        match self.hub.publish(batch.records) {
            Ok(woken) => self.poll_streams(&woken),
            Err(error) => return self.stop(Stop::Damaged(error.to_string())),
        }
        for change in &batch.applied.leases {
            if let quorate_replica::LeaseChange::Granted { lease, .. } = change {
                self.granted.insert(*lease, self.store.applied_term());
            }
        }
        if let Some(alarms) = &batch.applied.alarms {
            let was_full = std::mem::replace(&mut self.is_full, !alarms.is_empty());
            if was_full && !self.is_full {
                marks.reach(Mark::NoSpaceCleared);
            }
        }
        for (request, reply) in batch.replies {
            self.reply(request, reply);
        }
        self.hear(now, Event::Applied(batch.applied));
    }

    /// Tell the world what was applied, for its witness.
    fn note_records(&mut self, records: &[Record]) {
        for record in records {
            let Ok(kv) = mvccpb::KeyValue::decode(record.body.clone()) else { continue };
            let revision = record.revision.main;
            let before = self.store.mvcc().get_at(&kv.key, revision - 1).ok().flatten();
            let prev_kv = before.and_then(|body| mvccpb::KeyValue::decode(body).ok());
            let event = HistoryEvent {
                key: kv.key.clone(),
                mod_revision: revision,
                kind: if record.tombstone {
                    EventKind::Delete
                } else {
                    EventKind::Put(judge::wire::key_value(kv))
                },
                prev_kv: prev_kv.map(judge::wire::key_value),
            };
            match self.applied_records.last_mut() {
                Some((last, events)) if *last == revision => events.push(event),
                _ => self.applied_records.push((revision, vec![event])),
            }
        }
    }

    fn pin(&mut self, now: Time) {
        let conf_state = applier::conf_state(&self.store);
        let index = self.store.applied_index();
        let term = self.store.applied_term();
        let mut stream =
            snapshot::capture(&mut self.store, &wire::conf_state_to_pb(&conf_state), Trailer::None);
        let mut body = Vec::new();
        loop {
            match stream.step() {
                Ok(snapshot::Step::Again) => {}
                Ok(snapshot::Step::Chunk(chunk)) => body.extend_from_slice(&chunk),
                Ok(snapshot::Step::End) => break,
                Err(error) => return self.stop(Stop::Damaged(error.to_string())),
            }
        }
        let metadata = SnapshotMetadata {
            conf_state,
            index: quorate_raft::Index(index),
            term: quorate_raft::Term(term),
        };
        self.pinned = Some((metadata.clone(), body.into()));
        self.hear(now, Event::SnapshotPinned(metadata));
    }

    fn install(&mut self, metadata: SnapshotMetadata, marks: &mut Marks) {
        let body = match self.received.take() {
            Some((index, body)) if index == metadata.index.0 => body,
            _ => {
                // A newer body took its place: its message comes, or the leader sends again after
                // a restart.
                return self.stop(Stop::Broken("the snapshot's body is not here".into()));
            }
        };
        let verified = SnapshotFile::open(body, DigestRule::IfPresent)
            .map_err(|error| error.to_string())
            .and_then(|file| snapshot::Verification::new(file).map_err(|error| error.to_string()))
            .and_then(|mut verification| {
                loop {
                    match verification.step() {
                        Ok(snapshot::Progress::Again) => {}
                        Ok(snapshot::Progress::Done) => break Ok(verification),
                        Err(error) => break Err(error.to_string()),
                    }
                }
            });
        let verification = match verified {
            Ok(verification) => verification,
            Err(error) => return self.stop(Stop::Broken(error)),
        };
        assert_eq!(verification.applied_index(), metadata.index.0, "the body is the message's");
        self.jobs.abort(&mut self.store);
        self.pinned = None;
        self.outputs.push(Output::Tender(Tender::Install));
        match verification.install(&mut self.store) {
            Ok(install) => self.installing = Some(Installing::Records(metadata, Box::new(install))),
            Err(error) => self.stop(Stop::Broken(error.to_string())),
        }
        let _ = marks;
    }

    fn install_more(
        &mut self,
        metadata: SnapshotMetadata,
        mut install: Box<snapshot::Install<Bytes>>,
    ) {
        match install.step(&mut self.store) {
            Ok(snapshot::Progress::Again) => {
                self.installing = Some(Installing::Records(metadata, install));
            }
            Ok(snapshot::Progress::Done) => {
                let _ = install.finish(&mut self.store);
                applier::note_conf_state(&mut self.store);
                self.jobs.request_checkpoint();

                let woken = self.hub.on_snapshot_installed(self.store.mvcc());
                self.poll_streams(&woken);
                self.installing = Some(Installing::Checkpoint(metadata));
                self.release_held();
            }
            Err(error) => self.stop(Stop::Broken(error.to_string())),
        }
    }

    pub(super) fn send_snapshot(&mut self, now: Time, message: Box<Message>) {
        let wanted = message.snapshot.as_ref().map(|snapshot| snapshot.metadata.index);
        match &self.pinned {
            Some((metadata, body)) if Some(metadata.index) == wanted => {
                self.outputs.push(Output::SendSnapshot(message, body.clone()));
            }
            _ => {
                let (to, outcome) = (message.to, SnapshotOutcome::Failed);
                self.replica.on(now, Event::SnapshotSent { to, outcome });
            }
        }
    }

    /// The store can be asked again.
    fn release_held(&mut self) {
        for id in std::mem::take(&mut self.held_reads) {
            self.serve(id);
        }
        for (client, stream, message) in std::mem::take(&mut self.held_watches) {
            self.watch(client, stream, &message);
        }
    }
}
