//! Errors as clients of etcd know them: by code and text.

use quorate_api::{Code, Error};
use quorate_store::log::Damage;
use quorate_store::mvcc::ReadError;
use tonic::Status;

use crate::member::Member;

/// The status of an error.
#[must_use]
pub(super) fn of(error: Error) -> Status {
    Status::new(tonic_code(error.code()), error.message())
}

/// The status of a read that failed.
#[must_use]
pub(super) fn of_read(member: &Member, error: ReadError) -> Status {
    match error {
        ReadError::Refused(error) => of(error),
        ReadError::Damage(damage) => of_damage(member, &damage),
    }
}

/// The status of a read that found damage, of which the member is told. Damage of the disk is not
/// etcd's to name: its text says what is damaged.
#[must_use]
pub(super) fn of_damage(member: &Member, damage: &Damage) -> Status {
    member.found_damage(damage);
    Status::data_loss(damage.to_string())
}

fn tonic_code(code: Code) -> tonic::Code {
    match code {
        Code::Ok => tonic::Code::Ok,
        Code::Canceled => tonic::Code::Cancelled,
        Code::Unknown => tonic::Code::Unknown,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Internal => tonic::Code::Internal,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
    }
}

/// What etcd's server answers to a message above its limit, from what tonic says of it, if `text`
/// says this.
#[must_use]
pub(super) fn too_large(text: &str) -> Option<String> {
    let rest = text.strip_prefix("Error, decoded message length too large: found ")?;
    let (found, rest) = rest.split_once(" bytes, the limit is: ")?;
    let limit = rest.strip_suffix(" bytes")?;
    Some(format!("grpc: received message larger than max ({found} vs. {limit})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_numbers() {
        for error in Error::ALL {
            let status = of(error);
            assert_eq!(status.code() as u32, error.code().number());
            assert_eq!(status.message(), error.message());
        }
    }

    #[test]
    fn large_messages_are_refused_in_etcds_words() {
        let text = "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes";
        let expected = "grpc: received message larger than max (9 vs. 8)";
        assert_eq!(too_large(text).as_deref(), Some(expected));
        assert_eq!(too_large("request is too large"), None);
    }
}
