//! The words of the scripts: how a scene is set.
//!
//! `wish voters=3 hash=b …` changes what is wished for; `record next=3 doing=Add/Adding/3 …` what
//! the status says; `member 2 voter unreachable since=-20 …` sets one member wholly: without
//! further words it is one that is well. `gone 2` removes all of it, `later 20` moves the clock by
//! seconds, `membership unknown` silences the cluster. `----` asks for the plan.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator::cluster::names::{Names, Scheme};
use quorate_operator::cluster::observed::{
    Alarm, AlarmKind, Answer, BackupSeen, Bootstrap, CertificatesSeen, ClaimSeen, KnownMembership,
    MemberSeen, Membership, NodeSeen, Number, Observed, PodPhase, PodSeen, RaftMember, Remains,
    Remembered, Says, SetSeen,
};
use quorate_operator::cluster::plan::{Decision, Plan, plan};
use quorate_operator::cluster::status::{Look, Parts, status};
use quorate_operator::cluster::validate::{AutoGrowth, Desired, Recovery, Refusal};
use quorate_operator_api::{ClusterStatus, MemberHealth, MemberRole, Operation, PreUpgradeBackup};

const MIB: u64 = 1 << 20;

/// The cluster's id in all scripts.
const CLUSTER: u64 = 0xc1;

pub(super) struct Scene {
    desired: Desired,
    observed: Observed,
    now: Timestamp,
    members: Vec<RaftMember>,
    is_known: bool,
    leader: Option<Number>,
    cluster: u64,
    shows_conditions: bool,
}

impl Scene {
    pub(super) fn new() -> Self {
        let desired = Desired {
            voters: 3,
            hash: "a".to_owned(),
            version: None,
            claim_bytes: 1024 * MIB,
            auto_grow: None,
            deletes_claims: true,
            is_paused: false,
            hibernates: false,
            heals: true,
            replace_after: SignedDuration::from_secs(300),
            recovery: Recovery::OnDemand,
            restarts: true,
            pre_upgrade_backup: PreUpgradeBackup::IfConfigured,
            compacts: true,
            refusals: Vec::new(),
        };
        let mut observed = Observed { alarms: Some(Vec::new()), ..Observed::default() };
        observed.record.cluster_id = Some(CLUSTER);
        observed.record.next_member = 3;
        let now = Timestamp::from_second(1_000_000).expect("a time");
        Self {
            desired,
            observed,
            now,
            members: Vec::new(),
            is_known: true,
            leader: None,
            cluster: CLUSTER,
            shows_conditions: false,
        }
    }

    pub(super) fn tell(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let words: Vec<(&str, &str)> =
            words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
        let first = words.first().map_or("", |(word, _)| *word);
        match verb {
            "wish" => words.iter().try_for_each(|(key, value)| self.wish(key, value)),
            "record" => words.iter().try_for_each(|(key, value)| self.record(key, value)),
            "member" => self.member(number(first)?, &words[1..]),
            "gone" => {
                let number = number(first)?;
                self.observed.members.remove(&number);
                self.observed.record.members.remove(&number);
                self.members.retain(|member| member.number != Some(number));
                Ok(())
            }
            "forget" => {
                self.observed.record.members.remove(&number(first)?);
                Ok(())
            }
            "later" => {
                self.now += SignedDuration::from_secs(number(first)?);
                Ok(())
            }
            "membership" => {
                self.is_known = first == "known";
                Ok(())
            }
            "foreign" => {
                let id = u64::try_from(number(first)?).map_err(|error| error.to_string())?;
                self.members.push(RaftMember { id, is_started: true, ..RaftMember::default() });
                Ok(())
            }
            "cluster" => {
                self.cluster = u64::from_str_radix(first, 16).map_err(|error| error.to_string())?;
                Ok(())
            }
            "leftover" => {
                self.observed.leftovers.push(first.to_owned());
                Ok(())
            }
            "alarm" => self.alarm(&words),
            "remains" => self.remains(&words),
            "backup" => {
                self.observed.backup = match first {
                    "no-place" => BackupSeen::NoPlace,
                    "missing" => BackupSeen::Missing,
                    "running" => BackupSeen::Running,
                    "failed" => BackupSeen::Failed,
                    "made" => BackupSeen::Made,
                    other => return Err(format!("no backup is {other}")),
                };
                Ok(())
            }
            "certificates" => {
                self.observed.certificates = match first {
                    "fine" => CertificatesSeen::Fine,
                    "due" => CertificatesSeen::Due,
                    "spreading" => CertificatesSeen::Spreading,
                    other => return Err(format!("no certificate is {other}")),
                };
                Ok(())
            }
            "show" => {
                self.shows_conditions = first == "conditions";
                Ok(())
            }
            other => Err(format!("nobody knows {other}")),
        }
    }

    fn wish(&mut self, key: &str, value: &str) -> Result<(), String> {
        let desired = &mut self.desired;
        match key {
            "voters" => desired.voters = usize::try_from(number(value)?).unwrap_or(1),
            "hash" => desired.hash = value.to_owned(),
            "version" => desired.version = Some(value.to_owned()),
            "mib" => desired.claim_bytes = bytes(value)?,
            "grow" => {
                let parts: Vec<&str> = value.split('/').collect();
                let part = |at: usize| parts.get(at).copied().unwrap_or_default();
                desired.auto_grow = Some(AutoGrowth {
                    threshold_percent: bytes(part(0))? / MIB,
                    increment_percent: bytes(part(1))? / MIB,
                    bytes_max: bytes(part(2))?,
                });
            }
            "keeps-claims" => desired.deletes_claims = false,
            "paused" => desired.is_paused = true,
            "hibernates" => desired.hibernates = true,
            "awake" => desired.hibernates = false,
            "no-healing" => desired.heals = false,
            "replace-after" => desired.replace_after = SignedDuration::from_secs(number(value)?),
            "recovery" => {
                desired.recovery = match value {
                    "never" => Recovery::Never,
                    "on-demand" => Recovery::OnDemand,
                    "asked" => Recovery::Asked,
                    "automatic" => Recovery::Automatic,
                    other => return Err(format!("no recovery is {other}")),
                };
            }
            "on-delete" => desired.restarts = false,
            "backup" => {
                desired.pre_upgrade_backup = match value {
                    "required" => PreUpgradeBackup::Required,
                    "never" => PreUpgradeBackup::Never,
                    _ => PreUpgradeBackup::IfConfigured,
                };
            }
            "no-compaction" => desired.compacts = false,
            "refused" => {
                let message = format!("{value} is refused");
                desired.refusals.push(Refusal { field: "spec", message });
            }
            other => return Err(format!("nobody wishes for {other}")),
        }
        Ok(())
    }

    fn record(&mut self, key: &str, value: &str) -> Result<(), String> {
        let record = &mut self.observed.record;
        match key {
            "unbegun" => {
                record.cluster_id = None;
                record.next_member = 0;
            }
            "next" => record.next_member = number(value)?,
            "idle" => record.operation = None,
            "doing" => {
                let mut parts = value.split('/');
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let (kind, phase, member) = (part(), part(), part());
                record.operation = Some(Operation {
                    kind,
                    phase,
                    member: (!member.is_empty()).then(|| format!("demo-{member}")),
                    started_at: Some(Time(self.now)),
                    attempts: 1,
                });
            }
            "tries" => {
                let tries = i32::try_from(number(value)?).unwrap_or_default();
                if let Some(operation) = &mut record.operation {
                    operation.attempts = tries;
                }
            }
            "lossy" => record.data_loss_possible = true,
            "compacted" => record.compacted_at = Some(self.now),
            other => return Err(format!("no record has {other}")),
        }
        Ok(())
    }

    /// One member, wholly: well, but for what is said.
    fn member(&mut self, number: Number, words: &[(&str, &str)]) -> Result<(), String> {
        let at = u64::try_from(number).map_err(|error| error.to_string())?;
        let id = 100 + at;
        let mut raft =
            Some(RaftMember { id, number: Some(number), is_learner: false, is_started: true });
        let mut set = Some(SetSeen {
            uid: format!("set-{number}"),
            version: "1".to_owned(),
            hash: self.desired.hash.clone(),
            ..SetSeen::default()
        });
        let mut pod = Some(PodSeen {
            uid: format!("pod-{number}"),
            hash: self.desired.hash.clone(),
            phase: PodPhase::Running,
            is_ready: true,
            node: Some(NodeSeen { name: format!("node-{number}"), zone: None, is_ready: true }),
            ..PodSeen::default()
        });
        let mut claim = Some(ClaimSeen {
            uid: format!("volume-{number}"),
            is_bound: true,
            requested: self.desired.claim_bytes,
            capacity: self.desired.claim_bytes,
            ..ClaimSeen::default()
        });
        let mut says = Says {
            member_id: id,
            cluster_id: self.cluster,
            leader: 1,
            term: 2,
            index: 1000,
            applied: 1000,
            revision: 500,
            ..Says::default()
        };
        let mut remembered = Some(Remembered {
            id: Some(id),
            role: MemberRole::Voter,
            health: MemberHealth::Healthy,
            since: Some(self.now),
            volume: Some(format!("volume-{number}")),
            hash: Some(self.desired.hash.clone()),
        });
        let mut is_silent = false;
        let mut is_leader = false;
        for (key, value) in words {
            let pod_of = |pod: &mut Option<PodSeen>, change: &dyn Fn(&mut PodSeen)| {
                if let Some(pod) = pod {
                    change(pod);
                }
            };
            match *key {
                "voter" => {}
                "learner" => {
                    if let Some(raft) = &mut raft {
                        raft.is_learner = true;
                    }
                    if let Some(remembered) = &mut remembered {
                        remembered.role = MemberRole::Learner;
                    }
                }
                "removed" => raft = None,
                "unstarted" => {
                    if let Some(raft) = &mut raft {
                        raft.is_started = false;
                    }
                    is_silent = true;
                    remembered = None;
                }
                "leader" => is_leader = true,
                "unreachable" => {
                    is_silent = true;
                    pod_of(&mut pod, &|pod| pod.is_ready = false);
                }
                "silent" => is_silent = true,
                "not-ready" => pod_of(&mut pod, &|pod| pod.is_ready = false),
                "crashing" => {
                    is_silent = true;
                    pod_of(&mut pod, &|pod| {
                        pod.is_ready = false;
                        pod.phase = PodPhase::Running;
                        pod.trouble = Some("CrashLoopBackOff".to_owned());
                    });
                }
                "refused" => {
                    is_silent = true;
                    pod_of(&mut pod, &|pod| {
                        pod.is_ready = false;
                        pod.phase = PodPhase::Pending;
                        pod.trouble = Some("CrashLoopBackOff".to_owned());
                        pod.is_refused = true;
                    });
                }
                "well-with" => {
                    if let Some(remembered) = &mut remembered {
                        remembered.hash = Some((*value).to_owned()).filter(|hash| hash != "none");
                    }
                }
                "pending" => {
                    is_silent = true;
                    pod_of(&mut pod, &|pod| {
                        pod.is_ready = false;
                        pod.phase = PodPhase::Pending;
                        pod.node = None;
                    });
                }
                "over" => {
                    is_silent = true;
                    pod_of(&mut pod, &|pod| {
                        pod.is_ready = false;
                        pod.phase = PodPhase::Over;
                    });
                }
                "leaving" => {
                    let ago = SignedDuration::from_secs(self::number(value)?);
                    let since = self.now - ago;
                    pod_of(&mut pod, &|pod| pod.leaving_since = Some(since));
                }
                "node-down" => {
                    is_silent = true;
                    pod_of(&mut pod, &|pod| {
                        pod.is_ready = false;
                        if let Some(node) = &mut pod.node {
                            node.is_ready = false;
                        }
                    });
                }
                "on" => pod_of(&mut pod, &|pod| {
                    let (name, zone) = value.split_once('/').unwrap_or((value, ""));
                    let zone = (!zone.is_empty()).then(|| zone.to_owned());
                    pod.node = Some(NodeSeen { name: name.to_owned(), zone, is_ready: true });
                }),
                "hash" => {
                    pod_of(&mut pod, &|pod| (*value).clone_into(&mut pod.hash));
                    if let Some(set) = &mut set {
                        (*value).clone_into(&mut set.hash);
                    }
                }
                "set-hash" => {
                    if let Some(set) = &mut set {
                        (*value).clone_into(&mut set.hash);
                    }
                }
                "version" => {
                    pod_of(&mut pod, &|pod| pod.version = Some((*value).to_owned()));
                }
                "no-pod" => {
                    is_silent = true;
                    pod = None;
                }
                "no-set" => set = None,
                "set-leaving" | "stopped" | "seed" => {
                    if let Some(set) = &mut set {
                        match *key {
                            "set-leaving" => set.is_leaving = true,
                            "stopped" => set.is_stopped = true,
                            _ => set.bootstrap = Bootstrap::New,
                        }
                    }
                }
                "no-claim" => claim = None,
                "new-claim" | "claim-lost" | "claim-unbound" | "stranded" | "claim-mib" => {
                    if let Some(claim) = &mut claim {
                        match *key {
                            "stranded" => claim.is_stranded = true,
                            "new-claim" => claim.uid.push_str("-new"),
                            "claim-lost" => claim.is_lost = true,
                            "claim-unbound" => claim.is_bound = false,
                            _ => {
                                claim.requested = bytes(value)?;
                                claim.capacity = claim.requested;
                            }
                        }
                    }
                }
                "data-mib" => says.db_size = bytes(value)?,
                "applied" => says.applied = bytes(value)? / MIB,
                "leaderless" => says.leader = 0,
                "id" => says.member_id = bytes(value)? / MIB,
                "of" => {
                    says.cluster_id =
                        u64::from_str_radix(value, 16).map_err(|error| error.to_string())?;
                }
                "down" => {
                    let since = self.now - SignedDuration::from_secs(self::number(value)?);
                    if let Some(remembered) = &mut remembered {
                        remembered.health = MemberHealth::Unreachable;
                        remembered.since = Some(since);
                    }
                }
                "unknown" => remembered = None,
                other => return Err(format!("no member is {other}")),
            }
        }
        if is_leader {
            self.leader = Some(number);
            says.leader = says.member_id;
        }
        let is_asked = pod.is_some() && !is_silent;
        let answer = if is_asked { Answer::Says(says) } else { Answer::Silent };
        self.members.retain(|member| member.number != Some(number));
        self.members.extend(raft);
        self.members.sort_by_key(|member| member.number);
        self.observed.members.insert(number, MemberSeen { set, pod, claim, answer });
        match remembered {
            Some(remembered) => self.observed.record.members.insert(number, remembered),
            None => self.observed.record.members.remove(&number),
        };
        Ok(())
    }

    fn alarm(&mut self, words: &[(&str, &str)]) -> Result<(), String> {
        let mut alarms = Vec::new();
        for (kind, member) in words {
            let member = u64::try_from(number(member)?).map_err(|error| error.to_string())? + 100;
            let kind = match *kind {
                "no-space" => AlarmKind::NoSpace,
                "corrupt" => AlarmKind::Corrupt,
                other => return Err(format!("no alarm is {other}")),
            };
            alarms.push(Alarm { member, kind });
        }
        self.observed.alarms = Some(alarms);
        Ok(())
    }

    /// `remains 1=3/200 2=damaged 3=unread 4=nothing`.
    fn remains(&mut self, words: &[(&str, &str)]) -> Result<(), String> {
        for (member, found) in words {
            self.observed.unread.remove(&number(member)?);
            if ["unread", "nothing"].contains(found) {
                self.observed.remains.remove(&number(member)?);
                if *found == "unread" {
                    self.observed.unread.insert(number(member)?);
                }
                continue;
            }
            let remains = match found.split_once('/') {
                Some((term, index)) => Remains {
                    term: bytes(term)? / MIB,
                    index: bytes(index)? / MIB,
                    is_damaged: false,
                },
                None => Remains { is_damaged: true, ..Remains::default() },
            };
            self.observed.remains.insert(number(member)?, remains);
        }
        Ok(())
    }

    /// The plan, and what the status makes of it.
    pub(super) fn answer(&mut self) -> String {
        self.observed.membership = match self.is_known {
            true => Membership::Known(KnownMembership {
                cluster_id: self.cluster,
                members: self.members.clone(),
            }),
            false => Membership::Unknown,
        };
        let made = plan(&self.desired, &self.observed, self.now);
        let mut out = match &made.decision {
            Decision::Step(step) => format!("{step}"),
            Decision::Wait(wait) => {
                format!("wait: {wait} ({}s)", wait.patience(self.now).as_secs())
            }
        };
        if let Some(doing) = made.operation {
            let member = doing.member.map_or_else(String::new, |number| format!("/{number}"));
            let _ = write!(out, "  [{}/{}{member}]", doing.kind.as_str(), doing.phase.as_str());
        }
        out.push('\n');
        if self.shows_conditions {
            out.push_str(&self.conditions(&made));
        }
        out
    }

    fn conditions(&self, made: &Plan) -> String {
        let names = Names::new("demo", "ns");
        let record = &self.observed.record;
        let previous = ClusterStatus {
            cluster_id: record.cluster_id.map(|id| format!("{id:x}")),
            next_member: record.next_member,
            operation: record.operation.clone(),
            ..ClusterStatus::default()
        };
        let look = Look {
            names: &names,
            scheme: Scheme::Https,
            generation: Some(1),
            previous: &previous,
            desired: &self.desired,
            observed: &self.observed,
            plan: made,
            parts: &Parts::default(),
        };
        let status = status(look, self.now);
        let mut out = String::new();
        for condition in &status.conditions {
            let _ = writeln!(
                out,
                "  {}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            );
        }
        out
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn bytes(mib: &str) -> Result<u64, String> {
    let mib: u64 = mib.parse().map_err(|_| format!("{mib:?} is no number"))?;
    Ok(mib * MIB)
}
