//! What was seen of a cluster: values, without a way to ask again.
//!
//! ```text
//!   status  ── Record ──────┐    what was written down before: ids, numbers, what is under way
//!   objects ── MemberSeen ──┼──▶ Observed ──▶ plan
//!   Raft    ── Membership ──┤    who belongs to the cluster: Known, or Unknown
//!   members ── Answer ──────┘    what each says of itself: Says, or Silent
//! ```
//!
//! What could not be learnt is a value of its own. An empty list of members is never made of a
//! question that nobody answered, and no code path turns `Unknown` into `absent`. Objects have no
//! `Unknown`: if they cannot be listed, there is no [`Observed`] and nothing is planned.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use quorate_operator_api::{
    ClusterStatus, ConditionType, MemberHealth, MemberRole, Operation, Reason,
};

use super::names::Names;

/// A member's number within its cluster.
pub type Number = i64;

/// Everything that a plan is made of, but the wish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What the status says.
    pub record: Record,
    /// Who belongs to the cluster.
    pub membership: Membership,
    /// The members of which there is an object.
    pub members: BTreeMap<Number, MemberSeen>,
    /// Alarms; `None` if nobody could be asked.
    pub alarms: Option<Vec<Alarm>>,
    /// Objects with names of this cluster's members that are not its own: volumes that are older
    /// than the resource, StatefulSets with another owner.
    pub leftovers: Vec<String>,
    /// What certificates wait for.
    pub certificates: CertificatesSeen,
    /// The backup before another version.
    pub backup: BackupSeen,
    /// What the volumes of a cluster without a majority hold, once that was looked at.
    pub remains: BTreeMap<Number, Remains>,
    /// The volumes at which somebody is still looking, and may yet tell.
    pub unread: BTreeSet<Number>,
}

/// What the resource's status keeps from one look to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The cluster's id, once it has begun.
    pub cluster_id: Option<u64>,
    /// The number that no member has had.
    pub next_member: Number,
    /// What is under way.
    pub operation: Option<Operation>,
    /// The members as they were last known.
    pub members: BTreeMap<Number, Remembered>,
    /// The version that all members were last seen to run.
    pub version: Option<String>,
    /// Whether the cluster was rebuilt from a survivor.
    pub data_loss_possible: bool,
    /// Whether nobody could say who belongs to the cluster when that was last asked.
    pub was_unknown: bool,
    /// When history was last forgotten to make room.
    pub compacted_at: Option<Timestamp>,
}

/// A member as it was last known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Its id, if it had one.
    pub id: Option<u64>,
    /// What it was.
    pub role: MemberRole,
    /// How it was.
    pub health: MemberHealth,
    /// Since when it has been healthy, or not.
    pub since: Option<Timestamp>,
    /// The volume on which it was last healthy.
    pub volume: Option<String>,
    /// The hash with which it is healthy, or was until it came back with another one; none if it
    /// fell ill with the one that it had.
    pub hash: Option<String>,
}

impl Record {
    /// What a status says. Members whose names are not of this cluster are left out.
    #[must_use]
    pub fn of(status: &ClusterStatus, names: &Names) -> Self {
        let members = status.members.iter().filter_map(|member| {
            let remembered = Remembered {
                id: member.id.as_deref().and_then(parse_id),
                role: member.role,
                health: member.health,
                since: member.since.as_ref().map(|time| time.0),
                volume: member.volume.clone(),
                hash: member.template.clone(),
            };
            Some((names.number(&member.name)?, remembered))
        });
        let says = |kind: ConditionType, is_it: &dyn Fn(&Condition) -> bool| {
            let mut conditions = status.conditions.iter();
            conditions.any(|condition| condition.type_ == kind.as_str() && is_it(condition))
        };
        let unknown = [Reason::QuorumLost, Reason::Unknown].map(Reason::as_str);
        Self {
            cluster_id: status.cluster_id.as_deref().and_then(parse_id),
            next_member: status.next_member,
            operation: status.operation.clone(),
            members: members.collect(),
            version: status.version.clone(),
            compacted_at: status.compacted_at.as_ref().map(|time| time.0),
            data_loss_possible: says(ConditionType::DataLossPossible, &|it| it.status == "True"),
            was_unknown: says(ConditionType::Available, &|it| unknown.contains(&&*it.reason)),
        }
    }

    /// What was remembered of a member.
    #[must_use]
    pub fn member(&self, number: Number) -> Option<&Remembered> {
        self.members.get(&number)
    }
}

/// An id as it stands in a status.
#[must_use]
pub fn format_id(id: u64) -> String {
    format!("{id:x}")
}

fn parse_id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Who belongs to the cluster, as a linearizable read tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Membership {
    /// Nobody could tell for sure.
    #[default]
    Unknown,
    /// A quorum has just said so.
    Known(KnownMembership),
}

/// The members, and the cluster that they are of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownMembership {
    /// The cluster's id.
    pub cluster_id: u64,
    /// Its members.
    pub members: Vec<RaftMember>,
}

/// One member, as the others know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RaftMember {
    /// Its id.
    pub id: u64,
    /// Its number, if its peer URL is one of this cluster's; a member that somebody else runs has
    /// none.
    pub number: Option<Number>,
    /// Whether it only follows.
    pub is_learner: bool,
    /// Whether it has ever run.
    pub is_started: bool,
}

/// The objects of one member, and what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberSeen {
    /// Its StatefulSet.
    pub set: Option<SetSeen>,
    /// Its pod.
    pub pod: Option<PodSeen>,
    /// Its volume claim.
    pub claim: Option<ClaimSeen>,
    /// What it says of itself.
    pub answer: Answer,
}

/// How a member's first start goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootstrap {
    /// It begins a cluster.
    New,
    /// It joins one.
    #[default]
    Existing,
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetSeen {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    /// What its template says of the first start.
    pub bootstrap: Bootstrap,
    /// The hash in its template.
    pub hash: String,
    /// Whether it wants no pod.
    pub is_stopped: bool,
    /// Whether it is being deleted.
    pub is_leaving: bool,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its uid.
    pub uid: String,
    /// The hash that it was made with.
    pub hash: String,
    /// The version that it runs, if its image says.
    pub version: Option<String>,
    /// How far it is.
    pub phase: PodPhase,
    /// Whether its probe passes.
    pub is_ready: bool,
    /// Since when it is being deleted.
    pub leaving_since: Option<Timestamp>,
    /// Where it runs.
    pub node: Option<NodeSeen>,
    /// What keeps it from running, if something does.
    pub trouble: Option<String>,
    /// Whether its member ended because of its data: the others know it with other ones.
    pub is_refused: bool,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    /// It has no node, or its containers do not run.
    #[default]
    Pending,
    /// Its container runs.
    Running,
    /// It has ended and will not run again.
    Over,
    /// Its node does not say.
    Unknown,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: Option<String>,
    /// Whether it is there and says that it is ready.
    pub is_ready: bool,
}

/// A volume claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimSeen {
    /// Its uid.
    pub uid: String,
    /// Whether it has a volume.
    pub is_bound: bool,
    /// Whether it had a volume that is gone.
    pub is_lost: bool,
    /// Bytes asked for.
    pub requested: u64,
    /// Bytes that there are.
    pub capacity: u64,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// Whether its volume lies on a node that is no longer there, so that its pod finds no place.
    pub is_stranded: bool,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Answer {
    /// Nothing, in the time that it had.
    #[default]
    Silent,
    /// This.
    Says(Says),
}

/// A member's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says {
    /// Its id.
    pub member_id: u64,
    /// Its cluster's.
    pub cluster_id: u64,
    /// Its leader's, 0 for none.
    pub leader: u64,
    /// Its term.
    pub term: u64,
    /// Its last entry.
    pub index: u64,
    /// The last entry that it has carried out.
    pub applied: u64,
    /// Its newest revision.
    pub revision: i64,
    /// Its version.
    pub version: String,
    /// Bytes of its data.
    pub db_size: u64,
}

/// An alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Whose.
    pub member: u64,
    /// Which.
    pub kind: AlarmKind,
}

/// Which alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// A member has no room.
    NoSpace,
    /// A member's data differ from the others'.
    Corrupt,
}

/// What certificates wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificatesSeen {
    /// Nothing.
    #[default]
    Fine,
    /// The next stage, which all members that there are must live to see.
    Due,
    /// Members that have not yet read what was written.
    Spreading,
}

/// The backup before another version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackupSeen {
    /// There is none for this version, and nowhere to keep one.
    #[default]
    NoPlace,
    /// There is none yet.
    Missing,
    /// It is being made.
    Running,
    /// It could not be made.
    Failed,
    /// It is there.
    Made,
}

/// What a stopped member's volume holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// The term of its last entry.
    pub term: u64,
    /// Its last entry.
    pub index: u64,
    /// Whether something in it is damaged.
    pub is_damaged: bool,
}
