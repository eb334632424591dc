//! Something new for members that run: followers first, the leader last, after it has handed over.
//! It stops at the first that does not come back.

use quorate_operator_api::PreUpgradeBackup;

use super::{Context, Kind, Phase, Plan, Step, Wait, heal};
use crate::cluster::observed::BackupSeen;
use crate::cluster::view::View;

/// Whether a member does not run what is wished for.
pub(super) fn is_old(context: &Context<'_>, view: &View<'_>) -> bool {
    let wished = &context.desired.hash;
    view.raft.is_some()
        && (view.pod().is_some_and(|pod| pod.hash != *wished)
            || view.set().is_some_and(|set| set.hash != *wished))
}

/// Whether a member is among the first with what is wished for. If it fails, what is wished for is
/// to blame.
pub(super) fn is_ahead(context: &Context<'_>, view: &View<'_>) -> bool {
    let wished = &context.desired.hash;
    view.pod().is_some_and(|pod| pod.hash == *wished)
        && context.own_voters().any(|other| other.pod().is_some_and(|pod| pod.hash != *wished))
}

pub(super) fn plan(context: &Context<'_>) -> Option<Plan> {
    let old: Vec<&View<'_>> = context.own_voters().filter(|view| is_old(context, view)).collect();
    if old.is_empty() {
        return None;
    }
    if !context.desired.restarts {
        let unwritten = old.iter().find(|view| {
            view.set().is_some_and(|set| set.hash != context.desired.hash && !set.is_leaving)
        });
        let number = unwritten?.number?;
        let step = Step::WriteTemplate { number };
        return Some(context.step(Kind::Update, Phase::Writing, Some(number), step));
    }
    if let Some(busy) = context.own_voters().find(|view| !view.is_settled()) {
        return Some(context.wait(Wait::Returning(busy.number.unwrap_or_default())));
    }
    if let Some(plan) = back_up_first(context, &old) {
        return Some(plan);
    }
    // The one whose template is written first, then followers, then the leader.
    let next = old.iter().min_by_key(|view| {
        let is_written = view.set().is_some_and(|set| set.hash == context.desired.hash);
        (!is_written, view.leads, view.number)
    })?;
    let number = next.number?;
    let voters = context.voters().count();
    if voters > 1 && !context.is_bearable_to_stop(next) {
        return Some(context.wait(Wait::NotSafeToStop(number)));
    }
    heal::hand_over(context, next, Kind::Update)
        .or_else(|| heal::renew(context, number, Kind::Update))
}

/// Before the first member gets another version, a backup is made, as asked for.
fn back_up_first(context: &Context<'_>, old: &[&View<'_>]) -> Option<Plan> {
    let wished = context.desired.version.as_ref()?;
    let is_another = |view: &View<'_>| {
        let version = view.pod().and_then(|pod| pod.version.as_ref());
        version.is_some_and(|version| version != wished)
    };
    let is_begun = old.len() < context.own_voters().count();
    if is_begun || !context.own_voters().any(is_another) {
        return None;
    }
    let is_required = match context.desired.pre_upgrade_backup {
        PreUpgradeBackup::Never => return None,
        PreUpgradeBackup::IfConfigured => false,
        PreUpgradeBackup::Required => true,
    };
    match context.observed.backup {
        BackupSeen::Made => None,
        BackupSeen::NoPlace if is_required => Some(context.wait(Wait::BackupWithoutPlace)),
        BackupSeen::NoPlace => None,
        BackupSeen::Missing => {
            Some(context.step(Kind::Update, Phase::BackingUp, None, Step::BackUp))
        }
        BackupSeen::Running => Some(context.wait(Wait::BackupRunning)),
        BackupSeen::Failed => Some(context.wait(Wait::BackupFailed)),
    }
}

impl Context<'_> {
    /// Whether a majority goes on while this voter is away.
    fn is_bearable_to_stop(&self, away: &View<'_>) -> bool {
        let healthy =
            self.voters().filter(|view| view.id() != away.id() && view.is_healthy()).count();
        healthy >= super::quorum(self.voters().count())
    }
}
