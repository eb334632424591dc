//! Members that fail: first they may come back, then they get what was mended, then another takes
//! their place. The dead one goes before the new one comes, or its vote would count against both.

use k8s_openapi::jiff::SignedDuration;
use quorate_operator_api::MemberHealth;

use super::{Context, Kind, Phase, Plan, Step, Wait, update};
use crate::cluster::observed::{AlarmKind, Number};
use crate::cluster::view::View;

/// How long a pod may fail to run before it gets a template that is newer than its own.
const MENDED_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// How long history that was just forgotten may take to make room. What it does not make room for,
/// or what fills that again at once, it will not the next time either: then it is twice as long.
const ROOM_AFTER: SignedDuration = SignedDuration::from_secs(300);

/// How often that doubles.
const ROOM_DOUBLINGS_MAX: u32 = 3;

/// How often a leader is asked to hand over before things go on without.
const TRANSFERS_MAX: i32 = 5;

/// A voter that does not come back is removed. Another is added because there are too few.
pub(super) fn replace_dead(context: &Context<'_>) -> Option<Plan> {
    if !context.desired.heals {
        return None;
    }
    let dead = context
        .own_voters()
        .find(|view| is_dead(context, view) && context.is_safe_without(view))?;
    let is_missed = context.own_voters().count() <= context.desired.voters;
    leave(context, dead, if is_missed { Kind::Replace } else { Kind::Remove })
}

/// Whether waiting for a voter has lasted long enough, or is in vain.
fn is_dead(context: &Context<'_>, view: &View<'_>) -> bool {
    let is_over = view.age(context.now) >= context.desired.replace_after;
    match view.health {
        MemberHealth::Healthy => false,
        MemberHealth::Corrupt => is_over,
        MemberHealth::Unknown | MemberHealth::Starting | MemberHealth::Unreachable => {
            if is_served(view) {
                return false;
            }
            view.has_lost_its_volume() || (is_over && !is_trial(context, view))
        }
    }
}

/// Whether what is new is to blame for a member that does not come back: a new one would fare no
/// better. What was ill before, or says itself that it has lost its data, is not.
fn is_trial(context: &Context<'_>, view: &View<'_>) -> bool {
    update::is_ahead(context, view)
        && has_fallen_ill_with_its_template(view)
        && !view.is_refused()
        && !view.has_lost_its_volume()
        && !view.has_lost_its_node()
}

/// The kubelet's word counts as well as the operator's: its probe reads through the cluster.
fn is_served(view: &View<'_>) -> bool {
    let is_ready = view.pod().is_some_and(|pod| pod.is_ready && pod.leaving_since.is_none());
    is_ready && !view.has_lost_its_node()
}

/// A voter leaves the cluster, after the leadership has.
pub(super) fn leave(context: &Context<'_>, view: &View<'_>, kind: Kind) -> Option<Plan> {
    let (number, id) = (view.number?, view.id()?);
    if let Some(plan) = hand_over(context, view, kind) {
        return Some(plan);
    }
    Some(context.step(kind, Phase::Removing, Some(number), Step::Remove { number, id }))
}

/// A leader hands over to whoever has most, among those that are up to date if there are any.
pub(super) fn hand_over(context: &Context<'_>, view: &View<'_>, kind: Kind) -> Option<Plan> {
    let from = view.number.filter(|_| view.leads)?;
    if context.attempts(kind, Phase::Transferring, from) >= TRANSFERS_MAX {
        return None;
    }
    let heirs = context.own_voters().filter(|heir| heir.is_healthy() && heir.number != Some(from));
    let heir = heirs.max_by_key(|heir| {
        let applied = heir.says().map_or(0, |says| says.applied);
        (heir.is_settled(), !update::is_old(context, heir), applied, std::cmp::Reverse(heir.number))
    })?;
    let step = Step::Transfer { from, to: heir.number?, to_id: heir.id()? };
    Some(context.step(kind, Phase::Transferring, Some(from), step))
}

/// A pod that does not run gets the template of now, if its own is older: what kept it from
/// running may have been mended. Nothing is lost by it, so it needs nobody's consent.
pub(super) fn fix_forward(context: &Context<'_>) -> Option<Plan> {
    let broken = context.members.iter().filter(|view| {
        let is_member = match context.known {
            Some(_) => view.raft.is_some(),
            None => view.remembered.is_some(),
        };
        let is_hopeless = view.has_lost_its_volume() || view.has_lost_its_node();
        is_member && !is_hopeless && view.age(context.now) >= MENDED_AFTER
    });
    broken.into_iter().find_map(|view| renew_broken(context, view, Kind::Update))
}

/// Where people restart members, one that a person has restarted with what does not run is restarted
/// with what was mended all the same.
pub(super) fn renew_broken(context: &Context<'_>, view: &View<'_>, kind: Kind) -> Option<Plan> {
    let is_ours = context.desired.restarts || has_fallen_ill_with_its_template(view);
    if !view.is_broken() || !is_ours {
        return None;
    }
    renew(context, view.number?, kind)
}

fn has_fallen_ill_with_its_template(view: &View<'_>) -> bool {
    view.pod().is_some_and(|pod| view.fell_ill_with(&pod.hash))
}

/// The template first, then the pod.
pub(super) fn renew(context: &Context<'_>, number: Number, kind: Kind) -> Option<Plan> {
    let view = context.members.iter().find(|view| view.number == Some(number))?;
    let set = view.set().filter(|set| !set.is_leaving)?;
    if set.hash != context.desired.hash {
        let step = Step::WriteTemplate { number };
        return Some(context.step(kind, Phase::Writing, Some(number), step));
    }
    let pod =
        view.pod().filter(|pod| pod.hash != context.desired.hash && pod.leaving_since.is_none())?;
    let step = Step::Restart { number, uid: pod.uid.clone() };
    Some(context.step(kind, Phase::Restarting, Some(number), step))
}

/// Everything further waits until all members answer.
pub(super) fn wait_for_all(context: &Context<'_>) -> Option<Plan> {
    let down = context.own_voters().find(|view| !view.is_healthy())?;
    let number = down.number?;
    let is_over = down.age(context.now) >= context.desired.replace_after;
    let is_returning = context.is_doing(Kind::Update, number)
        && !down.has_lost_its_volume()
        && !down.has_lost_its_node();
    let wait = if is_trial(context, down) && is_over {
        Wait::UpdateStuck(number)
    } else if !is_over && (is_returning || is_trial(context, down)) {
        Wait::Returning(number)
    } else if !context.desired.heals {
        Wait::NotHealing(number)
    } else if is_served(down) {
        Wait::OutOfReach(number)
    } else if is_dead(context, down) {
        Wait::NotSafeToRemove(number)
    } else {
        let until = down.since.checked_add(context.desired.replace_after).unwrap_or(context.now);
        Wait::MemberDown { number, until }
    };
    Some(context.wait(wait))
}

/// A member without room takes no more writes: history is forgotten, once in a while, however often
/// the alarm comes and goes.
pub(super) fn make_room(context: &Context<'_>) -> Option<Plan> {
    if !context.has_alarm(AlarmKind::NoSpace) || !context.desired.compacts {
        return None;
    }
    let record = &context.observed.record;
    let in_vain = record
        .operation
        .as_ref()
        .filter(|_| context.doing().is_some_and(|doing| doing.kind == Kind::Compact));
    let doublings = in_vain.map_or(0, |operation| operation.attempts.saturating_sub(1).max(0));
    let doublings = doublings.unsigned_abs().min(ROOM_DOUBLINGS_MAX);
    let pause = ROOM_AFTER * 2_i32.pow(doublings);
    if record.compacted_at.is_some_and(|at| context.now.duration_since(at) < pause) {
        return None;
    }
    let revision = context.leader()?.says()?.revision;
    Some(context.step(Kind::Compact, Phase::Running, None, Step::Compact { revision }))
}
