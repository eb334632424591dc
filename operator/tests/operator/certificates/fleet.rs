//! A cluster's Secrets, and members that load them late: everybody reaches everybody, always.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use quorate_operator::cluster::build::Blueprint;
use quorate_operator::tls::managed::{self, Member, Observed, Outcome, Shown};
use quorate_operator::tls::{Certificate, ClientFiles, Fingerprint, MemberFiles, Policy, Stage};
use serde_json::json;

use super::handshake::{End, meet};
use crate::build::{cluster, defaults};

/// A small generator of numbers, the same for each seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(times)
    }
}

/// What is in Kubernetes, and what members and an application have loaded of it.
pub(super) struct Fleet {
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) loaded: BTreeMap<i64, MemberFiles>,
    pub(super) application: Option<ClientFiles>,
    pub(super) members: Vec<i64>,
    pub(super) policy: Policy,
    pub(super) now: i64,
    met: BTreeSet<(Fingerprint, Fingerprint, Vec<u8>, Vec<u8>)>,
}

/// Lifetimes that pass quickly.
pub(super) fn short() -> Policy {
    Policy {
        leaf_seconds: 3000,
        renew_seconds: 1000,
        ca_seconds: 18_000,
        overlap_seconds: 3000,
        delivery_seconds: 300,
        rotation: None,
    }
}

impl Fleet {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            secrets: BTreeMap::new(),
            loaded: BTreeMap::new(),
            application: None,
            members: vec![0, 1, 2],
            policy,
            now: 1_800_000_000,
            met: BTreeSet::new(),
        }
    }

    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_second(self.now).expect("a time")
    }

    /// What is to be written now.
    pub(super) fn step(&self) -> Outcome {
        self.step_of(&json!({}))
    }

    pub(super) fn step_of(&self, spec: &serde_json::Value) -> Outcome {
        let cluster = cluster(spec);
        let defaults = defaults();
        let blueprint = Blueprint::new(&cluster, &defaults, None).expect("complete");
        let secret = |name: &str| self.secrets.get(name);
        let members: Vec<Member<'_>> = self
            .members
            .iter()
            .map(|&number| Member {
                number,
                secret: secret(&format!("demo-{number}-tls")),
                shown: match self.loaded.get(&number) {
                    None => Shown::Nobody,
                    Some(files) => Shown::Certificate(fingerprint(&files.server)),
                },
            })
            .collect();
        let observed = Observed {
            authority: secret("demo-ca"),
            members: &members,
            client: secret("demo-client-tls"),
            operator: secret("demo-operator-tls"),
        };
        managed::step(&blueprint, &self.policy, &observed, self.time()).expect("certificates")
    }

    pub(super) fn write(&mut self, secret: Secret) {
        let name = secret.metadata.name.clone().expect("a name");
        self.secrets.insert(name, secret);
    }

    /// Until nothing is to be written, and everybody has loaded everything.
    pub(super) fn settle(&mut self) -> Outcome {
        for _ in 0..20 {
            let outcome = self.step();
            if outcome.writes.is_empty() {
                return outcome;
            }
            for secret in outcome.writes {
                self.write(secret);
            }
            for number in self.members.clone() {
                self.load(number);
            }
            self.load_application();
        }
        panic!("it never settles");
    }

    pub(super) fn load(&mut self, number: i64) {
        let secret = self.secrets.get(&format!("demo-{number}-tls"));
        if let Some(files) = secret.and_then(MemberFiles::of) {
            self.loaded.insert(number, files);
        }
    }

    pub(super) fn load_application(&mut self) {
        if let Some(files) = self.secrets.get("demo-client-tls").and_then(ClientFiles::of) {
            self.application = Some(files);
        }
    }

    /// Every member reaches every other as a peer and as a client, and so does the application.
    pub(super) fn assert_connected(&mut self, when: &str) {
        let now = self.time();
        for (&server, of_server) in &self.loaded {
            let host = format!("demo-{server}-0.demo-members.ns.svc");
            let shows = End {
                ca: &of_server.ca,
                certificate: &of_server.server,
                key: &of_server.server_key.0,
            };
            let peer = End { certificate: &of_server.peer, key: &of_server.peer_key.0, ..shows };
            let mut pairs = Vec::new();
            for (other, of_other) in &self.loaded {
                let asks = End {
                    ca: &of_other.ca,
                    certificate: &of_other.peer,
                    key: &of_other.peer_key.0,
                };
                pairs.push((format!("peer {other}"), asks, peer));
            }
            if let Some(files) = &self.application {
                let asks =
                    End { ca: &files.ca, certificate: &files.certificate, key: &files.key.0 };
                pairs.push(("the application".to_owned(), asks, shows));
            }
            for (who, asks, shows) in pairs {
                // Met before; that they still may is a matter of time alone.
                let ends = [asks.certificate, shows.certificate]
                    .map(|pem| Certificate::of_pem(pem).expect("a certificate"));
                assert!(
                    ends.iter().all(|end| end.is_valid(now)),
                    "{when}: a certificate between {who} and member {server} has ended"
                );
                let pair =
                    (ends[0].fingerprint, ends[1].fingerprint, asks.ca.to_vec(), shows.ca.to_vec());
                if !self.met.insert(pair) {
                    continue;
                }
                if let Err(why) = meet(asks, shows, &host, now) {
                    panic!("{when}: {who} does not reach member {server}: {why}");
                }
            }
        }
    }
}

pub(super) fn fingerprint(pem: &[u8]) -> Fingerprint {
    Certificate::of_pem(pem).expect("a certificate").fingerprint
}

/// One life of a cluster: `disturb` does something to it now and then.
fn live(seed: u64, ticks: i64, mut disturb: impl FnMut(&mut Fleet, i64)) -> (Fleet, Vec<Stage>) {
    let mut dice = Dice::new(seed);
    let mut fleet = Fleet::new(short());
    fleet.settle();
    let mut stages = vec![Stage::Stable];
    for tick in 0..ticks {
        fleet.now += 50;
        disturb(&mut fleet, tick);
        let outcome = fleet.step();
        if stages.last() != Some(&outcome.stage) {
            stages.push(outcome.stage);
        }
        for secret in outcome.writes {
            // The operator ends before it has written everything, and begins anew later.
            if dice.one_in(4) {
                break;
            }
            fleet.write(secret);
        }
        for number in fleet.members.clone() {
            if dice.one_in(3) {
                fleet.load(number);
            }
        }
        // Kubernetes brings Secrets into pods within a bounded time.
        if dice.one_in(5) || tick % 5 == 0 {
            fleet.load_application();
        }
        fleet.assert_connected(&format!("seed {seed}, tick {tick}, {:?}", stages.last()));
    }
    (fleet, stages)
}

#[test]
fn certificates_and_cas_follow_each_other_and_nobody_is_cut_off() {
    for seed in 0..2 {
        let (_, stages) = live(seed, 1000, |_, _| {});
        let rounds = stages.iter().filter(|stage| **stage == Stage::Retiring).count();
        assert!(rounds >= 3, "seed {seed}: {stages:?}");
        let order = [Stage::Stable, Stage::Trusting, Stage::Retiring];
        for (at, stage) in stages.iter().enumerate() {
            assert_eq!(*stage, order[at % 3], "seed {seed}: {stages:?}");
        }
    }
}

#[test]
fn a_lost_ca_is_followed_by_another_and_nobody_is_cut_off() {
    for seed in 10..13 {
        let (fleet, _) = live(seed, 400, |fleet, tick| {
            if tick == 37 {
                fleet.secrets.remove("demo-ca");
            }
            // With the key that signed it lost, what a member shows does not tell what it loaded.
            if tick > 37 && tick % 5 == 0 {
                for number in fleet.members.clone() {
                    fleet.load(number);
                }
            }
        });
        let bundle = &fleet.loaded[&0].ca;
        assert_eq!(Certificate::all_of_pem(bundle).expect("PEM").len(), 1, "seed {seed}");
    }
}

#[test]
fn secrets_that_others_delete_or_damage_are_made_anew() {
    for seed in 20..22 {
        live(seed, 300, |fleet, tick| {
            let names = ["demo-0-tls", "demo-1-tls", "demo-2-tls", "demo-client-tls"];
            let name = names[usize::try_from(tick).expect("a tick") / 10 % names.len()];
            if tick % 10 == 0 {
                fleet.secrets.remove(name);
            }
            if tick % 10 == 5
                && let Some(data) =
                    fleet.secrets.get_mut("demo-0-tls").and_then(|secret| secret.data.as_mut())
            {
                data.remove("peer.key");
            }
        });
    }
}

/// A member joins in the middle of a change, and one goes.
#[test]
fn members_come_and_go_while_a_ca_follows_another() {
    let (fleet, stages) = live(30, 500, |fleet, tick| match tick {
        200 => fleet.members.push(7),
        210 => {
            fleet.members.retain(|number| *number != 0);
            fleet.loaded.remove(&0);
        }
        _ => {}
    });
    assert!(fleet.loaded.contains_key(&7));
    assert!(stages.contains(&Stage::Retiring));
}
