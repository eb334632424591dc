//! What a call must bring before its service sees it.

use std::time::Duration;

use http::{HeaderMap, Request};
use hyper::body::Incoming;
use quorate_api::Error;
use tonic::Status;

use super::status;
use crate::member::Member;
use crate::metrics::{self, CallKind};

/// Asks that there be a leader.
const HAS_LEADER: &str = "hasleader";
/// The version of the client's library.
const CLIENT_API_VERSION: &str = "client-api-version";
/// The client's patience, as gRPC says it.
const TIMEOUT: &str = "grpc-timeout";

/// What a learner serves; of ranges, only serializable ones, which their handler sees to.
const FOR_LEARNERS: [&str; 5] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// Whether the call is to end when there is no leader.
pub(super) fn wants_leader(headers: &HeaderMap) -> bool {
    headers.get(HAS_LEADER).is_some_and(|value| value.as_bytes() == b"true")
}

/// Whether the member has no vote, as it has applied.
pub(crate) fn is_learner(member: &Member) -> bool {
    let id = member.ids().member;
    member.known_members().members.iter().any(|known| known.id == id && known.is_learner)
}

/// Looks at each call first.
#[derive(Clone)]
pub(super) struct Admission {
    member: Member,
}

impl Admission {
    pub(super) fn new(member: Member) -> Self {
        Self { member }
    }

    /// How long the call may take, if it has one answer and its client says so.
    pub(super) fn check(
        &self,
        request: &Request<Incoming>,
        kind: Option<CallKind>,
    ) -> Result<Option<Duration>, Status> {
        let (path, headers) = (request.uri().path(), request.headers());
        if kind.is_some() && !FOR_LEARNERS.contains(&path) && is_learner(&self.member) {
            return Err(status::of(Error::NotSupportedForLearner));
        }
        let version = headers.get(CLIENT_API_VERSION);
        let version = version.map(|version| std::str::from_utf8(version.as_bytes())).transpose();
        let version = version.map_err(|_| status::of(Error::InvalidClientApiVersion))?;
        if let Some(kind) = kind {
            metrics::client_called(kind, version);
        }
        if wants_leader(headers) && self.member.leader().is_none() {
            return Err(status::of(Error::NoLeader));
        }
        let is_unary = kind == Some(CallKind::Unary);
        let timeout = headers.get(TIMEOUT).filter(|_| is_unary);
        Ok(timeout.and_then(|value| parse_timeout(value.to_str().ok()?)))
    }
}

/// At most eight digits and a unit; anything else is as if nothing were said.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(parse_timeout("5u"), Some(Duration::from_micros(5)));
        for bad in ["", "5", "S", "5x", "-5S", "123456789S", "5é", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
