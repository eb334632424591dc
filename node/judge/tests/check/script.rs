//! Histories written by hand: times in milliseconds, one client, members by number.

use bytes::Bytes;
use judge::check::Rule;
use judge::check::linearizable::{self, Linearization, Witness};
use judge::history::{
    Body, ClientId, Event, EventKind, History, KeyRange, KeyValue, MemberId, OperationId, Outcome,
    Put, Range, RangeResult, Request, Response, Session, StreamId, Time, WatchCreate, WatchMessage,
};

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) history: History,
}

pub(crate) fn session(member: u64) -> Session {
    Session { client: ClientId(1), member: MemberId(member), incarnation: 0 }
}

pub(crate) fn kv(key: &str, value: &str, create: i64, modified: i64, version: i64) -> KeyValue {
    KeyValue {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        create_revision: create,
        mod_revision: modified,
        version,
        lease: 0,
    }
}

pub(crate) fn put_event(kv: KeyValue) -> Event {
    let (key, mod_revision) = (kv.key.clone(), kv.mod_revision);
    Event { key, mod_revision, kind: EventKind::Put(kv), prev_kv: None }
}

pub(crate) fn delete_event(key: &str, mod_revision: i64) -> Event {
    let key = Bytes::from(key.to_owned());
    Event { key, mod_revision, kind: EventKind::Delete, prev_kv: None }
}

pub(crate) fn found(kvs: Vec<KeyValue>) -> Body {
    let count = kvs.len() as i64;
    Body::Range(RangeResult { kvs, count, more: false })
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn outcome(
        &mut self,
        times: (u64, u64),
        session: Session,
        request: Request,
        outcome: Outcome,
    ) -> OperationId {
        let id = self.history.invoke(Time::from_millis(times.0), session, request);
        self.history.complete(id, Time::from_millis(times.1), outcome);
        id
    }

    pub(crate) fn answer(
        &mut self,
        times: (u64, u64),
        request: Request,
        revision: i64,
        body: Body,
    ) -> &mut Self {
        let outcome = Outcome::Ok(Response { revision, body });
        self.outcome(times, session(1), request, outcome);
        self
    }

    pub(crate) fn put(
        &mut self,
        times: (u64, u64),
        key: &str,
        value: &str,
        revision: i64,
    ) -> &mut Self {
        let request = Request::Put(Put::new(key.to_owned(), value.to_owned()));
        self.answer(times, request, revision, Body::Put { prev_kv: None })
    }

    pub(crate) fn delete(&mut self, times: (u64, u64), key: &str, revision: i64) -> &mut Self {
        let keys = KeyRange::single(key.to_owned());
        let request = Request::DeleteRange(judge::history::DeleteRange { keys, prev_kv: false });
        self.answer(times, request, revision, Body::DeleteRange { deleted: 1, prev_kvs: vec![] })
    }

    pub(crate) fn get(
        &mut self,
        times: (u64, u64),
        key: &str,
        revision: i64,
        kvs: Vec<KeyValue>,
    ) -> &mut Self {
        let request = Request::Range(Range::current(KeyRange::single(key.to_owned())));
        self.answer(times, request, revision, found(kvs))
    }

    pub(crate) fn compact(&mut self, times: (u64, u64), to: i64, revision: i64) -> &mut Self {
        self.answer(times, Request::Compact { revision: to }, revision, Body::Compact)
    }

    pub(crate) fn watch(&mut self, time: u64, create: WatchCreate, revision: i64) -> StreamId {
        let time = Time::from_millis(time);
        let stream = self.history.open_stream(time, session(1));
        self.history.message(stream, time, WatchMessage::CreateRequest(create));
        self.history.message(stream, time, WatchMessage::Created { watch_id: 0, revision });
        stream
    }

    pub(crate) fn events(
        &mut self,
        stream: StreamId,
        time: u64,
        revision: i64,
        events: Vec<Event>,
    ) -> &mut Self {
        let message = WatchMessage::Events { watch_id: 0, revision, fragment: false, events };
        self.history.message(stream, Time::from_millis(time), message);
        self
    }

    pub(crate) fn progress(&mut self, stream: StreamId, time: u64, revision: i64) -> &mut Self {
        let message = WatchMessage::Progress { watch_id: -1, revision };
        self.history.message(stream, Time::from_millis(time), message);
        self
    }

    pub(crate) fn linearize(&self) -> Linearization {
        linearizable::check(&self.history, &Witness::new()).expect("the order is not the lie")
    }
}

/// Compares what was found with what should have been.
#[track_caller]
pub(crate) fn expect(
    name: &str,
    result: Result<(), judge::check::Violation>,
    wanted: Option<Rule>,
) {
    match (&result, wanted) {
        (Ok(()), None) => {}
        (Err(violation), Some(rule)) if violation.rule == rule => {
            assert!(violation.to_string().contains(&format!("{rule:?}")));
        }
        _ => panic!("{name}: wanted {wanted:?}, got {result:?}"),
    }
}
