//! Answers to `RangeRequest`, with etcd's order of steps.
//!
//! ```text
//!   fetch (limit + 1, unless sorted or filtered) → filter by revisions → sort → cut to limit
//! ```
//! Only what remains is read from the log: filters and most orders need the index alone.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_api::Error;
use quorate_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use quorate_api::mvccpb::KeyValue;

use super::index::Version;
use super::key_range::KeyRange;
use super::record::{self, Content};
use super::{Mvcc, ReadError};

/// Keys of one step of a [`RangeCursor`]: how long a reader may keep apply waiting.
pub const STEP_KEYS: usize = 512;
/// Bytes after which a step ends, with the record that reaches them.
pub const STEP_BYTES: u64 = 512 << 10;

/// What a range answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeOutcome {
    /// The header's revision: the store's, whatever revision was asked for.
    pub revision: i64,
    /// The encoded `KeyValue`s.
    pub kvs: Vec<Bytes>,
    /// Whether the limit left keys out.
    pub more: bool,
    /// Keys in the range, whatever limit and filters leave out.
    pub count: i64,
}

impl RangeOutcome {
    /// The message.
    ///
    /// # Errors
    /// [`ReadError::Damage`] if a record is no `KeyValue`.
    pub fn into_response(self) -> Result<RangeResponse, ReadError> {
        let kvs = self.kvs.iter().map(read_key_value).collect::<Result<_, _>>()?;
        Ok(RangeResponse {
            header: Some(ResponseHeader { revision: self.revision, ..ResponseHeader::default() }),
            kvs,
            more: self.more,
            count: self.count,
        })
    }
}

/// Decode a record's body.
pub(crate) fn read_key_value(body: &Bytes) -> Result<KeyValue, ReadError> {
    record::decode(body).map_err(|_| ReadError::not_a_record())
}

/// Whether keys come in ascending order anyway.
#[must_use]
pub fn is_default_order(request: &RangeRequest) -> bool {
    request.sort_order == SortOrder::None as i32
        || (request.sort_target == SortTarget::Key as i32
            && request.sort_order == SortOrder::Ascend as i32)
}

/// Whether keys are chosen by their revisions.
#[must_use]
pub fn has_revision_filters(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// A key that was found.
struct Hit {
    version: Version,
    /// Its bytes, if the index alone gave them.
    encoded: Option<Bytes>,
}

impl Mvcc {
    /// The revision at which a request for `revision` reads; 0 and below mean the current one.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] or [`Error::Compacted`].
    pub fn revision_for(&self, revision: i64) -> Result<i64, Error> {
        let current = self.read_revision();
        if revision > current {
            return Err(Error::FutureRevision);
        }
        let revision = if revision <= 0 { current } else { revision };
        if revision < self.compact_revision() { Err(Error::Compacted) } else { Ok(revision) }
    }

    /// Answer a range at once. Large ones keep apply waiting: see [`RangeCursor`].
    ///
    /// # Errors
    /// etcd's error for the revision, or damage.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeOutcome, ReadError> {
        let revision = self.revision_for(request.revision)?;
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let count = self.index().count(&range, revision).cast_signed();
        let mut outcome =
            RangeOutcome { revision: self.read_revision(), count, ..RangeOutcome::default() };
        if request.count_only {
            return Ok(outcome);
        }
        let sorted = !is_default_order(request) || has_revision_filters(request);
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let fetch = limit.filter(|_| !sorted).map_or(usize::MAX, |limit| limit.saturating_add(1));
        let mut hits = self.fetch(&range, revision, request, fetch);
        filter(&mut hits, request);
        self.sort(&mut hits, request)?;
        if let Some(limit) = limit
            && hits.len() > limit
        {
            hits.truncate(limit);
            outcome.more = true;
        }
        outcome.kvs = hits.iter().map(|hit| self.bytes(hit, request)).collect::<Result<_, _>>()?;
        Ok(outcome)
    }

    fn fetch(
        &self,
        range: &KeyRange,
        revision: i64,
        request: &RangeRequest,
        fetch: usize,
    ) -> Vec<Hit> {
        let by_index = request.keys_only && request.sort_target != SortTarget::Value as i32;
        let mut hits = Vec::new();
        self.index().visit(range, &mut |key, versions| {
            if let Some(version) = versions.at(revision) {
                let encoded = by_index.then(|| record::encode_key_only(key, &version));
                hits.push(Hit { version, encoded });
            }
            if hits.len() >= fetch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        hits
    }

    /// Sort what was fetched, which is in key order. Equal ones keep that order, also when the
    /// order descends; etcd promises none for them.
    fn sort(&self, hits: &mut Vec<Hit>, request: &RangeRequest) -> Result<(), ReadError> {
        let target = SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key);
        let descend = match SortOrder::try_from(request.sort_order).unwrap_or(SortOrder::None) {
            SortOrder::Descend => true,
            // Without an order, targets other than the key ascend.
            SortOrder::None | SortOrder::Ascend => false,
        };
        match target {
            SortTarget::Key => {
                if descend {
                    hits.reverse();
                }
            }
            SortTarget::Version => sort_by(hits, descend, |hit| hit.version.version),
            SortTarget::Create => sort_by(hits, descend, |hit| hit.version.create_revision),
            SortTarget::Mod => sort_by(hits, descend, |hit| hit.version.revision.main),
            SortTarget::Value => {
                let mut valued = Vec::with_capacity(hits.len());
                for hit in hits.drain(..) {
                    let value = read_key_value(&self.body(hit.version.revision)?)?.value;
                    valued.push((value, hit));
                }
                sort_by(&mut valued, descend, |(value, _)| value.clone());
                hits.extend(valued.into_iter().map(|(_, hit)| hit));
            }
        }
        Ok(())
    }

    fn bytes(&self, hit: &Hit, request: &RangeRequest) -> Result<Bytes, ReadError> {
        if let Some(encoded) = &hit.encoded {
            return Ok(encoded.clone());
        }
        let body = self.body(hit.version.revision)?;
        if !request.keys_only {
            return Ok(body);
        }
        let KeyValue { key, lease, .. } = read_key_value(&body)?;
        Ok(record::encode(&Content { key: &key, value: &[], lease }, &hit.version))
    }
}

fn sort_by<T, K: Ord>(items: &mut [T], descend: bool, key: impl Fn(&T) -> K) {
    if descend {
        items.sort_by_key(|item| Reverse(key(item)));
    } else {
        items.sort_by_key(key);
    }
}

fn filter(hits: &mut Vec<Hit>, request: &RangeRequest) {
    let within =
        |value: i64, min: i64, max: i64| (max == 0 || value <= max) && (min == 0 || value >= min);
    hits.retain(|Hit { version, .. }| {
        within(version.revision.main, request.min_mod_revision, request.max_mod_revision)
            && within(
                version.create_revision,
                request.min_create_revision,
                request.max_create_revision,
            )
    });
}

/// Whether a range is answered in steps. One that is sorted or filtered needs all of it first.
#[must_use]
pub fn is_stepped(request: &RangeRequest) -> bool {
    let sorted = !is_default_order(request) || request.sort_target != SortTarget::Key as i32;
    !request.count_only && !sorted && !has_revision_filters(request)
}

/// About as many bytes as the answer to a range needs: what a record has on average, for each key
/// that must be read. 0 for a single key, which is read in one step and counted then.
#[must_use]
pub fn estimated_bytes(mvcc: &Mvcc, request: &RangeRequest) -> u64 {
    if request.count_only || request.range_end.is_empty() {
        return 0;
    }
    let all = mvcc.index().count(&KeyRange::all(), mvcc.read_revision()).max(1);
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let found = mvcc.index().count(&range, mvcc.read_revision());
    let by_value = request.sort_target == SortTarget::Value as i32 && !is_default_order(request);
    let read = match u64::try_from(request.limit) {
        Ok(limit) if limit > 0 && !by_value => found.min(limit),
        Ok(_) | Err(_) => found,
    };
    read.saturating_mul(mvcc.log().live_bytes() / all)
}

/// A range that is answered in steps of at most [`STEP_KEYS`] keys and about [`STEP_BYTES`], between
/// which apply may go on.
/// All steps read at one revision.
#[derive(Debug)]
pub struct RangeCursor {
    request: RangeRequest,
    /// Where reading began and what is left; `None` before the first step.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    revision: i64,
    rest: KeyRange,
    outcome: RangeOutcome,
    /// Of the outcome's `KeyValue`s.
    bytes: u64,
}

impl RangeCursor {
    /// Begin a range.
    #[must_use]
    pub fn new(request: RangeRequest) -> Self {
        Self { request, begun: None }
    }

    /// Bytes of the `KeyValue`s that were gathered so far.
    #[must_use]
    pub fn gathered_bytes(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.bytes)
    }

    /// Do a step; the answer, once it is complete. If compaction overtakes a range of the current
    /// revision, it begins anew at the revision that is current then.
    ///
    /// # Errors
    /// etcd's error for the revision, or damage.
    pub fn step(&mut self, mvcc: &Mvcc) -> Result<Option<RangeOutcome>, ReadError> {
        let request = &self.request;
        if !is_stepped(request) {
            return mvcc.range(request).map(Some);
        }
        let overtaken = |begun: &mut Begun| begun.revision < mvcc.compact_revision();
        if self.begun.take_if(overtaken).is_some() && request.revision > 0 {
            return Err(Error::Compacted.into());
        }
        let begun = match &mut self.begun {
            Some(begun) => begun,
            none => {
                let revision = mvcc.revision_for(request.revision)?;
                let rest = KeyRange::new(request.key.clone(), request.range_end.clone());
                // A single key is counted where it is found.
                let is_single = request.range_end.is_empty();
                let count = if is_single { 0 } else { mvcc.index().count(&rest, revision) };
                let count = count.cast_signed();
                let header = mvcc.read_revision();
                let outcome = RangeOutcome { revision: header, count, ..RangeOutcome::default() };
                none.insert(Begun { revision, rest, outcome, bytes: 0 })
            }
        };
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let wanted = limit.unwrap_or(usize::MAX) - begun.outcome.kvs.len();
        let mut last = None;
        let mut seen = 0;
        let mut hits = Vec::new();
        mvcc.index().visit(&begun.rest, &mut |key, versions| {
            if seen == STEP_KEYS || hits.len() == wanted {
                return ControlFlow::Break(());
            }
            seen += 1;
            if let Some(version) = versions.at(begun.revision) {
                let encoded = request.keys_only.then(|| record::encode_key_only(key, &version));
                hits.push(Hit { version, encoded });
            }
            if seen == STEP_KEYS || hits.len() == wanted {
                last = Some(key.to_vec());
            }
            ControlFlow::Continue(())
        });
        if request.range_end.is_empty() {
            begun.outcome.count = i64::try_from(hits.len()).expect("a length fits");
        }
        let bytes_max = begun.bytes.saturating_add(STEP_BYTES);
        for hit in &hits {
            if let Some(kv) = begun.outcome.kvs.last().filter(|_| begun.bytes >= bytes_max) {
                last = Some(read_key_value(kv)?.key.to_vec());
                break;
            }
            let bytes = mvcc.bytes(hit, request)?;
            begun.bytes += bytes.len() as u64;
            begun.outcome.kvs.push(bytes);
        }
        let outcome = &mut begun.outcome;
        let full = limit.is_some_and(|limit| outcome.kvs.len() >= limit);
        match last {
            Some(last) if !full => {
                begun.rest = begun.rest.after(&last);
                Ok(None)
            }
            Some(_) | None => {
                let found = i64::try_from(outcome.kvs.len()).expect("a length fits");
                outcome.more = full && outcome.count > found;
                Ok(self.begun.take().map(|begun| begun.outcome))
            }
        }
    }
}
