//! Alarm: raise, clear, list; and what raised alarms forbid.

use bytes::Bytes;
use prost::Message;
use quorate_api::Error;
use quorate_api::etcdserverpb::alarm_request::AlarmAction;
use quorate_api::etcdserverpb::{AlarmRequest, AlarmResponse, AlarmType, TxnRequest};
use quorate_api::request::RequestKind;

use super::Context;
use crate::alarms::Alarms;
use crate::entry::{Reply, Touched};
use crate::mvcc::ReadError;
use crate::quota;

/// The error that a request which makes the store grow gets now.
pub(crate) fn error_of(alarms: &Alarms) -> Option<Error> {
    if alarms.is_raised(AlarmType::Corrupt) {
        Some(Error::Corrupt)
    } else if alarms.is_raised(AlarmType::Nospace) {
        Some(Error::NoSpace)
    } else {
        None
    }
}

/// Why a request is refused while alarms are raised. CORRUPT forbids everything about keys and
/// leases; NOSPACE what makes the store grow.
pub(crate) fn gate(
    alarms: &Alarms,
    kind: RequestKind,
    body: &Bytes,
) -> Result<Option<Error>, prost::DecodeError> {
    let Some(error) = error_of(alarms) else { return Ok(None) };
    let corrupt = error == Error::Corrupt;
    let refused = match kind {
        RequestKind::Put | RequestKind::LeaseGrant => true,
        RequestKind::Txn => corrupt || quota::txn_cost(&TxnRequest::decode(body.clone())?) > 0,
        RequestKind::Range
        | RequestKind::DeleteRange
        | RequestKind::Compaction
        | RequestKind::LeaseRevoke => corrupt,
        _ => false,
    };
    Ok(refused.then_some(error))
}

impl Context<'_> {
    pub(super) fn alarm(&mut self, request: &AlarmRequest) -> Result<Reply, ReadError> {
        let AlarmRequest { action, member_id, alarm } = *request;
        let alarms = &mut self.store.tables.alarms;
        let before = alarms.clone();
        let listed = match AlarmAction::try_from(action) {
            Ok(AlarmAction::Get) => alarms.get(alarm),
            Ok(AlarmAction::Activate) if alarm == AlarmType::None as i32 => Vec::new(),
            Ok(AlarmAction::Activate) => vec![alarms.activate(alarm, member_id)],
            Ok(AlarmAction::Deactivate) => {
                alarms.deactivate(alarm, member_id).into_iter().collect()
            }
            Err(_) => Vec::new(),
        };
        if *alarms != before {
            self.changes.alarms = Touched::Yes;
        }
        Ok(Reply::Alarm(AlarmResponse { header: self.header(), alarms: listed }))
    }
}
