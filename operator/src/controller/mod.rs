//! Having each cluster looked at when something has happened, and once in a while.
//!
//! ```text
//!   watches ── a cluster's objects have changed ──▶ Queue ──▶ reconcile, a few at a time
//!                                                     ▲            │
//!                                                     └── when to look again
//! ```
//!
//! Watches only say when to look; what is looked at is read anew. So an event that is late, lost or
//! told twice costs time and nothing else. One cluster is never looked at twice at the same time.
//!
//! Everything that is spawned ends when the future of [`operate`] is dropped, wherever it is.

mod queue;
mod watches;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use quorate_operator_api::QuorateCluster;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::backup;
use crate::cluster::{self, Next, reconcile};
use crate::election::Election;
use crate::health::State;
use crate::operator::{Key, Operator};
use queue::{Outcome, Queue};
use watches::Signal;

/// How long a look may take, with everything that is asked and done.
const LOOK_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is tried whether the resources are defined.
const DEFINED_PERIOD: Duration = Duration::from_secs(5);

/// Operates clusters until `stop`: as the only one, or whenever this operator is chosen.
pub async fn operate(
    operator: Arc<Operator>,
    election: Option<Election>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    loop {
        if let Some(election) = &election {
            operator.health.set(State::StandingBy);
            tokio::select! {
                () = &mut stop => break,
                () = election.win() => {}
            }
        }
        operator.metrics.leads(true);
        let is_lost = async {
            match &election {
                Some(election) => election.hold().await,
                None => std::future::pending().await,
            }
        };
        let is_stopped = tokio::select! {
            biased;
            () = &mut stop => true,
            () = is_lost => false,
            () = act(&operator) => false,
        };
        operator.metrics.leads(false);
        operator.metrics.forget_all();
        if is_stopped {
            break;
        }
    }
    operator.health.set(State::Stopping);
    if let Some(election) = &election {
        election.release().await;
    }
}

/// Looks at clusters as long as it is polled.
async fn act(operator: &Arc<Operator>) {
    loop {
        wait_for_definitions(operator).await;
        operator.health.set(State::Acting);
        tracing::info!(
            namespace = operator.settings.namespace.as_deref().unwrap_or("all"),
            "operating clusters"
        );
        tokio::select! {
            () = look_until_undefined(operator) => {}
            () = backup::run(Arc::clone(operator)) => {}
        }
    }
}

/// The operator may be there before its resources are: it says so and waits.
async fn wait_for_definitions(operator: &Operator) {
    let namespace = operator.settings.namespace.as_deref();
    let mut told = String::new();
    loop {
        let missing = match operator.objects.is_defined::<QuorateCluster>(namespace).await {
            Ok(true) => return,
            Ok(false) => "the resources of quorate.io are not defined: apply what \
                          `quorate-operator crd` prints"
                .to_owned(),
            Err(error) => error.to_string(),
        };
        if told != missing {
            tracing::warn!("{missing}");
            operator.health.set(State::Waiting(missing.clone()));
            told = missing;
        }
        tokio::time::sleep(DEFINED_PERIOD).await;
    }
}

async fn look_until_undefined(operator: &Arc<Operator>) {
    let mut signals = watches::signals(operator);
    let mut queue = Queue::default();
    let mut running = Running::default();
    loop {
        while running.looks.len() < operator.settings.looks_max.max(1)
            && let Some(key) = queue.start(Instant::now())
        {
            running.start(operator, key);
        }
        let is_free = running.looks.len() < operator.settings.looks_max.max(1);
        let due = queue.next_due().filter(|_| is_free);
        tokio::select! {
            signal = signals.next() => match signal {
                Some(Signal::Look(key)) => queue.request(key, Instant::now()),
                Some(Signal::Node(name)) => {
                    for key in operator.nodes.changed(&name) {
                        queue.request(key, Instant::now());
                    }
                }
                Some(Signal::Undefined) | None => return,
            },
            Some((key, outcome)) = running.next(), if !running.looks.is_empty() => {
                queue.finish(key, outcome, Instant::now());
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

/// The looks that are under way.
#[derive(Default)]
struct Running {
    looks: JoinSet<Outcome>,
    keys: HashMap<Id, Key>,
}

impl Running {
    fn start(&mut self, operator: &Arc<Operator>, key: Key) {
        let operator = Arc::clone(operator);
        let looked_at = key.clone();
        let handle = self.looks.spawn(async move { look(&operator, &looked_at).await });
        self.keys.insert(handle.id(), key);
    }

    /// The next one that ends.
    async fn next(&mut self) -> Option<(Key, Outcome)> {
        let (id, outcome) = match self.looks.join_next_with_id().await? {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => {
                let id = error.id();
                tracing::error!(cluster = ?self.keys.get(&id), %error, "a look broke off");
                (id, Outcome::Failed)
            }
        };
        Some((self.keys.remove(&id)?, outcome))
    }
}

/// One look, counted and logged.
async fn look(operator: &Operator, key: &Key) -> Outcome {
    let begin = Instant::now();
    let result = tokio::time::timeout(LOOK_TIMEOUT, reconcile(operator, key)).await;
    let took = begin.elapsed();
    let outcome = match result {
        Ok(Ok(Next::After(time))) => Outcome::Again(time),
        Ok(Ok(Next::Gone)) => Outcome::Gone,
        Ok(Err(error)) if error.is_outdated() => {
            tracing::debug!(namespace = key.namespace, cluster = key.name, %error, "looking again");
            Outcome::Outdated
        }
        // That a step was not taken has been told.
        Ok(Err(cluster::Error::Step { .. })) => Outcome::Failed,
        Ok(Err(error)) => {
            tracing::warn!(namespace = key.namespace, cluster = key.name, %error, "a look failed");
            Outcome::Failed
        }
        Err(_) => {
            tracing::warn!(namespace = key.namespace, cluster = key.name, "a look took too long");
            Outcome::Failed
        }
    };
    operator.metrics.looked(outcome != Outcome::Failed, took);
    outcome
}
