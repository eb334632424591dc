//! What objects and answers come to: from what the API server and the members say to [`Observed`].
//!
//! Values in, values out. What is not said is not made up: a pod without a status is pending, a
//! size that cannot be read is 0, a member that did not answer is silent.
//!
//! [`Observed`]: super::observed::Observed

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator_api::Size;

use super::build::{CLUSTER_STATE, CONTAINER, SPEC_HASH};
use super::live::{Live, node_of};
use super::names::{Names, Scheme};
use super::observed::{
    Answer, Bootstrap, ClaimSeen, KnownMembership, MemberSeen, NodeSeen, Number, PodPhase, PodSeen,
    RaftMember, SetSeen,
};
use crate::members::{Listed, Visit};

/// How a member's last words say that its data are not those that the others know it with: it is to
/// be removed and added anew (`quorate_member::identity::REMEDY`).
pub(super) const REMOVE: &str = "remove this member from the cluster";

/// How long after its end a pod may still be there on a node that is well.
const OUTLIVED_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// So much of last words is told.
const WORDS_CHARACTERS_MAX: usize = 300;

/// The members of which there is an object, with what they say.
#[must_use]
pub fn members(
    live: &Live,
    visits: &BTreeMap<Number, Visit>,
    now: Timestamp,
) -> BTreeMap<Number, MemberSeen> {
    live.numbers()
        .map(|number| {
            let seen = MemberSeen {
                set: live.sets.get(&number).map(set),
                pod: live
                    .pods
                    .get(&number)
                    .map(|found| PodSeen { node: node(found, &live.nodes, now), ..pod(found) }),
                claim: live.claims.get(&number).map(|found| ClaimSeen {
                    is_stranded: live.stranded.contains(&number),
                    ..claim(found)
                }),
                answer: visits.get(&number).map_or(Answer::Silent, |visit| visit.answer.clone()),
            };
            (number, seen)
        })
        .collect()
}

/// Who belongs to the cluster, of a list; members are known by their peer URLs.
#[must_use]
pub fn membership(names: &Names, scheme: Scheme, listed: &Listed) -> KnownMembership {
    let members = listed.members.iter().map(|member| {
        let number = |url: &String| {
            let host = url.strip_prefix(scheme.as_str())?.strip_prefix("://")?;
            let pod = host.split('.').next()?;
            let number = names.number(pod.strip_suffix("-0")?)?;
            (names.peer_url(number, scheme) == *url).then_some(number)
        };
        RaftMember {
            id: member.id,
            number: member.peer_urls.iter().find_map(number),
            is_learner: member.is_learner,
            is_started: !member.name.is_empty(),
        }
    });
    KnownMembership { cluster_id: listed.cluster_id, members: members.collect() }
}

/// Where members can be asked: at the addresses of pods that run.
#[must_use]
pub fn addresses(live: &Live) -> BTreeMap<Number, IpAddr> {
    let address = |pod: &Pod| {
        let status = pod.status.as_ref()?;
        if !matches!(phase(pod), PodPhase::Running | PodPhase::Unknown) {
            return None;
        }
        status.pod_ip.as_ref()?.parse().ok()
    };
    live.pods.iter().filter_map(|(number, pod)| Some((*number, address(pod)?))).collect()
}

/// The image that members run, for clusters that name none: what most pods that serve have, or else
/// what most StatefulSets have whose pod has no trouble.
#[must_use]
pub fn running_image(live: &Live) -> Option<String> {
    let of_pods = |is_meant: &dyn Fn(&PodSeen) -> bool| {
        let pods = live.pods.values().filter(|found| is_meant(&pod(found)));
        most(pods.filter_map(|pod| image_of(pod.spec.as_ref()?)))
    };
    let of_sets = || {
        let has_trouble = |number: &Number| {
            let pod = live.pods.get(number).map(pod);
            pod.is_some_and(|pod| pod.trouble.is_some())
        };
        let sets = live.sets.iter().filter(|(number, _)| !has_trouble(number));
        most(sets.filter_map(|(_, set)| image_of(set.spec.as_ref()?.template.spec.as_ref()?)))
    };
    of_pods(&|pod| pod.is_ready).or_else(|| of_pods(&|pod| pod.trouble.is_none())).or_else(of_sets)
}

/// The hash that most StatefulSets have.
#[must_use]
pub fn common_hash(live: &Live) -> Option<String> {
    most(live.sets.values().filter_map(|found| template_annotation(found, SPEC_HASH)))
}

/// What occurs most often; of several the first.
fn most(items: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for item in items {
        match counts.iter_mut().find(|(known, _)| *known == item) {
            Some((_, count)) => *count += 1,
            None => counts.push((item, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(item, _)| item)
}

fn image_of(spec: &k8s_openapi::api::core::v1::PodSpec) -> Option<String> {
    spec.containers.iter().find(|container| container.name == CONTAINER)?.image.clone()
}

/// The version in an image's tag, if it is one.
fn version_of(image: &str) -> Option<String> {
    let name = image.split('@').next()?;
    let (_, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    let is_version = tag.split('.').count() >= 3 && tag.starts_with(|c: char| c.is_ascii_digit());
    is_version.then(|| tag.to_owned())
}

fn template_annotation(set: &StatefulSet, name: &str) -> Option<String> {
    let template = set.spec.as_ref()?.template.metadata.as_ref()?;
    template.annotations.as_ref()?.get(name).cloned()
}

fn set(set: &StatefulSet) -> SetSeen {
    let bootstrap = match template_annotation(set, CLUSTER_STATE).as_deref() {
        Some("new") => Bootstrap::New,
        Some(_) | None => Bootstrap::Existing,
    };
    let metadata = &set.metadata;
    SetSeen {
        uid: metadata.uid.clone().unwrap_or_default(),
        version: metadata.resource_version.clone().unwrap_or_default(),
        bootstrap,
        hash: template_annotation(set, SPEC_HASH).unwrap_or_default(),
        is_stopped: set.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0)),
        is_leaving: metadata.deletion_timestamp.is_some(),
    }
}

/// The node that a pod is on. Of one that cannot be read it is the pod that shows whether somebody
/// there sees to it.
fn node(pod: &Pod, nodes: &BTreeMap<String, NodeSeen>, now: Timestamp) -> Option<NodeSeen> {
    let name = node_of(pod)?;
    let of_pod = || NodeSeen {
        name: name.to_owned(),
        zone: None,
        is_ready: !is_given_up(pod) && !has_outlived_its_end(pod, now),
    };
    Some(nodes.get(name).cloned().unwrap_or_else(of_pod))
}

/// Whether Kubernetes itself says that nobody hears of a pod's node any more.
fn is_given_up(pod: &Pod) -> bool {
    let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    reason == Some("NodeLost") || phase(pod) == PodPhase::Unknown
}

/// Whether a pod is there that should have ended: a kubelet that runs kills it in time, and says so.
fn has_outlived_its_end(pod: &Pod, now: Timestamp) -> bool {
    let end = pod.metadata.deletion_timestamp.as_ref().map(|end| end.0);
    end.is_some_and(|end| now.duration_since(end) > OUTLIVED_AFTER)
}

fn pod(pod: &Pod) -> PodSeen {
    let metadata = &pod.metadata;
    let hash = metadata.annotations.as_ref().and_then(|all| all.get(SPEC_HASH));
    let image = pod.spec.as_ref().and_then(image_of);
    PodSeen {
        uid: metadata.uid.clone().unwrap_or_default(),
        hash: hash.cloned().unwrap_or_default(),
        version: image.as_deref().and_then(version_of),
        phase: phase(pod),
        is_ready: condition(pod, "Ready").is_some_and(|(status, _)| status == "True"),
        leaving_since: leaving_since(pod),
        node: None,
        trouble: trouble(pod),
        is_refused: container(pod).and_then(last_words).is_some_and(|said| said.contains(REMOVE)),
    }
}

/// A pod's deletion is dated to its end; it began earlier by the time that it is given.
fn leaving_since(pod: &Pod) -> Option<Timestamp> {
    let end = pod.metadata.deletion_timestamp.as_ref()?.0;
    let given = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    Some(end.checked_sub(SignedDuration::from_secs(given)).unwrap_or(end))
}

fn phase(pod: &Pod) -> PodPhase {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match phase {
        Some("Running") if container(pod).is_none_or(is_running) => PodPhase::Running,
        Some("Succeeded" | "Failed") => PodPhase::Over,
        Some("Unknown") => PodPhase::Unknown,
        // It has no node, or its container does not run.
        Some(_) | None => PodPhase::Pending,
    }
}

fn is_running(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_none_or(|state| state.running.is_some())
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let mut containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    containers.find(|container| container.name == CONTAINER)
}

pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, Option<&'a str>)> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == kind)?;
    Some((found.status.as_str(), found.message.as_deref()))
}

/// What keeps a pod from running, in Kubernetes' words.
fn trouble(pod: &Pod) -> Option<String> {
    if let Some(("False", message)) = condition(pod, "PodScheduled") {
        return Some(format!("it has no node: {}", message.unwrap_or("no reason is given")));
    }
    let status = pod.status.as_ref()?;
    let initializing = status.init_container_statuses.iter().flatten();
    let running = status.container_statuses.iter().flatten();
    initializing.chain(running).find_map(of_container).or_else(|| {
        let is_over = status.phase.as_deref() == Some("Failed");
        let reason = status.reason.as_deref().unwrap_or("Failed");
        let message = status.message.as_deref().unwrap_or("no reason is given");
        is_over.then(|| format!("{reason}: {message}"))
    })
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let is_usual = matches!(reason, "" | "ContainerCreating" | "PodInitializing");
        let message = waiting.message.as_deref().unwrap_or_default();
        let ended = last_words(container).map(|said| format!("; it said: {}", shortened(said)));
        let ended = ended.unwrap_or_default();
        return (!is_usual).then(|| format!("{reason}: {message}{ended}"));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().unwrap_or("Error");
    let message = last_words(container).map(shortened).unwrap_or_default();
    Some(format!("{reason}, exit code {}: {message}", ended.exit_code))
}

/// The last line of what a container said that failed: what is before it is its log.
fn last_words(container: &ContainerStatus) -> Option<&str> {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let ended = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
    let lines = ended.message.as_deref().filter(|_| ended.exit_code != 0)?.lines();
    lines.map(str::trim).rfind(|line| !line.is_empty())
}

fn shortened(said: &str) -> String {
    said.chars().take(WORDS_CHARACTERS_MAX).collect()
}

fn claim(claim: &PersistentVolumeClaim) -> ClaimSeen {
    let storage = |amounts: Option<&BTreeMap<String, Quantity>>| {
        amounts.and_then(|amounts| amounts.get("storage")).and_then(bytes).unwrap_or_default()
    };
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let status = claim.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    ClaimSeen {
        uid: claim.metadata.uid.clone().unwrap_or_default(),
        is_bound: phase == Some("Bound"),
        is_lost: phase == Some("Lost"),
        requested: storage(resources.and_then(|resources| resources.requests.as_ref())),
        capacity: storage(status.and_then(|status| status.capacity.as_ref())),
        is_leaving: claim.metadata.deletion_timestamp.is_some(),
        is_stranded: false,
    }
}

fn bytes(quantity: &Quantity) -> Option<u64> {
    Size(quantity.0.clone()).bytes()
}

#[cfg(test)]
mod tests;
