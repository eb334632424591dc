//! The members that the operator speaks to.
//!
//! A call takes a moment and then happens at once, or not at all, or happens and is not answered.
//! What changes a cluster counts as a write of the operator's process, like those of objects.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use quorate_operator::cluster::observed::{Alarm, AlarmKind, Answer, Number, Says};
use quorate_operator::members::{Contact, Listed, ListedMember, MemberError, Members, Visit};
use quorate_operator::tls::managed::Shown;

use super::machines::{Machines, Process};
use super::raft::{AlarmOf, No};
use crate::api_server::Life;

/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(2);

/// How long the operator waits for one that does not come.
const SILENCE: Duration = Duration::from_secs(2);

/// What becomes of a call of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberFault {
    None,
    /// The member says no.
    Refused,
    /// Nothing is heard, and nothing has happened.
    Lost,
    /// It happens, and nothing is heard.
    LostAfter,
}

/// Decides about a call by its name.
pub(crate) type MemberFaults = Arc<Mutex<Box<dyn FnMut(&str) -> MemberFault + Send>>>;

/// How one process of the operator reaches members.
#[derive(Clone)]
pub(crate) struct Simulated {
    pub(crate) machines: Arc<Mutex<Machines>>,
    pub(crate) life: Life,
    pub(crate) faults: MemberFaults,
}

impl Simulated {
    /// A call that changes nothing.
    async fn read<T>(
        &self,
        what: &str,
        (contact, number): (&Contact, Number),
        read: impl FnOnce(&Machines, &Process) -> Result<T, No>,
    ) -> Result<T, MemberError> {
        self.begin(what, number).await?;
        let answer = {
            let machines = self.machines.lock();
            reached(&machines, contact, number).map(|process| read(&machines, process))
        };
        self.end(number, answer).await
    }

    /// A call that may change a cluster.
    async fn change<T>(
        &self,
        what: &str,
        (contact, number): (&Contact, Number),
        change: impl FnOnce(&mut Machines, u64) -> Result<T, No>,
    ) -> Result<T, MemberError> {
        let is_answered = self.begin(what, number).await?;
        let answer = {
            let mut machines = self.machines.lock();
            let cluster = reached(&machines, contact, number)
                .and_then(|process| machines.identity(process).map(|identity| identity.cluster));
            cluster.map(|cluster| change(&mut machines, cluster))
        };
        if let Some(Ok(_)) = &answer {
            self.life.wrote(what);
        }
        if !is_answered {
            tokio::time::sleep(SILENCE).await;
            let reason = "nothing was heard".to_owned();
            return self.life.or_never(Err(MemberError::Unanswered { number, reason })).await;
        }
        self.end(number, answer).await
    }

    /// Whether it will be answered.
    async fn begin(&self, what: &str, number: Number) -> Result<bool, MemberError> {
        tokio::time::sleep(LATENCY).await;
        self.life.or_never(()).await;
        let fault = (self.faults.lock())(what);
        match fault {
            MemberFault::Refused => {
                return Err(MemberError::Refused { number, reason: "not now".to_owned() });
            }
            MemberFault::Lost => return Err(silence(number).await),
            MemberFault::None | MemberFault::LostAfter => {}
        }
        Ok(fault == MemberFault::None)
    }

    async fn end<T>(
        &self,
        number: Number,
        answer: Option<Result<T, No>>,
    ) -> Result<T, MemberError> {
        let answer = match answer {
            None => Err(silence(number).await),
            Some(answer) => answer.map_err(|no| {
                let reason = format!("{no:?}");
                match no {
                    No::Unavailable => MemberError::Unanswered { number, reason },
                    _ => MemberError::Refused { number, reason },
                }
            }),
        };
        self.life.or_never(answer).await
    }
}

async fn silence(number: Number) -> MemberError {
    tokio::time::sleep(SILENCE).await;
    MemberError::Unreachable { number, reason: "nobody answers".to_owned() }
}

/// The process at a member's address, if it is that member's and the two trust each other.
fn reached<'a>(machines: &'a Machines, contact: &Contact, number: Number) -> Option<&'a Process> {
    let address = contact.addresses.get(&number)?;
    let process = machines.of_pod(&contact.names.namespace, &contact.names.pod(number))?;
    (process.address == *address && process.tls.takes(contact.files.as_deref())).then_some(process)
}

impl Members for Simulated {
    fn visit<'a>(&'a self, contact: &'a Contact, number: Number) -> BoxFuture<'a, Visit> {
        async move {
            let visit = self.read("visit", (contact, number), |machines, process| {
                let shown = process.tls.shown.map_or(Shown::Unknown, Shown::Certificate);
                let answer = says(machines, process).map_or(Answer::Silent, Answer::Says);
                Ok(Visit { answer, shown })
            });
            visit.await.unwrap_or_else(|_| Visit::in_vain())
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Listed, MemberError>> {
        self.read("list", (contact, through), |machines, process| {
            let identity = machines.identity(process).ok_or(No::Unavailable)?;
            let group = machines.list(identity.cluster)?;
            let members = group.members.iter().map(|member| ListedMember {
                id: member.id,
                name: member.name.clone(),
                peer_urls: vec![member.peer_url.clone()],
                is_learner: member.is_learner,
            });
            Ok(Listed { cluster_id: group.id, members: members.collect() })
        })
        .boxed()
    }

    fn alarms<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Vec<Alarm>, MemberError>> {
        self.read("alarms", (contact, through), |machines, process| {
            let identity = machines.identity(process).ok_or(No::Unavailable)?;
            let group = machines.list(identity.cluster)?;
            let alarms = group.alarms.iter().map(|(member, of)| {
                let kind = match of {
                    AlarmOf::Space => AlarmKind::NoSpace,
                    AlarmOf::Damage => AlarmKind::Corrupt,
                };
                Alarm { member: *member, kind }
            });
            Ok(alarms.collect())
        })
        .boxed()
    }

    fn add<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        peer_url: &'a str,
    ) -> BoxFuture<'a, Result<u64, MemberError>> {
        self.change("add", (contact, through), move |machines, cluster| {
            machines.add_learner(cluster, peer_url)
        })
        .boxed()
    }

    fn promote<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.change("promote", (contact, through), move |machines, cluster| {
            machines.promote(cluster, id)
        })
        .boxed()
    }

    fn remove<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.change("remove", (contact, through), move |machines, cluster| {
            machines.remove(cluster, id)
        })
        .boxed()
    }

    fn transfer<'a>(
        &'a self,
        contact: &'a Contact,
        from: Number,
        to_id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.change("transfer", (contact, from), move |machines, cluster| {
            machines.move_leader(cluster, to_id)
        })
        .boxed()
    }

    fn compact<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        revision: i64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        self.change("compact", (contact, through), move |machines, cluster| {
            machines.compact(cluster, revision)
        })
        .boxed()
    }
}

/// What a member says of itself, once it is one.
fn says(machines: &Machines, process: &Process) -> Option<Says> {
    let disk = machines.disks.get(&process.volume)?;
    let identity = disk.identity?;
    let group = machines.group(identity.cluster)?;
    let tag = process.image.rsplit(':').next().unwrap_or_default();
    Some(Says {
        member_id: identity.member,
        cluster_id: identity.cluster,
        leader: group.leader.unwrap_or_default(),
        term: disk.term,
        index: disk.index,
        applied: disk.index,
        revision: i64::try_from(disk.index).unwrap_or_default(),
        version: tag.to_owned(),
        db_size: 1 << 20,
    })
}
