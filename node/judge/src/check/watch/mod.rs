//! Every watcher sees every event of its keys once, in order, whole revisions, with the truth.
//!
//! What a watcher must see follows from the [`Linearization`]: the events of each revision from
//! its start on, less what it filters. What it saw must be a beginning of that, and all of it
//! once the cluster is healed and quiet.
//!
//! ```text
//!   expected   3:a 3:b   4:a        6:b   7:a
//!   seen      [3:a 3:b] [4:a]  P5  [6:b]           P: progress, a promise about all before it
//! ```
//! The nine promises: filter, ordered, unique, atomic, reliable, resumable, bookmarkable,
//! previous value, is-create; each is a [`Rule`] of its own.

mod watcher;

use super::linearizable::Linearization;
use super::{Rule, Violation};
use crate::history::{History, Time, WatchCreate, WatchMessage, WatchStream};
use std::collections::{BTreeMap, BTreeSet};
use watcher::Watcher;

/// How a run ended for the watchers that are still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In the middle of things: they may lag.
    Abrupt,
    /// Healed and quiet.
    Healed {
        /// When.
        at: Time,
        /// When the run was over.
        until: Time,
        /// Everything up to here must have arrived.
        revision: i64,
        /// An idle watcher that asked for progress has heard something within this time. None if
        /// members do not send progress by themselves in this run.
        progress_within: Option<Time>,
    },
}

/// Checks every watcher of every stream.
///
/// # Errors
/// The first promise broken, with the stream and the watcher.
pub fn check(
    history: &History,
    linearization: &Linearization,
    ending: Ending,
) -> Result<(), Violation> {
    for stream in history.streams() {
        let mut check = StreamCheck::new(history, linearization, stream);
        for (time, message) in &stream.messages {
            check.on_message(*time, message).map_err(|broken| check.violation(*time, broken))?;
        }
        if stream.closed.is_none() {
            check.finish(ending)?;
        }
    }
    Ok(())
}

type Broken = (Rule, String);

struct StreamCheck<'a> {
    history: &'a History,
    linearization: &'a Linearization,
    stream: &'a WatchStream,
    /// Create requests without answer, oldest first.
    wanted: std::collections::VecDeque<&'a WatchCreate>,
    open: BTreeMap<i64, Watcher<'a>>,
    /// Watchers that ended, and those of them that the client asked to end.
    ended: BTreeSet<i64>,
    asked_to_end: BTreeSet<i64>,
    /// Watchers whose end was the answer to such a request: no other is answered.
    answered: BTreeSet<i64>,
}

impl<'a> StreamCheck<'a> {
    fn new(
        history: &'a History,
        linearization: &'a Linearization,
        stream: &'a WatchStream,
    ) -> Self {
        let wanted = std::collections::VecDeque::new();
        let (ended, asked_to_end) = (BTreeSet::new(), BTreeSet::new());
        let open = BTreeMap::new();
        let answered = BTreeSet::new();
        Self { history, linearization, stream, wanted, open, ended, asked_to_end, answered }
    }

    fn violation(&self, time: Time, (rule, text): Broken) -> Violation {
        let session = self.stream.session;
        let text = format!("stream {} of {session}: {text}", self.stream.id.0);
        Violation::at(rule, time, text)
    }

    fn on_message(&mut self, time: Time, message: &'a WatchMessage) -> Result<(), Broken> {
        match message {
            WatchMessage::CreateRequest(create) => {
                self.wanted.push_back(create);
                Ok(())
            }
            WatchMessage::CancelRequest { watch_id } => {
                self.asked_to_end.insert(*watch_id);
                Ok(())
            }
            WatchMessage::ProgressRequest => Ok(()),
            WatchMessage::Created { watch_id, revision } => {
                self.on_created(time, *watch_id, *revision)
            }
            WatchMessage::CreateRefused { reason } => match self.wanted.pop_front() {
                Some(_) => Ok(()),
                None => protocol(format!("refuses a watcher that nobody wanted: {reason}")),
            },
            WatchMessage::Events { watch_id, revision, fragment, events } => {
                let (history, linearization) = (self.history, self.linearization);
                let watcher = self.watcher(*watch_id)?;
                let named = |(rule, text)| (rule, format!("watcher {watch_id}: {text}"));
                watcher.touched = time;
                watcher.on_events(linearization, *revision, *fragment, events).map_err(named)?;
                check_past(history, linearization, time, events).map_err(named)
            }
            WatchMessage::Progress { watch_id: -1, revision } => {
                let linearization = self.linearization;
                self.open.iter_mut().try_for_each(|(id, watcher)| {
                    watcher.touched = time;
                    watcher
                        .on_progress(linearization, *revision)
                        .map_err(|(rule, text)| (rule, format!("watcher {id}: {text}")))
                })
            }
            WatchMessage::Progress { watch_id, revision } => {
                let linearization = self.linearization;
                let watcher = self.watcher(*watch_id)?;
                watcher.touched = time;
                watcher
                    .on_progress(linearization, *revision)
                    .map_err(|(rule, text)| (rule, format!("watcher {watch_id}: {text}")))
            }
            WatchMessage::Canceled { watch_id, compact_revision } => {
                self.on_canceled(time, *watch_id, *compact_revision)
            }
        }
    }

    fn watcher(&mut self, watch_id: i64) -> Result<&mut Watcher<'a>, Broken> {
        match self.open.get_mut(&watch_id) {
            Some(watcher) => Ok(watcher),
            None => protocol(format!("speaks for watcher {watch_id}, which is not open")),
        }
    }

    fn on_created(&mut self, time: Time, watch_id: i64, revision: i64) -> Result<(), Broken> {
        let Some(create) = self.wanted.pop_front() else {
            return protocol(format!("creates watcher {watch_id} that nobody wanted"));
        };
        if create.start_revision < 0 {
            let text = format!("creates watcher {watch_id} from {}", create.start_revision);
            return Err((Rule::WatchStart, text));
        }
        let watcher = Watcher::new(create, revision, time);
        match self.open.insert(watch_id, watcher) {
            None => Ok(()),
            Some(_) => protocol(format!("creates watcher {watch_id} twice")),
        }
    }

    fn on_canceled(
        &mut self,
        time: Time,
        watch_id: i64,
        compact_revision: i64,
    ) -> Result<(), Broken> {
        let open = self.open.remove(&watch_id);
        if open.is_none() && self.ended.contains(&watch_id) && compact_revision == 0 {
            // The request to end it crossed its end: once, etcd answers that as well.
            let first = self.answered.insert(watch_id);
            return match self.asked_to_end.remove(&watch_id) && first {
                true => Ok(()),
                false => protocol(format!("cancels watcher {watch_id} again")),
            };
        }
        if open.is_some() {
            self.ended.insert(watch_id);
            if compact_revision == 0 {
                self.asked_to_end.remove(&watch_id);
                self.answered.insert(watch_id);
            }
        }
        let next = match open {
            Some(watcher) => watcher.next(),
            // Canceled at once, without having been created.
            None => match self.wanted.pop_front() {
                Some(create) => create.start_revision,
                None => {
                    return protocol(format!("cancels watcher {watch_id}, which is not open"));
                }
            },
        };
        if compact_revision == 0 {
            return Ok(());
        }
        let compacted = self
            .linearization
            .compactions()
            .iter()
            .any(|done| done.revision == compact_revision && done.invoked < time);
        if compacted && next < compact_revision {
            return Ok(());
        }
        Err((
            Rule::WatchCompacted,
            format!(
                "watcher {watch_id} wanted {next}, canceled because of compaction to \
                 {compact_revision}"
            ),
        ))
    }

    fn finish(&self, ending: Ending) -> Result<(), Violation> {
        let Ending::Healed { at, until, revision, progress_within } = ending else { return Ok(()) };
        for (id, watcher) in &self.open {
            if let Some(missing) = watcher.first_missing(self.linearization, revision) {
                let text = format!("watcher {id} never got revision {missing}");
                return Err(self.violation(at, (Rule::WatchReliable, text)));
            }
            // Until the revision has come that it starts with, nothing is to be told.
            let start = watcher.create.start_revision;
            let begun = self.linearization.made(start).map_or(watcher.touched, |made| made.by);
            if let Some(within) = progress_within
                && watcher.create.progress_notify
                && watcher.touched.max(begun).plus(within) < until
                && start <= revision
            {
                let text = format!("watcher {id} heard nothing since {}", watcher.touched);
                return Err(self.violation(at, (Rule::WatchBookmarkable, text)));
            }
        }
        Ok(())
    }
}

fn protocol<T>(text: String) -> Result<T, Broken> {
    Err((Rule::WatchProtocol, text))
}

/// Nobody sees an event before somebody asked for it.
fn check_past(
    history: &History,
    linearization: &Linearization,
    time: Time,
    events: &[crate::history::Event],
) -> Result<(), Broken> {
    use super::linearizable::Maker;
    for event in events {
        let Some(made) = linearization.made(event.mod_revision) else { continue };
        let Maker::Operation(id) = made.maker else { continue };
        let Some(operation) = history.operations().get(id.0) else { continue };
        if operation.invoked > time {
            let text = format!("{event:?} is from the future: {operation}");
            return Err((Rule::WatchEvent, text));
        }
    }
    Ok(())
}
