//! Why a transfer failed, in one word and in words.
//!
//! The words stand in conditions and Events. People look for what they can change (credentials, a
//! bucket, room), so that is what errors are sorted by, whichever library they come from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kubernetes::with_causes;

/// Why something failed, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The destination does not know the credentials, or they are not those of its owner.
    WrongCredentials,
    /// The credentials are known, and may not do this.
    AccessDenied,
    /// The bucket, the container or the claim is not there.
    NoSuchBucket,
    /// The file is not there.
    NoSuchObject,
    /// The destination has no room.
    DestinationFull,
    /// The destination cannot be reached, or the connection was cut too often.
    DestinationUnreachable,
    /// The destination answered with an error of another kind.
    DestinationFailed,
    /// What was named is none: a Secret without a key, an endpoint that is no URL.
    Misconfigured,
    /// No member could be asked, or the connection to it was cut.
    MemberUnreachable,
    /// The member answered with an error.
    MemberFailed,
    /// The member is of another cluster.
    OtherCluster,
    /// What arrived is not what was sent.
    Damaged,
    /// What was restored differs from what was backed up.
    Differs,
    /// No member can be made of it.
    NotRestorable,
    /// It was told to end.
    Interrupted,
    /// The pod that was to do it does not run.
    PodDoesNotRun,
    /// The pod ended without saying why.
    PodFailed,
    /// The local disk failed.
    LocalDisk,
}

impl Cause {
    /// As it stands in conditions and Events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongCredentials => "WrongCredentials",
            Self::AccessDenied => "AccessDenied",
            Self::NoSuchBucket => "NoSuchBucket",
            Self::NoSuchObject => "NoSuchObject",
            Self::DestinationFull => "DestinationFull",
            Self::DestinationUnreachable => "DestinationUnreachable",
            Self::DestinationFailed => "DestinationFailed",
            Self::Misconfigured => "Misconfigured",
            Self::MemberUnreachable => "MemberUnreachable",
            Self::MemberFailed => "MemberFailed",
            Self::OtherCluster => "OtherCluster",
            Self::Damaged => "Damaged",
            Self::Differs => "Differs",
            Self::NotRestorable => "NotRestorable",
            Self::Interrupted => "Interrupted",
            Self::PodDoesNotRun => "PodDoesNotRun",
            Self::PodFailed => "PodFailed",
            Self::LocalDisk => "LocalDisk",
        }
    }

    /// Whether it says of the backup itself that it is of no use.
    #[must_use]
    pub fn condemns(self) -> bool {
        matches!(self, Self::Damaged | Self::Differs | Self::NotRestorable | Self::NoSuchObject)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Characters of a message that are kept: a report has to fit into a pod's status.
const MESSAGE_CHARACTERS_MAX: usize = 1000;

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// In one word.
    pub cause: Cause,
    /// In words.
    pub message: String,
}

impl Failure {
    /// With a message of a bounded length.
    #[must_use]
    pub fn new(cause: Cause, message: impl fmt::Display) -> Self {
        let message: String = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let is_long = message.chars().count() > MESSAGE_CHARACTERS_MAX;
        let mut kept: String = message.chars().take(MESSAGE_CHARACTERS_MAX).collect();
        if is_long {
            kept.push('…');
        }
        Self { cause, message: kept }
    }

    /// Of a store's error, about something that is named.
    #[must_use]
    pub fn of_store(what: &str, error: &object_store::Error) -> Self {
        let text = with_causes(error);
        Self::new(of_store(error, &text), format!("{what}: {text}"))
    }

    /// Of a member's error.
    #[must_use]
    pub fn of_member(endpoint: &str, error: &quorate_client::Error) -> Self {
        use quorate_client::Error;

        let cause = match error {
            Error::Unreachable(_) | Error::Deadline | Error::StreamEnded => {
                Cause::MemberUnreachable
            }
            Error::Status { code: quorate_api::Code::Unavailable, .. } => Cause::MemberUnreachable,
            Error::Endpoint(_) | Error::Token => Cause::Misconfigured,
            Error::Etcd(_) | Error::Status { .. } => Cause::MemberFailed,
        };
        Self::new(cause, format!("{endpoint}: {error}"))
    }

    /// Of the local disk.
    #[must_use]
    pub fn of_disk(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Cause::LocalDisk, format!("{}: {error}", path.display()))
    }
}

/// What servers and systems say, in the order in which it counts: a server's own word is told apart
/// from the number that came with it, since some use one number for several things.
const WORDS: [(&str, Cause); 33] = [
    // Where a pod's identity counts, whoever tells it does not.
    ("Error performing token request", Cause::WrongCredentials),
    // Under a number and a code that Azure's servers have for what is not allowed, too.
    ("failed to authenticate the request", Cause::WrongCredentials),
    ("InvalidSecurity", Cause::WrongCredentials),
    ("InvalidAccessKeyId", Cause::WrongCredentials),
    ("SignatureDoesNotMatch", Cause::WrongCredentials),
    ("InvalidToken", Cause::WrongCredentials),
    ("ExpiredToken", Cause::WrongCredentials),
    ("XAdminUserNotFound", Cause::WrongCredentials),
    ("AuthenticationFailed", Cause::WrongCredentials),
    ("InvalidAuthenticationInfo", Cause::WrongCredentials),
    ("invalid_grant", Cause::WrongCredentials),
    ("NoSuchBucket", Cause::NoSuchBucket),
    ("ContainerNotFound", Cause::NoSuchBucket),
    ("The specified bucket does not exist", Cause::NoSuchBucket),
    ("NoSuchKey", Cause::NoSuchObject),
    ("BlobNotFound", Cause::NoSuchObject),
    ("XMinioStorageFull", Cause::DestinationFull),
    ("QuotaExceeded", Cause::DestinationFull),
    ("InsufficientStorage", Cause::DestinationFull),
    ("Insufficient Storage", Cause::DestinationFull),
    ("No space left on device", Cause::DestinationFull),
    ("Disk quota exceeded", Cause::DestinationFull),
    ("AccessDenied", Cause::AccessDenied),
    ("AuthorizationFailure", Cause::AccessDenied),
    ("AuthorizationPermissionMismatch", Cause::AccessDenied),
    // Of one of several files that are deleted by one request.
    ("(code: 403)", Cause::AccessDenied),
    ("Permission denied", Cause::AccessDenied),
    ("Read-only file system", Cause::AccessDenied),
    ("InvalidCertificate", Cause::Misconfigured),
    ("invalid peer certificate", Cause::Misconfigured),
    ("builder error", Cause::Misconfigured),
    ("error sending request", Cause::DestinationUnreachable),
    ("HTTP error", Cause::DestinationUnreachable),
];

fn of_store(error: &object_store::Error, text: &str) -> Cause {
    use object_store::Error;

    if let Some((_, cause)) = WORDS.iter().find(|(word, _)| text.contains(word)) {
        return *cause;
    }
    match error {
        // What else is not there, by a code of the server's own, is not the file.
        Error::NotFound { .. } if text.contains("<Code>") => Cause::DestinationFailed,
        Error::NotFound { .. } => Cause::NoSuchObject,
        Error::PermissionDenied { .. } => Cause::AccessDenied,
        Error::Unauthenticated { .. } => Cause::WrongCredentials,
        Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::UnknownConfigurationKey { .. } => Cause::Misconfigured,
        Error::Precondition { .. } => Cause::Damaged,
        _ => Cause::DestinationFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Failure, MESSAGE_CHARACTERS_MAX};

    #[test]
    fn a_servers_word_counts_more_than_its_number() {
        let denied = |text: &str| object_store::Error::PermissionDenied {
            path: "a".to_owned(),
            source: text.to_owned().into(),
        };
        for (text, cause) in [
            ("403: <Code>SignatureDoesNotMatch</Code>", Cause::WrongCredentials),
            ("403: <Code>InvalidAccessKeyId</Code>", Cause::WrongCredentials),
            ("403: <Code>InvalidSecurity</Code>", Cause::WrongCredentials),
            ("403: <Code>AccessDenied</Code>", Cause::AccessDenied),
            ("403: <Code>AuthorizationFailure</Code>", Cause::AccessDenied),
            ("403", Cause::AccessDenied),
        ] {
            assert_eq!(Failure::of_store("s3", &denied(text)).cause, cause, "{text}");
        }
        let missing = |text: &str| object_store::Error::NotFound {
            path: "a".to_owned(),
            source: text.to_owned().into(),
        };
        assert_eq!(
            Failure::of_store("s3", &missing("<Code>NoSuchBucket</Code>")).cause,
            Cause::NoSuchBucket
        );
        assert_eq!(Failure::of_store("s3", &missing("404")).cause, Cause::NoSuchObject);
        let another = missing("<Code>NoSuchUpload</Code>");
        assert_eq!(Failure::of_store("s3", &another).cause, Cause::DestinationFailed);
        let kept = object_store::Error::Generic {
            store: "MicrosoftAzure",
            source: "Bulk delete request failed for key a: Forbidden (code: 403)".into(),
        };
        assert_eq!(Failure::of_store("azure", &kept).cause, Cause::AccessDenied);
        let full = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: "No space left on device (os error 28)".into(),
        };
        assert_eq!(Failure::of_store("pvc", &full).cause, Cause::DestinationFull);
    }

    #[test]
    fn a_message_has_a_bound_and_one_line() {
        let failure = Failure::new(Cause::PodFailed, "a\n b\t".repeat(2000));
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARACTERS_MAX + 1);
        assert!(failure.message.starts_with("a b a b"));
    }
}
