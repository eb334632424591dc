//! Members that are pods, asked over the wire.
//!
//! Each call makes a connection of its own. So what is observed is what a client meets now, and the
//! certificate that is shown is the one that the member has loaded.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use quorate_api::etcdserverpb as pb;
use quorate_client::{Client, Error, Options};

use super::connector::{self, Connector};
use super::{Contact, Listed, ListedMember, MemberError, Members, Visit};
use crate::cluster::names::{CLIENT_PORT, Scheme};
use crate::cluster::observed::{Alarm, AlarmKind, Answer, Number, Says};
use crate::tls::Fingerprint;
use crate::tls::managed::Shown;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer may take that changes nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer may take that changes something.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(7);

/// Members that are pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remote;

/// A client of one member, and what it was shown.
struct Line {
    number: Number,
    client: Client,
    shown: Arc<Mutex<Option<Fingerprint>>>,
    timeout: Duration,
}

impl Line {
    fn open(contact: &Contact, number: Number, timeout: Duration) -> Result<Self, MemberError> {
        let unreachable = |reason: String| MemberError::Unreachable { number, reason };
        let address = contact.addresses.get(&number).copied();
        let address = address.ok_or_else(|| unreachable("it has no pod".to_owned()))?;
        let tls = match (contact.scheme, &contact.files) {
            (Scheme::Http, _) => None,
            (Scheme::Https, Some(files)) => {
                Some(connector::tls(files).map_err(|error| unreachable(error.to_string()))?)
            }
            (Scheme::Https, None) => {
                return Err(unreachable("the operator has no certificate yet".to_owned()));
            }
        };
        let shown = Arc::default();
        let connector = Connector { address, tls, shown: Arc::clone(&shown) };
        let host = contact.names.host(number);
        let url = format!("{}://{host}:{CLIENT_PORT}", contact.scheme.as_str());
        let options = Options {
            connect_timeout: CONNECT_TIMEOUT,
            call_timeout: timeout,
            ..Options::default()
        };
        let client = Client::connect_with(&[url], options, &connector)
            .map_err(|error| unreachable(error.to_string()))?;
        Ok(Self { number, client, shown, timeout })
    }

    /// A call with its deadline, which counts for the connection, too.
    async fn call<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, MemberError> {
        let number = self.number;
        let answer = match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Deadline),
        };
        answer.map_err(|error| {
            let reason = error.to_string();
            match error {
                Error::Unreachable(_) => MemberError::Unreachable { number, reason },
                error if error.may_have_happened() => MemberError::Unanswered { number, reason },
                _ => MemberError::Refused { number, reason },
            }
        })
    }
}

impl Members for Remote {
    fn visit<'a>(&'a self, contact: &'a Contact, number: Number) -> BoxFuture<'a, Visit> {
        async move {
            let Ok(line) = Line::open(contact, number, READ_TIMEOUT) else {
                return Visit::in_vain();
            };
            let answer = match line.call(line.client.status()).await {
                Ok(status) => says(status).map_or(Answer::Silent, Answer::Says),
                Err(error) => {
                    let names = &contact.names;
                    tracing::debug!(
                        namespace = names.namespace,
                        cluster = names.cluster,
                        %error,
                        "a member does not say how it is"
                    );
                    Answer::Silent
                }
            };
            let shown = line.shown.lock().map_or(Shown::Unknown, Shown::Certificate);
            Visit { answer, shown }
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Listed, MemberError>> {
        async move {
            let line = Line::open(contact, through, READ_TIMEOUT)?;
            let request = pb::MemberListRequest { linearizable: true };
            let list = line.call(line.client.member_list(request)).await?;
            let members = list.members.into_iter().map(|member| ListedMember {
                id: member.id,
                name: member.name,
                peer_urls: member.peer_urls,
                is_learner: member.is_learner,
            });
            let cluster_id = list.header.map_or(0, |header| header.cluster_id);
            Ok(Listed { cluster_id, members: members.collect() })
        }
        .boxed()
    }

    fn alarms<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Vec<Alarm>, MemberError>> {
        async move {
            let line = Line::open(contact, through, READ_TIMEOUT)?;
            // An empty request lists all alarms of all members.
            let answer = line.call(line.client.alarm(pb::AlarmRequest::default())).await?;
            Ok(answer.alarms.iter().filter_map(alarm).collect())
        }
        .boxed()
    }

    fn add<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        peer_url: &'a str,
    ) -> BoxFuture<'a, Result<u64, MemberError>> {
        async move {
            let line = Line::open(contact, through, CHANGE_TIMEOUT)?;
            let request =
                pb::MemberAddRequest { peer_urls: vec![peer_url.to_owned()], is_learner: true };
            let answer = line.call(line.client.member_add(request)).await?;
            Ok(answer.member.map_or(0, |member| member.id))
        }
        .boxed()
    }

    fn promote<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        async move {
            let line = Line::open(contact, through, CHANGE_TIMEOUT)?;
            let request = pb::MemberPromoteRequest { id };
            line.call(line.client.member_promote(request)).await.map(drop)
        }
        .boxed()
    }

    fn remove<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        async move {
            let line = Line::open(contact, through, CHANGE_TIMEOUT)?;
            let request = pb::MemberRemoveRequest { id };
            line.call(line.client.member_remove(request)).await.map(drop)
        }
        .boxed()
    }

    fn transfer<'a>(
        &'a self,
        contact: &'a Contact,
        from: Number,
        to_id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        async move {
            let line = Line::open(contact, from, CHANGE_TIMEOUT)?;
            let request = pb::MoveLeaderRequest { target_id: to_id };
            line.call(line.client.move_leader(request)).await.map(drop)
        }
        .boxed()
    }

    fn compact<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        revision: i64,
    ) -> BoxFuture<'a, Result<(), MemberError>> {
        async move {
            let line = Line::open(contact, through, CHANGE_TIMEOUT)?;
            let request = pb::CompactionRequest { revision, physical: false };
            line.call(line.client.compact(request)).await.map(drop)
        }
        .boxed()
    }
}

/// What a status says; nothing, if it does not even say whose it is.
fn says(status: pb::StatusResponse) -> Option<Says> {
    let header = status.header?;
    Some(Says {
        member_id: header.member_id,
        cluster_id: header.cluster_id,
        leader: status.leader,
        term: status.raft_term,
        index: status.raft_index,
        applied: status.raft_applied_index,
        revision: header.revision,
        version: status.version,
        db_size: u64::try_from(status.db_size).unwrap_or_default(),
    })
}

fn alarm(alarm: &pb::AlarmMember) -> Option<Alarm> {
    let kind = match alarm.alarm() {
        pb::AlarmType::None => return None,
        pb::AlarmType::Nospace => AlarmKind::NoSpace,
        pb::AlarmType::Corrupt => AlarmKind::Corrupt,
    };
    Some(Alarm { member: alarm.member_id, kind })
}
