//! Why a configuration is refused. The texts are etcd's where etcd refuses it too.

use quorate_api::urls::UrlError;

use crate::args::environment::EnvironmentError;
use crate::args::file::FileError;
use crate::args::gates::GateError;
use crate::tls::OptionsError;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum ConfigError {
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Tls(#[from] OptionsError),
    #[error(
        "TLS key/cert (--cert-file, --key-file) must be provided for client url {0} with HTTPS \
         scheme"
    )]
    NoClientCertificate(String),
    #[error(
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url {0}"
    )]
    NoMetricsCertificate(String),
    #[error(
        "cannot listen on TLS for {0}: KeyFile and CertFile are not presented (--peer-cert-file, \
         --peer-key-file)"
    )]
    NoPeerCertificate(String),
    #[error(
        "--peer-trusted-ca-file must be provided: the certificates of other members ({0}) have to \
         be verified"
    )]
    PeersUntrusted(String),
    #[error("{0:?} is not a valid flag")]
    Word(String),
    /// Something asked for that is not there, and must not be passed over.
    #[error("--{flag}={value}: {why}")]
    Refused { flag: &'static str, value: String, why: &'static str },
    #[error("--{flag}: {source}")]
    Url { flag: &'static str, source: UrlError },
    #[error("--{0} needs at least one URL")]
    NoUrl(&'static str),
    #[error("expected IP in URL for binding ({0})")]
    Bind(String),
    #[error("--{flag} {urls:?} must be \"host:port\" (unexpected empty host ({url}))")]
    EmptyHost { flag: &'static str, urls: String, url: String },
    #[error("--{flag}: {value} is out of range")]
    Range { flag: &'static str, value: String },
    #[error(
        "--segment-bytes[{0}] must be a multiple of {sector} from {min} to {max}",
        sector = super::read::SECTOR_BYTES,
        min = super::read::SEGMENT_BYTES.start(),
        max = super::read::SEGMENT_BYTES.end()
    )]
    SegmentBytes(u64),
    #[error("--heartbeat-interval must be >0 (set to 0ms)")]
    NoHeartbeat,
    #[error("--election-timeout must be >0 (set to 0ms)")]
    NoElection,
    #[error(
        "--election-timeout[{election}ms] should be at least as 5 times as \
         --heartbeat-interval[{heartbeat}ms]"
    )]
    ShortElection { election: u64, heartbeat: u64 },
    #[error(
        "--election-timeout[{0}ms] is too long, and should be set less than {max}ms",
        max = super::read::ELECTION_MS_MAX
    )]
    LongElection(u64),
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    NoAdvertisedClientUrls,
    #[error("undefined auto-compaction-mode")]
    NoCompactionMode,
    #[error("unknown auto-compaction-mode {0:?}")]
    CompactionMode(String),
    #[error("error parsing CompactionRetention: time: invalid duration {0:?}")]
    CompactionRetention(String),
    #[error(
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
         LeaseCheckpoint"
    )]
    LeaseCheckpointPersist,
    #[error(
        "multi logoutput for \"default\" is not supported yet: name stderr in --log-outputs={0}"
    )]
    LogDefaultAmongOthers(String),
    #[error(
        "--log-outputs=systemd/journal is not supported: under systemd, what goes to stderr (the \
         default) is in the journal"
    )]
    LogJournal,
    #[error("--log-outputs={0} has an empty name; expected stderr, stdout or files, with commas")]
    LogNoOutput(String),
    #[error("--cors: {0:?} is no origin; expected scheme://host:port, several with commas, or *")]
    Origin(String),
    #[error("--name must not be empty")]
    NoName,
    #[error("--compact-hash-check-time must be >0 (set to 0s)")]
    NoHashCheckTime,
    #[error("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"")]
    Proxy,
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NotInCluster(String),
    #[error("initial cluster {0} has duplicate url")]
    DuplicateUrl(String),
    #[error("initial cluster unset and no discovery endpoints found")]
    NoCluster,
    #[error(
        "--initial-cluster has {missing} but missing from \
         --initial-advertise-peer-urls={advertised}"
    )]
    NotAdvertised { missing: String, advertised: String },
    #[error(
        "--initial-advertise-peer-urls has {missing} but missing from \
         --initial-cluster={cluster}"
    )]
    NotInitial { missing: String, cluster: String },
}
