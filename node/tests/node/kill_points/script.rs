//! What one client does to a lone member, one request after the other, and what must be there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, PutRequest, RangeRequest,
};
use quorate_client::{Client, Error};

use crate::process::{Member, eventually};

/// Requests of the script: enough that files of log and store are filled, checkpoints written and
/// segments collected.
const STEPS: usize = 150;
const KEYS: usize = 24;
const VALUE_BYTES: usize = 1_500;
/// A full disk refuses for a while, until the member has seen that it has room again.
const REFUSED_MAX: Duration = Duration::from_secs(20);
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// A request.
#[derive(Clone, Debug)]
enum Step {
    Put { key: String, value: String },
    Delete { key: String },
    Compact { revision: i64 },
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    revision: i64,
    kvs: BTreeMap<String, String>,
}

impl State {
    fn after(&self, step: &Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Put { key, value } => {
                next.kvs.insert(key.clone(), value.clone());
                next.revision += 1;
            }
            Step::Delete { key } => {
                if next.kvs.remove(key).is_some() {
                    next.revision += 1;
                }
            }
            Step::Compact { .. } => {}
        }
        next
    }
}

/// A run of the script.
#[derive(Debug)]
pub(super) struct Script {
    state: State,
    /// The request whose answer did not come.
    in_flight: Option<Step>,
    acknowledged: usize,
}

impl Default for Script {
    fn default() -> Self {
        let state = State { revision: 1, kvs: BTreeMap::new() };
        Self { state, in_flight: None, acknowledged: 0 }
    }
}

impl Script {
    /// Requests that were answered.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Ask until the end, or until there is no answer.
    pub(super) async fn run(&mut self, member: &Member) {
        let client = member.client();
        for number in 0..STEPS {
            let key = format!("key/{:02}", number * 7 % KEYS);
            let step = match number % 10 {
                4 => Step::Delete { key },
                9 if number % 30 == 29 => Step::Compact { revision: self.state.revision },
                _ => Step::Put { key, value: format!("{number:04}").repeat(VALUE_BYTES / 4) },
            };
            if carry_out(&client, &step).await.is_err() {
                self.in_flight = Some(step);
                return;
            }
            self.state = self.state.after(&step);
            self.acknowledged += 1;
        }
    }

    /// The member, started again, has what was acknowledged, perhaps what was asked last, and
    /// nothing else; it reads all of it and takes more.
    pub(super) async fn check(&self, member: &mut Member) {
        member.start();
        member.wait_ready().await;
        let client = member.client();
        let found = state(&client).await.expect("it answers");
        let with_last = self.in_flight.as_ref().map(|step| self.state.after(step));
        assert!(
            found == self.state || Some(&found) == with_last.as_ref(),
            "at revision {}, {} keys; acknowledged revision {}, in flight {:?}",
            found.revision,
            found.kvs.len(),
            self.state.revision,
            self.in_flight
        );
        let hash = async || client.hash_kv(HashKvRequest::default()).await.expect("it reads all");
        assert_eq!(hash().await.hash, hash().await.hash);
        let last = Step::Put { key: "last".to_owned(), value: "last".to_owned() };
        carry_out(&client, &last).await.expect("it takes more");
        assert_eq!(state(&client).await.expect("it answers"), found.after(&last));
        member.kill();
    }
}

async fn carry_out(client: &Client, step: &Step) -> Result<(), Error> {
    let until = Instant::now() + REFUSED_MAX;
    loop {
        match ask(client, step).await {
            Err(Error::Etcd(quorate_api::Error::NoSpace)) if Instant::now() < until => {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

async fn ask(client: &Client, step: &Step) -> Result<(), Error> {
    let bytes = |text: &str| text.as_bytes().to_vec().into();
    match step {
        Step::Put { key, value } => {
            let put = PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() };
            client.put(put).await?;
        }
        Step::Delete { key } => {
            let delete = DeleteRangeRequest { key: bytes(key), ..DeleteRangeRequest::default() };
            client.delete_range(delete).await?;
        }
        Step::Compact { revision } => {
            client.compact(CompactionRequest { revision: *revision, physical: true }).await?;
        }
    }
    Ok(())
}

async fn state(client: &Client) -> Option<State> {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let answer =
        eventually("everything is read", async || client.range(all.clone()).await.ok()).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let kvs = answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect();
    Some(State { revision: answer.header?.revision, kvs })
}
