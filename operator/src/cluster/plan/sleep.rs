//! Stopping all members and starting them again. Volumes and membership stay as they are.

use super::{Context, Kind, Phase, Plan, Step, Wait};
use crate::cluster::observed::Number;

/// Followers first, so that the leader does not change over and over while they go.
pub(super) fn stop(context: &Context<'_>) -> Plan {
    let running = || {
        context
            .members
            .iter()
            .filter(|view| view.set().is_some_and(|set| !set.is_stopped && !set.is_leaving))
    };
    let next = running().find(|view| !view.leads).or_else(|| running().next());
    match next.and_then(|view| view.number) {
        Some(number) => {
            context.step(Kind::Hibernate, Phase::Running, Some(number), Step::Stop { number })
        }
        None => context.wait(Wait::Hibernating),
    }
}

/// All at once: none serves without a majority.
pub(super) fn wake(context: &Context<'_>) -> Option<Plan> {
    let numbers: Vec<Number> = context
        .members
        .iter()
        .filter(|view| match context.known {
            Some(_) => view.raft.is_some(),
            None => view.remembered.is_some(),
        })
        .filter(|view| view.set().is_some_and(|set| set.is_stopped && !set.is_leaving))
        .filter_map(|view| view.number)
        .collect();
    if numbers.is_empty() {
        return None;
    }
    Some(context.step(Kind::Wake, Phase::Running, None, Step::Wake { numbers }))
}
