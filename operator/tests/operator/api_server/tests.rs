//! The server answers the client that the operator has as the real one does.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event, watcher};
use quorate_operator_api::QuorateCluster;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use super::{Clock, EventFault, Fault, Life, Part, Rights, Role, Rule, Server, kinds};

fn world() -> (Server, kube::Client) {
    let server = Server::new(Clock::new());
    let client = server.connect(&Life::new(None), None).client();
    (server, client)
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn secret(name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "data": { key: value },
    })
}

fn set(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": name },
        "spec": {
            "replicas": 1, "serviceName": "all",
            "selector": { "matchLabels": { "member": name } },
            "template": {
                "metadata": { "labels": { "member": name } },
                "spec": { "containers": [
                    { "name": "quorate", "image": image,
                      "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] },
                ] },
            },
            "volumeClaimTemplates": [
                { "metadata": { "name": "data" },
                  "spec": { "resources": { "requests": { "storage": "1Gi" } } } },
            ],
        },
    })
}

fn cluster(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "quorate.io/v1alpha1", "kind": "QuorateCluster",
        "metadata": { "name": name }, "spec": spec,
    })
}

/// The code of an error of the API.
fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("no refusal: {other:?}"),
    }
}

fn apply() -> PatchParams {
    PatchParams::apply("operator")
}

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_listed_and_deleted() {
    let (_, client) = world();
    let api: Api<Secret> = Api::namespaced(client.clone(), "ns");
    assert_eq!(code(api.get("a").await), 404);
    let made =
        api.create(&PostParams::default(), &of(secret("a", "k", "YQ=="))).await.expect("made");
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_some());
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    let again = api.create(&PostParams::default(), &of(secret("a", "k", "YQ=="))).await;
    assert_eq!(code(again), 409);
    assert_eq!(api.get("a").await.expect("read"), made);
    assert_eq!(api.list(&ListParams::default()).await.expect("listed").items.len(), 1);
    let elsewhere: Api<Secret> = Api::namespaced(client.clone(), "default");
    assert!(elsewhere.list(&ListParams::default()).await.expect("listed").items.is_empty());
    let everywhere: Api<Secret> = Api::all(client.clone());
    assert_eq!(everywhere.list(&ListParams::default()).await.expect("listed").items.len(), 1);
    let nowhere: Api<Secret> = Api::namespaced(client, "none");
    assert_eq!(code(nowhere.create(&PostParams::default(), &of(secret("a", "k", ""))).await), 404);
    api.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(code(api.delete("a", &DeleteParams::default()).await), 404);
}

#[tokio::test(start_paused = true)]
async fn who_writes_on_an_older_version_is_told() {
    let (_, client) = world();
    let api: Api<Secret> = Api::namespaced(client, "ns");
    let old =
        api.create(&PostParams::default(), &of(secret("a", "k", "YQ=="))).await.expect("made");
    let merge = Patch::Merge(json!({ "data": { "k": "Yg==" } }));
    let new = api.patch("a", &PatchParams::default(), &merge).await.expect("patched");
    assert_ne!(new.metadata.resource_version, old.metadata.resource_version);
    assert_eq!(code(api.replace("a", &PostParams::default(), &old).await), 409);
    let on_version = Patch::Merge(json!({
        "metadata": { "resourceVersion": old.metadata.resource_version }, "data": { "k": "Yw==" },
    }));
    assert_eq!(code(api.patch("a", &PatchParams::default(), &on_version).await), 409);
    let precondition = |uid: Option<&str>, version: Option<String>| {
        DeleteParams::default()
            .preconditions(Preconditions { uid: uid.map(str::to_owned), resource_version: version })
    };
    let wrong = [precondition(Some("other"), None), precondition(None, old.resource_version())];
    for wrong in wrong {
        assert_eq!(code(api.delete("a", &wrong).await), 409);
    }
    let right = precondition(new.metadata.uid.as_deref(), new.resource_version());
    api.delete("a", &right).await.expect("deleted");
}

#[tokio::test(start_paused = true)]
async fn what_is_applied_is_merged_and_what_is_left_out_goes() {
    let (server, client) = world();
    let api: Api<StatefulSet> = Api::namespaced(client, "ns");
    let wanted = set("a", "q:1");
    let made = api.patch("a", &apply(), &Patch::Apply(&wanted)).await.expect("applied");
    let revision = server.revision();
    let same = api.patch("a", &apply(), &Patch::Apply(&wanted)).await.expect("applied");
    assert_eq!((same, server.revision()), (made, revision), "nothing is written for nothing");

    // Somebody adds a label and a variable, and changes the scale.
    let key = ("ns", "a");
    server
        .change(&kinds::STATEFUL_SET, key, Part::Object, |set| {
            set["metadata"]["labels"]["theirs"] = json!("1");
            set["spec"]["replicas"] = json!(0);
            let env = &mut set["spec"]["template"]["spec"]["containers"][0]["env"];
            env.as_array_mut().expect("a list").push(json!({ "name": "C", "value": "3" }));
        })
        .expect("changed");
    let conflict = api.patch("a", &apply(), &Patch::Apply(&wanted)).await;
    assert_eq!(code(conflict), 409, "somebody else owns the scale now");

    let mut fewer = wanted.clone();
    fewer["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "A", "value": "4" }]);
    let forced = apply().force();
    let set = api.patch("a", &forced, &Patch::Apply(&fewer)).await.expect("applied");
    assert_eq!(set.labels().get("theirs").map(String::as_str), Some("1"));
    let spec = set.spec.expect("a specification");
    assert_eq!(spec.replicas, Some(1));
    let container = &spec.template.spec.expect("a pod").containers[0];
    let env: Vec<(String, Option<String>)> = container
        .env
        .iter()
        .flatten()
        .map(|variable| (variable.name.clone(), variable.value.clone()))
        .collect();
    let want = [("A", "4"), ("C", "3")];
    assert_eq!(env, want.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));

    // What the operator no longer names goes, if nobody else names it.
    let mut without = fewer.clone();
    without["metadata"]["annotations"] = json!({ "ours": "1" });
    let set = api.patch("a", &forced, &Patch::Apply(&without)).await.expect("applied");
    assert_eq!(set.annotations().len(), 1);
    let set = api.patch("a", &forced, &Patch::Apply(&fewer)).await.expect("applied");
    assert_eq!(set.annotations().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn applying_under_an_identity_creates_nothing_else() {
    let (_, client) = world();
    let api: Api<Secret> = Api::namespaced(client, "ns");
    let mut wanted = secret("a", "k", "YQ==");
    wanted["metadata"]["uid"] = json!("somebody");
    assert_eq!(code(api.patch("a", &apply(), &Patch::Apply(&wanted)).await), 409);
    api.create(&PostParams::default(), &of(secret("a", "k", "YQ=="))).await.expect("made");
    assert_eq!(code(api.patch("a", &apply(), &Patch::Apply(&wanted)).await), 422);
}

#[tokio::test(start_paused = true)]
async fn status_and_scale_are_written_apart_and_generations_count_wishes() {
    let (_, client) = world();
    let api: Api<QuorateCluster> = Api::namespaced(client, "ns");
    let mut wanted = cluster("a", &json!({ "replicas": 1 }));
    wanted["status"] = json!({ "replicas": 7 });
    let made = api.create(&PostParams::default(), &of(wanted)).await.expect("made");
    assert!(made.status.is_none(), "no status comes with a creation");
    assert_eq!(made.metadata.generation, Some(1));
    let status = json!({
        "apiVersion": "quorate.io/v1alpha1", "kind": "QuorateCluster",
        "metadata": { "resourceVersion": made.metadata.resource_version },
        "spec": { "replicas": 5 },
        "status": { "replicas": 1, "members": [{ "name": "a-0" }] },
    });
    let written = api.patch_status("a", &apply(), &Patch::Apply(&status)).await.expect("written");
    assert_eq!(written.spec.replicas, 1);
    assert_eq!(written.metadata.generation, Some(1));
    assert_eq!(written.status.as_ref().map(|status| status.members.len()), Some(1));
    let stale = api.patch_status("a", &apply(), &Patch::Apply(&status)).await;
    assert_eq!(code(stale), 409, "the status was written on an older version");
    let scale = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    api.patch_scale("a", &PatchParams::default(), &scale).await.expect("scaled");
    let found = api.get("a").await.expect("read");
    assert_eq!((found.spec.replicas, found.metadata.generation), (3, Some(2)));
    assert_eq!(found.status, written.status);
}

#[tokio::test(start_paused = true)]
async fn resources_are_filled_in_and_refused_by_schema_and_rules() {
    let (_, client) = world();
    let api: Api<QuorateCluster> = Api::namespaced(client, "ns");
    let raw: Api<kube::core::DynamicObject> = Api::namespaced_with(
        api.into_client(),
        "ns",
        &kube::core::ApiResource::erase::<QuorateCluster>(&()),
    );
    let create =
        async |spec: Value| raw.create(&PostParams::default(), &of(cluster("a", &spec))).await;
    for wrong in [
        json!({ "replicas": "many" }),
        json!({ "replicas": 2 }),
        json!({ "tls": { "provider": "Nobody" } }),
        json!({ "auth": { "enabled": true }, "tls": { "provider": "Disabled" } }),
    ] {
        assert_eq!(code(create(wrong.clone()).await), 422, "{wrong}");
    }
    let made = create(json!({ "unheard": 1 })).await.expect("made");
    assert_eq!(made.data["spec"]["replicas"], 3);
    assert_eq!(made.data["spec"]["tls"]["provider"], "Managed");
    assert!(made.data["spec"]["unheard"].is_null());
    let shrink = Patch::Merge(json!({ "spec": { "storage": { "size": "1Mi" } } }));
    assert_eq!(code(raw.patch("a", &PatchParams::default(), &shrink).await), 422);
}

#[tokio::test(start_paused = true)]
async fn what_kubernetes_lets_nobody_change_stays() {
    let (server, client) = world();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), "ns");
    sets.patch("a", &apply(), &Patch::Apply(set("a", "q:1"))).await.expect("applied");
    let mut other = set("a", "q:1");
    other["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] =
        json!("2Gi");
    assert_eq!(code(sets.patch("a", &apply(), &Patch::Apply(other)).await), 422);
    let mut other = set("a", "q:1");
    other["spec"]["serviceName"] = json!("others");
    assert_eq!(code(sets.patch("a", &apply(), &Patch::Apply(other)).await), 422);
    sets.patch("a", &apply(), &Patch::Apply(set("a", "q:2"))).await.expect("a new image");

    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "ns");
    let claim = json!({
        "metadata": { "name": "c" }, "spec": { "resources": { "requests": { "storage": "2Gi" } } },
    });
    claims.create(&PostParams::default(), &of(claim)).await.expect("made");
    let size = |size: &str| {
        Patch::Merge(json!({ "spec": { "resources": { "requests": { "storage": size } } } }))
    };
    let params = PatchParams::default();
    assert_eq!(code(claims.patch("c", &params, &size("3Gi")).await), 422, "it is not bound");
    server
        .change(&kinds::CLAIM, ("ns", "c"), Part::Status, |claim| {
            claim["status"] = json!({ "phase": "Bound" });
        })
        .expect("bound");
    assert_eq!(code(claims.patch("c", &params, &size("1Gi")).await), 422, "none shrinks");
    claims.patch("c", &params, &size("3Gi")).await.expect("it grows");

    let services: Api<Service> = Api::namespaced(client, "ns");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" },
        "spec": { "ports": [{ "port": 1, "name": "one" }] },
    });
    let made = services.patch("s", &apply(), &Patch::Apply(&service)).await.expect("applied");
    let address = made.spec.and_then(|spec| spec.cluster_ip).expect("an address");
    assert!(address.starts_with("10.96."), "{address}");
    let change = Patch::Merge(json!({ "spec": { "clusterIP": "10.0.0.1" } }));
    assert_eq!(code(services.patch("s", &params, &change).await), 422);
}

#[tokio::test(start_paused = true)]
async fn finalizers_and_grace_hold_what_is_deleted() {
    let (server, client) = world();
    let api: Api<Secret> = Api::namespaced(client.clone(), "ns");
    let mut held = secret("a", "k", "YQ==");
    held["metadata"]["finalizers"] = json!(["test/held"]);
    api.create(&PostParams::default(), &of(held)).await.expect("made");
    let left = api.delete("a", &DeleteParams::default()).await.expect("deleted");
    let left = left.left().expect("it is still there");
    assert!(left.metadata.deletion_timestamp.is_some());
    let free = json!([
        { "op": "test", "path": "/metadata/finalizers/0", "value": "test/held" },
        { "op": "remove", "path": "/metadata/finalizers/0" },
    ]);
    let request = http::Request::patch("/api/v1/namespaces/ns/secrets/a")
        .header("content-type", "application/json-patch+json")
        .body(free.to_string().into_bytes());
    client.request::<Value>(request.expect("a request")).await.expect("freed");
    assert_eq!(code(api.get("a").await), 404);

    let pods: Api<Pod> = Api::namespaced(client, "ns");
    let pod = json!({
        "metadata": { "name": "p" },
        "spec": { "nodeName": "n", "containers": [], "terminationGracePeriodSeconds": 60 },
    });
    pods.create(&PostParams::default(), &of(pod)).await.expect("made");
    pods.delete("p", &DeleteParams::default()).await.expect("asked to end");
    assert!(pods.get("p").await.expect("it ends").metadata.deletion_timestamp.is_some());
    server.delete(&kinds::POD, ("ns", "p"), &json!({ "gracePeriodSeconds": 0 })).expect("ended");
    assert_eq!(code(pods.get("p").await), 404);
}

#[tokio::test(start_paused = true)]
async fn selectors_select() {
    let (server, client) = world();
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "green")] {
        let pod = json!({
            "metadata": { "name": name, "labels": { "color": color } },
            "spec": { "nodeName": format!("node-{name}") },
        });
        server.create(&kinds::POD, "ns", pod).expect("made");
    }
    let api: Api<kube::core::PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), "ns");
    let pods: Api<Pod> = Api::namespaced(client, "ns");
    for (labels, fields, want) in [
        ("color=red", "", "a"),
        ("color!=red", "", "bc"),
        ("color in (red,blue)", "", "ab"),
        ("color notin (red,blue),color", "", "c"),
        ("!color", "", ""),
        ("", "spec.nodeName=node-b", "b"),
        ("", "metadata.name!=b", "ac"),
    ] {
        let params = ListParams::default().labels(labels).fields(fields);
        let found = api.list_metadata(&params).await.expect("listed").items;
        let names: String = found.iter().map(|pod| pod.name_any()).collect();
        assert_eq!(names, want, "{labels} {fields}");
        assert_eq!(pods.list(&params).await.expect("listed").items.len(), want.len());
    }
}

/// What a watch says next: `apply`, `delete` and a name, or that it begins anew.
async fn next<S>(stream: &mut S) -> String
where
    S: tokio_stream::Stream<Item = watcher::Result<Event<Secret>>> + Unpin,
{
    let event = tokio::time::timeout(Duration::from_secs(600), stream.next()).await;
    match event.expect("something is heard").expect("the watch goes on") {
        Ok(Event::Apply(object)) => format!("apply {}", object.name_any()),
        Ok(Event::Delete(object)) => format!("delete {}", object.name_any()),
        Ok(Event::InitApply(object)) => format!("found {}", object.name_any()),
        Ok(Event::Init) => "begin".to_owned(),
        Ok(Event::InitDone) => "complete".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn watches_tell_everything_in_order_by_lists_and_by_streams() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (server, client) = world();
        let api: Api<Secret> = Api::namespaced(client, "ns");
        server.create(&kinds::SECRET, "ns", secret("a", "k", "")).expect("made");
        let mut stream = Box::pin(watcher(api, config));
        for want in ["begin", "found a", "complete"] {
            assert_eq!(next(&mut stream).await, want);
        }
        server.create(&kinds::SECRET, "ns", secret("b", "k", "")).expect("made");
        server.delete(&kinds::SECRET, ("ns", "a"), &Value::Null).expect("deleted");
        server.create(&kinds::SECRET, "default", secret("c", "k", "")).expect("elsewhere");
        for want in ["apply b", "delete a"] {
            assert_eq!(next(&mut stream).await, want);
        }
        // Beyond the life of a single call.
        tokio::time::sleep(Duration::from_secs(900)).await;
        server.create(&kinds::SECRET, "ns", secret("d", "k", "")).expect("made");
        assert_eq!(next(&mut stream).await, "apply d");
    }
}

#[tokio::test(start_paused = true)]
async fn who_watches_from_a_forgotten_past_begins_anew() {
    let (server, client) = world();
    let api: Api<Secret> = Api::namespaced(client, "ns");
    let mut stream = Box::pin(watcher(api, watcher::Config::default()));
    for want in ["begin", "complete"] {
        assert_eq!(next(&mut stream).await, want);
    }
    let mut once = true;
    server.faults(|faults| {
        faults.of_event = Box::new(move |_| match std::mem::take(&mut once) {
            true => EventFault::Forgotten,
            false => EventFault::None,
        });
    });
    server.create(&kinds::SECRET, "ns", secret("a", "k", "")).expect("made");
    assert!(next(&mut stream).await.starts_with("error"));
    for want in ["begin", "found a", "complete"] {
        assert_eq!(next(&mut stream).await, want);
    }
}

#[tokio::test(start_paused = true)]
async fn readers_are_behind_as_far_as_is_asked_for() {
    let (server, client) = world();
    let api: Api<Secret> = Api::namespaced(client, "ns");
    for name in ["a", "b", "c"] {
        server.create(&kinds::SECRET, "ns", secret(name, "k", "")).expect("made");
    }
    server.faults(|faults| faults.lag = 2);
    assert_eq!(api.list(&ListParams::default()).await.expect("listed").items.len(), 1);
    assert_eq!(code(api.get("c").await), 404);
    let again = api.create(&PostParams::default(), &of(secret("c", "k", ""))).await;
    assert_eq!(code(again), 409, "writes are not");
    server.faults(|faults| faults.lag = 0);
    assert_eq!(api.list(&ListParams::default()).await.expect("listed").items.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_fail_as_they_are_told_to() {
    let (server, client) = world();
    let api: Api<Secret> = Api::namespaced(client, "ns");
    let create = async |name: &str, fault: Fault| {
        server.faults(|faults| faults.of_call = Box::new(move |_| fault));
        let result = api.create(&PostParams::default(), &of(secret(name, "k", ""))).await;
        (result, server.get(&kinds::SECRET, "ns", name).is_some())
    };
    for (name, fault, want, is_made) in [
        ("a", Fault::Conflict, 409, false),
        ("b", Fault::TooMany, 429, false),
        ("c", Fault::Internal, 500, false),
        ("d", Fault::TimeoutAfter, 504, true),
    ] {
        let (result, is_there) = create(name, fault).await;
        assert_eq!((code(result), is_there), (want, is_made), "{fault:?}");
    }
    for (name, fault, is_made) in [("e", Fault::Lost, false), ("f", Fault::CutAfter, true)] {
        let (result, is_there) = create(name, fault).await;
        assert!(matches!(result, Err(kube::Error::Service(_))), "{result:?}");
        assert_eq!(is_there, is_made, "{fault:?}");
    }
    server.faults(|faults| faults.is_down = true);
    assert!(matches!(api.get("a").await, Err(kube::Error::Service(_))));
}

#[tokio::test(start_paused = true)]
async fn a_life_ends_right_behind_its_write() {
    let server = Server::new(Clock::new());
    let life = Life::new(Some(2));
    let api: Api<Secret> = Api::namespaced(server.connect(&life, None).client(), "ns");
    api.create(&PostParams::default(), &of(secret("a", "k", ""))).await.expect("made");
    let (params, other) = (PostParams::default(), of(secret("b", "k", "")));
    let second = api.create(&params, &other);
    let heard = tokio::time::timeout(Duration::from_secs(60), second).await;
    assert!(heard.is_err(), "nobody hears of the last write: {heard:?}");
    assert!(life.is_over() && server.get(&kinds::SECRET, "ns", "b").is_some());
    assert_eq!(life.writes(), ["create secrets ", "create secrets "]);
}

#[tokio::test(start_paused = true)]
async fn roles_are_asked_for_every_part_of_a_call() {
    let server = Server::new(Clock::new());
    let rule = |verbs: &[&str]| Rule {
        api_groups: vec![String::new()],
        resources: vec!["secrets".to_owned()],
        resource_names: Vec::new(),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
    };
    let of_rules = |rules: Vec<Rule>| {
        let rights = Rights(vec![Role { rules, namespace: Some("ns".to_owned()) }]);
        server.connect(&Life::new(None), Some(rights)).client()
    };
    let may_patch: Api<Secret> = Api::namespaced(of_rules(vec![rule(&["patch"])]), "ns");
    let patch = Patch::Apply(secret("a", "k", ""));
    assert_eq!(code(may_patch.patch("a", &apply(), &patch).await), 403, "it would be created");
    assert_eq!(code(may_patch.get("a").await), 403);
    let may_both = of_rules(vec![rule(&["patch", "create"])]);
    let here: Api<Secret> = Api::namespaced(may_both.clone(), "ns");
    here.patch("a", &apply(), &patch).await.expect("applied");
    let there: Api<Secret> = Api::namespaced(may_both, "default");
    assert_eq!(code(there.patch("a", &apply(), &patch).await), 403);
    let calls = server.take_calls();
    let verbs: Vec<(&str, u16)> = calls.iter().map(|call| (call.verb, call.code)).collect();
    assert!(verbs.contains(&("create", 200)) && verbs.contains(&("get", 403)), "{verbs:?}");
}

#[tokio::test(start_paused = true)]
async fn kinds_that_nobody_has_defined_are_not_there() {
    let (server, client) = world();
    let api: Api<QuorateCluster> = Api::namespaced(client.clone(), "ns");
    assert!(api.list(&ListParams::default()).await.expect("listed").items.is_empty());
    server.define(&kinds::CLUSTER, false);
    assert_eq!(code(api.list(&ListParams::default()).await), 404);
    let groups = client.list_api_groups().await.expect("groups").groups;
    assert!(groups.iter().any(|group| group.name == "quorate.io"), "backups are defined");
    let kinds = client.list_api_group_resources("quorate.io/v1alpha1").await.expect("kinds");
    assert!(!kinds.resources.iter().any(|kind| kind.kind == "QuorateCluster"));
}
