//! etcd's rules and texts.

use std::time::Duration;

use super::*;
use crate::args::environment::Notice;
use crate::args::{self, Words, table};
use crate::tls::Allowed;

fn try_read(words: &[&str]) -> Result<(Config, Vec<Notice>), ConfigError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Config::read(&args::parse(table::flags(), &words, Words::EndFlags).expect("good syntax"))
}

fn read(words: &[&str]) -> Config {
    try_read(words).expect("a good configuration").0
}

fn refusal(words: &[&str]) -> String {
    try_read(words).expect_err("a bad configuration").to_string()
}

#[test]
fn defaults_are_etcds() {
    let config = read(&[]);
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.log_folder(), PathBuf::from("default.etcd/log"));
    assert_eq!(config.initial_cluster.to_string(), "default=http://localhost:2380");
    assert_eq!(config.initial_cluster_state, ClusterState::New);
    assert_eq!((config.heartbeat_ms, config.election_ms, config.election_ticks()), (100, 1000, 10));
    assert_eq!(config.quota_bytes, Some(2 << 30));
    assert_eq!(config.auto_compaction, AutoCompaction::Off);
    assert_eq!((config.request_bytes_max, config.txn_ops_max), (1_572_864, 128));
    assert_eq!(config.keep_alive.interval, Some(Duration::from_secs(7_200)));
    assert_eq!(config.keep_alive.ping_interval_min, Duration::from_secs(5));
    assert!(config.pre_vote && config.strict_reconfiguration);
    assert_eq!(config.check_initial_cluster(), Ok(()));
}

#[test]
fn the_size_of_segments_has_limits() {
    assert_eq!(read(&[]).segment_bytes, 64 << 20);
    assert_eq!(read(&["--segment-bytes=65536"]).segment_bytes, 65_536);
    for bad in ["65024", "65537", "268435968", "0"] {
        assert_eq!(
            refusal(&[&format!("--segment-bytes={bad}")]),
            format!("--segment-bytes[{bad}] must be a multiple of 512 from 65536 to 268435456")
        );
    }
}

#[test]
fn a_name_alone_makes_a_cluster_of_one() {
    let config = read(&["--name=a", "--initial-advertise-peer-urls=http://10.0.0.1:2380"]);
    assert_eq!(config.initial_cluster.to_string(), "a=http://10.0.0.1:2380");
    assert_eq!(config.data_dir, PathBuf::from("a.etcd"));
    assert_eq!(config.check_initial_cluster(), Ok(()));
}

#[test]
fn settings_are_taken_over() {
    let config = read(&[
        "--wal-dir=w",
        "--quota-backend-bytes=-1",
        "--auto-compaction-retention=2",
        "--grpc-keepalive-interval=0s",
        "--initial-cluster-state=existing",
        "--listen-metrics-urls=http://127.0.0.1:2381",
        "--log-level=panic",
        "--log-format=console",
        "--log-outputs=stdout",
        "--snapshot-count=0",
    ]);
    assert_eq!(config.log_folder(), PathBuf::from("w"));
    assert_eq!(config.locked_folders().len(), 2);
    assert_eq!(config.quota_bytes, None);
    let hours = AutoCompaction::Periodic(Duration::from_secs(7_200));
    assert_eq!(config.auto_compaction, hours);
    assert_eq!(config.keep_alive.interval, None);
    assert_eq!(config.initial_cluster_state, ClusterState::Existing);
    assert_eq!(config.listen_metrics_urls.len(), 1);
    let outputs = vec![LogOutput::Stdout];
    let logging = Logging { level: Level::Error, format: LogFormat::Console, outputs };
    assert_eq!(config.logging, logging);
    assert_eq!(config.snapshot_entries, 10_000);
    let files = read(&["--log-outputs=stderr,a.log,stderr,/b"]).logging.outputs;
    let file = |name: &str| LogOutput::File(name.into());
    assert_eq!(files, [LogOutput::Stderr, file("a.log"), file("/b")]);
    let minutes = read(&["--auto-compaction-retention=5m"]).auto_compaction;
    assert_eq!(minutes, AutoCompaction::Periodic(Duration::from_secs(300)));
    let mode = "--auto-compaction-mode=revision";
    let revisions = read(&[mode, "--auto-compaction-retention=1000"]).auto_compaction;
    assert_eq!(revisions, AutoCompaction::Revisions(1_000));
}

#[test]
fn rules_and_texts_are_etcds() {
    for (words, text) in [
        (
            &["--listen-client-urls=http://127.0.0.1:1"][..],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            &["--election-timeout=400"],
            "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=50001"],
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            &["--listen-peer-urls=http://example.com:1"],
            "expected IP in URL for binding (http://example.com:1)",
        ),
        (&["--auto-compaction-mode=x"], "unknown auto-compaction-mode \"x\""),
        (&["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (&["word"], "\"word\" is not a valid flag"),
        (
            &["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
             LeaseCheckpoint",
        ),
        (
            &["--auto-compaction-retention=x"],
            "error parsing CompactionRetention: time: invalid duration \"x\"",
        ),
    ] {
        assert_eq!(refusal(words), text);
    }
    let text = refusal(&["--advertise-client-urls=http://:2379"]);
    assert!(text.contains("unexpected empty host (http://:2379)"), "{text}");
}

#[test]
fn what_would_be_less_safe_than_asked_for_is_refused() {
    for (words, part) in [
        (&["--auth-token=jwt,x=y"][..], "Only simple"),
        (&["--discovery-endpoints=a"], "Not supported"),
        (&["--log-outputs=systemd/journal"], "under systemd, what goes to stderr"),
        (&["--log-outputs=stdout,default"], "multi logoutput"),
        (&["--log-outputs=stdout,"], "empty name"),
        (&["--cors=a.com"], "\"a.com\" is no origin"),
        (&["--max-learners=-1"], "out of range"),
    ] {
        let text = refusal(words);
        assert!(text.contains(part), "{words:?}: {text}");
    }
    // Sockets of this machine are for clients and peers.
    let words =
        ["--listen-client-urls=unix://a,http://127.0.0.1:1", "--advertise-client-urls=unix://a"];
    assert!(read(&words).listen_client_urls.as_slice()[1].scheme().is_unix());
    let words = [
        "--listen-peer-urls=unix://a:1",
        "--initial-advertise-peer-urls=unix://a:1",
        "--initial-cluster=default=unix://a:1",
    ];
    assert!(read(&words).listen_peer_urls.as_slice()[0].scheme().is_unix());
    // A default that is written down changes nothing.
    read(&["--client-cert-auth=false", "--cors=*", "--auth-token=simple", "--cert-file="]);
}

#[test]
fn what_has_no_effect_says_so_once() {
    let words = ["--name=a", "--max-wals=3", "--corrupt-check-time=0", "--snapshot", "--v=9"];
    let (_, notices) = try_read(&words).expect("good");
    let messages: Vec<&str> = notices.iter().map(|notice| notice.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "--max-wals=3 is accepted. The store here needs no such setting.",
            "flag --snapshot is no longer supported - ignoring",
            "flag --v is no longer supported - ignoring",
        ]
    );
}

#[test]
fn an_empty_directory_needs_a_cluster_that_fits() {
    let check = |words: &[&str]| {
        read(words).check_initial_cluster().expect_err("it does not fit").to_string()
    };
    let advertise = "--initial-advertise-peer-urls=http://127.0.0.1:1";
    assert_eq!(
        check(&["--name=a", "--initial-cluster=b=http://127.0.0.1:1"]),
        "couldn't find local name \"a\" in the initial cluster configuration"
    );
    assert_eq!(
        check(&["--name=a", "--initial-cluster=a=http://127.0.0.1:2", advertise]),
        "--initial-cluster has a=http://127.0.0.1:2 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:1"
    );
    let twice = "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:1";
    assert_eq!(
        check(&["--name=a", twice, advertise]),
        "initial cluster a=http://127.0.0.1:1,b=http://127.0.0.1:1 has duplicate url"
    );
    assert!(
        check(&["--name=a", "--initial-cluster=", advertise]).contains("initial cluster unset")
    );
    // Names are compared by what they stand for; one that joins is not compared at all.
    let same = "--initial-cluster=a=http://localhost:1";
    assert_eq!(read(&["--name=a", same, advertise]).check_initial_cluster(), Ok(()));
    let other = "--initial-cluster=a=http://127.0.0.1:2";
    let existing = "--initial-cluster-state=existing";
    assert_eq!(read(&["--name=a", other, advertise, existing]).check_initial_cluster(), Ok(()));
}

/// A client's address with TLS, and its certificate.
const SECURE: [&str; 4] = [
    "--listen-client-urls=https://127.0.0.1:1",
    "--advertise-client-urls=https://127.0.0.1:1",
    "--cert-file=c",
    "--key-file=k",
];

/// A peer's.
const SECURE_PEER: [&str; 4] = [
    "--listen-peer-urls=https://127.0.0.1:2",
    "--initial-advertise-peer-urls=https://127.0.0.1:2",
    "--peer-cert-file=c",
    "--peer-key-file=k",
];

#[test]
fn tls_that_cannot_be_had_is_refused() {
    for (base, words, part) in [
        (&[][..], &["--cert-file=a"][..], "must both be present[key: , cert: a]"),
        (&[], &["--peer-key-file=a"], "must both be present[key: a, cert: ]"),
        (&[], &["--peer-client-cert-file=a"], "must both be present or both absent"),
        (&[], &["--cipher-suites=a"], "unexpected TLS cipher suite \"a\"; known are TLS_ECDHE"),
        (
            &[],
            &["--cipher-suites=TLS_AES_128_GCM_SHA256", "--tls-min-version=TLS1.3"],
            "only TLS1.3",
        ),
        (&[], &["--cipher-suites=TLS_AES_128_GCM_SHA256", "--tls-max-version=TLS1.2"], "of TLS1.2"),
        (
            &[],
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &SECURE[..2],
            &[],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (&[], &["--listen-metrics-urls=https://127.0.0.1:3"], "for metrics secure url"),
        (&SECURE_PEER[..2], &[], "cannot listen on TLS for 127.0.0.1:2"),
        (&SECURE, &["--client-cert-auth"], "--client-cert-auth checks certificates, but nobody"),
        (&SECURE, &["--client-crl-file=a"], "give --trusted-ca-file too"),
        (&SECURE, &["--client-cert-allowed-hostname=a"], "give --trusted-ca-file too"),
        (&SECURE, &["--client-cert-allowed-hostname=a,,b"], "a name in the list is empty"),
        (&SECURE, &["--client-cert-allowed-hostname=a b"], "neither a host name nor"),
        (&SECURE_PEER, &["--peer-client-cert-auth"], "give --peer-trusted-ca-file too"),
        (&SECURE_PEER, &["--peer-crl-file=a"], "give --peer-trusted-ca-file too"),
        (&SECURE_PEER, &["--peer-cert-allowed-cn=a"], "give --peer-trusted-ca-file too"),
        (
            &SECURE_PEER,
            &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"],
            "mutually exclusive (cns=[\"a\"], hostnames=[\"b\"])",
        ),
        (
            &SECURE_PEER,
            &["--name=a", "--initial-cluster=a=https://127.0.0.1:2,b=https://b:2"],
            "--peer-trusted-ca-file must be provided",
        ),
        (&SECURE[..2], &["--auto-tls", "--client-cert-auth"], "cannot be had with --auto-tls"),
        (&SECURE[..2], &["--auto-tls", "--trusted-ca-file=a"], "cannot be had with --auto-tls"),
        (
            &SECURE[..2],
            &["--auto-tls", "--self-signed-cert-validity=0"],
            "selfSignedCertValidity is invalid",
        ),
    ] {
        let text = refusal(&[base, words].concat());
        assert!(text.contains(part), "{base:?} {words:?}: {text}");
    }
}

#[test]
fn tls_is_taken_over() {
    let ca = ["--trusted-ca-file=ca", "--client-cert-auth", "--client-crl-file=l"];
    let list = ["--client-cert-allowed-hostname=a,10.0.0.1"];
    let config = read(&[&SECURE[..], &ca, &list].concat());
    let tls = config.client_tls.expect("asked for");
    assert_eq!(tls.trusted_ca, Some(PathBuf::from("ca")));
    assert_eq!(tls.allowed, Allowed::HostNames(vec!["a".to_owned(), "10.0.0.1".to_owned()]));
    assert!(tls.has_certificate() && !tls.checks_addresses);
    assert_eq!(config.peer_tls, None);

    let peers = ["--peer-trusted-ca-file=ca", "--peer-cert-allowed-cn=a"];
    let tls = read(&[&SECURE_PEER[..], &peers].concat()).peer_tls.expect("asked for");
    assert_eq!(tls.allowed, Allowed::CommonNames(vec!["a".to_owned()]));
    assert!(tls.checks_addresses);
    let skip = ["--peer-skip-client-san-verification"];
    let tls = read(&[&SECURE_PEER[..], &skip].concat()).peer_tls.expect("asked for");
    assert!(!tls.checks_addresses);

    // A certificate that is given is used, whatever else is asked for.
    let (config, notices) = try_read(&[&SECURE[..], &["--auto-tls"]].concat()).expect("good");
    assert_eq!(config.client_tls.expect("asked for").self_signed_years, None);
    let ignoring = "ignoring client auto TLS since certs given";
    assert!(notices.iter().any(|notice| notice.message == ignoring), "{notices:?}");
    // Metrics alone may speak it.
    let metrics = ["--listen-metrics-urls=https://127.0.0.1:3"];
    assert!(read(&[&SECURE[2..], &metrics].concat()).client_tls.is_some());
    // Other members are talked to, although this one is not.
    let others = ["--name=a", "--initial-cluster=a=http://localhost:2380,b=https://b:1"];
    let words = [&others[..], &["--peer-trusted-ca-file=ca"]].concat();
    assert!(read(&words).peer_tls.is_some());
}

#[test]
fn tls_that_is_not_spoken_is_warned_of() {
    let words = ["--cert-file=c", "--key-file=k", "--client-cert-auth", "--peer-client-cert-auth"];
    let (config, notices) = try_read(&words).expect("good");
    assert_eq!(config.client_tls, None);
    for part in [
        "ignoring key and cert files (http://localhost:2379)",
        "--client-cert-auth is enabled; ignoring client cert auth",
        "--peer-client-cert-auth is enabled; ignoring client cert auth",
    ] {
        let is_said = |notice: &&Notice| notice.is_warning && notice.message.contains(part);
        assert_eq!(notices.iter().filter(is_said).count(), 1, "{part}: {notices:?}");
    }
}
