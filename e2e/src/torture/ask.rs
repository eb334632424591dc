//! A client's requests to a member, over the wire.

use judge::history::{Body, Outcome, Refusal, Request, Response, WatchMessage};
use judge::wire;
use quorate_api::etcdserverpb as pb;
use quorate_client::{Client, Error, Watch};
use tokio::sync::mpsc::UnboundedReceiver;

/// What a client hears.
pub(super) enum Heard {
    /// What came on a watch stream.
    Message(WatchMessage),
    /// The stream's end.
    Ended,
}

/// Ask, and tell how it ended.
pub(super) async fn ask(client: &Client, request: &Request) -> Outcome {
    match call(client, request).await {
        Ok(Some((revision, body))) => Outcome::Ok(Response { revision, body }),
        Ok(None) => Outcome::Unknown,
        Err(error) => outcome_of(&error, request),
    }
}

async fn call(client: &Client, request: &Request) -> Result<Option<(i64, Body)>, Error> {
    let revision = |header: Option<pb::ResponseHeader>| header.map_or(0, |it| it.revision);
    Ok(match request {
        Request::Range(range) => {
            let answer = client.range(wire::range_request(range)).await?;
            let header = revision(answer.header);
            wire::range_body(answer).map(|body| (header, body))
        }
        Request::Put(put) => {
            let answer = client.put(wire::put_request(put)).await?;
            let prev_kv = answer.prev_kv.map(wire::key_value);
            Some((revision(answer.header), Body::Put { prev_kv }))
        }
        Request::DeleteRange(delete) => {
            let answer = client.delete_range(wire::delete_request(delete)).await?;
            let header = revision(answer.header);
            Some((header, wire::delete_body(answer)))
        }
        Request::Txn(txn) => {
            let answer = client.txn(wire::txn_request(txn)).await?;
            let header = revision(answer.header);
            wire::txn_body(answer).map(|body| (header, body))
        }
        Request::Compact { revision: to } => {
            let compact = pb::CompactionRequest { revision: *to, physical: false };
            Some((revision(client.compact(compact).await?.header), Body::Compact))
        }
        Request::LeaseGrant { id, ttl } => {
            let answer = client.lease_grant(pb::LeaseGrantRequest { id: *id, ttl: *ttl }).await?;
            let body = Body::LeaseGrant { id: answer.id, ttl: answer.ttl };
            Some((revision(answer.header), body))
        }
        Request::LeaseRevoke { id } => {
            let answer = client.lease_revoke(pb::LeaseRevokeRequest { id: *id }).await?;
            Some((revision(answer.header), Body::LeaseRevoke))
        }
        Request::LeaseKeepAlive { id } => {
            let answer = client.lease_keep_alive(pb::LeaseKeepAliveRequest { id: *id }).await?;
            let body = Body::LeaseKeepAlive { id: answer.id, ttl: answer.ttl };
            Some((revision(answer.header), body))
        }
        Request::LeaseTimeToLive { id, keys } => {
            let request = pb::LeaseTimeToLiveRequest { id: *id, keys: *keys };
            let answer = client.lease_time_to_live(request).await?;
            let body = Body::LeaseTimeToLive {
                id: answer.id,
                ttl: answer.ttl,
                granted_ttl: answer.granted_ttl,
                keys: answer.keys,
            };
            Some((revision(answer.header), body))
        }
    })
}

/// What an error says about its request.
fn outcome_of(error: &Error, request: &Request) -> Outcome {
    use quorate_api::Error as Etcd;
    let refusal = match error {
        Error::Etcd(Etcd::Compacted) => Refusal::Compacted,
        Error::Etcd(Etcd::FutureRevision) => Refusal::FutureRevision,
        Error::Etcd(Etcd::KeyNotFound) => Refusal::KeyNotFound,
        Error::Etcd(Etcd::LeaseNotFound) => Refusal::LeaseNotFound,
        Error::Etcd(Etcd::LeaseExists) => Refusal::LeaseExists,
        Error::Etcd(
            Etcd::EmptyKey
            | Etcd::DuplicateKey
            | Etcd::ValueProvided
            | Etcd::LeaseProvided
            | Etcd::TooManyOps
            | Etcd::LeaseTtlTooLarge
            | Etcd::InvalidSortOption,
        ) => Refusal::Invalid,
        error if !error.may_have_happened() => return Outcome::NotApplied,
        _ if only_reads(request) => return Outcome::NotApplied,
        _ => return Outcome::Unknown,
    };
    Outcome::Refused(refusal)
}

fn only_reads(request: &Request) -> bool {
    match request {
        Request::Range(_) | Request::LeaseTimeToLive { .. } => true,
        Request::Txn(txn) => !txn.may_write(),
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseKeepAlive { .. } => false,
    }
}

/// Carry a watch stream until either end closes it. What the client says comes from `said`.
pub(super) async fn watch(
    client: Client,
    mut said: UnboundedReceiver<WatchMessage>,
    mut hear: impl FnMut(Heard),
) {
    // A stream stands when its first watcher is asked for.
    let first = loop {
        match said.recv().await {
            Some(WatchMessage::CreateRequest(create)) => break create,
            Some(_) => {}
            None => return,
        }
    };
    if let Ok(mut watch) = client.watch(wire::watch_create(&first)).await {
        loop {
            tokio::select! {
                message = said.recv() => match message {
                    Some(message) => if tell(&watch, message).await.is_err() { break },
                    None => return,
                },
                response = watch.next() => match response {
                    Ok(response) => wire::watch_response(response)
                        .into_iter()
                        .for_each(|message| hear(Heard::Message(message))),
                    Err(_) => break,
                },
            }
        }
    }
    hear(Heard::Ended);
}

async fn tell(watch: &Watch, message: WatchMessage) -> Result<(), Error> {
    match message {
        WatchMessage::CreateRequest(create) => watch.create(wire::watch_create(&create)).await,
        WatchMessage::CancelRequest { watch_id } => watch.cancel(watch_id).await,
        WatchMessage::ProgressRequest => watch.request_progress().await,
        WatchMessage::Created { .. }
        | WatchMessage::CreateRefused { .. }
        | WatchMessage::Events { .. }
        | WatchMessage::Progress { .. }
        | WatchMessage::Canceled { .. } => Ok(()),
    }
}
