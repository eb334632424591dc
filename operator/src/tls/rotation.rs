//! When a CA follows another: pure decisions, one change at a time.

use k8s_openapi::jiff::Timestamp;

use super::authority::{Authority, Ca};
use super::issue::IssueError;
use super::policy::Policy;

/// How far a change of CAs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One CA, and none other.
    Stable,
    /// The next one is being trusted everywhere. The current one signs.
    Trusting,
    /// The next one has become the current one and has signed everything. The previous one is
    /// trusted as long as something that it signed may be in use.
    Retiring,
}

/// A change of the CA's Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Make the next CA, and have it trusted.
    Begin,
    /// Have the next CA sign.
    Promote,
    /// Forget the previous one.
    Retire,
    /// Make another CA at once: nothing that there is can be trusted any more.
    Replace,
}

/// How far what follows from the CA's Secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Every Secret is up to date.
    pub(super) is_up_to_date: bool,
    /// Every member that runs shows what its Secret says.
    pub(super) is_loaded: bool,
    /// When the last of the Secrets was written, in seconds since 1970.
    pub(super) written_at: i64,
}

/// What is to change now.
pub(super) fn due(
    authority: &Authority,
    policy: &Policy,
    progress: Progress,
    now: Timestamp,
) -> Option<Change> {
    let Progress { is_up_to_date, is_loaded, written_at } = progress;
    let seconds = now.as_second();
    let Authority { current, next, previous, retire_at, trusted_since, rotation } = authority;
    match (next, previous) {
        (Some(next), _) => {
            let since = trusted_since.unwrap_or(0).max(written_at);
            let is_delivered = is_up_to_date && seconds >= since + policy.delivery_seconds;
            // Under a key that is lost, what members show does not change: only time tells.
            let is_loaded = is_loaded || authority.is_orphaned();
            // Who cannot be asked keeps nobody waiting once waiting keeps nothing alive.
            let may_sign = is_delivered && is_loaded || current.has_ended(now);
            if next.has_ended(now) {
                Some(if current.has_ended(now) { Change::Replace } else { Change::Begin })
            } else {
                may_sign.then_some(Change::Promote)
            }
        }
        (None, _) if current.has_ended(now) => Some(Change::Replace),
        (None, Some(previous)) => {
            let is_unused = retire_at.is_none_or(|at| seconds >= at);
            (previous.has_ended(now) || is_up_to_date && is_loaded && is_unused)
                .then_some(Change::Retire)
        }
        (None, None) => {
            let is_old = seconds >= current.renew_at(policy);
            let is_asked_for = policy.rotation.is_some() && *rotation != policy.rotation;
            (is_old || is_asked_for).then_some(Change::Begin)
        }
    }
}

/// The CAs after a change.
pub(super) fn changed(
    authority: &Authority,
    change: Change,
    cluster: &str,
    policy: &Policy,
    now: Timestamp,
) -> Result<Authority, IssueError> {
    let seconds = now.as_second();
    let mut changed = authority.clone();
    match change {
        Change::Begin => {
            changed.next = Some(Ca::make(cluster, policy, now)?);
            changed.trusted_since = Some(seconds);
            changed.rotation.clone_from(&policy.rotation);
        }
        Change::Promote => {
            let next = changed.next.take().expect("only a next one is promoted");
            let mut previous = std::mem::replace(&mut changed.current, next);
            previous.key = None;
            changed.previous = Some(previous);
            changed.retire_at = Some(seconds + policy.overlap_seconds);
            changed.trusted_since = None;
        }
        Change::Retire => {
            changed.previous = None;
            changed.retire_at = None;
        }
        Change::Replace => changed = Authority::begin(cluster, policy, now)?,
    }
    Ok(changed)
}

/// When the next change may be due for the sake of time alone, in seconds since 1970.
pub(super) fn look_again_at(authority: &Authority, policy: &Policy, written_at: i64) -> i64 {
    let Authority { current, next, previous, retire_at, trusted_since, rotation: _ } = authority;
    match (next, previous) {
        (Some(next), _) => {
            let since = trusted_since.unwrap_or(0).max(written_at);
            let end = current.not_after().min(next.not_after()).as_second();
            (since + policy.delivery_seconds).min(end)
        }
        (None, Some(previous)) => {
            let end = previous.not_after().min(current.not_after()).as_second();
            retire_at.unwrap_or(end).min(end)
        }
        (None, None) => current.renew_at(policy),
    }
}
