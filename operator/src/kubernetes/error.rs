//! Why a call failed, by what can be done about it.

use std::fmt;

/// How the API server refuses to change an object's uid.
const UID_CHANGED: &str = "metadata.uid: Invalid value";

/// A call that failed.
#[derive(Debug)]
pub struct Error {
    /// The call, in words.
    call: String,
    /// What kind of failure it is.
    kind: ErrorKind,
    /// What the API server says, or what happened on the way.
    reason: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object, its kind or its namespace is not there.
    Missing,
    /// There is one of this name already.
    Exists,
    /// The object is not the one, or not as new as the one, that was looked at; or somebody else
    /// says something else about it.
    Conflict,
    /// There is an object of this name that belongs to somebody else.
    NotOurs,
    /// The operator may not do it.
    Forbidden,
    /// The object cannot be so.
    Invalid,
    /// The API server has too much to do.
    Busy,
    /// The API server cannot be reached, does not answer in time, or has trouble of its own. What
    /// was asked may have happened.
    Away,
}

impl Error {
    /// A failure of a kind.
    pub(crate) fn new(call: impl Into<String>, kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { call: call.into(), kind, reason: reason.into() }
    }

    /// What a client says.
    pub(crate) fn of(call: impl Into<String>, error: &kube::Error) -> Self {
        let (kind, reason) = match error {
            kube::Error::Api(status) => {
                let kind = match (status.code, status.reason.as_str()) {
                    (404 | 410, _) => ErrorKind::Missing,
                    // A patch that names a uid would change it, where the object is another one.
                    (422, _) if status.message.contains(UID_CHANGED) => ErrorKind::Conflict,
                    (409, "AlreadyExists") => ErrorKind::Exists,
                    (409, _) => ErrorKind::Conflict,
                    (401 | 403, _) => ErrorKind::Forbidden,
                    (400 | 405 | 415 | 422, _) => ErrorKind::Invalid,
                    (429, _) => ErrorKind::Busy,
                    _ => ErrorKind::Away,
                };
                (kind, status.message.clone())
            }
            other => (ErrorKind::Away, with_causes(other)),
        };
        Self::new(call, kind, reason)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// An error with what led to it, so far as it does not say that itself.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
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

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.call, self.reason)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::{Error, ErrorKind};

    #[test]
    fn a_patch_of_an_object_that_was_made_anew_is_a_conflict() {
        let kind = |code: u16, reason: &str, message: &str| {
            let status = Status::failure(message, reason).with_code(code);
            Error::of("patch", &kube::Error::Api(Box::new(status))).kind()
        };
        let changed = "Pod \"demo-0-0\" is invalid: metadata.uid: Invalid value: \"a\": field is \
                       immutable";
        assert_eq!(kind(422, "Invalid", changed), ErrorKind::Conflict);
        let wrong = "Pod \"demo-0-0\" is invalid: metadata.labels: Invalid value: \"a\"";
        assert_eq!(kind(422, "Invalid", wrong), ErrorKind::Invalid);
        assert_eq!(kind(409, "Conflict", "modified"), ErrorKind::Conflict);
        assert_eq!(kind(409, "AlreadyExists", "there"), ErrorKind::Exists);
        assert_eq!(kind(404, "NotFound", "gone"), ErrorKind::Missing);
    }
}
