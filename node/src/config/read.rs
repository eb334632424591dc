//! From what was typed to a configuration.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use quorate_api::limits;
use quorate_api::urls::{InitialCluster, Url, Urls};

use super::{
    AutoCompaction, ClusterState, Config, ConfigError, KeepAlive, Level, LogFormat, LogOutput,
    Logging,
};
use crate::args::environment::Notice;
use crate::args::table::{self, Standing};
use crate::args::{self, Given, gates};

/// The longest election timeout, in milliseconds (etcd's).
pub(super) const ELECTION_MS_MAX: u64 = 50_000;
/// Sizes of a segment: the smallest holds some batches, the largest is what the store takes.
pub(super) const SEGMENT_BYTES: RangeInclusive<u64> = (64 << 10)..=(256 << 20);
/// Segments are whole sectors.
pub(super) const SECTOR_BYTES: u64 = 512;

/// Elections take at least so many heartbeats (etcd's).
const ELECTION_HEARTBEATS_MIN: u64 = 5;

/// What must pass between two pings of a client when `--grpc-keepalive-min-time` is 0: what gRPC
/// itself asks for, which etcd then leaves in force.
const PING_INTERVAL_UNSET: Duration = Duration::from_secs(300);

/// Values with their defaults.
pub(super) struct Values<'given>(&'given Given);

impl Values<'_> {
    pub(super) fn is_set(&self, flag: &str) -> bool {
        self.0.values.contains_key(flag)
    }

    pub(super) fn text(&self, flag: &str) -> &str {
        self.0.values.get(flag).map_or_else(|| table::default(flag), String::as_str)
    }

    pub(super) fn boolean(&self, flag: &str) -> bool {
        args::boolean(self.text(flag)).expect("checked when it was read")
    }

    pub(super) fn unsigned(&self, flag: &str) -> u64 {
        args::unsigned(self.text(flag)).expect("checked when it was read")
    }

    fn signed(&self, flag: &str) -> i64 {
        args::signed(self.text(flag)).expect("checked when it was read")
    }

    fn duration(&self, flag: &str) -> Duration {
        args::duration(self.text(flag)).expect("checked when it was read")
    }

    fn size(&self, flag: &'static str) -> Result<usize, ConfigError> {
        usize::try_from(self.signed(flag))
            .map_err(|_| ConfigError::Range { flag, value: self.text(flag).to_owned() })
    }

    fn urls(&self, flag: &'static str) -> Result<Urls, ConfigError> {
        if self.text(flag).is_empty() {
            return Err(ConfigError::NoUrl(flag));
        }
        let urls = Urls::parse(self.text(flag)).map_err(|source| ConfigError::Url { flag, source });
        let mut texts = urls?.to_strings();
        texts.dedup();
        Urls::new(&texts).map_err(|source| ConfigError::Url { flag, source })
    }
}

impl Config {
    /// The configuration, and what to tell people about it.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that does not hold.
    pub fn read(given: &Given) -> Result<(Self, Vec<Notice>), ConfigError> {
        if let Some(word) = given.words.first() {
            return Err(ConfigError::Word(word.clone()));
        }
        let mut notices = standings(given)?;
        let values = Values(given);
        check_others(&values)?;
        let given_gates = gates::parse(values.text("feature-gates"))?;
        let mut config = Self {
            name: values.text("name").to_owned(),
            data_dir: data_dir(&values),
            wal_dir: Some(values.text("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            listen_client_urls: bound(&values, "listen-client-urls")?,
            listen_peer_urls: bound(&values, "listen-peer-urls")?,
            listen_client_http_urls: bound_if_any(&values, "listen-client-http-urls")?,
            listen_metrics_urls: bound_if_any(&values, "listen-metrics-urls")?,
            shares_ports: values.boolean("socket-reuse-port"),
            host_whitelist: values.text("host-whitelist").to_owned(),
            cors: origins(&values)?,
            advertise_client_urls: reachable(&values, "advertise-client-urls")?,
            initial_advertise_peer_urls: reachable(&values, "initial-advertise-peer-urls")?,
            initial_cluster: initial_cluster(&values)?,
            initial_cluster_state: match values.text("initial-cluster-state") {
                "existing" => ClusterState::Existing,
                _ => ClusterState::New,
            },
            force_new_cluster: values.boolean("force-new-cluster"),
            initial_cluster_token: values.text("initial-cluster-token").to_owned(),
            heartbeat_ms: values.unsigned("heartbeat-interval"),
            election_ms: values.unsigned("election-timeout"),
            pre_vote: values.boolean("pre-vote"),
            advance_first_election: values.boolean("initial-election-tick-advance"),
            snapshot_entries: match values.unsigned("snapshot-count") {
                0 => limits::SNAPSHOT_ENTRIES_DEFAULT,
                count => count,
            },
            catch_up_entries: values.unsigned("snapshot-catchup-entries"),
            segment_bytes: segment_bytes(values.unsigned("segment-bytes"))?,
            quota_bytes: quota(values.signed("quota-backend-bytes")),
            auto_compaction: auto_compaction(&values)?,
            request_bytes_max: values.unsigned("max-request-bytes"),
            txn_ops_max: values.size("max-txn-ops")?,
            concurrent_streams_max: u32::try_from(values.unsigned("max-concurrent-streams"))
                .expect("checked when it was read"),
            learners_max: values.size("max-learners")?,
            strict_reconfiguration: values.boolean("strict-reconfig-check"),
            watch_progress_interval: values.duration("watch-progress-notify-interval"),
            compares_first: given_gates.is_on("InitialCorruptCheck"),
            gates: given_gates.all(),
            comparison_interval: Some(values.duration("corrupt-check-time"))
                .filter(|interval| !interval.is_zero()),
            keep_alive: keep_alive(&values),
            memory_bytes_max: Some(values.unsigned("memory-limit-bytes")).filter(|max| *max > 0),
            slow_apply: values.duration("warning-apply-duration"),
            slow_call: values.duration("warning-unary-request-duration"),
            measures_calls: values.text("metrics") == "extensive",
            client_tls: None,
            peer_tls: None,
            logging: logging(&values)?,
        };
        notices.extend(config.read_tls(&values)?);
        check_timing(&config)?;
        if !values.is_set("name") {
            notices.push(warning(
                "it isn't recommended to use default name, please set a value for --name".into(),
            ));
        }
        Ok((config, notices))
    }
}

pub(super) fn warning(message: String) -> Notice {
    Notice { is_warning: true, message }
}

/// What is given, but does nothing or must not be.
fn standings(given: &Given) -> Result<Vec<Notice>, ConfigError> {
    let mut notices = Vec::new();
    for (name, value) in &given.values {
        if table::is_ignored(name) {
            let message = format!("flag --{name} is no longer supported - ignoring");
            notices.push(warning(message));
            continue;
        }
        let entry = table::entries().find(|entry| entry.flag.name == *name);
        let entry = entry.expect("only flags of the table are given");
        if entry.flag.kind.means_same(value, entry.flag.default) {
            continue;
        }
        match entry.standing {
            Standing::Works => {}
            Standing::Accepted(why) => {
                let message = format!("--{name}={value} is accepted. {why}");
                notices.push(Notice { is_warning: false, message });
            }
            Standing::Refused(why) => {
                let (flag, value) = (entry.flag.name, value.clone());
                return Err(ConfigError::Refused { flag, value, why });
            }
        }
    }
    Ok(notices)
}

/// Settings that nobody reads, and etcd checks.
fn check_others(values: &Values<'_>) -> Result<(), ConfigError> {
    if values.text("name").is_empty() {
        return Err(ConfigError::NoName);
    }
    if values.is_set("listen-client-urls") && !values.is_set("advertise-client-urls") {
        return Err(ConfigError::NoAdvertisedClientUrls);
    }
    if values.text("discovery-fallback") == "proxy" {
        return Err(ConfigError::Proxy);
    }
    if values.duration("compact-hash-check-time").is_zero() {
        return Err(ConfigError::NoHashCheckTime);
    }
    let gates = gates::parse(values.text("feature-gates"))?;
    if gates.is_on("LeaseCheckpointPersist") && !gates.is_on("LeaseCheckpoint") {
        return Err(ConfigError::LeaseCheckpointPersist);
    }
    Ok(())
}

fn check_timing(config: &Config) -> Result<(), ConfigError> {
    let (heartbeat, election) = (config.heartbeat_ms, config.election_ms);
    if heartbeat == 0 {
        return Err(ConfigError::NoHeartbeat);
    }
    if election == 0 {
        return Err(ConfigError::NoElection);
    }
    if heartbeat.saturating_mul(ELECTION_HEARTBEATS_MIN) > election {
        return Err(ConfigError::ShortElection { election, heartbeat });
    }
    if election > ELECTION_MS_MAX {
        return Err(ConfigError::LongElection(election));
    }
    Ok(())
}

fn data_dir(values: &Values<'_>) -> PathBuf {
    match values.0.values.get("data-dir").filter(|dir| !dir.is_empty()) {
        Some(dir) => dir.into(),
        None => format!("{}.etcd", values.text("name")).into(),
    }
}

fn bound_if_any(values: &Values<'_>, flag: &'static str) -> Result<Vec<Url>, ConfigError> {
    match values.text(flag) {
        "" => Ok(Vec::new()),
        _ => bound(values, flag).map(|urls| urls.as_slice().to_vec()),
    }
}

/// URLs to listen at: an address of this machine, not a name that others must resolve.
fn bound(values: &Values<'_>, flag: &'static str) -> Result<Urls, ConfigError> {
    let urls = values.urls(flag)?;
    for url in urls.as_slice() {
        if url.scheme().is_unix() {
            continue;
        }
        if url.host() != "localhost" && without_zone(url.host()).parse::<IpAddr>().is_err() {
            return Err(ConfigError::Bind(url.to_string()));
        }
    }
    Ok(urls)
}

fn without_zone(host: &str) -> &str {
    host.split_once('%').map_or(host, |(address, _)| address)
}

/// URLs for others: with a host.
fn reachable(values: &Values<'_>, flag: &'static str) -> Result<Urls, ConfigError> {
    let urls = values.urls(flag)?;
    for url in urls.as_slice() {
        if url.host().is_empty() {
            let (urls, url) = (urls.to_string(), url.to_string());
            return Err(ConfigError::EmptyHost { flag, urls, url });
        }
    }
    Ok(urls)
}

fn initial_cluster(values: &Values<'_>) -> Result<InitialCluster, ConfigError> {
    let flag = "initial-cluster";
    let text = values.text(flag);
    let name = values.text("name");
    // With nothing but a name, the cluster is this member alone.
    let cluster = if name != table::default("name") && text == table::default(flag) {
        let urls = values.urls("initial-advertise-peer-urls")?;
        let pairs: Vec<String> =
            urls.to_strings().into_iter().map(|url| format!("{name}={url}")).collect();
        InitialCluster::parse(&pairs.join(","))
    } else {
        InitialCluster::parse(text)
    };
    cluster.map_err(|source| ConfigError::Url { flag, source })
}

fn segment_bytes(bytes: u64) -> Result<u64, ConfigError> {
    let fits = SEGMENT_BYTES.contains(&bytes) && bytes.is_multiple_of(SECTOR_BYTES);
    if fits { Ok(bytes) } else { Err(ConfigError::SegmentBytes(bytes)) }
}

fn quota(bytes: i64) -> Option<u64> {
    match bytes {
        0 => Some(limits::QUOTA_BYTES_DEFAULT),
        bytes => u64::try_from(bytes).ok(),
    }
}

fn auto_compaction(values: &Values<'_>) -> Result<AutoCompaction, ConfigError> {
    let retention = values.text("auto-compaction-retention");
    let number = retention.parse::<i64>().ok().filter(|number| *number >= 0);
    let bad = || ConfigError::CompactionRetention(retention.to_owned());
    match values.text("auto-compaction-mode") {
        "" => Err(ConfigError::NoCompactionMode),
        "revision" => match number.ok_or_else(bad)? {
            0 => Ok(AutoCompaction::Off),
            revisions => Ok(AutoCompaction::Revisions(revisions)),
        },
        "periodic" => {
            let period = match number {
                Some(hours) => u64::try_from(hours)
                    .ok()
                    .and_then(|hours| hours.checked_mul(3_600))
                    .map(Duration::from_secs),
                None => args::duration(retention),
            };
            match period.ok_or_else(bad)? {
                Duration::ZERO => Ok(AutoCompaction::Off),
                period => Ok(AutoCompaction::Periodic(period)),
            }
        }
        other => Err(ConfigError::CompactionMode(other.to_owned())),
    }
}

fn keep_alive(values: &Values<'_>) -> KeepAlive {
    let some = |flag| Some(values.duration(flag)).filter(|time: &Duration| !time.is_zero());
    KeepAlive {
        interval: some("grpc-keepalive-interval"),
        timeout: some("grpc-keepalive-timeout"),
        ping_interval_min: some("grpc-keepalive-min-time").unwrap_or(PING_INTERVAL_UNSET),
    }
}

fn logging(values: &Values<'_>) -> Result<Logging, ConfigError> {
    let level = match values.text("log-level") {
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" | "panic" | "fatal" => Level::Error,
        _ => Level::Info,
    };
    let format = match values.text("log-format") {
        "console" => LogFormat::Console,
        _ => LogFormat::Json,
    };
    Ok(Logging { level, format, outputs: log_outputs(values.text("log-outputs"))? })
}

fn log_outputs(text: &str) -> Result<Vec<LogOutput>, ConfigError> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut outputs = Vec::new();
    for name in &names {
        let output = match *name {
            "default" if names.len() > 1 => {
                return Err(ConfigError::LogDefaultAmongOthers(text.to_owned()));
            }
            "systemd/journal" => return Err(ConfigError::LogJournal),
            "" => return Err(ConfigError::LogNoOutput(text.to_owned())),
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            path => LogOutput::File(path.into()),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    Ok(outputs)
}

fn origins(values: &Values<'_>) -> Result<String, ConfigError> {
    let text = values.text("cors");
    let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    for origin in origins {
        if origin != "*" && !origin.contains("://") {
            return Err(ConfigError::Origin(origin.to_owned()));
        }
    }
    Ok(text.to_owned())
}
