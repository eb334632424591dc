//! Certificates that are renewed, and CAs that follow one another, with lifetimes of minutes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NAME, is_settled, names, operated, pod_uid, settled, spec};
use crate::api_server::of_kind;
use crate::world::{Authority, NAMESPACE, World};

/// How long a new CA is given, and everybody to read what is new.
const DELIVERY_SECONDS: usize = 60;

/// A cluster of three with these lifetimes, at rest.
async fn with_lifetimes(lifetimes: &str) -> World {
    let mut world = operated(5);
    world.apply(NAME, &spec(3));
    world.annotate(NAME, "quorate.io/tls-lifetimes", lifetimes);
    settled(&mut world, 3).await;
    world
}

/// What `CertificatesReady` says: its status and its message.
fn said(world: &World) -> (String, String) {
    let status = world.status(NAME);
    let mut all = status.conditions.into_iter();
    let found = all.find(|condition| condition.type_ == "CertificatesReady");
    found.map(|found| (found.status, found.message)).unwrap_or_default()
}

/// Everything that is said in so many seconds, once in a row; nothing else may suffer.
async fn all_said(world: &mut World, seconds: usize) -> Vec<(String, String)> {
    let mut all = vec![said(world)];
    for _ in 0..seconds {
        world.second().await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
        let now = said(world);
        if all.last() != Some(&now) {
            all.push(now);
        }
    }
    all
}

fn authority(world: &World) -> String {
    let secret = world.server.get(&of_kind::SECRET, NAMESPACE, &format!("{NAME}-ca"));
    secret.expect("a CA")["data"]["ca.crt"].to_string()
}

#[tokio::test(start_paused = true)]
async fn a_ca_follows_another_and_each_stage_is_said() {
    let lifetimes =
        format!("leaf=6000,renew=2000,ca=60000,overlap=200,delivery={DELIVERY_SECONDS}");
    let mut world = with_lifetimes(&lifetimes).await;
    let at_rest = "all certificates are valid and trusted everywhere";
    let overlap = "all certificates are valid and trusted everywhere; for a time, so are those of \
                   the previous CA";
    assert_eq!(said(&world), ("True".to_owned(), at_rest.to_owned()));
    let uids: Vec<String> = world.voters(NAME).iter().map(|name| pod_uid(&world, name)).collect();
    let before = authority(&world);
    world.annotate(NAME, "quorate.io/rotate-ca", "once");
    let all = all_said(&mut world, 600).await;
    let position = |status: &str, part: &str| {
        let found = all.iter().position(|(is, said)| is == status && said.starts_with(part));
        found.unwrap_or_else(|| panic!("{status} {part} was never said: {all:#?}"))
    };
    let trusting = position("False", "the next CA is given time");
    let renewing = position("True", overlap);
    assert!(trusting < renewing, "{all:#?}");
    assert_eq!(all.last(), Some(&("True".to_owned(), at_rest.to_owned())), "{all:#?}");
    let behind: Vec<&str> = all[renewing + 1..].iter().map(|(_, said)| said.as_str()).collect();
    assert_eq!(behind.len(), 2, "{all:#?}");
    assert!(behind[0].starts_with("certificates are yet to be read by"), "{all:#?}");
    assert_ne!(authority(&world), before);
    // It was asked for once, and nobody was restarted.
    let found = all_said(&mut world, 600).await;
    assert_eq!(found, [("True".to_owned(), at_rest.to_owned())]);
    assert!(is_settled(&world, NAME, 3), "{}", world.describe());
    let now: Vec<String> = world.voters(NAME).iter().map(|name| pod_uid(&world, name)).collect();
    assert_eq!(now, uids);
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_is_deleted_is_followed_by_one_other_and_all_comes_to_rest() {
    let lifetimes =
        format!("leaf=6000,renew=2000,ca=60000,overlap=100,delivery={DELIVERY_SECONDS}");
    let mut world = with_lifetimes(&lifetimes).await;
    let before = authority(&world);
    world.server.delete(&of_kind::SECRET, (NAMESPACE, "demo-ca"), &Value::Null).expect("deleted");
    all_said(&mut world, 900).await;
    let after = authority(&world);
    assert_ne!(after, before);
    let at_rest = "all certificates are valid and trusted everywhere";
    let found = all_said(&mut world, 900).await;
    assert_eq!(found, [("True".to_owned(), at_rest.to_owned())]);
    assert_eq!(authority(&world), after);
    let secret = world.server.get(&of_kind::SECRET, NAMESPACE, "demo-ca").expect("a CA");
    let files = secret["data"].as_object().expect("files").keys().collect::<Vec<_>>();
    assert_eq!(files, ["ca.crt", "tls.crt", "tls.key"]);
    assert!(is_settled(&world, NAME, 3), "{}", world.describe());
}

#[tokio::test(start_paused = true)]
async fn generations_of_cas_come_and_go_and_the_condition_is_never_false_for_long() {
    let lifetimes = format!("leaf=600,renew=200,ca=2400,overlap=100,delivery={DELIVERY_SECONDS}");
    let mut world = with_lifetimes(&lifetimes).await;
    let (mut authorities, mut not_ready, mut longest) = (Vec::new(), 0, 0);
    for second in 0..9000 {
        if second == 5000 {
            world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
        }
        world.second().await;
        let now = authority(&world);
        if authorities.last() != Some(&now) {
            authorities.push(now);
        }
        not_ready = if said(&world).0 == "True" { 0 } else { not_ready + 1 };
        longest = longest.max(not_ready);
        let ends = world.status(NAME).tls.and_then(|tls| tls.leaf_expires).expect("an end");
        assert!(ends.0 > world.clock.now(), "{}", world.describe());
    }
    assert!(authorities.len() > 3, "{} CAs", authorities.len());
    // The next CA is trusted everywhere first, then everybody reads what it has signed.
    assert!(longest < 3 * DELIVERY_SECONDS, "{longest} s");
    settled(&mut world, 3).await;
}

/// The files of the Secret that applications connect with.
fn connection(world: &World) -> Vec<String> {
    let secret = world.server.get(&of_kind::SECRET, NAMESPACE, &format!("{NAME}-connection"));
    let secret = secret.expect("a Secret");
    secret["data"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

fn by_cert_manager(replicas: i32) -> serde_json::Value {
    let mut wish = spec(replicas);
    wish["tls"] = json!({
        "provider": "CertManager", "issuerRef": { "name": "ca", "kind": "Issuer" },
        "certValidityDays": 2, "renewBeforeDays": 1,
    });
    wish
}

#[tokio::test(start_paused = true)]
async fn cert_manager_makes_certificates_and_is_waited_for() {
    let mut world = operated(5);
    world.server.define(&of_kind::CERTIFICATE, false);
    world.apply(NAME, &by_cert_manager(3));
    world.seconds(30).await;
    assert_eq!(said(&world), ("False".to_owned(), "cert-manager is not there".to_owned()));
    world.server.define(&of_kind::CERTIFICATE, true);
    world.seconds(60).await;
    assert!(said(&world).1.starts_with("cert-manager has yet to make"), "{:?}", said(&world));
    world.issuer = Some(Authority::new());
    settled(&mut world, 3).await;
    assert_eq!(said(&world).0, "True");
    assert_eq!(connection(&world), ["ca.crt", "endpoints", "tls.crt", "tls.key"]);
    assert!(!names(&world, &of_kind::SECRET).contains(&format!("{NAME}-ca")));
    // Who leaves needs none any more.
    world.scale(NAME, 1);
    settled(&mut world, 1).await;
    world.seconds(60).await;
    let left = world.voters(NAME)[0].clone();
    let is_of_other = |name: &&String| {
        let number = name.strip_prefix("demo-").and_then(|rest| rest.split('-').next());
        number.is_some_and(|number| number.parse::<u32>().is_ok()) && !name.starts_with(&left)
    };
    let all = names(&world, &of_kind::CERTIFICATE);
    assert_eq!(all.iter().find(is_of_other), None, "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cert_manager_renews_restarts_nobody() {
    let mut world = operated(5);
    world.issuer = Some(Authority::new());
    world.apply(NAME, &by_cert_manager(3));
    settled(&mut world, 3).await;
    let uids: Vec<String> = world.voters(NAME).iter().map(|name| pod_uid(&world, name)).collect();
    let ends = |world: &World| world.status(NAME).tls.and_then(|tls| tls.leaf_expires);
    let before = ends(&world).expect("an end");
    tokio::time::advance(Duration::from_secs(25 * 3600)).await;
    let all = all_said(&mut world, 120).await;
    assert_eq!(all.last().expect("something").0, "True", "{all:?}");
    assert!(ends(&world).expect("an end").0 > before.0);
    settled(&mut world, 3).await;
    let now: Vec<String> = world.voters(NAME).iter().map(|name| pod_uid(&world, name)).collect();
    assert_eq!(now, uids);
}

#[tokio::test(start_paused = true)]
async fn certificates_of_people_are_looked_for_and_applications_have_their_own() {
    let mut world = operated(5);
    let mut wish = spec(3);
    wish["tls"] = json!({
        "provider": "Secret", "serverSecret": "our-server", "peerSecret": "our-peer",
    });
    world.apply(NAME, &wish);
    world.seconds(30).await;
    let (status, message) = said(&world);
    assert_eq!(status, "False");
    assert!(message.ends_with("our-server, our-peer"), "{message}");
    let authority = Authority::new();
    world.make_tls(NAMESPACE, "our-server", &authority);
    world.make_tls(NAMESPACE, "our-peer", &authority);
    settled(&mut world, 3).await;
    assert_eq!(said(&world).0, "True");
    assert_eq!(connection(&world), ["endpoints"]);
}
