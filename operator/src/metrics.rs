//! What the operator counts. Dashboards and alerts of the chart depend on the names.
//!
//! What is known of a cluster is kept as facts and put into gauges when somebody asks: so ages and
//! remaining times are those of that moment, and a cluster that is gone leaves nothing behind.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use quorate_operator_api::{MemberHealth, MemberRole};

use crate::clock::Clock;
use crate::operator::Key;

/// Seconds of a look, at which its time is sorted.
const LOOK_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// What is known of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Its conditions, and whether they are true.
    pub conditions: Vec<(String, bool)>,
    /// What its members are, and how.
    pub members: Vec<(MemberRole, MemberHealth)>,
    /// How many are wished for.
    pub desired: usize,
    /// How many voters may fail; below 0 there is no majority.
    pub margin: Option<i64>,
    /// What is under way, and since when.
    pub operation: Option<(String, Timestamp)>,
    /// When its first certificate ends.
    pub certificates_end: Option<Timestamp>,
    /// Since when a backup is due that is not there.
    pub backup_due: Option<Timestamp>,
}

/// What one operator counts.
pub struct Metrics {
    registry: Registry,
    clock: Clock,
    facts: Mutex<HashMap<Key, Facts>>,
    leader: IntGauge,
    reconciles: IntCounterVec,
    seconds: Histogram,
    steps: IntCounterVec,
    calls: IntCounterVec,
    conditions: IntGaugeVec,
    members: IntGaugeVec,
    desired: IntGaugeVec,
    margin: IntGaugeVec,
    operation: GaugeVec,
    certificates: GaugeVec,
    backup: GaugeVec,
    resident: IntGauge,
    started: IntGauge,
}

impl Metrics {
    /// Nothing counted yet.
    ///
    /// # Panics
    /// If two metrics have one name, which a test would have met.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let registry = Registry::new();
        let cluster = ["namespace", "cluster"];
        let of_cluster = |more: &[&'static str]| -> Vec<&'static str> {
            cluster.iter().chain(more).copied().collect()
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name");
            register(&registry, &made);
            made
        };
        let gauge = |name: &str, help: &str| {
            let made = IntGauge::new(name, help).expect("a valid name");
            register(&registry, &made);
            made
        };
        let numbers = |name: &str, help: &str, labels: &[&str]| {
            let made = IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid name");
            register(&registry, &made);
            made
        };
        let seconds_of = |name: &str, help: &str, labels: &[&str]| {
            let made = GaugeVec::new(Opts::new(name, help), labels).expect("a valid name");
            register(&registry, &made);
            made
        };
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "quorate_operator_reconcile_duration_seconds",
                "Seconds of a look at a cluster, with the step that followed.",
            )
            .buckets(LOOK_SECONDS.to_vec()),
        )
        .expect("a valid name");
        register(&registry, &seconds);
        let metrics = Self {
            leader: gauge("quorate_operator_leader", "Whether this operator acts."),
            reconciles: counter(
                "quorate_operator_reconciles_total",
                "Looks at clusters.",
                &["result"],
            ),
            seconds,
            steps: counter("quorate_operator_steps_total", "Steps taken.", &["step", "result"]),
            calls: counter(
                "quorate_operator_api_calls_total",
                "Calls of the API server, by verb and status of the answer.",
                &["verb", "code"],
            ),
            conditions: numbers(
                "quorate_operator_condition",
                "Whether a condition of a cluster is true.",
                &of_cluster(&["type"]),
            ),
            members: numbers(
                "quorate_operator_members",
                "Members of a cluster.",
                &of_cluster(&["role", "health"]),
            ),
            desired: numbers(
                "quorate_operator_desired_members",
                "Voting members that are wished for.",
                &cluster,
            ),
            margin: numbers(
                "quorate_operator_quorum_margin",
                "Voting members that may fail before the majority is lost.",
                &cluster,
            ),
            operation: seconds_of(
                "quorate_operator_operation_seconds",
                "Seconds since what is under way has begun.",
                &of_cluster(&["operation"]),
            ),
            certificates: seconds_of(
                "quorate_operator_certificate_expiry_seconds",
                "Seconds until the first certificate of a cluster ends.",
                &cluster,
            ),
            backup: seconds_of(
                "quorate_operator_backup_overdue_seconds",
                "Seconds since a backup was due that is not there.",
                &cluster,
            ),
            resident: gauge("process_resident_memory_bytes", "Bytes of memory in use."),
            started: gauge("process_start_time_seconds", "Start, in seconds since 1970."),
            registry: registry.clone(),
            facts: Mutex::default(),
            clock,
        };
        metrics.started.set(metrics.clock.wall().as_second());
        // What has not happened yet is there all the same, or nobody could count from it.
        for result in ["ok", "error"] {
            metrics.reconciles.with_label_values(&[result]).inc_by(0);
        }
        metrics
    }

    /// Whether this operator acts.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A look has ended.
    pub fn looked(&self, is_ok: bool, took: Duration) {
        self.reconciles.with_label_values(&[if is_ok { "ok" } else { "error" }]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A step was taken, or could not be.
    pub fn stepped(&self, step: &str, is_ok: bool) {
        self.steps.with_label_values(&[step, if is_ok { "ok" } else { "error" }]).inc();
    }

    /// The API server was called, and answered with this status, or with none.
    pub fn called(&self, verb: &str, code: u16) {
        self.calls.with_label_values(&[verb, &code.to_string()]).inc();
    }

    /// What is known of a cluster now.
    pub fn know(&self, cluster: &Key, facts: Facts) {
        self.facts.lock().insert(cluster.clone(), facts);
    }

    /// A cluster is gone.
    pub fn forget(&self, cluster: &Key) {
        self.facts.lock().remove(cluster);
    }

    /// Another operator knows about clusters now.
    pub fn forget_all(&self) {
        self.facts.lock().clear();
    }

    /// All of it, as Prometheus scrapes it.
    #[must_use]
    pub fn text(&self) -> String {
        // Held until the text is made: who asks at the same time finds no gauge half filled.
        let facts = self.facts.lock();
        self.fill(&facts);
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        text
    }

    fn fill(&self, facts: &HashMap<Key, Facts>) {
        for gauges in [&self.conditions, &self.members, &self.desired, &self.margin] {
            gauges.reset();
        }
        for gauges in [&self.operation, &self.certificates, &self.backup] {
            gauges.reset();
        }
        let now = self.clock.wall();
        let until = |time: Timestamp| time.duration_since(now).as_secs_f64();
        for (Key { namespace, name }, facts) in facts {
            let of_cluster = [namespace.as_str(), name.as_str()];
            for (kind, is_true) in &facts.conditions {
                let labels = [namespace.as_str(), name, kind];
                self.conditions.with_label_values(&labels).set(i64::from(*is_true));
            }
            for (role, health) in &facts.members {
                let (role, health) = (format!("{role:?}"), format!("{health:?}"));
                let labels = [namespace.as_str(), name, &role, &health];
                self.members.with_label_values(&labels).inc();
            }
            let desired = i64::try_from(facts.desired).unwrap_or(i64::MAX);
            self.desired.with_label_values(&of_cluster).set(desired);
            if let Some(margin) = facts.margin {
                self.margin.with_label_values(&of_cluster).set(margin);
            }
            if let Some((operation, since)) = &facts.operation {
                let labels = [namespace.as_str(), name, operation];
                self.operation.with_label_values(&labels).set(-until(*since));
            }
            if let Some(end) = facts.certificates_end {
                self.certificates.with_label_values(&of_cluster).set(until(end));
            }
            let overdue = facts.backup_due.map_or(0.0, |due| -until(due));
            self.backup.with_label_values(&of_cluster).set(overdue);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics")
    }
}

fn register(registry: &Registry, metric: &(impl prometheus::core::Collector + Clone + 'static)) {
    registry.register(Box::new(metric.clone())).expect("each name is registered once");
}

/// Of `/proc/self/statm`, whose second number is pages.
fn resident_bytes() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(i64::try_from(rustix::param::page_size()).ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use k8s_openapi::jiff::Timestamp;
    use quorate_operator_api::{MemberHealth, MemberRole};

    use super::{Facts, Metrics};
    use crate::clock::Clock;
    use crate::operator::Key;

    #[test]
    fn a_cluster_is_told_of_as_long_as_it_is_there() {
        let seconds = Arc::new(AtomicI64::new(100));
        let clock = {
            let seconds = Arc::clone(&seconds);
            Clock::of(move || {
                Timestamp::from_second(seconds.load(Ordering::Relaxed)).expect("in range")
            })
        };
        let metrics = Metrics::new(clock);
        let key = Key::new("ns", "demo");
        let at = |seconds| Timestamp::from_second(seconds).expect("in range");
        let facts = Facts {
            conditions: vec![("Available".to_owned(), true)],
            members: vec![
                (MemberRole::Leader, MemberHealth::Healthy),
                (MemberRole::Voter, MemberHealth::Healthy),
                (MemberRole::Voter, MemberHealth::Healthy),
            ],
            desired: 3,
            margin: Some(1),
            operation: Some(("Add".to_owned(), at(40))),
            certificates_end: Some(at(1_100)),
            backup_due: None,
        };
        metrics.know(&key, facts);
        seconds.store(200, Ordering::Relaxed);
        let labels = r#"cluster="demo",namespace="ns""#;
        let expected = [
            format!(r#"quorate_operator_condition{{{labels},type="Available"}} 1"#),
            r#"quorate_operator_members{cluster="demo",health="Healthy",namespace="ns",role="Voter"} 2"#
                .to_owned(),
            format!("quorate_operator_desired_members{{{labels}}} 3"),
            format!("quorate_operator_quorum_margin{{{labels}}} 1"),
            r#"quorate_operator_operation_seconds{cluster="demo",namespace="ns",operation="Add"} 160"#
                .to_owned(),
            format!("quorate_operator_certificate_expiry_seconds{{{labels}}} 900"),
            format!("quorate_operator_backup_overdue_seconds{{{labels}}} 0"),
            r#"quorate_operator_reconciles_total{result="error"} 0"#.to_owned(),
            "quorate_operator_leader 0".to_owned(),
        ];
        let text = metrics.text();
        for line in &expected {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        metrics.forget(&key);
        assert!(!metrics.text().contains("demo"));
    }
}
