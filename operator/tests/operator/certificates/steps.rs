//! Each step of a change, and what certificates say.

use quorate_operator::cluster::build::Blueprint;
use quorate_operator::tls::{
    Authority, Certificate, MemberFiles, PEER_COMMON_NAME, Policy, RETIRE_AT, Stage,
    cert_manager_certificates,
};
use serde_json::json;

use super::fleet::{Fleet, fingerprint, short};
use super::handshake::{End, meet};
use crate::build::{cluster, defaults};
use crate::golden::assert_golden;

fn bundle_size(fleet: &Fleet, secret: &str) -> usize {
    let data = fleet.secrets[secret].data.as_ref().expect("data");
    Certificate::all_of_pem(&data["ca.crt"].0).expect("PEM").len()
}

fn files(fleet: &Fleet, number: i64) -> MemberFiles {
    MemberFiles::of(&fleet.secrets[&format!("demo-{number}-tls")]).expect("whole")
}

#[test]
fn the_ca_comes_first_and_then_everything_else_at_once() {
    let mut fleet = Fleet::new(short());
    let first = fleet.step();
    let names = |writes: &[k8s_openapi::api::core::v1::Secret]| -> Vec<String> {
        writes.iter().filter_map(|secret| secret.metadata.name.clone()).collect()
    };
    assert_eq!(names(&first.writes), ["demo-ca"]);
    assert_eq!(first.lost_authority, None);
    fleet.write(first.writes.into_iter().next().expect("one"));
    let second = fleet.step();
    assert_eq!(
        names(&second.writes),
        ["demo-0-tls", "demo-1-tls", "demo-2-tls", "demo-client-tls", "demo-operator-tls"]
    );
    let outcome = fleet.settle();
    assert_eq!(outcome.stage, Stage::Stable);
    let ends = outcome.leaves_end.expect("certificates").as_second();
    assert_eq!(ends - fleet.now, fleet.policy.leaf_seconds);
    assert_eq!(outcome.look_again_at.as_second() - fleet.now, 2000);
    assert!(fleet.step().writes.is_empty(), "nothing is written twice");
}

#[test]
fn certificates_are_renewed_after_two_thirds_of_their_life_and_not_before() {
    let mut fleet = Fleet::new(short());
    fleet.settle();
    fleet.now += 1999;
    assert!(fleet.step().writes.is_empty());
    fleet.now += 1;
    let before = fingerprint(&files(&fleet, 0).server);
    assert_eq!(fleet.step().writes.len(), 5);
    fleet.settle();
    assert_ne!(fingerprint(&files(&fleet, 0).server), before);
}

#[test]
fn a_stage_waits_until_every_member_has_loaded_the_one_before() {
    let mut fleet = Fleet::new(Policy { rotation: Some("once".to_owned()), ..short() });
    // The first CA is as new as can be, whatever was asked for.
    assert_eq!(fleet.settle().stage, Stage::Stable);
    fleet.policy.rotation = Some("again".to_owned());
    let old = fingerprint(&files(&fleet, 0).ca);

    let write_all = |fleet: &mut Fleet| {
        let outcome = fleet.step();
        for secret in outcome.writes.clone() {
            fleet.write(secret);
        }
        outcome
    };
    // Another CA is there, and is trusted in all Secrets.
    assert_eq!(write_all(&mut fleet).stage, Stage::Trusting);
    write_all(&mut fleet);
    assert_eq!(bundle_size(&fleet, "demo-1-tls"), 2);
    assert_eq!(fingerprint(&files(&fleet, 0).ca), old, "the old one signs");
    fleet.load(0);
    fleet.load(1);
    let waiting = write_all(&mut fleet);
    assert_eq!((waiting.stage, waiting.waiting_for.as_slice()), (Stage::Trusting, &[2][..]));
    assert!(waiting.writes.is_empty());
    fleet.load(2);
    // Applications have their time, too.
    assert_eq!(write_all(&mut fleet).stage, Stage::Trusting);
    fleet.now += fleet.policy.delivery_seconds;
    // It signs.
    assert_eq!(write_all(&mut fleet).stage, Stage::Retiring);
    write_all(&mut fleet);
    assert_ne!(fingerprint(&files(&fleet, 0).ca), old, "the new one signs");
    assert_eq!(bundle_size(&fleet, "demo-1-tls"), 2);
    for number in [0, 1, 2] {
        fleet.load(number);
    }
    // Applications may still show what the old one signed.
    fleet.now += fleet.policy.overlap_seconds - 1;
    for _ in 0..3 {
        write_all(&mut fleet);
        for number in [0, 1, 2] {
            fleet.load(number);
        }
    }
    assert_eq!(fleet.step().stage, Stage::Retiring);
    fleet.now += 1;
    assert_eq!(write_all(&mut fleet).stage, Stage::Stable);
    fleet.settle();
    assert_eq!(bundle_size(&fleet, "demo-1-tls"), 1);
    assert_eq!(bundle_size(&fleet, "demo-client-tls"), 1);
    let ca = &fleet.secrets["demo-ca"];
    let annotations = ca.metadata.annotations.as_ref().expect("annotations");
    assert!(!annotations.contains_key(RETIRE_AT));
    assert!(fleet.step().writes.is_empty(), "who asked once has it once");
}

#[test]
fn everything_had_ended_when_the_operator_came_back() {
    for away in [2_999, 3_000, 17_000, 18_000, 1_000_000] {
        let mut fleet = Fleet::new(short());
        fleet.settle();
        fleet.now += away;
        fleet.settle();
        fleet.assert_connected(&format!("after {away} s"));
    }
    // And in the middle of a change.
    for stop in 1..6 {
        let mut fleet = Fleet::new(short());
        fleet.settle();
        fleet.now += 12_000;
        for _ in 0..stop {
            let outcome = fleet.step();
            for secret in outcome.writes {
                fleet.write(secret);
            }
            for number in [0, 1, 2] {
                fleet.load(number);
            }
        }
        fleet.now += 1_000_000;
        fleet.settle();
        fleet.load_application();
        fleet.assert_connected(&format!("after {stop} steps and a long time"));
    }
}

#[test]
fn a_clock_that_was_set_back_leaves_valid_certificates() {
    let mut fleet = Fleet::new(short());
    fleet.settle();
    fleet.now -= 2_000_000;
    fleet.settle();
    let leaf = Certificate::of_pem(&files(&fleet, 0).server).expect("a certificate");
    assert!(leaf.is_valid(fleet.time()));
}

#[test]
fn certificates_say_exactly_whose_they_are() {
    let mut fleet = Fleet::new(short());
    let spec = json!({ "tls": { "extraSans": ["db.example", "10.0.0.7", "2001:DB8:0::1"] } });
    for _ in 0..3 {
        for secret in fleet.step_of(&spec).writes {
            fleet.write(secret);
        }
    }
    assert!(fleet.step_of(&spec).writes.is_empty(), "however an address is spelled");
    let files = files(&fleet, 1);
    let server = Certificate::of_pem(&files.server).expect("a certificate");
    let names: Vec<&str> = server.names.iter().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "10.0.0.7",
            "127.0.0.1",
            "2001:db8::1",
            "::1",
            "db.example",
            "demo-1-0.demo-members.ns.svc",
            "demo-1-0.demo-members.ns.svc.cluster.local",
            "demo-client",
            "demo-client.ns",
            "demo-client.ns.svc",
            "demo-client.ns.svc.cluster.local",
            "localhost",
        ]
    );
    let peer = Certificate::of_pem(&files.peer).expect("a certificate");
    assert_eq!(peer.common_name, PEER_COMMON_NAME);
    let names: Vec<&str> = peer.names.iter().map(String::as_str).collect();
    assert_eq!(
        names,
        ["demo-1-0.demo-members.ns.svc", "demo-1-0.demo-members.ns.svc.cluster.local"]
    );
    let data = fleet.secrets["demo-client-tls"].data.as_ref().expect("data");
    let client = Certificate::of_pem(&data["tls.crt"].0).expect("a certificate");
    assert_ne!(client.common_name, PEER_COMMON_NAME);
    // Other names than asked for are replaced.
    assert!(!fleet.step().writes.is_empty());
}

#[test]
fn a_client_is_no_server() {
    let mut fleet = Fleet::new(short());
    fleet.settle();
    let member = files(&fleet, 0);
    let client = fleet.application.clone().expect("a client");
    let of_client = End { ca: &client.ca, certificate: &client.certificate, key: &client.key.0 };
    let of_member = End { ca: &member.ca, certificate: &member.peer, key: &member.peer_key.0 };
    let host = "demo-0-0.demo-members.ns.svc";
    assert_eq!(meet(of_client, of_member, host, fleet.time()), Ok(()));
    let refused = meet(of_member, of_client, host, fleet.time()).expect_err("no server");
    assert!(refused.contains("ertificate"), "{refused}");
    // Nor is a member another member.
    let other = "demo-1-0.demo-members.ns.svc";
    assert!(meet(of_client, of_member, other, fleet.time()).is_err());
}

#[test]
fn a_ca_that_somebody_broke_is_replaced_and_said() {
    for broken in ["tls.key", "tls.crt"] {
        let mut fleet = Fleet::new(short());
        fleet.settle();
        let ca = fleet.secrets.get_mut("demo-ca").expect("the CA");
        ca.data.as_mut().expect("data").remove(broken);
        let outcome = fleet.step();
        assert!(outcome.lost_authority.is_some_and(|why| why.contains(broken)), "{broken}");
        assert_eq!(outcome.stage, Stage::Trusting, "the lost one stays trusted for now");
        fleet.write(outcome.writes.into_iter().next().expect("the CA"));
        fleet.settle();
        fleet.assert_connected(broken);
        fleet.now += 301;
        fleet.settle();
        fleet.assert_connected(broken);
        assert_eq!(fleet.step().stage, Stage::Retiring);
    }
}

#[test]
fn keys_are_not_printed() {
    let mut fleet = Fleet::new(short());
    fleet.settle();
    let authority = Authority::of(&fleet.secrets["demo-ca"]).expect("the CA");
    let member = files(&fleet, 0);
    let client = fleet.application.clone().expect("a client");
    for text in [format!("{authority:?}"), format!("{member:?}"), format!("{client:?}")] {
        assert!(text.contains("Key"), "{text}");
        for key in [&member.server_key, &member.peer_key, &client.key] {
            // The key prints as neither text nor a list of bytes.
            let bytes = format!("{:?}", &key.0);
            assert!(!text.contains("PRIVATE") && !text.contains(bytes.trim_matches(['[', ']'])));
        }
    }
}

#[test]
fn cert_manager_is_asked_for_the_same() {
    let cluster = cluster(&json!({
        "tls": {
            "provider": "CertManager",
            "issuerRef": { "name": "issuer", "kind": "ClusterIssuer" },
            "extraSans": ["db.example"],
        },
    }));
    let defaults = defaults();
    let blueprint = Blueprint::new(&cluster, &defaults, None).expect("complete");
    let objects = cert_manager_certificates(&blueprint, &[0]);
    let text: String = objects
        .iter()
        .map(|object| {
            let text = serde_yaml::to_string(object).expect("YAML");
            format!("---\n{}\n", text.trim_end())
        })
        .collect();
    assert_golden("cert_manager.yaml", &text);
}
