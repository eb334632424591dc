//! Operators: the real one, in one or more processes that may be killed and are started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_operator::clock::Clock as OperatorClock;
use quorate_operator::cluster::build::Defaults;
use quorate_operator::cluster::{Next, reconcile};
use quorate_operator::controller;
use quorate_operator::election::Election;
use quorate_operator::health::Health;
use quorate_operator::metrics::Metrics;
use quorate_operator::operator::{Key, Operator, Settings};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::members::{MemberFault, MemberFaults, Simulated};
use super::stateful_sets::text;
use super::{Machines, World};
use crate::api_server::{Clock, Life, Rights, Server, of_kind};

/// What members run that nobody asks to run anything else.
const IMAGE: &str = "quorate:0.1.0";

/// How soon a cluster that failed is looked at again, at most.
const FAILED_MAX: Duration = Duration::from_secs(20);

/// How often something is looked for that is due.
const TURN: Duration = Duration::from_millis(100);

/// What has an operator look at clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Its own watches and queue, as they are shipped.
    Watches,
    /// One cluster after the other, by the clock: equal seeds have equal histories.
    Turns,
}

/// How an operator is run.
#[derive(Clone)]
pub(crate) struct ReplicaOptions {
    pub(crate) identity: &'static str,
    pub(crate) rights: Option<Rights>,
    pub(crate) namespace: Option<String>,
    /// Whether it acts only if it is elected.
    pub(crate) elects: bool,
    /// Behind how many writes each of its processes is killed, one after the other; the one after
    /// them lives on.
    pub(crate) kills: Vec<usize>,
    pub(crate) driver: Driver,
    pub(crate) member_image: &'static str,
    pub(crate) operator_image: &'static str,
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            identity: "operator-0",
            rights: None,
            namespace: None,
            elects: false,
            kills: Vec::new(),
            driver: Driver::Watches,
            member_image: IMAGE,
            operator_image: "quorate-operator:0.1.0",
        }
    }
}

/// One of the operator's processes, and those that were before it.
pub(crate) struct Replica {
    options: ReplicaOptions,
    life: Life,
    task: Option<JoinHandle<()>>,
    /// What all of its processes wrote, but the one that lives.
    wrote: Vec<String>,
    faults: MemberFaults,
    clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Replica {
    fn new(world: &World, mut options: ReplicaOptions) -> Self {
        options.kills.reverse();
        let clock = world.clock.clone();
        let mut replica = Self {
            life: Life::new(None),
            task: None,
            wrote: Vec::new(),
            faults: Arc::new(Mutex::new(Box::new(|_| MemberFault::None))),
            metrics: Arc::new(Metrics::new(operator_clock(&clock))),
            clock,
            health: Arc::default(),
            errors: Arc::default(),
            options,
        };
        replica.begin(&world.server, &world.machines);
        replica
    }

    fn begin(&mut self, server: &Server, machines: &Arc<Mutex<Machines>>) {
        self.life = Life::new(self.options.kills.pop());
        let client = server.connect(&self.life, self.options.rights.clone()).client();
        let members = Simulated {
            machines: Arc::clone(machines),
            life: self.life.clone(),
            faults: Arc::clone(&self.faults),
        };
        let clock = operator_clock(&self.clock);
        let settings = Settings {
            namespace: self.options.namespace.clone(),
            defaults: Defaults {
                member_image: self.options.member_image.to_owned(),
                operator_image: self.options.operator_image.to_owned(),
            },
            identity: self.options.identity.to_owned(),
            looks_max: 10,
        };
        self.metrics = Arc::new(Metrics::new(clock.clone()));
        let metrics = Arc::clone(&self.metrics);
        let operator =
            Operator::new(client.clone(), Arc::new(members), metrics, clock.clone(), settings);
        let identity = self.options.identity;
        let election = self
            .options
            .elects
            .then(|| Election::new(client, "default", "quorate-operator", identity, clock));
        let operator = match &election {
            Some(election) => operator.led_by(election.leadership()),
            None => operator,
        };
        self.health = Arc::clone(&operator.health);
        let turns = Turns {
            server: server.clone(),
            namespace: self.options.namespace.clone(),
            errors: Arc::clone(&self.errors),
        };
        self.task = Some(match self.options.driver {
            Driver::Watches => tokio::spawn(controller::operate(
                Arc::new(operator),
                election,
                std::future::pending(),
            )),
            Driver::Turns => tokio::spawn(async move { turns.operate(&operator).await }),
        });
    }

    fn end(&mut self) {
        self.life.end();
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.wrote.extend(self.life.writes());
    }

    /// Everything that it has written.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut all = self.wrote.clone();
        if self.task.is_some() {
            all.extend(self.life.writes());
        }
        all
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }

    pub(super) fn describe(&self) -> String {
        let last = |all: Vec<String>| {
            let from = all.len().saturating_sub(12);
            all.get(from..).map(<[String]>::to_vec).unwrap_or_default()
        };
        let (writes, errors) = (last(self.writes()), last(self.errors()));
        format!("{}: wrote {writes:#?}, failed {errors:#?}", self.options.identity)
    }
}

fn operator_clock(clock: &Clock) -> OperatorClock {
    let clock = clock.clone();
    OperatorClock::of(move || clock.now())
}

/// Looks at all clusters in turn, when they are due: one thing at a time, so that equal seeds have
/// equal histories.
struct Turns {
    server: Server,
    namespace: Option<String>,
    errors: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Debug)]
struct Due {
    at: Instant,
    generation: String,
    failures: u32,
}

impl Turns {
    async fn operate(&self, operator: &Operator) {
        let mut all: BTreeMap<Key, Due> = BTreeMap::new();
        loop {
            let clusters = self.server.list(&of_kind::CLUSTER, "");
            let here = clusters.iter().filter(|cluster| {
                let namespace = text(cluster, "/metadata/namespace");
                self.namespace.as_ref().is_none_or(|only| only == namespace)
            });
            for cluster in here {
                let key =
                    Key::new(text(cluster, "/metadata/namespace"), text(cluster, "/metadata/name"));
                // What somebody asks for is looked at at once, everything else when it is due.
                let generation = format!(
                    "{}{}",
                    cluster["metadata"]["generation"], cluster["metadata"]["annotations"]
                );
                let due = all.entry(key.clone()).or_insert_with(|| Due {
                    at: Instant::now(),
                    generation: generation.clone(),
                    failures: 0,
                });
                if due.generation == generation && Instant::now() < due.at {
                    continue;
                }
                due.generation = generation;
                let patience = match reconcile(operator, &key).await {
                    Ok(Next::After(patience)) => {
                        due.failures = 0;
                        // Where nothing happens, something is seen within seconds all the same: of
                        // the real operator, watches wake it up.
                        patience.min(Duration::from_secs(2))
                    }
                    Ok(Next::Gone) => Duration::from_secs(1),
                    Err(error) if error.is_outdated() => TURN,
                    Err(error) => {
                        self.errors.lock().push(error.to_string());
                        due.failures += 1;
                        Duration::from_secs(1 << due.failures.min(5)).min(FAILED_MAX)
                    }
                };
                due.at = Instant::now() + patience;
            }
            tokio::time::sleep(TURN).await;
        }
    }
}

impl World {
    /// Starts an operator.
    pub(crate) fn operate(&mut self, options: ReplicaOptions) {
        let replica = Replica::new(self, options);
        self.replicas.push(replica);
    }

    pub(crate) fn replica(&self, at: usize) -> &Replica {
        &self.replicas[at]
    }

    /// Who was killed is started again.
    pub(super) fn mend_replicas(&mut self) {
        for replica in &mut self.replicas {
            if replica.life.is_over() && replica.task.is_some() {
                replica.end();
                replica.begin(&self.server, &self.machines);
            }
            if let Some(task) = &replica.task {
                assert!(!task.is_finished(), "an operator has ended by itself");
            }
        }
    }

    /// Kills an operator; it is started again.
    pub(crate) fn kill(&mut self, at: usize) {
        self.replicas[at].life.end();
    }

    /// Kills an operator behind one of its next writes.
    pub(crate) fn kill_behind(&mut self, at: usize, writes: usize) {
        self.replicas[at].life.end_behind(writes);
    }

    /// Ends an operator for good.
    pub(crate) fn retire(&mut self, at: usize) {
        self.replicas[at].end();
    }

    /// What becomes of calls of members from now on.
    pub(crate) fn member_faults(
        &self,
        at: usize,
        faults: impl FnMut(&str) -> MemberFault + Send + 'static,
    ) {
        *self.replicas[at].faults.lock() = Box::new(faults);
    }
}
