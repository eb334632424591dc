//! Is the clients' history that of one etcd? (Strict serializability.)
//!
//! Every acknowledged write carries its revision, so the order is mostly given and checking is
//! replaying: apply the writes by revision to the [`Model`], and compare each answer with the
//! model's at the revision in its header. Real time is checked on the revisions alone: what was
//! asked after revision R had been shown to anybody must itself be at R or later.
//!
//! ```text
//!   revision   2      3      4      5      6
//!   writes     put a  put b  ?      txn    ?          ?  made by a request of unknown outcome,
//!   answers    ^get          ^get ^get     ^get          or by a lease that ran out
//! ```
//! Only at a `?` there is something to search: the candidates are tried one after the other,
//! depth first. What answers and watchers show of such a revision (its keys, values, versions)
//! leaves one candidate nearly always; a [`Witness`] always. The search has a budget; at its end
//! the history is [`Rule::Undecided`], which is a failure.
//!
//! Leases and compactions make no revision of their own. Compactions are checked here by their
//! times; whether a lease was there when somebody needed it is for [`super::lease`].
//!
//! Invariant: the [`Linearization`] explains every acknowledged answer; later checks take it as
//! the truth.

mod bounds;
mod hints;
mod refusals;
mod search;

use super::{Rule, Violation};
use crate::history::{Event, History, OperationId, Request, Time};
use crate::model::{FIRST_REVISION, Model};
use bounds::Bounds;
use hints::Hints;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What revisions did in full, as a healed member's log tells it. It only guides the search.
pub type Witness = BTreeMap<i64, Vec<Event>>;

/// Candidates tried before the check gives up, for any history and for each of its operations:
/// what is explained at all takes a few for each, the rest is a search that explodes.
const TRIES_BASE: u64 = 100_000;
const TRIES_PER_OPERATION: u64 = 100;

/// Who made a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// A client's request.
    Operation(OperationId),
    /// The end of a lease without a request.
    Expiry {
        /// The lease.
        lease: i64,
    },
}

/// A revision of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Who made it.
    pub maker: Maker,
    /// What it changed, in order, each with what stood before.
    pub events: Arc<Vec<Event>>,
    /// It was made after this moment,
    pub after: Time,
    /// and before this one, at which somebody had seen it.
    pub by: Time,
}

/// A request to compact that may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// The revision compacted to.
    pub revision: i64,
    /// When it was asked for.
    pub invoked: Time,
    /// When it was acknowledged, if it was.
    pub acknowledged: Option<Time>,
}

/// One order of everything that explains the history.
#[derive(Debug, Clone)]
pub struct Linearization {
    model: Model,
    made: Vec<Made>,
    compactions: Vec<Compaction>,
    doubt: Option<Violation>,
}

impl Linearization {
    /// The last revision that anybody saw.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.model.revision()
    }

    /// The state after the last revision, with all versions before it.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// A revision; none for the first, the empty store's, and for those beyond the last.
    #[must_use]
    pub fn made(&self, revision: i64) -> Option<&Made> {
        let position = revision.checked_sub(FIRST_REVISION + 1)?;
        self.made.get(usize::try_from(position).ok()?)
    }

    /// The revisions from `first` on, each with its number.
    pub fn made_from(&self, first: i64) -> impl Iterator<Item = (i64, &Made)> {
        let first = first.max(FIRST_REVISION + 1);
        (first..=self.revision()).filter_map(|revision| Some((revision, self.made(revision)?)))
    }

    /// What stands against this order: it explains the answers, but not what watchers or the
    /// witness show as well. The check of watchers should name the reason; if none does, this is
    /// the violation.
    ///
    /// # Errors
    /// That violation.
    pub fn undoubted(&self) -> Result<(), Violation> {
        self.doubt.clone().map_or(Ok(()), Err)
    }

    /// The requests to compact that happened or may have.
    #[must_use]
    pub fn compactions(&self) -> &[Compaction] {
        &self.compactions
    }

    /// The highest revision that may have been compacted to before `time`; 0 if none.
    #[must_use]
    pub fn compacted_before(&self, time: Time) -> i64 {
        let before = self.compactions.iter().filter(|compaction| compaction.invoked < time);
        before.map(|compaction| compaction.revision).max().unwrap_or(0)
    }

    /// Whether the store may have been compacted to just `revision` before `time`. Of what that
    /// revision changed, the log then holds the last change of each key only: what a transaction
    /// wrote and deleted again is gone (etcd's too, `keyIndex.compact`).
    #[must_use]
    pub fn compacted_to(&self, revision: i64, time: Time) -> bool {
        let mut all = self.compactions.iter();
        all.any(|compaction| compaction.revision == revision && compaction.invoked < time)
    }
}

/// The last change of each key in a revision, in order.
pub(super) fn last_changes(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().enumerate().filter_map(|(position, event)| {
        let later = events.get(position + 1..).unwrap_or(&[]);
        later.iter().all(|other| other.key != event.key).then_some(event)
    })
}

/// Finds one order that explains the history, or says why there is none.
///
/// Give the witness whenever there is one. Without it, of several orders that explain all answers
/// one is taken, and it may not be the one that happened: then leases and final states can
/// contradict it in a run that was correct.
///
/// # Errors
/// [`Rule::RealTime`], [`Rule::Linearizable`], [`Rule::SerializablePrefix`], [`Rule::LeaseGone`],
/// [`Rule::Refusal`]; [`Rule::Undecided`] if the search ends without a result.
pub fn check(history: &History, witness: &Witness) -> Result<Linearization, Violation> {
    check_watched(history, witness, 0)
}

/// As [`check`], where watchers that are still open have shown everything up to `watched_to`.
///
/// # Errors
/// As [`check`].
pub fn check_watched(
    history: &History,
    witness: &Witness,
    watched_to: i64,
) -> Result<Linearization, Violation> {
    let bounds = Bounds::new(history, witness);
    bounds.check(history)?;
    let compactions = compactions(history);
    let guided = search::search(history, &bounds, &Hints::new(history, witness, watched_to));
    // A watcher that lies must not hide that the answers have an order: without what watchers
    // said the order may exist, and then the check of watchers names the lie.
    let (model, made, doubt) = match guided {
        Ok((model, made)) => (model, made, None),
        Err(doubt) => match search::search(history, &bounds, &Hints::of_answers(history)) {
            Ok((model, made)) => (model, made, Some(doubt)),
            Err(violation) if violation.rule != Rule::Undecided => return Err(violation),
            Err(_) => return Err(doubt),
        },
    };
    let linearization = Linearization { model, made, compactions, doubt };
    refusals::check(history, &linearization, &bounds)?;
    Ok(linearization)
}

fn compactions(history: &History) -> Vec<Compaction> {
    let mut found = Vec::new();
    for operation in history.operations() {
        let Request::Compact { revision } = operation.request else { continue };
        let acknowledged = operation.answered().map(|(time, _)| time);
        let unknown = operation.outcome == crate::history::Outcome::Unknown;
        if acknowledged.is_some() || unknown {
            found.push(Compaction { revision, invoked: operation.invoked, acknowledged });
        }
    }
    found
}
