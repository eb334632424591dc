//! Too few members, too many: one at a time, and never both.

use std::cmp::Reverse;

use super::{Context, Kind, Phase, Plan, Step, Wait, heal, update};
use crate::cluster::observed::{NodeSeen, Number};
use crate::cluster::view::View;

/// A learner is added. It votes when it has everything.
pub(super) fn up(context: &Context<'_>) -> Option<Plan> {
    if context.own_voters().count() >= context.desired.voters {
        return None;
    }
    if !context.is_safe_with_one_more() {
        let down = context.voters().find(|view| !view.is_healthy()).and_then(|view| view.number);
        return Some(context.wait(Wait::NotSafeToPromote(down.unwrap_or_default())));
    }
    let kind = match context.doing() {
        Some(doing) if doing.kind == Kind::Replace => Kind::Replace,
        _ => Kind::Add,
    };
    let number = next_number(context);
    Some(context.step(kind, Phase::Adding, Some(number), Step::Add { number }))
}

/// The number that was taken for this and not used, or one that nobody has had.
fn next_number(context: &Context<'_>) -> Number {
    let record = &context.observed.record;
    let taken = context.doing().filter(|doing| {
        matches!(doing.kind, Kind::Add | Kind::Replace) && doing.phase == Phase::Adding
    });
    let is_unused = |number: &Number| {
        *number < record.next_member
            && !context.members.iter().any(|view| view.number == Some(*number))
    };
    taken.and_then(|doing| doing.member).filter(is_unused).unwrap_or(record.next_member)
}

/// A voter is removed: one that does not lead, where most others are, that is out of date, that
/// came last.
pub(super) fn down(context: &Context<'_>) -> Option<Plan> {
    if context.own_voters().count() <= context.desired.voters {
        return None;
    }
    let victim = context.own_voters().max_by_key(|view| {
        let zone = |node: &NodeSeen| node.zone.clone();
        (
            Reverse(view.leads),
            neighbours(context, view, zone),
            neighbours(context, view, |node| Some(node.name.clone())),
            update::is_old(context, view),
            view.number,
        )
    })?;
    if !context.is_safe_without(victim) {
        return Some(context.wait(Wait::NotSafeToRemove(victim.number.unwrap_or_default())));
    }
    heal::leave(context, victim, Kind::Remove)
}

/// How many voters are in the same place.
fn neighbours(
    context: &Context<'_>,
    view: &View<'_>,
    place: impl Fn(&NodeSeen) -> Option<String>,
) -> usize {
    let place_of = |view: &View<'_>| view.pod().and_then(|pod| pod.node.as_ref()).and_then(&place);
    match place_of(view) {
        Some(here) => {
            context.own_voters().filter(|other| place_of(other).as_ref() == Some(&here)).count()
        }
        None => 0,
    }
}
