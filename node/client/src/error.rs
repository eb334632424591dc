//! Why a call failed.

use std::error::Error as _;

use quorate_api::Code;
use tonic::{ConnectError, Status, TimeoutExpired};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The member answered with an error of etcd's table.
    #[error(transparent)]
    Etcd(#[from] quorate_api::Error),
    /// No endpoint could be reached; nothing was sent.
    #[error("no endpoint can be reached: {0}")]
    Unreachable(String),
    /// No answer within the deadline. What was asked may have happened.
    #[error("no answer within the deadline")]
    Deadline,
    /// Any other failure: an error outside the table, or a connection that broke.
    #[error("{message} ({code:?})")]
    Status {
        /// The code of the answer, or the one that the transport gave the failure.
        code: Code,
        /// The text.
        message: String,
    },
    /// An endpoint is not a URL, or there is none.
    #[error("invalid endpoint: {0}")]
    Endpoint(String),
    /// A token has characters that a header cannot carry.
    #[error("the token is not printable ASCII")]
    Token,
    /// The member ended a stream that should have gone on.
    #[error("the stream ended")]
    StreamEnded,
}

impl Error {
    /// Whether what was asked may have happened all the same: `false` is a promise that it has not
    /// and will not.
    ///
    /// A refusal of etcd's table is a promise, but for those that stand for a lost answer.
    pub fn may_have_happened(&self) -> bool {
        use quorate_api::Error as Etcd;
        match self {
            Self::Etcd(error) => matches!(
                error,
                Etcd::Timeout
                    | Etcd::TimeoutDueToLeaderFail
                    | Etcd::TimeoutDueToConnectionLost
                    | Etcd::LeaderChanged
                    | Etcd::Stopped
                    | Etcd::Canceled
                    | Etcd::DeadlineExceeded
                    | Etcd::Corrupt
            ),
            Self::Unreachable(_) | Self::Endpoint(_) | Self::Token => false,
            Self::Deadline | Self::Status { .. } | Self::StreamEnded => true,
        }
    }

    /// Whether another member might answer a call that only reads.
    pub(crate) fn is_about_member(&self) -> bool {
        match self {
            Self::Etcd(error) => error.code() == Code::Unavailable,
            Self::Unreachable(_) | Self::Deadline => true,
            Self::Status { code, .. } => *code == Code::Unavailable,
            Self::Endpoint(_) | Self::Token | Self::StreamEnded => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Some(error) = quorate_api::Error::from_message(status.message()) {
            return Self::Etcd(error);
        }
        let mut source = status.source();
        while let Some(error) = source {
            if error.is::<ConnectError>() {
                return Self::Unreachable(with_cause(status.message(), error));
            }
            if error.is::<TimeoutExpired>() {
                return Self::Deadline;
            }
            source = error.source();
        }
        let code = u32::try_from(status.code() as i32).ok().and_then(Code::from_number);
        // A member's answer has no cause: what has one is a connection that broke.
        let is_broken = status.source().is_some();
        match code.unwrap_or(Code::Unknown) {
            Code::DeadlineExceeded => Self::Deadline,
            Code::Unknown | Code::Canceled if is_broken => Self::Status {
                code: Code::Unavailable,
                message: with_cause(status.message(), &status),
            },
            code => Self::Status { code, message: with_cause(status.message(), &status) },
        }
    }
}

/// A text with what led to it, so far as it does not say that itself.
fn with_cause(text: &str, error: &dyn std::error::Error) -> String {
    let mut text = text.to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
