//! Members that are killed again and again while clients write.
//!
//! `QUORATE_KILL_SECONDS` is for how long; more than the default is for whoever has the time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::*;

const SECONDS: u64 = 10;

/// Clients that write at the same time.
const WRITERS: usize = 4;

/// Between two kills: enough for an election and some writes.
const BETWEEN_KILLS: Duration = Duration::from_millis(1_200);

/// What the writers tried, and what of it was acknowledged.
#[derive(Default)]
struct Tried {
    all: BTreeMap<String, String>,
    acknowledged: BTreeMap<String, String>,
    is_over: bool,
}

async fn write(writer: usize, client: Client, tried: Rc<RefCell<Tried>>) {
    for number in 0.. {
        let (key, value) = (format!("writer-{writer}/{number:06}"), format!("value {number}"));
        tried.borrow_mut().all.insert(key.clone(), value.clone());
        let answer = put(&client, &key, &value).await;
        let mut tried = tried.borrow_mut();
        if answer.is_ok() {
            tried.acknowledged.insert(key, value);
        }
        if tried.is_over {
            return;
        }
    }
}

#[tokio::test]
async fn acknowledged_writes_outlive_a_storm_of_kills() {
    let seconds = std::env::var("QUORATE_KILL_SECONDS");
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().expect("seconds"));
    let arguments = ["--snapshot-count=200", "--snapshot-catchup-entries=50"];
    let mut cluster = Cluster::start("storm", 3, &arguments).await;
    let tried = Rc::new(RefCell::new(Tried::default()));
    let tasks = LocalSet::new();
    for writer in 0..WRITERS {
        tasks.spawn_local(write(writer, cluster.client(), tried.clone()));
    }
    let storm = async {
        let until = Instant::now() + Duration::from_secs(seconds);
        for round in 0.. {
            tokio::time::sleep(BETWEEN_KILLS).await;
            // One, then another, then a majority that stays away for a while, then all at once.
            let victims = match round % 5 {
                3 => vec![1, 2],
                4 => vec![0, 1, 2],
                one => vec![one],
            };
            for at in &victims {
                cluster.members[*at].kill();
            }
            if victims.len() == 2 {
                tokio::time::sleep(BETWEEN_KILLS).await;
            }
            for at in &victims {
                cluster.members[*at].start();
            }
            if Instant::now() > until {
                break;
            }
        }
        cluster.wait_ready().await;
        tried.borrow_mut().is_over = true;
    };
    tasks.run_until(storm).await;
    tasks.await;

    let (_, found) = contents(&cluster.client()).await.expect("answered");
    let tried = tried.take();
    assert!(tried.acknowledged.len() > 100, "{} writes are no load", tried.acknowledged.len());
    for (key, value) in &tried.acknowledged {
        assert_eq!(found.get(key), Some(value), "{key} was acknowledged");
    }
    for (key, value) in &found {
        assert_eq!(tried.all.get(key), Some(value), "{key} was never written so");
    }
    cluster.written = found;
    cluster.check().await;
}
