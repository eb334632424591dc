//! A Kubernetes with members in it, for the real operator.
//!
//! ```text
//!   Operator ──kube::Client──▶ api_server ◀── StatefulSets, scheduler, kubelets, volumes, owners
//!      └────── Members ──────▶ Machines: nodes, disks, processes, clusters of members
//! ```
//!
//! The operator is the one that is shipped; everything around it is simulated, a second at a time,
//! in tokio's paused time. Members are disks with an identity and a log's end, so that a volume that
//! is lost, a disk that is given to another, and a majority that is gone mean what they mean.
//!
//! What is checked each second is in [`checks`]: whoever breaks a rule finds it in the message.

mod backups;
mod budgets;
mod checks;
mod issuer;
mod kubelets;
mod machines;
mod members;
mod operators;
mod people;
mod raft;
mod recovery;
mod stateful_sets;
mod trust;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_operator_api::{ClusterStatus, QuorateCluster};
use serde_json::{Value, json};

use crate::api_server::{Clock, Server, of_kind};

pub(crate) use backups::Harm;
pub(crate) use checks::end_state;
pub(crate) use issuer::Authority;
pub(crate) use machines::{Machines, Node};
pub(crate) use members::MemberFault;
pub(crate) use operators::{Driver, Replica, ReplicaOptions};
pub(crate) use raft::AlarmOf;

/// The namespace in which most happens.
pub(crate) const NAMESPACE: &str = "ns";

/// Everything but the operators.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) machines: Arc<Mutex<Machines>>,
    pub(crate) clock: Clock,
    /// Who makes certificates for those who ask for them, as cert-manager does; perhaps nobody.
    pub(crate) issuer: Option<Authority>,
    elapsed_seconds: u64,
    replicas: Vec<Replica>,
    seen: checks::Seen,
}

impl World {
    /// With so many nodes, in three zones, and nobody who operates.
    pub(crate) fn new(nodes: usize) -> Self {
        let clock = Clock::new();
        let server = Server::new(clock.clone());
        let world = Self {
            server,
            machines: Arc::default(),
            clock,
            issuer: None,
            elapsed_seconds: 0,
            replicas: Vec::new(),
            seen: checks::Seen::default(),
        };
        for number in 0..nodes {
            world.add_node(&format!("node-{number}"), &format!("zone-{}", number % 3));
        }
        world
    }

    pub(crate) fn add_node(&self, name: &str, zone: &str) {
        let node = Node { is_up: true, silent_seconds: 0 };
        self.machines.lock().nodes.insert(name.to_owned(), node);
        let object = json!({
            "metadata": { "name": name, "labels": {
                "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone,
            } },
        });
        self.server.create(&of_kind::NODE, "", object).expect("a node");
        self.server
            .change(&of_kind::NODE, ("", name), crate::api_server::Part::Status, |node| {
                node["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
            })
            .expect("its status");
    }

    /// A second passes, for all.
    pub(crate) async fn second(&mut self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.elapsed_seconds += 1;
        self.run_nodes();
        self.run_issuer();
        self.run_stateful_sets();
        self.run_scheduler();
        self.run_volumes();
        self.run_kubelets();
        self.run_garbage_collector();
        self.run_budgets();
        self.note_what_is_latched();
        self.machines.lock().run_members();
        self.mend_replicas();
        self.check();
    }

    pub(crate) async fn seconds(&mut self, count: usize) {
        for _ in 0..count {
            self.second().await;
        }
    }

    /// Waits until something is so; how many seconds that took.
    pub(crate) async fn until(
        &mut self,
        seconds: usize,
        what: &str,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> usize {
        for passed in 0..seconds {
            if is_so(self) {
                return passed;
            }
            self.second().await;
        }
        assert!(is_so(self), "not within {seconds} s: {what}\n{}", self.describe());
        seconds
    }

    fn note_what_is_latched(&self) {
        for cluster in self.server.list(&of_kind::CLUSTER, "") {
            if cluster["status"]["clusterID"].is_string() {
                let uid = stateful_sets::text(&cluster, "/metadata/uid").to_owned();
                self.machines.lock().latched.insert(uid);
            }
        }
    }

    /// A cluster's resource.
    pub(crate) fn cluster(&self, name: &str) -> Option<QuorateCluster> {
        self.server.read(NAMESPACE, name)
    }

    pub(crate) fn status(&self, name: &str) -> ClusterStatus {
        self.cluster(name).and_then(|cluster| cluster.status).unwrap_or_default()
    }

    /// `True`, `False`, `Unknown` or nothing, and the reason.
    pub(crate) fn condition(&self, name: &str, kind: &str) -> (String, String) {
        let status = self.status(name);
        let found = status.conditions.iter().find(|condition| condition.type_ == kind);
        found.map(|found| (found.status.clone(), found.reason.clone())).unwrap_or_default()
    }

    /// The Events until now: their reasons and what they say.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let text =
            |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let events = self.server.list(&of_kind::EVENT, "");
        events.iter().map(|event| (text(event, "reason"), text(event, "note"))).collect()
    }
}
