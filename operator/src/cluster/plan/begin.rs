//! How a cluster begins: one member, which leads, and whose id is written down before it counts.
//!
//! ```text
//!   nothing ─▶ Seed (a template that begins a cluster on an empty volume)
//!           ─▶ it leads ─▶ CloseSeed (the template joins one) ─▶ Latch (the id is in the status)
//! ```
//!
//! In this order no template begins a cluster once the id is written down: a volume that is lost
//! later can never make a second cluster of the same name. Until then nobody was told of the first.

use super::{Context, Kind, Phase, Plan, Step, Wait};
use crate::cluster::observed::{Bootstrap, Number};

pub(super) fn plan(context: &Context<'_>) -> Plan {
    let record = &context.observed.record;
    let numbers = &context.observed.members;
    let begun = context.doing().filter(|doing| doing.kind == Kind::Create);
    let Some(number) = begun.and_then(|doing| doing.member) else {
        if !context.desired.refusals.is_empty() {
            return context.wait(Wait::Rejected);
        }
        if !context.observed.leftovers.is_empty() || !numbers.is_empty() {
            return context.wait(Wait::Leftovers);
        }
        if context.desired.hibernates {
            return context.wait(Wait::Hibernating);
        }
        return seed(context, record.next_member);
    };
    let set = numbers.get(&number).and_then(|seen| seen.set.as_ref());
    let Some(set) = set else {
        return seed(context, number);
    };
    // A read through it that needed its word as a leader.
    let Some(known) = context
        .known
        .filter(|known| known.members.iter().any(|member| member.number == Some(number)))
    else {
        // What keeps it from running may have been mended since.
        let seed = context.members.iter().find(|view| view.number == Some(number));
        return seed
            .and_then(|seed| super::heal::renew_broken(context, seed, Kind::Create))
            .unwrap_or_else(|| context.wait(Wait::Beginning(number)));
    };
    let is_leading = context.members.iter().any(|view| view.number == Some(number) && view.leads);
    if !is_leading {
        return context.wait(Wait::Beginning(number));
    }
    if set.bootstrap == Bootstrap::New {
        let step = Step::CloseSeed { number };
        return context.step(Kind::Create, Phase::Closing, Some(number), step);
    }
    let step = Step::Latch { cluster_id: known.cluster_id };
    context.step(Kind::Create, Phase::Latching, Some(number), step)
}

fn seed(context: &Context<'_>, number: Number) -> Plan {
    context.step(Kind::Create, Phase::Seeding, Some(number), Step::Seed { number })
}

/// No template begins a cluster once there is one, whoever wrote it.
pub(super) fn close_seeds(context: &Context<'_>) -> Option<Plan> {
    let opened = context.members.iter().find(|view| {
        view.set().is_some_and(|set| set.bootstrap == Bootstrap::New && !set.is_leaving)
    })?;
    let number = opened.number?;
    let step = Step::CloseSeed { number };
    Some(context.step(Kind::Create, Phase::Closing, Some(number), step))
}
