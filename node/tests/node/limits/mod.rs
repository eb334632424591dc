//! What clients can do to a member, and cannot: three members, the leader of which is loaded.
//!
//! Memory is the leader's resident memory, as the system counts it; "served" is another client
//! that writes and reads at the same time. The figures of a usual run are small; larger ones:
//!
//! ```text
//!   QUORATE_TEST_CONNECTIONS=10000   connections that are open at one time (default 2000)
//!   QUORATE_TEST_WATCHES=100000      watches (default 20000)
//!   QUORATE_TEST_READERS=1000        clients that ask for everything and do not read (default 300)
//!   QUORATE_TEST_RESETS=100000       streams that are begun and reset at once (default 20000)
//!   QUORATE_TEST_MALFORMED=100000    requests that are wrong, on every port (default 3000)
//! ```

mod cluster;
mod malformed;
mod raw;

use std::io::Read as _;
use std::time::{Duration, Instant};

use prost::Message as _;
use quorate_api::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use quorate_client::{Client, Options};

use cluster::{Cluster, connections, figure};
use raw::Connection;

/// Memory that members of these tests take themselves to be allowed, and what answers may take of
/// it.
const MEMORY_BYTES: u64 = 512 << 20;
const ANSWER_BYTES: u64 = MEMORY_BYTES / 4;
/// What a debug build's allocator and the load itself may add to what is asserted.
const SLACK_BYTES: u64 = 96 << 20;

fn cluster(name: &str) -> Cluster {
    let memory = format!("--memory-limit-bytes={MEMORY_BYTES}");
    // The heartbeats must come through; a machine that is busy with other tests may be late.
    Cluster::start(name, &[&memory, "--election-timeout=3000"])
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

fn put(key: &str, value: Vec<u8>) -> PutRequest {
    let key = key.as_bytes().to_vec().into();
    PutRequest { key, value: value.into(), ..PutRequest::default() }
}

fn everything() -> RangeRequest {
    let all: &[u8] = &[0];
    RangeRequest { key: all.into(), range_end: all.into(), ..RangeRequest::default() }
}

/// Another client of the loaded member is served, and its leader is who it was.
async fn assert_served(cluster: &Cluster) {
    let client = Client::connect(&[cluster.endpoint()], Options::default()).expect("an address");
    for round in 0..5 {
        let value = vec![round; 100];
        client.put(put("served", value.clone())).await.expect("written");
        let range = RangeRequest { key: "served".into(), ..RangeRequest::default() };
        let read = client.range(range).await.expect("read");
        assert_eq!(read.kvs.first().map(|kv| kv.value.to_vec()), Some(value));
    }
    cluster.assert_same_leader().await;
}

/// Fill the store with so many MiB.
async fn fill(cluster: &Cluster, mebibytes: usize) {
    let client = Client::connect(&[cluster.endpoint()], Options::default()).expect("an address");
    for number in 0..mebibytes {
        client.put(put(&format!("big/{number:04}"), vec![7; 1 << 20])).await.expect("written");
    }
}

#[test]
fn thousands_of_connections_cost_little_and_hold_up_nobody() {
    run(async {
        let count = connections("QUORATE_TEST_CONNECTIONS", 2_000);
        let cluster = cluster("connections");
        let before = cluster.resident();
        let began = Instant::now();
        let mut opened = Vec::new();
        for _ in 0..count {
            opened.push(Connection::open(cluster.address(), 65_535));
        }
        for connection in &mut opened {
            connection.await_settings();
        }
        let each = cluster.resident().saturating_sub(before) / count as u64;
        eprintln!("{count} connections in {:?}: {each} bytes each", began.elapsed());
        assert!(each < 48 << 10, "{each} bytes for a connection");
        assert_served(&cluster).await;
    });
}

#[test]
fn a_watch_costs_some_hundred_bytes() {
    /// Watches of one stream.
    const STREAM: usize = 5_000;
    run(async {
        let count = figure("QUORATE_TEST_WATCHES", 20_000);
        let cluster = cluster("watches");
        let client = Client::connect(&[cluster.endpoint()], Options::default()).expect("one");
        let before = cluster.retained().await;
        let mut streams = Vec::new();
        for stream in 0..count.div_ceil(STREAM) {
            let create = |number: usize| WatchCreateRequest {
                key: format!("watched/{stream}/{number}").into_bytes().into(),
                ..WatchCreateRequest::default()
            };
            let mut watch = client.watch(create(0)).await.expect("a stream");
            for number in 1..STREAM {
                watch.create(create(number)).await.expect("taken");
            }
            for _ in 0..STREAM {
                assert!(watch.next().await.expect("an answer").created);
            }
            streams.push(watch);
        }
        let watches = streams.len() * STREAM;
        let each = cluster.retained().await.saturating_sub(before) / watches as u64;
        eprintln!("{watches} watches: {each} bytes each");
        assert!(each < 1 << 10, "{each} bytes for a watch");
        for (number, watch) in streams.iter_mut().enumerate() {
            client.put(put(&format!("watched/{number}/7"), vec![1])).await.expect("written");
            assert_eq!(watch.next().await.expect("an event").events.len(), 1);
        }
        assert_served(&cluster).await;
    });
}

#[test]
fn readers_that_do_not_read_cost_a_budget_and_no_more() {
    const STORED_MIB: usize = 12;
    run(async {
        let count = connections("QUORATE_TEST_READERS", 300);
        let cluster = cluster("readers");
        fill(&cluster, STORED_MIB).await;
        let before = cluster.resident();
        let request = everything().encode_to_vec();
        let mut readers = Vec::new();
        for number in 0..count {
            // Half of them let the member send as much as it likes, and take none of it.
            let window = if number % 2 == 0 { 65_535 } else { i32::MAX as u32 };
            let mut reader = Connection::open(cluster.address(), window);
            reader.call(1, "/etcdserverpb.KV/Range", &request);
            readers.push(reader);
        }
        assert_served(&cluster).await;
        let grown = cluster.resident().saturating_sub(before);
        eprintln!("{count} readers of {STORED_MIB} MiB that do not read: {} MiB", grown >> 20);
        assert!(grown < ANSWER_BYTES + SLACK_BYTES, "{grown} bytes");
        // Whoever came too late was told so, and not kept waiting.
        let refused = cluster.metric("quorate_answers_refused_total").await;
        assert!(refused > 0.0, "nobody was refused");
        // A small question has its answer all the same, and large ones, when those who do not
        // read have had their time.
        let client = Client::connect(&[cluster.endpoint()], Options::default()).expect("one");
        let page = RangeRequest { limit: 1, keys_only: true, ..everything() };
        assert_eq!(client.range(page).await.expect("a page").kvs.len(), 1);
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match client.range(everything()).await {
                Ok(all) => break assert!(all.kvs.len() >= STORED_MIB),
                Err(error) => assert!(Instant::now() < until, "still {error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

#[test]
fn watchers_that_do_not_read_cost_no_copies() {
    const WRITTEN_MIB: usize = 24;
    run(async {
        let count = connections("QUORATE_TEST_READERS", 300);
        let cluster = cluster("stalled");
        let all: &[u8] = &[0];
        let create = quorate_api::etcdserverpb::WatchRequest {
            request_union: Some(
                quorate_api::etcdserverpb::watch_request::RequestUnion::CreateRequest(
                    WatchCreateRequest {
                        key: all.into(),
                        range_end: all.into(),
                        prev_kv: true,
                        ..WatchCreateRequest::default()
                    },
                ),
            ),
        };
        let request = create.encode_to_vec();
        let mut watchers = Vec::new();
        for _ in 0..count {
            let mut watcher = Connection::open(cluster.address(), 65_535);
            watcher.call_on(1, "/etcdserverpb.Watch/Watch", &request);
            watchers.push(watcher);
        }
        cluster.await_metric("etcd_debugging_mvcc_watcher_total", count as f64).await;
        let before = cluster.resident();
        fill(&cluster, WRITTEN_MIB).await;
        assert_served(&cluster).await;
        let grown = cluster.resident().saturating_sub(before);
        eprintln!("{count} watchers that do not read {WRITTEN_MIB} MiB: {} MiB", grown >> 20);
        // The written values themselves are in the log's tail, the ring and the entries.
        let written = (WRITTEN_MIB as u64) << 20;
        assert!(grown < 4 * written + SLACK_BYTES, "{grown} bytes");
        drop(watchers);
    });
}

#[test]
fn streams_that_are_reset_at_once_are_no_memory_and_no_work_for_long() {
    run(async {
        let count = figure("QUORATE_TEST_RESETS", 20_000);
        let cluster = cluster("resets");
        let request = everything().encode_to_vec();
        let before = cluster.resident();
        let mut sent = 0;
        let mut cut = 0;
        while sent < count {
            let mut connection = Connection::open(cluster.address(), 65_535);
            for number in 0..1_000 {
                let stream = 2 * number + 1;
                if connection
                    .try_call_and_reset(stream, "/etcdserverpb.KV/Range", &request)
                    .is_err()
                {
                    cut += 1;
                    break;
                }
                sent += 1;
            }
        }
        assert_served(&cluster).await;
        let grown = cluster.resident().saturating_sub(before);
        eprintln!("{sent} resets, {cut} connections cut: {} MiB", grown >> 20);
        assert!(grown < SLACK_BYTES, "{grown} bytes");
    });
}

#[test]
fn clients_that_ask_for_everything_in_a_loop_leave_room_for_others() {
    const STORED_MIB: usize = 8;
    const CLIENTS: usize = 8;
    const TIME: Duration = Duration::from_secs(3);
    run(async {
        let cluster = cluster("loop");
        fill(&cluster, STORED_MIB).await;
        let before = cluster.resident();
        let until = Instant::now() + TIME;
        let address = cluster.address();
        let asking: Vec<_> = (0..CLIENTS)
            .map(|_| {
                std::thread::spawn(move || {
                    let request = everything().encode_to_vec();
                    let mut answers = 0;
                    while Instant::now() < until {
                        let mut connection = Connection::open(address, i32::MAX as u32);
                        connection.call(1, "/etcdserverpb.KV/Range", &request);
                        let mut bytes = vec![0; 1 << 20];
                        let mut taken = 0;
                        while taken < STORED_MIB << 20 {
                            match connection.stream.read(&mut bytes) {
                                // Refused, or cut off.
                                Ok(0) | Err(_) => break,
                                Ok(count) if taken == 0 && count < 4096 && count > 200 => break,
                                Ok(count) => taken += count,
                            }
                        }
                        answers += usize::from(taken >= STORED_MIB << 20);
                    }
                    answers
                })
            })
            .collect();
        let mut most = 0;
        while Instant::now() < until {
            assert_served(&cluster).await;
            most = most.max(cluster.resident().saturating_sub(before));
        }
        let answers: usize = asking.into_iter().map(|asks| asks.join().expect("it ends")).sum();
        eprintln!("{answers} answers of {STORED_MIB} MiB: {} MiB at most", most >> 20);
        assert!(answers > 0, "nobody was answered");
        assert!(most < ANSWER_BYTES + SLACK_BYTES, "{most} bytes");
    });
}

#[test]
fn a_full_quota_is_said_in_etcds_words_and_clears_itself() {
    const QUOTA_BYTES: usize = 16 << 20;
    let quota = format!("--quota-backend-bytes={QUOTA_BYTES}");
    let member = crate::clients::Member::start_with("quota", &[&quota]);
    run(async {
        let client = Client::connect(&[member.endpoint()], Options::default()).expect("one");
        let mut written = 0;
        let refused = loop {
            match client.put(put(&format!("{written}"), vec![7; 1 << 20])).await {
                Ok(_) => written += 1,
                Err(error) => break error.to_string(),
            }
            assert!(written << 20 <= QUOTA_BYTES, "more than the quota is taken");
        };
        assert!(refused.contains("etcdserver: mvcc: database space exceeded"), "{refused}");
        assert!(written >= 12, "only {written} MiB are taken");
        let until = Instant::now() + Duration::from_secs(60);
        while !member.get("GET", "/health").contains("ALARM NOSPACE") {
            assert!(Instant::now() < until, "no alarm is raised");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Deleting and compacting works, and makes room by itself.
        let all: &[u8] = &[0];
        let delete = quorate_api::etcdserverpb::DeleteRangeRequest {
            key: all.into(),
            range_end: all.into(),
            ..Default::default()
        };
        let deleted = client.delete_range(delete).await.expect("deleted");
        let revision = deleted.header.expect("a header").revision;
        let compact = quorate_api::etcdserverpb::CompactionRequest { revision, physical: false };
        client.compact(compact).await.expect("compacted");
        while let Err(error) = client.put(put("again", vec![7; 1 << 10])).await {
            assert!(Instant::now() < until, "still {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while !member.get("GET", "/health").starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < until, "the alarm stays");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
