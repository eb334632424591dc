//! Stale reads are a prefix of history: never from the future, never going back on one member.
//!
//! That the keys of an answer are those of its revision was checked while replaying
//! ([`super::linearizable`], [`Rule::SerializablePrefix`]). Here is what time adds.

use super::linearizable::{Linearization, Maker};
use super::{Rule, Violation};
use crate::history::{History, MemberId, Operation, Time};
use std::collections::BTreeMap;

/// What a member may do when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRestart {
    /// Answer from its checkpoint, and apply the log again while it does.
    MayGoBack,
    /// Be at least where it was.
    StaysMonotone,
}

/// Checks every serializable answer.
///
/// # Errors
/// [`Rule::SerializablePrefix`], [`Rule::SerializableMonotone`].
pub fn check(
    history: &History,
    linearization: &Linearization,
    after_restart: AfterRestart,
) -> Result<(), Violation> {
    let mut answers: BTreeMap<(MemberId, u32), Vec<Answer<'_>>> = BTreeMap::new();
    for operation in history.operations() {
        let Some((returned, response)) = operation.answered() else { continue };
        if operation.request.is_serializable() {
            check_past(history, linearization, operation, returned, response.revision)?;
        }
        let session = operation.session;
        let incarnation = match after_restart {
            AfterRestart::MayGoBack => session.incarnation,
            AfterRestart::StaysMonotone => 0,
        };
        let revision = response.revision;
        let answer = Answer { operation, returned, revision };
        answers.entry((session.member, incarnation)).or_default().push(answer);
    }
    answers.values().try_for_each(|of_member| check_monotone(of_member))
}

/// An answer of a member, all of which carry the revision of its own store.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    operation: &'a Operation,
    returned: Time,
    revision: i64,
}

fn check_past(
    history: &History,
    linearization: &Linearization,
    operation: &Operation,
    returned: Time,
    revision: i64,
) -> Result<(), Violation> {
    let Some(made) = linearization.made(revision) else { return Ok(()) };
    let asked = match made.maker {
        Maker::Operation(id) => history.operations().get(id.0).map(|maker| maker.invoked),
        Maker::Expiry { .. } => Some(made.after),
    };
    if asked.is_some_and(|asked| asked > returned) {
        let text = format!("{operation} shows a revision that nobody had asked for");
        return Err(Violation::at(Rule::SerializablePrefix, returned, text));
    }
    Ok(())
}

/// `answers` are in the order of their invocation.
fn check_monotone(answers: &[Answer<'_>]) -> Result<(), Violation> {
    let mut by_return = answers.to_vec();
    by_return.sort_by_key(|answer| answer.returned);
    let mut returned = by_return.iter().peekable();
    let mut newest: Option<&Answer<'_>> = None;
    for answer in answers {
        while let Some(before) =
            returned.next_if(|before| before.returned < answer.operation.invoked)
        {
            if newest.is_none_or(|newest| before.revision > newest.revision) {
                newest = Some(before);
            }
        }
        if let Some(newest) = newest
            && answer.revision < newest.revision
        {
            let text = format!("{} goes back behind {}", answer.operation, newest.operation);
            return Err(Violation::at(Rule::SerializableMonotone, answer.returned, text));
        }
    }
    Ok(())
}
