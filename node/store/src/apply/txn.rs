//! Txn: compares choose a branch, then its operations run in order.
//!
//! ```text
//!   all compares, nested ones too, on the state before   → path: a branch for each transaction
//!   all operations on the path are checked               → an error changes nothing
//!   all operations on the path run, each sees the ones before it, in one revision
//! ```

use std::cmp::Ordering;
use std::ops::ControlFlow;

use quorate_api::Error;
use quorate_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::response_op::Response;
use quorate_api::etcdserverpb::{
    Compare, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
    TxnResponse,
};

use super::{Context, header, put};
use crate::entry::{Answer, Reply};
use crate::log::Damage;
use crate::mvcc::index::Version;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::range::read_key_value;
use crate::mvcc::{Mvcc, ReadError};
use crate::store::Store;

/// The branch of each transaction, in the order in which they run.
type Path = Vec<Branch>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    Success,
    Failure,
}

impl Branch {
    fn of(self, request: &TxnRequest) -> &[RequestOp] {
        match self {
            Self::Success => &request.success,
            Self::Failure => &request.failure,
        }
    }
}

/// Answer a transaction that has nothing but ranges.
pub(crate) fn read(mvcc: &Mvcc, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
    assert!(super::check::is_read_only(request), "the transaction only reads");
    let branch = branch_of(mvcc, request)?;
    let ranges = || {
        branch.of(request).iter().filter_map(|op| match &op.request {
            Some(Request::RequestRange(range)) => Some(range),
            _ => None,
        })
    };
    ranges().try_for_each(|range| check_range(mvcc, range))?;
    let responses = ranges()
        .map(|range| Ok(respond(Response::ResponseRange(mvcc.range(range)?.into_response()?))))
        .collect::<Result<_, ReadError>>()?;
    Ok(TxnResponse {
        header: header(mvcc.read_revision()),
        succeeded: branch == Branch::Success,
        responses,
    })
}

fn respond(response: Response) -> ResponseOp {
    ResponseOp { response: Some(response) }
}

/// Whether a range's revision is there. Negative ones mean the current revision to a range that
/// runs, but are compared as they are here: so does etcd.
fn check_range(mvcc: &Mvcc, range: &RangeRequest) -> Result<(), Error> {
    if range.revision == 0 {
        Ok(())
    } else if range.revision > mvcc.current_revision() {
        Err(Error::FutureRevision)
    } else if range.revision < mvcc.compact_revision() {
        Err(Error::Compacted)
    } else {
        Ok(())
    }
}

fn find_path(mvcc: &Mvcc, request: &TxnRequest, path: &mut Path) -> Result<(), Damage> {
    let branch = branch_of(mvcc, request)?;
    path.push(branch);
    for op in branch.of(request) {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            find_path(mvcc, nested, path)?;
        }
    }
    Ok(())
}

fn branch_of(mvcc: &Mvcc, request: &TxnRequest) -> Result<Branch, Damage> {
    for compare in &request.compare {
        if !holds(mvcc, compare)? {
            return Ok(Branch::Failure);
        }
    }
    Ok(Branch::Success)
}

/// Whether a compare holds for all keys of its range. An absent key compares as zeros, but its
/// value as nothing: that never holds.
fn holds(mvcc: &Mvcc, compare: &Compare) -> Result<bool, Damage> {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let revision = mvcc.read_revision();
    let (mut any, mut outcome) = (false, Ok(true));
    mvcc.index().visit(&range, &mut |_, versions| {
        if let Some(version) = versions.at(revision) {
            any = true;
            outcome = compare_key(mvcc, compare, &version);
        }
        if outcome == Ok(true) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if any {
        return outcome;
    }
    match target(compare) {
        Some(CompareTarget::Value) => Ok(false),
        _ => Ok(decide(compare, compare_number(compare, 0))),
    }
}

fn target(compare: &Compare) -> Option<CompareTarget> {
    CompareTarget::try_from(compare.target).ok()
}

fn compare_key(mvcc: &Mvcc, compare: &Compare, version: &Version) -> Result<bool, Damage> {
    let read = || match read_key_value(&mvcc.body(version.revision)?) {
        Ok(kv) => Ok(kv),
        Err(ReadError::Damage(damage)) => Err(damage),
        Err(ReadError::Refused(_)) => unreachable!("reading a record refuses nothing"),
    };
    let ordering = match target(compare) {
        Some(CompareTarget::Version) => compare_number(compare, version.version),
        Some(CompareTarget::Create) => compare_number(compare, version.create_revision),
        Some(CompareTarget::Mod) => compare_number(compare, version.revision.main),
        Some(CompareTarget::Lease) => compare_number(compare, read()?.lease),
        Some(CompareTarget::Value) => {
            let wanted = match &compare.target_union {
                Some(TargetUnion::Value(value)) => value.as_ref(),
                _ => &[],
            };
            read()?.value.as_ref().cmp(wanted)
        }
        None => Ordering::Equal,
    };
    Ok(decide(compare, ordering))
}

/// Compare with the operand, which is zero if it is not the target's.
fn compare_number(compare: &Compare, found: i64) -> Ordering {
    let wanted = match (target(compare), &compare.target_union) {
        (Some(CompareTarget::Version), Some(TargetUnion::Version(wanted)))
        | (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(wanted)))
        | (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(wanted)))
        | (Some(CompareTarget::Lease), Some(TargetUnion::Lease(wanted))) => *wanted,
        (None, _) => return Ordering::Equal,
        (Some(_), _) => 0,
    };
    found.cmp(&wanted)
}

fn decide(compare: &Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        // etcd lets what it does not know hold.
        Err(_) => true,
    }
}

/// Check everything on the path against the state before.
fn check(
    store: &Store,
    request: &TxnRequest,
    path: &mut impl Iterator<Item = Branch>,
) -> Result<(), Error> {
    for op in next_branch(path).of(request) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(store.mvcc(), range)?,
            Some(Request::RequestPut(put)) => put::check(store, put)?,
            Some(Request::RequestTxn(nested)) => check(store, nested, path)?,
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

fn next_branch(path: &mut impl Iterator<Item = Branch>) -> Branch {
    path.next().expect("the path has a branch for each transaction on it")
}

impl Context<'_> {
    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<Reply, ReadError> {
        let mut path = Path::new();
        find_path(&self.store.mvcc, request, &mut path)?;
        check(self.store, request, &mut path.iter().copied())?;
        let mut response = match self.run(request, &mut path.into_iter()) {
            Err(ReadError::Refused(error)) => unreachable!("checked before: {error}"),
            outcome => outcome?,
        };
        self.commit();
        response.header = self.header();
        Ok(Reply::Txn(response))
    }

    fn run(
        &mut self,
        request: &TxnRequest,
        path: &mut impl Iterator<Item = Branch>,
    ) -> Result<TxnResponse, ReadError> {
        let branch = next_branch(path);
        let mut responses = Vec::with_capacity(branch.of(request).len());
        for op in branch.of(request) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => {
                    Some(Response::ResponseRange(self.range_in_txn(range)?))
                }
                Some(Request::RequestPut(put)) => {
                    Some(Response::ResponsePut(self.put_checked(put)?))
                }
                Some(Request::RequestDeleteRange(delete)) => {
                    Some(Response::ResponseDeleteRange(self.delete_checked(delete)?))
                }
                Some(Request::RequestTxn(nested)) => {
                    Some(Response::ResponseTxn(self.run(nested, path)?))
                }
                None => None,
            };
            responses.push(ResponseOp { response });
        }
        Ok(TxnResponse {
            // Nested ones keep it empty, as etcd's do.
            header: Some(ResponseHeader::default()),
            succeeded: branch == Branch::Success,
            responses,
        })
    }

    fn range_in_txn(&self, range: &RangeRequest) -> Result<RangeResponse, ReadError> {
        let mvcc = &self.store.mvcc;
        match self.answer {
            Answer::Wanted => mvcc.range(range)?.into_response(),
            Answer::Unwanted => Ok(RangeResponse {
                header: header(mvcc.read_revision()),
                ..RangeResponse::default()
            }),
        }
    }
}
