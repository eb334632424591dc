//! The words of conditions: types and reasons. Scripts and alerts depend on them.

use std::fmt;

/// What a condition of a cluster is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// A linearizable read through the cluster has just succeeded.
    Available,
    /// The operator is about to change something.
    Progressing,
    /// Something is wrong that the cluster bears for now.
    Degraded,
    /// As many healthy voting members as asked for.
    FullyReplicated,
    /// All members run what the specification asks for.
    UpToDate,
    /// Backups are configured, and the newest is not overdue.
    BackupReady,
    /// All certificates are valid and trusted everywhere.
    CertificatesReady,
    /// Every volume has the size asked for, and room.
    StorageReady,
    /// Nobody changes anything: `spec.paused`.
    Paused,
    /// The cluster was rebuilt from the survivor of a lost majority: acknowledged writes may be
    /// missing. Stays until a person removes it.
    DataLossPossible,
}

impl ConditionType {
    /// All of them, in the order of the status.
    pub const ALL: [Self; 10] = [
        Self::Available,
        Self::Progressing,
        Self::Degraded,
        Self::FullyReplicated,
        Self::UpToDate,
        Self::BackupReady,
        Self::CertificatesReady,
        Self::StorageReady,
        Self::Paused,
        Self::DataLossPossible,
    ];

    /// As it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::FullyReplicated => "FullyReplicated",
            Self::UpToDate => "UpToDate",
            Self::BackupReady => "BackupReady",
            Self::CertificatesReady => "CertificatesReady",
            Self::StorageReady => "StorageReady",
            Self::Paused => "Paused",
            Self::DataLossPossible => "DataLossPossible",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a condition is as it is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// As it should be.
    AsDesired,
    /// The specification is refused in the cluster's present state.
    Rejected,
    /// The first member is being created.
    Creating,
    /// Members are being added.
    ScalingUp,
    /// Members are being removed.
    ScalingDown,
    /// A member takes another's place.
    Replacing,
    /// Members are being restarted with something new.
    Updating,
    /// A majority of members does not answer.
    QuorumLost,
    /// It cannot be told: nobody answered.
    Unknown,
    /// The members belong to another cluster than the one that was created.
    ClusterIdMismatch,
    /// `spec.paused`.
    Paused,
    /// `spec.hibernate`.
    Hibernating,
    /// There are objects of an earlier cluster of this name.
    Leftovers,
    /// A member does not answer.
    MemberDown,
    /// A member did not come back with something new.
    UpdateStuck,
    /// A backup comes before what is asked for.
    BackupFirst,
    /// A member has no room.
    NoSpace,
    /// Volumes are getting larger.
    GrowingVolumes,
    /// Certificates are being renewed.
    RenewingCertificates,
    /// A certificate ends soon or has ended.
    CertificatesExpiring,
    /// The cluster is being rebuilt from the survivor of a lost majority.
    Recovering,
    /// The members are being started again.
    Waking,
    /// Nobody asked for it.
    NotConfigured,
    /// A backup is due and not there.
    BackupOverdue,
    /// The newest backup cannot be restored.
    BackupDamaged,
}

impl Reason {
    /// As it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsDesired => "AsDesired",
            Self::Rejected => "Rejected",
            Self::Creating => "Creating",
            Self::ScalingUp => "ScalingUp",
            Self::ScalingDown => "ScalingDown",
            Self::Replacing => "Replacing",
            Self::Updating => "Updating",
            Self::QuorumLost => "QuorumLost",
            Self::Unknown => "Unknown",
            Self::ClusterIdMismatch => "ClusterIdMismatch",
            Self::Paused => "Paused",
            Self::Hibernating => "Hibernating",
            Self::Leftovers => "Leftovers",
            Self::MemberDown => "MemberDown",
            Self::UpdateStuck => "UpdateStuck",
            Self::BackupFirst => "BackupFirst",
            Self::NoSpace => "NoSpace",
            Self::GrowingVolumes => "GrowingVolumes",
            Self::RenewingCertificates => "RenewingCertificates",
            Self::CertificatesExpiring => "CertificatesExpiring",
            Self::Recovering => "Recovering",
            Self::Waking => "Waking",
            Self::NotConfigured => "NotConfigured",
            Self::BackupOverdue => "BackupOverdue",
            Self::BackupDamaged => "BackupDamaged",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
