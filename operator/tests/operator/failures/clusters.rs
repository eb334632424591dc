//! Failures of clusters that operators mishandled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::core::v1::Service;
use quorate_operator::tls::{Certificate, MemberFiles};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::api_server::{Part, of_kind};
use crate::scenarios::{
    NAME, PATIENCE, is_settled, names, operated, pod_uid, settled, spec, with_cluster,
};
use crate::world::{AlarmOf, MemberFault, NAMESPACE, World};

async fn replaced(world: &mut World, lost: &str) {
    let is_replaced = |world: &World| {
        is_settled(world, NAME, 3) && !world.voters(NAME).iter().any(|voter| voter == lost)
    };
    world.until(PATIENCE, "it is replaced", is_replaced).await;
}

/// Where the writes of that name are among all.
fn places(world: &World, name: &str) -> Vec<usize> {
    let writes = world.replica(0).writes();
    writes.iter().enumerate().filter(|(_, write)| *write == name).map(|(at, _)| at).collect()
}

#[tokio::test(start_paused = true)]
async fn f01_members_find_each_other_to_become_ready() {
    let mut world = with_cluster(5, 3).await;
    let service: Service = world.server.read(NAMESPACE, "demo-members").expect("a Service");
    let spec = service.spec.expect("a specification");
    assert_eq!(spec.publish_not_ready_addresses, Some(true));
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
    let members = world.voters(NAME);
    world.disturb();
    members.iter().for_each(|member| world.delete_pod_of(member));
    world.seconds(5).await;
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
}

#[tokio::test(start_paused = true)]
async fn f02_a_member_with_an_empty_disk_never_comes_back_under_its_id() {
    let mut world = with_cluster(5, 3).await;
    let lost = world.leader(NAME).expect("a leader");
    world.disturb();
    world.wipe(&lost);
    world.delete_pod_of(&lost);
    replaced(&mut world, &lost).await;
    assert!(!names(&world, &of_kind::CLAIM).contains(&format!("data-{lost}-0")));
}

#[tokio::test(start_paused = true)]
async fn f03_who_was_removed_does_not_return_from_a_volume_that_was_kept() {
    let mut world = operated(5);
    let mut wish = spec(3);
    wish["storage"] = json!({ "pvcRetention": { "whenScaled": "Retain" } });
    world.apply(NAME, &wish);
    settled(&mut world, 3).await;
    let before = world.voters(NAME);
    world.scale(NAME, 1);
    settled(&mut world, 1).await;
    world.scale(NAME, 3);
    settled(&mut world, 3).await;
    let kept = world.voters(NAME).into_iter().filter(|voter| before.contains(voter)).count();
    assert_eq!(kept, 1);
}

#[tokio::test(start_paused = true)]
async fn f05_the_dead_member_goes_before_the_new_one_comes() {
    let mut world = with_cluster(5, 3).await;
    let adds = places(&world, "add").len();
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    replaced(&mut world, &lost).await;
    let removed = places(&world, "remove");
    assert_eq!(removed.len(), 1);
    assert!(places(&world, "add")[adds] > removed[0]);
}

#[tokio::test(start_paused = true)]
async fn f06_a_removal_that_is_refused_for_a_while_is_tried_later() {
    let mut world = with_cluster(5, 3).await;
    let tries = Arc::new(AtomicUsize::new(0));
    world.member_faults(0, {
        let tries = Arc::clone(&tries);
        move |call| match call {
            "remove" if tries.fetch_add(1, Ordering::Relaxed) < 6 => MemberFault::Refused,
            _ => MemberFault::None,
        }
    });
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    replaced(&mut world, &lost).await;
    assert_eq!(tries.load(Ordering::Relaxed), 7);
}

#[tokio::test(start_paused = true)]
async fn f06_a_removal_that_is_refused_for_ever_is_not_tried_all_the_time() {
    let mut world = with_cluster(5, 3).await;
    let tries = Arc::new(AtomicUsize::new(0));
    world.member_faults(0, {
        let tries = Arc::clone(&tries);
        move |call| match call {
            "remove" => {
                tries.fetch_add(1, Ordering::Relaxed);
                MemberFault::Refused
            }
            _ => MemberFault::None,
        }
    });
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    world.seconds(600).await;
    let tries = tries.load(Ordering::Relaxed);
    assert!((10..120).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn f07_a_learner_votes_once_it_has_everything() {
    let mut world = with_cluster(5, 1).await;
    // Much that a newcomer has to be sent.
    for disk in world.machines.lock().disks.values_mut() {
        disk.index += 100_000;
    }
    let promotions = Arc::new(AtomicUsize::new(0));
    world.member_faults(0, {
        let promotions = Arc::clone(&promotions);
        move |call| {
            promotions.fetch_add(usize::from(call == "promote"), Ordering::Relaxed);
            MemberFault::None
        }
    });
    world.scale(NAME, 3);
    world.seconds(40).await;
    assert_eq!(promotions.load(Ordering::Relaxed), 0, "it lacks more than a tenth");
    settled(&mut world, 3).await;
    assert_eq!(promotions.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn f08_the_operator_dies_between_the_member_and_its_pod() {
    let mut world = with_cluster(5, 1).await;
    let before = world.replica(0).writes().len();
    world.scale(NAME, 3);
    settled(&mut world, 3).await;
    let writes = world.replica(0).writes();
    let add = writes[before..].iter().position(|write| write == "add").expect("an addition");
    for shift in 0..4 {
        let kills = vec![before + add + shift];
        let mut world = World::new(5);
        world.operate(crate::world::ReplicaOptions { kills, ..Default::default() });
        world.apply(NAME, &spec(1));
        settled(&mut world, 1).await;
        world.scale(NAME, 3);
        settled(&mut world, 3).await;
        assert_eq!(world.group(NAME).expect("a cluster").members.len(), 3);
        assert_eq!(names(&world, &of_kind::STATEFUL_SET).len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn f09_members_that_cannot_be_asked_are_not_members_that_are_not_there() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    let is_deaf = Arc::new(AtomicUsize::new(1));
    world.member_faults(0, {
        let is_deaf = Arc::clone(&is_deaf);
        move |_| match is_deaf.load(Ordering::Relaxed) {
            0 => MemberFault::None,
            _ => MemberFault::Lost,
        }
    });
    world.seconds(900).await;
    assert_eq!(world.condition(NAME, "Available").0, "Unknown");
    is_deaf.store(0, Ordering::Relaxed);
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
    assert_eq!(places(&world, "delete statefulsets demo-0"), Vec::<usize>::new());
}

#[tokio::test(start_paused = true)]
async fn f11_certificates_carry_the_names_by_which_members_are_reached() {
    let world = with_cluster(5, 3).await;
    for member in world.voters(NAME) {
        let secret: Secret =
            world.server.read(NAMESPACE, &format!("{member}-tls")).expect("a Secret");
        let files = MemberFiles::of(&secret).expect("files");
        let host = format!("{member}-0.demo-members.ns.svc");
        for pem in [&files.server, &files.peer] {
            let found = Certificate::of_pem(pem).expect("a certificate").names;
            assert!(found.contains(&host), "{host}: {found:?}");
        }
    }
    for pod in world.server.list(&of_kind::POD, NAMESPACE) {
        let arguments = pod["spec"]["containers"][0]["args"].to_string();
        assert!(arguments.contains("--peer-skip-client-san-verification=true"), "{arguments}");
    }
}

#[tokio::test(start_paused = true)]
async fn f12_peers_certificates_are_good_for_both_ends() {
    let world = with_cluster(3, 1).await;
    let secret: Secret = world.server.read(NAMESPACE, "demo-0-tls").expect("a Secret");
    let files = MemberFiles::of(&secret).expect("files");
    let der = CertificateDer::from_pem_slice(&files.peer).expect("PEM");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let usage = certificate.extended_key_usage().expect("readable").expect("usages").value;
    assert!(usage.client_auth && usage.server_auth);
}

#[tokio::test(start_paused = true)]
async fn f13_a_change_of_cas_waits_for_a_member_that_is_away_and_locks_nobody_out() {
    let mut world = operated(5);
    let mut wish = spec(3);
    wish["healing"] = json!({ "replaceAfterSeconds": 3600 });
    world.apply(NAME, &wish);
    let lifetimes = "leaf=3000,renew=600,overlap=120,delivery=30";
    world.annotate(NAME, "quorate.io/tls-lifetimes", lifetimes);
    settled(&mut world, 3).await;
    let away = world.followers(NAME)[0].clone();
    let node = world.node_of(&away);
    world.disturb();
    world.set_up(&node, false);
    world.annotate(NAME, "quorate.io/rotate-ca", "once");
    for _ in 0..300 {
        world.second().await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
    }
    world.set_up(&node, true);
    settled(&mut world, 3).await;
    for _ in 0..600 {
        world.second().await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
    }
    settled(&mut world, 3).await;
    assert_eq!(world.condition(NAME, "CertificatesReady").0, "True");
}

#[tokio::test(start_paused = true)]
async fn f14_pods_that_are_over_or_unknown_hold_nobody_up() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    let uid = pod_uid(&world, &members[0]);
    world.disturb();
    world
        .server
        .change(&of_kind::POD, (NAMESPACE, "demo-0-0"), Part::Status, |pod| {
            pod["status"] = json!({ "phase": "Failed", "reason": "Evicted" });
        })
        .expect("evicted");
    let is_back = |world: &World| {
        let now = pod_uid(world, &members[0]);
        !now.is_empty() && now != uid && is_settled(world, NAME, 3)
    };
    world.until(90, "another pod in its place", is_back).await;
    assert_eq!(world.voters(NAME), members);
    // One whose node does not say anything any more is told to end, and does not.
    let lost = world.followers(NAME)[0].clone();
    let node = world.node_of(&lost);
    world.disturb();
    world.set_up(&node, false);
    let is_replaced =
        |world: &World| world.voters(NAME).len() == 3 && !world.voters(NAME).contains(&lost);
    world.until(PATIENCE, "it is replaced", is_replaced).await;
    let is_gone = |world: &World| !names(world, &of_kind::POD).contains(&format!("{lost}-0"));
    world.until(PATIENCE, "its pod is gone", is_gone).await;
}

#[tokio::test(start_paused = true)]
async fn f15_a_member_that_is_corrupt_is_replaced_after_its_time() {
    let mut world = with_cluster(5, 3).await;
    let ill = world.followers(NAME)[0].clone();
    world.set_alarm(NAME, &ill, AlarmOf::Damage);
    world.seconds(40).await;
    assert!(world.voters(NAME).contains(&ill), "it heals itself first");
    replaced(&mut world, &ill).await;
}

#[tokio::test(start_paused = true)]
async fn f16_a_member_without_room_is_told_of_and_history_makes_some() {
    let mut world = with_cluster(5, 3).await;
    let full = world.followers(NAME)[0].clone();
    world.set_alarm(NAME, &full, AlarmOf::Space);
    let has_room = |world: &World| world.group(NAME).is_some_and(|group| group.alarms.is_empty());
    world.until(60, "history is forgotten", has_room).await;
    settled(&mut world, 3).await;
    assert_eq!(places(&world, "compact").len(), 1);
    world.wish(NAME, |spec| {
        spec["config"]["autoCompaction"] = json!({ "mode": "Disabled" });
    });
    settled(&mut world, 3).await;
    world.set_alarm(NAME, &full, AlarmOf::Space);
    world.seconds(60).await;
    assert_eq!(places(&world, "compact").len(), 1, "whoever keeps all history keeps it");
    let (status, reason) = world.condition(NAME, "StorageReady");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NoSpace"));
}

#[tokio::test(start_paused = true)]
async fn f18_two_clusters_of_one_specification_are_two() {
    let mut world = with_cluster(5, 3).await;
    let first = world.status(NAME).cluster_id;
    world.disturb();
    world.delete_cluster(NAME).expect("deleted");
    world.seconds(60).await;
    for claim in names(&world, &of_kind::CLAIM) {
        world.server.delete(&of_kind::CLAIM, (NAMESPACE, &claim), &Value::Null).expect("deleted");
    }
    world.seconds(5).await;
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    assert_ne!(world.status(NAME).cluster_id, first);
}

#[tokio::test(start_paused = true)]
async fn f19_a_leader_hands_over_before_it_leaves() {
    let mut world = with_cluster(5, 5).await;
    for replicas in [3, 1] {
        world.scale(NAME, replicas);
        settled(&mut world, usize::try_from(replicas).expect("a few")).await;
    }
    assert!(!world.machines.lock().marks.contains_key("removed leader"));
    let mut world = with_cluster(5, 3).await;
    let leader = world.leader(NAME).expect("a leader");
    world.set_alarm(NAME, &leader, AlarmOf::Damage);
    replaced(&mut world, &leader).await;
    assert!(!world.machines.lock().marks.contains_key("removed leader"));
}

#[tokio::test(start_paused = true)]
async fn f20_applications_are_told_each_members_own_address() {
    let mut world = with_cluster(5, 3).await;
    let endpoints = |world: &World| {
        let secret: Secret = world.server.read(NAMESPACE, "demo-connection").expect("a Secret");
        let data = secret.data.expect("data");
        for file in ["ca.crt", "tls.crt", "tls.key"] {
            assert!(data.contains_key(file), "{file}");
        }
        String::from_utf8(data["endpoints"].0.clone()).expect("a text")
    };
    let of = |members: Vec<String>| {
        let urls =
            members.iter().map(|member| format!("https://{member}-0.demo-members.ns.svc:2379"));
        urls.collect::<Vec<_>>().join(",")
    };
    assert_eq!(endpoints(&world), of(world.voters(NAME)));
    world.scale(NAME, 5);
    settled(&mut world, 5).await;
    world.seconds(5).await;
    assert_eq!(endpoints(&world), of(world.voters(NAME)));
}
