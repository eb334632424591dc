//! What befalls operators: rights, elections, upgrades, an API server that is away.

use std::collections::BTreeSet;

use serde_json::json;

use super::{NAME, grow_and_lose_a_volume, is_settled, pod_uid, settled, spec, with_cluster};
use crate::api_server::{Fault, Rights, Role, Rule, of_kind};
use crate::world::{ReplicaOptions, World};

const RULES: &str = include_str!("../../../../charts/quorate-operator/templates/_rules.tpl");

/// The rules that the chart gives the operator where the clusters are.
fn chart_rules() -> Vec<Rule> {
    let lines = RULES.lines().filter(|line| !line.starts_with("{{") && !line.starts_with("   "));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let begin = text.find("- apiGroups").expect("rules");
    serde_yaml::from_str(&text[begin..]).expect("rules")
}

fn rule(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Rule {
    let all = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Rule {
        api_groups: vec![group.to_owned()],
        resources: vec![resource.to_owned()],
        resource_names: all(names),
        verbs: all(verbs),
    }
}

/// Everything that the chart lets the operator do: everywhere, or in one namespace.
pub(crate) fn chart_rights(namespace: Option<&str>) -> Rights {
    let mut rules = chart_rules();
    if namespace.is_none() {
        rules.push(rule("", "nodes", &[], &["get", "list", "watch"]));
        rules.push(rule("", "persistentvolumes", &[], &["get"]));
    }
    let leases = vec![
        rule("coordination.k8s.io", "leases", &[], &["create"]),
        rule("coordination.k8s.io", "leases", &["quorate-operator"], &["get", "update", "patch"]),
    ];
    Rights(vec![
        Role { rules, namespace: namespace.map(str::to_owned) },
        Role { rules: leases, namespace: Some("default".to_owned()) },
    ])
}

fn elected(identity: &'static str) -> ReplicaOptions {
    ReplicaOptions {
        identity,
        elects: true,
        rights: Some(chart_rights(None)),
        ..ReplicaOptions::default()
    }
}

/// What a cluster goes through in its life.
async fn live(world: &mut World) {
    grow_and_lose_a_volume(world).await;
    world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
    settled(world, 3).await;
    world.wish(NAME, |spec| {
        spec["storage"]["size"] = json!("100Gi");
        spec["monitoring"] = json!({ "serviceMonitor": true, "prometheusRule": true });
    });
    world.seconds(30).await;
    settled(world, 3).await;
    world.wish(NAME, |spec| spec["monitoring"] = json!({}));
    world.wish(NAME, |spec| spec["hibernate"] = json!(true));
    world.seconds(60).await;
    world.wish(NAME, |spec| spec["hibernate"] = json!(false));
    settled(world, 3).await;
    world.scale(NAME, 1);
    settled(world, 1).await;
    world.seconds(30).await;
}

#[tokio::test(start_paused = true)]
async fn the_charts_rights_are_enough_for_everything() {
    let mut world = World::new(5);
    world.operate(elected("operator-0"));
    live(&mut world).await;
    let refused: BTreeSet<_> =
        world.calls().iter().filter(|call| call.code == 403).cloned().collect();
    assert!(refused.is_empty(), "{refused:#?}");
    // None is given in vain, but for what this world has not: backups, recovery, cert-manager.
    let used: BTreeSet<_> = world
        .calls()
        .iter()
        .map(|call| (call.group.clone(), call.resource.clone(), call.verb.to_owned()))
        .collect();
    let given = chart_rules().iter().flat_map(Rule::each).collect::<BTreeSet<_>>();
    let is_elsewhere = |(group, resource, verb): &&(String, String, String)| {
        let is_of_recovery = resource == "pods/log" || (resource == "pods" && verb == "create");
        group == "cert-manager.io" || resource.starts_with("quoratebackups") || is_of_recovery
    };
    let unused: Vec<_> = given.difference(&used).filter(|right| !is_elsewhere(right)).collect();
    assert!(unused.is_empty(), "{unused:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_standby_acts_when_the_one_that_acts_is_gone() {
    let mut world = World::new(5);
    world.operate(elected("operator-0"));
    world.seconds(3).await;
    world.operate(elected("operator-1"));
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    assert!(world.replica(1).writes().is_empty(), "{:?}", world.replica(1).writes());
    world.retire(0);
    world.scale(NAME, 5);
    settled(&mut world, 5).await;
    assert!(!world.replica(1).writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_operator_of_another_version_restarts_nobody() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    let uids: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    world.retire(0);
    world.operate(ReplicaOptions {
        identity: "operator-1",
        member_image: "quorate:0.2.0",
        operator_image: "quorate-operator:0.2.0",
        ..ReplicaOptions::default()
    });
    world.seconds(200).await;
    settled(&mut world, 3).await;
    let now: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    assert_eq!(now, uids);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_for_minutes_costs_nothing() {
    let mut world = with_cluster(5, 1).await;
    world.scale(NAME, 5);
    for _ in 0..4 {
        world.seconds(7).await;
        world.server.faults(|faults| faults.is_down = true);
        world.seconds(150).await;
        world.server.faults(|faults| faults.is_down = false);
    }
    settled(&mut world, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_permission_holds_up_no_other() {
    let mut world = World::new(5);
    let mut rights = chart_rights(Some("ns"));
    // It sees the other namespace's cluster, and may do nothing there.
    rights.0.push(Role {
        rules: vec![rule("quorate.io", "quorateclusters", &[], &["get", "list", "watch"])],
        namespace: None,
    });
    rights.0.push(Role { rules: vec![rule("", "nodes", &[], &["get"])], namespace: None });
    world.operate(ReplicaOptions { rights: Some(rights), ..ReplicaOptions::default() });
    world.apply_in("default", NAME, &spec(3));
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    let is_refused =
        |call: &crate::api_server::Call| call.code == 403 && call.namespace == "default";
    assert!(world.calls().iter().any(is_refused), "it tried there, too");
    assert!(world.server.list(&of_kind::STATEFUL_SET, "default").is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_calls_fail_now_and_then_all_goes_well() {
    for fault in [
        Fault::Conflict,
        Fault::TooMany,
        Fault::Internal,
        Fault::Lost,
        Fault::TimeoutAfter,
        Fault::CutAfter,
    ] {
        let mut world = super::operated(5);
        let mut count = 0_u32;
        world.server.faults(|faults| {
            faults.of_call = Box::new(move |call| {
                count += 1;
                let is_hit = count.is_multiple_of(if call.is_write() { 4 } else { 41 });
                if is_hit && (call.is_write() || fault != Fault::Conflict) {
                    fault
                } else {
                    Fault::None
                }
            });
        });
        world.apply(NAME, &spec(3));
        let what = format!("a cluster of three, with {fault:?}");
        world.until(1500, &what, |world| is_settled(world, NAME, 3)).await;
        world.disturb();
        let lost = world.followers(NAME)[0].clone();
        world.lose_volume_of(&lost);
        let is_replaced =
            |world: &World| is_settled(world, NAME, 3) && !world.voters(NAME).contains(&lost);
        world.until(1500, &what, is_replaced).await;
        world.server.faults(|faults| *faults = crate::api_server::Faults::default());
        world.seconds(60).await;
        settled(&mut world, 3).await;
        let sets = world.server.list(&of_kind::STATEFUL_SET, "");
        assert_eq!(sets.len(), 3);
    }
}
