//! Real time and revisions: what somebody saw at a moment bounds what others may see later.

use super::{Rule, Violation, Witness};
use crate::history::{History, Operation, Request, Time, WatchMessage};
use crate::model::FIRST_REVISION;

/// Which revisions had been seen when.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Moments in order, with the highest revision that anybody had seen by then.
    seen: Vec<(Time, i64)>,
    /// Revisions in order, with the first moment at which anybody had seen it or a later one.
    seen_by: Vec<(i64, Time)>,
    /// Revisions in order, with a moment at which it or a later one was still the newest.
    newest_at: Vec<(i64, Time)>,
    last: i64,
}

impl Bounds {
    pub(super) fn new(history: &History, witness: &Witness) -> Self {
        let mut shown: Vec<(Time, i64)> = Vec::new();
        let mut newest_at = Vec::new();
        for operation in history.operations() {
            let Some((returned, response)) = operation.answered() else { continue };
            shown.push((returned, response.revision));
            if shows_newest(&operation.request) {
                newest_at.push((response.revision, operation.invoked));
            }
        }
        for (time, message) in history.streams().iter().flat_map(|stream| &stream.messages) {
            shown.extend(shown_by(message).map(|revision| (*time, revision)));
        }
        let by_witness = witness.last_key_value().map_or(FIRST_REVISION, |(last, _)| *last);
        let last = shown.iter().map(|(_, revision)| *revision).fold(by_witness, i64::max);
        let mut seen_by: Vec<(i64, Time)> =
            shown.iter().map(|(time, revision)| (*revision, *time)).collect();
        seen_by.sort_unstable();
        for position in (1..seen_by.len()).rev() {
            let after = seen_by[position].1;
            seen_by[position - 1].1 = seen_by[position - 1].1.min(after);
        }
        shown.sort_unstable();
        let mut highest = FIRST_REVISION;
        for (_, revision) in &mut shown {
            highest = highest.max(*revision);
            *revision = highest;
        }
        newest_at.sort_unstable();
        let mut latest = Time(0);
        for (_, time) in &mut newest_at {
            latest = latest.max(*time);
            *time = latest;
        }
        Self { seen: shown, seen_by, newest_at, last }
    }

    /// The last revision that anybody saw.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// The highest revision that anybody had seen before `time`.
    pub(super) fn seen_before(&self, time: Time) -> i64 {
        let after = self.seen.partition_point(|(moment, _)| *moment < time);
        let last = after.checked_sub(1).and_then(|position| self.seen.get(position));
        last.map_or(FIRST_REVISION, |(_, revision)| *revision)
    }

    /// The first moment at which anybody had seen `revision` or a later one.
    pub(super) fn seen_by(&self, revision: i64) -> Time {
        let position = self.seen_by.partition_point(|(other, _)| *other < revision);
        self.seen_by.get(position).map_or(Time::NEVER, |(_, time)| *time)
    }

    /// The last moment at which `revision` had surely not been made.
    pub(super) fn not_before(&self, revision: i64) -> Time {
        let after = self.newest_at.partition_point(|(other, _)| *other < revision);
        let last = after.checked_sub(1).and_then(|position| self.newest_at.get(position));
        last.map_or(Time(0), |(_, time)| *time)
    }

    /// Every answer is at or after what had been seen when it was asked for.
    pub(super) fn check(&self, history: &History) -> Result<(), Violation> {
        for operation in history.operations() {
            let Some((returned, response)) = operation.answered() else { continue };
            if !shows_newest(&operation.request) {
                continue;
            }
            let seen = self.seen_before(operation.invoked);
            let wrote = response.body.wrote() == Some(true);
            if response.revision < seen || (wrote && response.revision == seen) {
                return Err(Violation::at(
                    Rule::RealTime,
                    returned,
                    format!("revision {seen} had been seen before {operation}"),
                ));
            }
        }
        Ok(())
    }
}

/// Whether the header of the answer is at least what was newest when it was asked for. Renewals
/// and questions about a lease carry the revision of the asked member, whoever answers them.
fn shows_newest(request: &Request) -> bool {
    match request {
        Request::LeaseKeepAlive { .. } | Request::LeaseTimeToLive { .. } => false,
        Request::Range(_) | Request::Txn(_) => !request.is_serializable(),
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. } => true,
    }
}

fn shown_by(message: &WatchMessage) -> Option<i64> {
    match message {
        WatchMessage::Created { revision, .. } | WatchMessage::Progress { revision, .. } => {
            Some(*revision)
        }
        WatchMessage::Events { revision, events, .. } => {
            events.iter().map(|event| event.mod_revision).chain([*revision]).max()
        }
        WatchMessage::CreateRequest(_)
        | WatchMessage::CancelRequest { .. }
        | WatchMessage::ProgressRequest
        | WatchMessage::CreateRefused { .. }
        | WatchMessage::Canceled { .. } => None,
    }
}

/// The requests of a history that `keep` wants, in order.
pub(super) fn operations_where(
    history: &History,
    keep: impl Fn(&Operation) -> bool,
) -> Vec<&Operation> {
    history.operations().iter().filter(|operation| keep(operation)).collect()
}
