//! The errors that a client sees: one variant for each text of etcd 3.7.1's `rpctypes`.
//!
//! Clients tell errors apart by their text as much as by their code, so both are part of the
//! contract and neither is ever reworded. The codes here are gRPC's, as a small enum of its own:
//! this crate does not know the transport.

/// The status codes of gRPC, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller gave up.
    Canceled = 1,
    /// An error outside the table.
    Unknown = 2,
    /// The request is wrong in any state.
    InvalidArgument = 3,
    /// The deadline passed.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What was to be made exists.
    AlreadyExists = 6,
    /// The caller is known and may not.
    PermissionDenied = 7,
    /// A limit or a quota is reached.
    ResourceExhausted = 8,
    /// The state does not allow it.
    FailedPrecondition = 9,
    /// A conflict with another request.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// Not served here.
    Unimplemented = 12,
    /// A broken invariant.
    Internal = 13,
    /// Not now; asking again may help.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// The code with this number on the wire.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Ok),
            1 => Some(Self::Canceled),
            2 => Some(Self::Unknown),
            3 => Some(Self::InvalidArgument),
            4 => Some(Self::DeadlineExceeded),
            5 => Some(Self::NotFound),
            6 => Some(Self::AlreadyExists),
            7 => Some(Self::PermissionDenied),
            8 => Some(Self::ResourceExhausted),
            9 => Some(Self::FailedPrecondition),
            10 => Some(Self::Aborted),
            11 => Some(Self::OutOfRange),
            12 => Some(Self::Unimplemented),
            13 => Some(Self::Internal),
            14 => Some(Self::Unavailable),
            15 => Some(Self::DataLoss),
            16 => Some(Self::Unauthenticated),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// An error of the etcd v3 API. `Display` is [`Error::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[error("{}", self.message())]
pub enum Error {
    /// A request without a key.
    EmptyKey,
    /// A put that keeps value or lease of a key that does not exist; also a malformed txn
    /// operation.
    KeyNotFound,
    /// A value together with `ignore_value`.
    ValueProvided,
    /// A lease together with `ignore_lease`.
    LeaseProvided,
    /// A branch or the compares of a txn exceed `max-txn-ops`.
    TooManyOps,
    /// One branch of a txn puts a key twice, or puts and deletes it.
    DuplicateKey,
    /// The metadata `client-api-version` is not UTF-8.
    InvalidClientApiVersion,
    /// A sort order or target outside the enumeration.
    InvalidSortOption,
    /// The revision lies below the compacted one.
    Compacted,
    /// The revision lies above the current one.
    FutureRevision,
    /// The quota is used up and the NOSPACE alarm stands.
    NoSpace,
    /// No lease has this id.
    LeaseNotFound,
    /// A grant with the id of a living lease.
    LeaseExists,
    /// A TTL above 9,000,000,000 s.
    LeaseTtlTooLarge,
    /// The watch stream ended because its client left.
    WatchCanceled,
    /// A member with this id is in the cluster.
    MemberExists,
    /// Another member has this peer URL.
    PeerUrlExists,
    /// The change would leave fewer started voters than a quorum. On the wire with code Unknown.
    MemberNotEnoughStarted,
    /// A member URL does not parse.
    MemberBadUrls,
    /// No member has this id, or it has been removed.
    MemberNotFound,
    /// A promotion of a voter.
    MemberNotLearner,
    /// A promotion of a learner that is too far behind.
    LearnerNotReady,
    /// The cluster has its maximum of learners.
    TooManyLearners,
    /// The request belongs to another cluster.
    ClusterIdMismatch,
    /// More bytes than `max-request-bytes`.
    RequestTooLarge,
    /// Too much is proposed and not applied yet. On the wire with code Unknown.
    TooManyRequests,
    /// Authentication cannot be enabled without the user root.
    RootUserNotExist,
    /// Authentication cannot be enabled without root having the role root.
    RootRoleNotExist,
    /// A user of this name exists.
    UserExists,
    /// A user without a name.
    UserEmpty,
    /// No user has this name.
    UserNotFound,
    /// A role of this name exists.
    RoleExists,
    /// No role has this name.
    RoleNotFound,
    /// A role without a name.
    RoleEmpty,
    /// Name or password are wrong.
    AuthFailed,
    /// A grant without a permission.
    PermissionNotGiven,
    /// The user may not do this.
    PermissionDenied,
    /// A revocation of a role that the user does not have.
    RoleNotGranted,
    /// A revocation of a permission that the role does not have.
    PermissionNotGranted,
    /// Authentication is off.
    AuthNotEnabled,
    /// The token is unknown or has expired.
    InvalidAuthToken,
    /// A change that would lock everybody out.
    InvalidAuthManagement,
    /// Users or roles changed between check and apply; ask again.
    AuthOldRevision,
    /// The cluster has no leader at present.
    NoLeader,
    /// This member does not lead.
    NotLeader,
    /// The leader changed while the request was under way.
    LeaderChanged,
    /// The cluster version does not know this request.
    NotCapable,
    /// The member is stopping.
    Stopped,
    /// No answer in time.
    Timeout,
    /// No answer in time, after a leader was lost.
    TimeoutDueToLeaderFail,
    /// No answer in time, with too few peers connected.
    TimeoutDueToConnectionLost,
    /// A linearizable read whose index was not applied in time.
    TimeoutWaitAppliedIndex,
    /// Too few members are connected to change the membership.
    Unhealthy,
    /// The CORRUPT alarm stands.
    Corrupt,
    /// A learner does not serve this.
    NotSupportedForLearner,
    /// Leadership cannot move to this member.
    BadLeaderTransferee,
    /// The target is not a version.
    WrongDowngradeVersionFormat,
    /// The target is not one minor version below.
    InvalidDowngradeTargetVersion,
    /// The cluster version is not known yet.
    ClusterVersionUnavailable,
    /// A downgrade is under way.
    DowngradeInProcess,
    /// There is no downgrade to cancel.
    NoInflightDowngrade,
    /// The request was given up.
    Canceled,
    /// The client's deadline passed.
    DeadlineExceeded,
}

impl Error {
    /// Every error, in the order of declaration.
    pub const ALL: [Self; 63] = [
        Self::EmptyKey,
        Self::KeyNotFound,
        Self::ValueProvided,
        Self::LeaseProvided,
        Self::TooManyOps,
        Self::DuplicateKey,
        Self::InvalidClientApiVersion,
        Self::InvalidSortOption,
        Self::Compacted,
        Self::FutureRevision,
        Self::NoSpace,
        Self::LeaseNotFound,
        Self::LeaseExists,
        Self::LeaseTtlTooLarge,
        Self::WatchCanceled,
        Self::MemberExists,
        Self::PeerUrlExists,
        Self::MemberNotEnoughStarted,
        Self::MemberBadUrls,
        Self::MemberNotFound,
        Self::MemberNotLearner,
        Self::LearnerNotReady,
        Self::TooManyLearners,
        Self::ClusterIdMismatch,
        Self::RequestTooLarge,
        Self::TooManyRequests,
        Self::RootUserNotExist,
        Self::RootRoleNotExist,
        Self::UserExists,
        Self::UserEmpty,
        Self::UserNotFound,
        Self::RoleExists,
        Self::RoleNotFound,
        Self::RoleEmpty,
        Self::AuthFailed,
        Self::PermissionNotGiven,
        Self::PermissionDenied,
        Self::RoleNotGranted,
        Self::PermissionNotGranted,
        Self::AuthNotEnabled,
        Self::InvalidAuthToken,
        Self::InvalidAuthManagement,
        Self::AuthOldRevision,
        Self::NoLeader,
        Self::NotLeader,
        Self::LeaderChanged,
        Self::NotCapable,
        Self::Stopped,
        Self::Timeout,
        Self::TimeoutDueToLeaderFail,
        Self::TimeoutDueToConnectionLost,
        Self::TimeoutWaitAppliedIndex,
        Self::Unhealthy,
        Self::Corrupt,
        Self::NotSupportedForLearner,
        Self::BadLeaderTransferee,
        Self::WrongDowngradeVersionFormat,
        Self::InvalidDowngradeTargetVersion,
        Self::ClusterVersionUnavailable,
        Self::DowngradeInProcess,
        Self::NoInflightDowngrade,
        Self::Canceled,
        Self::DeadlineExceeded,
    ];

    /// The code that a member answers with.
    ///
    /// It is [`Error::declared_code`] but for two errors that etcd's server maps to a type without
    /// a gRPC status, which therefore travel as `Unknown`.
    pub const fn code(self) -> Code {
        match self {
            Self::MemberNotEnoughStarted | Self::TooManyRequests => Code::Unknown,
            _ => self.declared_code(),
        }
    }

    /// The code that the table of etcd declares, which its clients report after they have
    /// recognised the text.
    pub const fn declared_code(self) -> Code {
        self.row().0
    }

    /// The whole text, with the prefix `etcdserver: `.
    pub const fn message(self) -> &'static str {
        self.row().1
    }

    /// The error with exactly this text.
    pub fn from_message(message: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.message() == message)
    }

    /// The table. It is one exhaustive match, longer than a function should be, so that a new
    /// variant cannot be without its row.
    const fn row(self) -> (Code, &'static str) {
        match self {
            Self::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
            Self::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
            Self::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
            Self::TooManyOps => {
                (Code::InvalidArgument, "etcdserver: too many operations in txn request")
            }
            Self::DuplicateKey => {
                (Code::InvalidArgument, "etcdserver: duplicate key given in txn request")
            }
            Self::InvalidClientApiVersion => {
                (Code::InvalidArgument, "etcdserver: invalid client api version")
            }
            Self::InvalidSortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
            Self::Compacted => {
                (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
            }
            Self::FutureRevision => {
                (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
            }
            Self::NoSpace => (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Self::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
            Self::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
            Self::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
            Self::WatchCanceled => (Code::Canceled, "etcdserver: watch canceled"),
            Self::MemberExists => (Code::FailedPrecondition, "etcdserver: member ID already exist"),
            Self::PeerUrlExists => {
                (Code::FailedPrecondition, "etcdserver: Peer URLs already exists")
            }
            Self::MemberNotEnoughStarted => (
                Code::FailedPrecondition,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            Self::MemberBadUrls => {
                (Code::InvalidArgument, "etcdserver: given member URLs are invalid")
            }
            Self::MemberNotFound => (Code::NotFound, "etcdserver: member not found"),
            Self::MemberNotLearner => {
                (Code::FailedPrecondition, "etcdserver: can only promote a learner member")
            }
            Self::LearnerNotReady => (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            Self::TooManyLearners => {
                (Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
            }
            Self::ClusterIdMismatch => {
                (Code::FailedPrecondition, "etcdserver: cluster ID mismatch")
            }
            Self::RequestTooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
            Self::TooManyRequests => (Code::ResourceExhausted, "etcdserver: too many requests"),
            Self::RootUserNotExist => {
                (Code::FailedPrecondition, "etcdserver: root user does not exist")
            }
            Self::RootRoleNotExist => {
                (Code::FailedPrecondition, "etcdserver: root user does not have root role")
            }
            Self::UserExists => (Code::FailedPrecondition, "etcdserver: user name already exists"),
            Self::UserEmpty => (Code::InvalidArgument, "etcdserver: user name is empty"),
            Self::UserNotFound => (Code::FailedPrecondition, "etcdserver: user name not found"),
            Self::RoleExists => (Code::FailedPrecondition, "etcdserver: role name already exists"),
            Self::RoleNotFound => (Code::FailedPrecondition, "etcdserver: role name not found"),
            Self::RoleEmpty => (Code::InvalidArgument, "etcdserver: role name is empty"),
            Self::AuthFailed => (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
            ),
            Self::PermissionNotGiven => (Code::InvalidArgument, "etcdserver: permission not given"),
            Self::PermissionDenied => (Code::PermissionDenied, "etcdserver: permission denied"),
            Self::RoleNotGranted => {
                (Code::FailedPrecondition, "etcdserver: role is not granted to the user")
            }
            Self::PermissionNotGranted => {
                (Code::FailedPrecondition, "etcdserver: permission is not granted to the role")
            }
            Self::AuthNotEnabled => {
                (Code::FailedPrecondition, "etcdserver: authentication is not enabled")
            }
            Self::InvalidAuthToken => (Code::Unauthenticated, "etcdserver: invalid auth token"),
            Self::InvalidAuthManagement => {
                (Code::InvalidArgument, "etcdserver: invalid auth management")
            }
            Self::AuthOldRevision => {
                (Code::InvalidArgument, "etcdserver: revision of auth store is old")
            }
            Self::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
            Self::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
            Self::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
            Self::NotCapable => (Code::FailedPrecondition, "etcdserver: not capable"),
            Self::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
            Self::Timeout => (Code::Unavailable, "etcdserver: request timed out"),
            Self::TimeoutDueToLeaderFail => (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            Self::TimeoutDueToConnectionLost => (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            Self::TimeoutWaitAppliedIndex => (
                Code::Unavailable,
                "etcdserver: request timed out, waiting for the applied index took too long",
            ),
            Self::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
            Self::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
            Self::NotSupportedForLearner => {
                (Code::FailedPrecondition, "etcdserver: rpc not supported for learner")
            }
            Self::BadLeaderTransferee => {
                (Code::FailedPrecondition, "etcdserver: bad leader transferee")
            }
            Self::WrongDowngradeVersionFormat => {
                (Code::InvalidArgument, "etcdserver: wrong downgrade target version format")
            }
            Self::InvalidDowngradeTargetVersion => {
                (Code::InvalidArgument, "etcdserver: invalid downgrade target version")
            }
            Self::ClusterVersionUnavailable => {
                (Code::FailedPrecondition, "etcdserver: cluster version not found during downgrade")
            }
            Self::DowngradeInProcess => {
                (Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress")
            }
            Self::NoInflightDowngrade => {
                (Code::FailedPrecondition, "etcdserver: no inflight downgrade job")
            }
            Self::Canceled => (Code::Canceled, "etcdserver: request canceled"),
            Self::DeadlineExceeded => {
                (Code::DeadlineExceeded, "etcdserver: context deadline exceeded")
            }
        }
    }
}
