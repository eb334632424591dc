//! Clients that write, read, watch and renew without pause while something happens to the cluster,
//! and see no error of it.
//!
//! They try again what etcd's clients try again: a read whenever a member cannot serve it, a write
//! only where the member promises that it has not happened, unless they are told that a member may
//! be gone before it knows; and they open a stream anew that ended.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_api::Code;
use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, RangeRequest, WatchCreateRequest,
};
use quorate_client::{Client, Error};

use super::{Cluster, PutRequest, put};
use crate::process::{Member, PATIENCE, client, eventually};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(25);

/// Between two renewals, and what the lease is granted: it ends if a few of them fail.
const RENEWAL: Duration = Duration::from_millis(500);
const LEASE_SECONDS: i64 = 5;

/// What is written when everything else has been.
const LAST: &str = "busy-last";

/// Whether a member may be asked again, or another one, for what only reads.
fn is_unavailable(error: &Error) -> bool {
    match error {
        Error::Etcd(error) => error.code() == Code::Unavailable,
        Error::Unreachable(_) | Error::StreamEnded => true,
        Error::Status { code, .. } => *code == Code::Unavailable,
        Error::Deadline | Error::Endpoint(_) | Error::Token => false,
    }
}

/// Try until there is an answer, or an error that is not to be tried again.
async fn again<T>(
    what: &str,
    is_to_be_tried: impl Fn(&Error) -> bool,
    mut call: impl AsyncFnMut() -> Result<T, Error>,
) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) if is_to_be_tried(&error) && Instant::now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

/// What a client does with a write of which nobody says whether it has happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// There are none.
    Never,
    /// Write it again.
    Again,
}

/// Who works, and what came of it.
struct Work {
    endpoints: Vec<String>,
    unknown: Unknown,
    written: RefCell<BTreeMap<String, String>>,
    is_over: Cell<bool>,
}

impl Work {
    /// A client that asks this one first.
    fn client(&self, first: usize) -> Client {
        let mut endpoints = self.endpoints.clone();
        let count = endpoints.len();
        endpoints.rotate_left(first % count);
        client(&endpoints)
    }

    async fn put(&self, client: &Client, key: &str, value: &str) {
        let is_to_be_tried = |error: &Error| {
            !error.may_have_happened() || (self.unknown == Unknown::Again && is_unavailable(error))
        };
        again(key, is_to_be_tried, async || put(client, key, value).await).await;
        self.written.borrow_mut().insert(key.to_owned(), value.to_owned());
    }

    /// Write one key after the other, and read each back.
    async fn write(&self, writer: usize) {
        let client = self.client(writer);
        for number in 0.. {
            let (key, value) = (format!("busy-{writer}/{number:06}"), format!("value {number}"));
            self.put(&client, &key, &value).await;
            let read = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
            let read = async || client.range(read.clone()).await;
            assert_eq!(again(&key, is_unavailable, read).await.count, 1, "{key} was acknowledged");
            if self.is_over.get() {
                return;
            }
        }
    }

    /// See every event once and in order, until the last one has been seen.
    async fn watch(&self, from: i64) -> BTreeMap<String, String> {
        let client = self.client(1);
        let mut seen = BTreeMap::new();
        let mut next = from;
        loop {
            let create = WatchCreateRequest {
                key: "busy-".into(),
                range_end: "busy.".into(),
                start_revision: next,
                ..WatchCreateRequest::default()
            };
            let open = async || client.watch(create.clone()).await;
            let mut watch = again("a watch", is_unavailable, open).await;
            loop {
                let answer = match watch.next().await {
                    Ok(answer) => answer,
                    Err(error) if is_unavailable(&error) => break,
                    Err(error) => panic!("a watch: {error:?}"),
                };
                assert!(!answer.canceled, "{answer:?}");
                for event in answer.events {
                    let kv = event.kv.expect("a key");
                    assert!(kv.mod_revision >= next, "{} comes late or twice", kv.mod_revision);
                    next = kv.mod_revision + 1;
                    seen.insert(text(&kv.key), text(&kv.value));
                }
                if seen.contains_key(LAST) {
                    return seen;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn renew(&self, id: i64) {
        let client = self.client(2);
        while !self.is_over.get() {
            let renew = async || client.lease_keep_alive(LeaseKeepAliveRequest { id }).await;
            let renewed = again("a renewal", is_unavailable, renew).await;
            assert!(renewed.ttl > 0, "the lease has ended although it was renewed");
            tokio::time::sleep(RENEWAL).await;
        }
    }
}

impl Cluster {
    /// Let this happen while so many clients write, one watches and one renews a lease.
    pub(super) async fn while_busy<T>(
        &mut self,
        writers: usize,
        unknown: Unknown,
        happens: impl AsyncFnOnce(&mut Self) -> T,
    ) -> T {
        let endpoints = self.running().map(Member::client_url).collect();
        let written = RefCell::default();
        let work = Work { endpoints, unknown, written, is_over: Cell::new(false) };
        let (lease, from) = self.begin_lease().await;
        let happens = async {
            let outcome = happens(self).await;
            work.is_over.set(true);
            outcome
        };
        let write = async {
            all_of(writers, |writer| work.write(writer)).await;
            work.put(&work.client(0), LAST, "1").await;
        };
        let (outcome, (), seen, ()) =
            tokio::join!(happens, write, work.watch(from), work.renew(lease));
        let mut written = work.written.into_inner();
        assert_eq!(seen, written, "the watch has seen what was written");
        assert!(written.len() > 20 * writers, "{} writes are no load", written.len());
        self.written.append(&mut written);
        outcome
    }

    /// A lease with a key, and the revision behind that.
    async fn begin_lease(&mut self) -> (i64, i64) {
        let client = self.client();
        let grant = LeaseGrantRequest { ttl: LEASE_SECONDS, id: 0 };
        let granted = eventually("a lease", async || client.lease_grant(grant).await.ok()).await;
        let leased = PutRequest {
            key: "leased".into(),
            value: "1".into(),
            lease: granted.id,
            ..PutRequest::default()
        };
        let answer = eventually("a key", async || client.put(leased.clone()).await.ok()).await;
        self.written.insert("leased".to_owned(), "1".to_owned());
        (granted.id, answer.header.expect("a header").revision + 1)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// So many at the same time.
async fn all_of<F: Future<Output = ()>>(count: usize, of: impl Fn(usize) -> F) {
    let mut all: Vec<_> = (0..count).map(|number| Some(Box::pin(of(number)))).collect();
    std::future::poll_fn(|context| {
        let mut is_pending = false;
        for one in &mut all {
            if one.as_mut().is_some_and(|one| one.as_mut().poll(context).is_ready()) {
                *one = None;
            }
            is_pending |= one.is_some();
        }
        if is_pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
}
