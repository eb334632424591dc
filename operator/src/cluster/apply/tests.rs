//! Each step against an API server and members that only write down what they are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use parking_lot::Mutex;
use quorate_operator_api::{ClaimPolicy, ClusterSpec, QuorateCluster, TlsProvider};
use serde_json::{Value, json};

use super::{StepError, Work, quantity};
use crate::clock::Clock;
use crate::cluster::build::{Blueprint, Defaults};
use crate::cluster::certificates::{Certificates, Maker};
use crate::cluster::live::Live;
use crate::cluster::names::{Names, Scheme};
use crate::cluster::observe;
use crate::cluster::observed::{Alarm, Answer, Membership, Number, Observed, Record, Says};
use crate::cluster::plan::Step;
use crate::cluster::validate::{Desired, validate};
use crate::members::{Contact, Listed, ListedMember, MemberError, Members, Visit};
use crate::metrics::Metrics;
use crate::operator::{Operator, Settings};
use crate::tls::Policy;

/// A call of the API server: method, path with query, body.
type Call = (String, String, Value);

/// What is said to one call: its method, the end of its path, status and body of the answer.
type Told = (&'static str, &'static str, u16, Value);

/// Says yes to everything, except where it was told what to say.
#[derive(Clone, Default)]
struct ApiServer {
    calls: Arc<Mutex<Vec<Call>>>,
    /// Each is given once.
    answers: Arc<Mutex<Vec<Told>>>,
}

impl tower_service::Service<Request<Body>> for ApiServer {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { calls, answers } = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.expect("a body").to_bytes();
            let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let method = parts.method.as_str().to_owned();
            let path = parts.uri.path().to_owned();
            let query = parts.uri.query().unwrap_or_default().to_owned();
            calls.lock().push((method.clone(), format!("{path}?{query}"), body.clone()));
            let told = {
                let mut answers = answers.lock();
                let is_meant = |(of, end, _, _): &Told| *of == method && path.ends_with(end);
                answers.iter().position(is_meant).map(|at| answers.remove(at))
            };
            let (status, answer) = match (told, method.as_str()) {
                (Some((_, _, status, answer)), _) => (status, answer),
                (None, "DELETE") => (200, json!({ "kind": "Status", "status": "Success" })),
                (None, "GET") => (
                    200,
                    json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": [] }),
                ),
                (None, _) => (200, body),
            };
            let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            Ok(response)
        })
    }
}

fn refusal(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no" })
}

/// Members that write down what they are asked.
#[derive(Default)]
struct Asked {
    calls: Mutex<Vec<String>>,
    /// What the next list says.
    listed: Mutex<Listed>,
}

impl Asked {
    fn note<T: Send + 'static>(
        &self,
        call: String,
        answer: T,
    ) -> BoxFuture<'_, Result<T, MemberError>> {
        self.calls.lock().push(call);
        std::future::ready(Ok(answer)).boxed()
    }
}

impl Members for Asked {
    fn visit<'a>(&'a self, _: &'a Contact, _: Number) -> BoxFuture<'a, Visit> {
        std::future::ready(Visit::in_vain()).boxed()
    }

    fn list<'a>(
        &'a self,
        _: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Listed, MemberError>> {
        let listed = self.listed.lock().clone();
        self.note(format!("list through {through}"), listed)
    }

    fn alarms<'a>(
        &'a self,
        _: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Vec<Alarm>, MemberError>> {
        self.note(format!("alarms through {through}"), Vec::new())
    }

    fn add<'a>(
        &'a self,
        _: &'a Contact,
        through: Number,
        peer_url: &'a str,
    ) -> BoxFuture<'a, Result<u64, MemberError>> {
        self.note(format!("add {peer_url} through {through}"), 9)
    }

    fn promote<'a>(
        &'a self,
        _: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.note(format!("promote {id} through {through}"), ())
    }

    fn remove<'a>(
        &'a self,
        _: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.note(format!("remove {id} through {through}"), ())
    }

    fn transfer<'a>(
        &'a self,
        _: &'a Contact,
        from: Number,
        to_id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.note(format!("transfer from {from} to {to_id}"), ())
    }

    fn compact<'a>(
        &'a self,
        _: &'a Contact,
        through: Number,
        revision: i64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.note(format!("compact {revision} through {through}"), ())
    }
}

/// A cluster of three, whose member 1 leads.
struct Case {
    api_server: ApiServer,
    members: Arc<Asked>,
    spec: ClusterSpec,
    begun: bool,
    live: Live,
    observed: Observed,
}

fn listed() -> Listed {
    let names = Names::new("demo", "ns");
    let member = |number: Number| ListedMember {
        id: 10 + u64::try_from(number).expect("small"),
        name: names.member(number),
        peer_urls: vec![names.peer_url(number, Scheme::Http)],
        is_learner: false,
    };
    Listed { cluster_id: 7, members: (0..3).map(member).collect() }
}

fn a_set(number: Number, state: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("demo-{number}"), "namespace": "ns",
            "uid": format!("set-{number}"), "resourceVersion": "70",
            "annotations": {
                "quorate.io/initial-cluster": "demo-0=http://demo-0-0.demo-members.ns.svc:2380",
            },
        },
        "spec": { "replicas": 1, "selector": {}, "template": {
            "metadata": { "annotations": { "quorate.io/initial-cluster-state": state } },
        }},
    }))
    .expect("a StatefulSet")
}

impl Case {
    fn new() -> Self {
        let mut live = Live::default();
        for number in 0..3 {
            live.sets.insert(number, a_set(number, "existing"));
            let pod = json!({ "metadata": {
                "name": format!("demo-{number}-0"), "namespace": "ns", "uid": format!("pod-{number}"),
            }});
            live.pods.insert(number, serde_json::from_value(pod).expect("a pod"));
            let claim = json!({ "metadata": {
                "name": format!("data-demo-{number}-0"), "namespace": "ns",
                "uid": format!("claim-{number}"), "resourceVersion": "30",
            }});
            live.claims.insert(number, serde_json::from_value(claim).expect("a claim"));
        }
        let listed = listed();
        let visits = (0..3)
            .map(|number: Number| {
                let id = 10 + u64::try_from(number).expect("small");
                let says = Says { member_id: id, cluster_id: 7, leader: 11, ..Says::default() };
                let visit = Visit { answer: Answer::Says(says), ..Visit::in_vain() };
                (number, visit)
            })
            .collect();
        let names = Names::new("demo", "ns");
        let observed = Observed {
            record: Record { cluster_id: Some(7), next_member: 3, ..Record::default() },
            membership: Membership::Known(observe::membership(&names, Scheme::Http, &listed)),
            members: observe::members(&live, &visits, Timestamp::UNIX_EPOCH),
            ..Observed::default()
        };
        let members = Asked { listed: Mutex::new(listed), ..Asked::default() };
        let mut spec = ClusterSpec::default();
        spec.tls.provider = TlsProvider::Disabled;
        Self {
            api_server: ApiServer::default(),
            members: Arc::new(members),
            spec,
            begun: true,
            live,
            observed,
        }
    }

    fn answer(&self, method: &'static str, end: &'static str, status: u16, body: Value) {
        self.api_server.answers.lock().push((method, end, status, body));
    }

    async fn take(&self, step: &Step) -> Result<(), StepError> {
        let clock = Clock::of(|| Timestamp::from_second(1_000_000).expect("in range"));
        let settings = Settings {
            namespace: None,
            defaults: Defaults {
                member_image: "quorate:0.1.0".to_owned(),
                operator_image: "quorate-operator:0.1.0".to_owned(),
            },
            identity: "operator-0".to_owned(),
            looks_max: 1,
        };
        let client = kube::Client::new(self.api_server.clone(), "default");
        let metrics = Arc::new(Metrics::new(clock.clone()));
        let members: Arc<dyn Members> = Arc::<Asked>::clone(&self.members);
        let operator = Operator::new(client, members, metrics, clock, settings);
        let mut cluster = QuorateCluster::new("demo", self.spec.clone());
        cluster.metadata.namespace = Some("ns".to_owned());
        cluster.metadata.uid = Some("cluster".to_owned());
        if self.begun {
            let status = json!({ "clusterID": "7" });
            cluster.status = Some(serde_json::from_value(status).expect("a status"));
        }
        let blueprint =
            Blueprint::new(&cluster, &operator.settings.defaults, None).expect("complete");
        let policy = Policy::of(&cluster);
        let validated = validate(&cluster, &self.observed.record);
        let desired = Desired::of(&cluster, &validated, "hash");
        let contact = Contact {
            names: blueprint.names.clone(),
            scheme: blueprint.scheme,
            files: None,
            addresses: BTreeMap::new(),
        };
        let mut work = Work {
            operator: &operator,
            cluster: &cluster,
            blueprint: &blueprint,
            maker: &Maker { operator: &operator, blueprint: &blueprint, policy: &policy },
            desired: &desired,
            observed: &self.observed,
            contact: &contact,
            certificates: &Certificates::default(),
            members: &BTreeSet::from([0, 1, 2]),
            shown: &BTreeMap::new(),
            live: self.live.clone(),
        };
        work.take(step).await
    }

    async fn takes(&self, step: Step) -> Vec<Call> {
        self.take(&step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        self.api_server.calls.lock().clone()
    }

    fn asked(&self) -> Vec<String> {
        self.members.calls.lock().clone()
    }
}

/// Method and path of each call.
fn short(calls: &[Call]) -> Vec<String> {
    let end = |path: &str| path.split('?').next().unwrap_or_default().to_owned();
    calls.iter().map(|(method, path, _)| format!("{method} {}", end(path))).collect()
}

const SETS: &str = "/apis/apps/v1/namespaces/ns/statefulsets";
const CORE: &str = "/api/v1/namespaces/ns";

#[test]
fn sizes_are_written_for_people() {
    assert_eq!(quantity(3 << 30), "3Gi");
    assert_eq!(quantity(1536 << 20), "1536Mi");
    assert_eq!(quantity(1_000_000_001), "1000000001");
    assert_eq!(quantity(0), "0");
}

#[tokio::test]
async fn the_membership_is_confirmed_before_it_is_changed() {
    for (step, call) in [
        (Step::Add { number: 3 }, "add http://demo-3-0.demo-members.ns.svc:2380 through 1"),
        (Step::Promote { number: 2, id: 12 }, "promote 12 through 1"),
        (Step::Remove { number: 2, id: 12 }, "remove 12 through 1"),
    ] {
        let case = Case::new();
        assert!(case.takes(step.clone()).await.is_empty(), "{step}");
        assert_eq!(case.asked(), ["list through 1", call], "{step}");

        let case = Case::new();
        case.members.listed.lock().members.pop();
        let error = case.take(&step).await.expect_err("somebody has changed it");
        assert!(error.is_outdated(), "{step}: {error}");
        assert_eq!(case.asked(), ["list through 1"], "{step}");
    }
}

#[tokio::test]
async fn a_leader_is_removed_through_another() {
    let case = Case::new();
    case.takes(Step::Remove { number: 1, id: 11 }).await;
    assert_eq!(case.asked(), ["list through 0", "remove 11 through 0"]);
}

#[tokio::test]
async fn leadership_and_history_are_the_leader_s_matter() {
    let case = Case::new();
    case.takes(Step::Transfer { from: 1, to: 2, to_id: 12 }).await;
    case.takes(Step::Compact { revision: 40 }).await;
    assert_eq!(case.asked(), ["transfer from 1 to 12", "compact 40 through 1"]);
}

#[tokio::test]
async fn a_seed_begins_a_cluster_and_a_joiner_never_does() {
    let mut case = Case::new();
    case.begun = false;
    case.live = Live::default();
    let calls = case.takes(Step::Seed { number: 0 }).await;
    assert_eq!(short(&calls), [format!("PATCH {SETS}/demo-0")]);
    let state = "/spec/template/metadata/annotations/quorate.io~1initial-cluster-state";
    assert_eq!(calls[0].2.pointer(state), Some(&json!("new")));
    assert!(!calls[0].1.contains("force"), "what is there is not taken over: {}", calls[0].1);
    assert!(calls[0].1.contains("fieldManager=quorate-operator%2Fmembers"), "{}", calls[0].1);

    let mut case = Case::new();
    case.live.sets.remove(&2);
    let calls = case.takes(Step::Start { number: 2 }).await;
    assert_eq!(calls[0].2.pointer(state), Some(&json!("existing")));
    let first = calls[0].2["metadata"]["annotations"]["quorate.io/initial-cluster"].as_str();
    let first = first.unwrap_or_default();
    assert_eq!(first.split(',').count(), 3, "all members and itself: {first}");
}

#[tokio::test]
async fn a_seed_is_closed_on_the_pod_and_in_its_template() {
    let mut case = Case::new();
    case.begun = false;
    case.live.sets.insert(0, a_set(0, "new"));
    let calls = case.takes(Step::CloseSeed { number: 0 }).await;
    assert_eq!(
        short(&calls),
        [format!("PATCH {CORE}/pods/demo-0-0"), format!("PATCH {SETS}/demo-0")]
    );
    assert_eq!(calls[0].2["metadata"]["uid"], "pod-0");
    let state = "quorate.io/initial-cluster-state";
    assert_eq!(calls[0].2["metadata"]["annotations"][state], "existing");
    let set = &calls[1].2;
    assert_eq!(set["spec"]["template"]["metadata"]["annotations"][state], "existing");
    assert_eq!(set["metadata"]["resourceVersion"], "70");
}

#[tokio::test]
async fn what_was_made_anew_meanwhile_is_looked_at_again() {
    let grow = Step::Grow { number: 1, bytes: 2 << 30 };
    for (step, end) in [(Step::CloseSeed { number: 0 }, "demo-0-0"), (grow, "data-demo-1-0")] {
        let mut case = Case::new();
        case.live.sets.insert(0, a_set(0, "new"));
        let mut changed = refusal(422, "Invalid");
        changed["message"] =
            json!("it is invalid: metadata.uid: Invalid value: \"a\": field is immutable");
        case.answer("PATCH", end, 422, changed);
        let error = case.take(&step).await.expect_err("it is another one");
        assert!(error.is_outdated(), "{step}: {error}");
        let mut wrong = refusal(422, "Invalid");
        wrong["message"] = json!("it is invalid: metadata.labels: Invalid value: \"a\"");
        case.answer("PATCH", end, 422, wrong);
        let error = case.take(&step).await.expect_err("it cannot be so");
        assert!(!error.is_outdated(), "{step}: {error}");
    }
}

#[tokio::test]
async fn a_template_that_was_closed_stays_closed() {
    let mut case = Case::new();
    case.begun = false;
    let calls = case.takes(Step::WriteTemplate { number: 0 }).await;
    let state = "/spec/template/metadata/annotations/quorate.io~1initial-cluster-state";
    assert_eq!(calls[0].2.pointer(state), Some(&json!("existing")));
}

#[tokio::test]
async fn members_are_stopped_and_woken_by_their_statefulsets() {
    let case = Case::new();
    let calls = case.takes(Step::Stop { number: 2 }).await;
    assert_eq!(calls[0].2["spec"]["replicas"], 0);
    let mut case = Case::new();
    for set in case.live.sets.values_mut() {
        set.spec.as_mut().expect("a specification").replicas = Some(0);
    }
    let calls = case.takes(Step::Wake { numbers: vec![0, 2] }).await;
    assert_eq!(short(&calls), [format!("PATCH {SETS}/demo-0"), format!("PATCH {SETS}/demo-2")]);
    assert!(calls.iter().all(|(_, _, body)| body["spec"]["replicas"] == 1));
}

#[tokio::test]
async fn what_is_deleted_is_what_was_looked_at() {
    let set = Step::DeleteSet { number: 2, uid: "u".to_owned(), version: "5".to_owned() };
    let pod = |by_force| Step::DeletePod { number: 2, uid: "u".to_owned(), by_force };
    let restart = Step::Restart { number: 2, uid: "u".to_owned() };
    let claim = Step::DeleteClaim { number: 2, uid: "u".to_owned() };
    for (step, path, version, grace) in [
        (set, format!("{SETS}/demo-2"), Some("5"), None),
        (pod(false), format!("{CORE}/pods/demo-2-0"), None, None),
        (pod(true), format!("{CORE}/pods/demo-2-0"), None, Some(0)),
        (restart, format!("{CORE}/pods/demo-2-0"), None, None),
        (claim, format!("{CORE}/persistentvolumeclaims/data-demo-2-0"), None, None),
    ] {
        let case = Case::new();
        let calls = case.takes(step.clone()).await;
        assert_eq!(short(&calls), [format!("DELETE {path}")], "{step}");
        let body = &calls[0].2;
        assert_eq!(body["preconditions"]["uid"], "u", "{step}");
        assert_eq!(body["preconditions"]["resourceVersion"].as_str(), version, "{step}");
        assert_eq!(body["gracePeriodSeconds"].as_i64(), grace, "{step}");
        assert_eq!(body["propagationPolicy"], "Background", "{step}");

        let end = path.rsplit('/').next().unwrap_or_default().to_owned().leak();
        case.answer("DELETE", end, 404, refusal(404, "NotFound"));
        case.take(&step).await.unwrap_or_else(|error| panic!("{step}: gone is gone: {error}"));
        case.answer("DELETE", end, 409, refusal(409, "Conflict"));
        let error = case.take(&step).await.expect_err("it is another one");
        assert!(error.is_outdated(), "{step}: {error}");
    }
}

#[tokio::test]
async fn a_volume_that_is_to_stay_is_let_go_of_before_its_statefulset_goes() {
    let mut case = Case::new();
    case.spec.storage.pvc_retention.when_deleted = ClaimPolicy::Delete;
    case.spec.storage.pvc_retention.when_scaled = ClaimPolicy::Retain;
    let step = Step::DeleteSet { number: 2, uid: "set-2".to_owned(), version: "70".to_owned() };
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "demo-2",
        "uid": "set-2" }]);
    let claim = case.live.claims.get_mut(&2).expect("there is one");
    claim.metadata.owner_references = serde_json::from_value(owner).expect("owners");
    let error = case.take(&step).await.expect_err("not yet");
    assert!(matches!(error, StepError::NotYet(_)), "{error}");
    let calls = case.api_server.calls.lock().clone();
    assert_eq!(short(&calls), [format!("PATCH {SETS}/demo-2")]);
    let policy = &calls[0].2["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(policy["whenDeleted"], "Retain");

    // Where the volume goes as well, nothing is waited for.
    case.spec.storage.pvc_retention.when_scaled = ClaimPolicy::Delete;
    case.api_server.calls.lock().clear();
    assert_eq!(short(&case.takes(step).await), [format!("DELETE {SETS}/demo-2")]);
}

#[tokio::test]
async fn a_volume_grows_by_its_claim() {
    let case = Case::new();
    let calls = case.takes(Step::Grow { number: 1, bytes: 2 << 30 }).await;
    assert_eq!(short(&calls), [format!("PATCH {CORE}/persistentvolumeclaims/data-demo-1-0")]);
    let body = &calls[0].2;
    assert_eq!(body["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(
        (&body["metadata"]["uid"], &body["metadata"]["resourceVersion"]),
        (&json!("claim-1"), &json!("30"))
    );
}

#[tokio::test]
async fn an_object_of_somebody_else_is_never_written_over() {
    for (owner, is_ours) in [("cluster", true), ("theirs", false)] {
        let mut case = Case::new();
        case.live.sets.remove(&2);
        case.answer("PATCH", "demo-2", 409, refusal(409, "Conflict"));
        let mut found = serde_json::to_value(a_set(2, "existing")).expect("JSON");
        found["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v", "kind": "k",
            "name": "n", "uid": owner, "controller": true }]);
        let list = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSetList", "metadata": {}, "items": [found],
        });
        case.answer("GET", "statefulsets", 200, list);
        let taken = case.take(&Step::Start { number: 2 }).await;
        let calls = case.api_server.calls.lock().clone();
        if is_ours {
            taken.expect("others say otherwise, and it is ours to say");
            assert!(calls[2].1.contains("force=true"), "{}", calls[2].1);
        } else {
            let error = taken.expect_err("it is not ours").to_string();
            assert!(error.contains("belongs to somebody else"), "{error}");
            assert_eq!(calls.len(), 2, "{:?}", short(&calls));
        }
    }
}

#[tokio::test]
async fn the_id_is_written_with_the_status_alone() {
    let case = Case::new();
    assert!(case.takes(Step::Latch { cluster_id: 7 }).await.is_empty());
    assert!(case.asked().is_empty());
}
