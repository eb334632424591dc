//! A genuine Prometheus beside three members: the alerts that people have find their metrics, and
//! say nothing while all is well.
//!
//! ```text
//!   members ◄── scrapes, every second ── prometheus ◄── alerts.yaml
//!      ▲                                     ▲
//!      └── puts, gets, transactions ── here ─┴── are all series there? does an alert fire?
//! ```

mod api;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_api::etcdserverpb::StatusRequest;

use crate::load::{Keys, Pool, framed, path, value};
use crate::process::cluster::Cluster;
use crate::process::guard;
use crate::process::member::free_address;
use crate::process::side::Side;
use api::Api;

const ALERTS: &str = include_str!("alerts.yaml");
const MEMBERS: usize = 3;
/// The alerts are looked at for so long.
const WATCHED: Duration = Duration::from_secs(30);
/// Prometheus may take so long to come up.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two rounds of calls.
const PAUSE: Duration = Duration::from_millis(100);
const CALL_WAIT_MAX: Duration = Duration::from_secs(20);
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// What the alerts and the dashboard of etcd ask for, by the number of series at least.
const SERIES: &[(&str, usize)] = &[
    ("up == 1", MEMBERS),
    ("etcd_server_has_leader == 1", MEMBERS),
    ("etcd_server_leader_changes_seen_total", MEMBERS),
    ("etcd_server_proposals_committed_total > 0", MEMBERS),
    ("etcd_server_proposals_applied_total > 0", MEMBERS),
    ("etcd_server_proposals_pending", MEMBERS),
    ("etcd_server_proposals_failed_total", MEMBERS),
    ("etcd_server_quota_backend_bytes > 0", MEMBERS),
    ("etcd_disk_wal_fsync_duration_seconds_count > 0", MEMBERS),
    ("etcd_disk_wal_fsync_duration_seconds_bucket", 15 * MEMBERS),
    ("etcd_disk_backend_commit_duration_seconds_bucket", 15 * MEMBERS),
    ("etcd_mvcc_db_total_size_in_bytes > 0", MEMBERS),
    ("etcd_mvcc_db_total_size_in_use_in_bytes > 0", MEMBERS),
    ("etcd_mvcc_db_total_size_in_bytes >= etcd_mvcc_db_total_size_in_use_in_bytes", MEMBERS),
    ("etcd_network_peer_sent_bytes_total > 0", MEMBERS * (MEMBERS - 1)),
    ("etcd_network_peer_received_bytes_total > 0", MEMBERS * (MEMBERS - 1)),
    ("etcd_network_peer_round_trip_time_seconds_bucket", MEMBERS * (MEMBERS - 1)),
    ("etcd_network_peer_sent_failures_total", 0),
    ("etcd_network_client_grpc_sent_bytes_total > 0", MEMBERS),
    ("etcd_network_client_grpc_received_bytes_total > 0", MEMBERS),
    ("grpc_server_started_total{grpc_method=\"Put\"} > 0", MEMBERS),
    ("grpc_server_handled_total{grpc_method=\"Put\",grpc_code=\"OK\"} > 0", MEMBERS),
    ("grpc_server_msg_received_total{grpc_method=\"Put\"} > 0", MEMBERS),
    ("grpc_server_msg_sent_total{grpc_method=\"Put\"} > 0", MEMBERS),
    ("grpc_server_handling_seconds_bucket{grpc_method=\"Put\"}", 12 * MEMBERS),
    ("process_resident_memory_bytes > 0", MEMBERS),
    ("sum(quorate_raft_role{role=\"leader\"}) == 1", 1),
    ("quorate_checkpoint_age_seconds", MEMBERS),
    ("quorate_store_segments", MEMBERS),
    ("quorate_log_batch_entries_count > 0", MEMBERS),
    ("quorate_apply_batch_entries_count > 0", MEMBERS),
];

/// `e2e prometheus QUORATE FOLDER`: the server, and where Prometheus and promtool are.
pub(crate) fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let [quorate, programs] = arguments.as_slice() else {
        bail!("usage: e2e prometheus QUORATE FOLDER");
    };
    let work = std::env::temp_dir().join(format!("quorate-prometheus-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    guard::watch_signals(work.clone())?;
    let looked = look(Path::new(quorate), Path::new(programs), &work);
    if looked.is_ok() {
        let _ = fs::remove_dir_all(&work);
    } else {
        eprintln!("logs are in {}", work.display());
    }
    looked
}

fn look(quorate: &Path, programs: &Path, work: &Path) -> anyhow::Result<()> {
    let rules = work.join("alerts.yaml");
    fs::write(&rules, ALERTS)?;
    println!("{}", check_rules(programs, &rules)?.trim());
    let cluster = Cluster::start_with(
        Side::Quorate,
        quorate,
        work,
        MEMBERS,
        &["--metrics=extensive", "--snapshot-count=100"],
    )?;
    let prometheus = Prometheus::start(programs, work, &cluster)?;
    let mut load = Load::new(&cluster)?;
    let until = Instant::now() + WATCHED;
    let mut rounds = 0;
    while Instant::now() < until {
        load.round()?;
        rounds += 1;
        std::thread::sleep(PAUSE);
    }
    println!("{rounds} rounds of calls to each of {MEMBERS} members");
    for (query, least) in SERIES {
        let found = prometheus.api.count(query)?;
        ensure!(found >= *least, "{query}: {found} series, expected {least} at least");
    }
    println!("{} metrics are there", SERIES.len());
    let rules = prometheus.api.alerts()?;
    ensure!(rules.len() == ALERTS.matches("- alert:").count(), "not all alerts were loaded");
    for rule in &rules {
        ensure!(rule.health == "ok", "{}: {} {}", rule.name, rule.health, rule.error);
        ensure!(rule.active == 0, "{} is {}", rule.name, rule.state);
    }
    println!("{} alerts evaluate, and none of them speaks", rules.len());
    Ok(())
}

/// What promtool says of the alerts, if it is nothing bad.
fn check_rules(programs: &Path, rules: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(programs.join("promtool"));
    let output = command.args(["check", "rules"]).arg(rules).output();
    let output = output.context("promtool cannot be started")?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "promtool: {text}");
    Ok(text)
}

/// A running Prometheus, which ends with this.
struct Prometheus {
    process: Child,
    api: Api,
}

impl Prometheus {
    fn start(programs: &Path, work: &Path, cluster: &Cluster) -> anyhow::Result<Self> {
        let targets: Vec<String> =
            cluster.clients().iter().map(|client| format!("\"{client}\"")).collect();
        let config = work.join("prometheus.yaml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [alerts.yaml]\n\
             scrape_configs:\n  - job_name: etcd\n    static_configs:\n      - targets: [{}]\n",
            targets.join(", ")
        );
        fs::write(&config, text)?;
        let address = free_address()?;
        let log = fs::File::create(work.join("prometheus.log"))?;
        let data: PathBuf = work.join("prometheus");
        let mut command = Command::new(programs.join("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        let process = guard::spawn(&mut command).context("Prometheus cannot be started")?;
        let prometheus = Self { process, api: Api::new(address) };
        let until = Instant::now() + READY_WAIT_MAX;
        while !prometheus.api.is_ready() {
            ensure!(Instant::now() < until, "Prometheus is not ready: see its log");
            std::thread::sleep(PAUSE);
        }
        Ok(prometheus)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        guard::ended(self.process.id());
    }
}

/// Calls of clients to every member.
struct Load {
    pools: Vec<Pool>,
    keys: Keys,
    number: u64,
}

impl Load {
    fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let pools = cluster.clients().into_iter().map(|client| Pool::connect(&[client], 1));
        Ok(Self {
            pools: pools.collect::<Result<_, _>>()?,
            keys: Keys::new("/load/", 8),
            number: 0,
        })
    }

    fn round(&mut self) -> anyhow::Result<()> {
        for pool in &mut self.pools {
            self.number += 1;
            let put = self.keys.put(self.number, &value(self.number), 0);
            pool.ask(path::PUT, put, CALL_WAIT_MAX)?;
            pool.ask(path::RANGE, self.keys.get(self.number), CALL_WAIT_MAX)?;
            pool.ask(STATUS, framed(&StatusRequest {}), CALL_WAIT_MAX)?;
        }
        Ok(())
    }
}
