//! Annotations about certificates.

/// On a cluster: whenever its value changes, another CA follows the present one.
pub const ROTATE_CA: &str = "quorate.io/rotate-ca";

/// On a cluster: lifetimes in seconds that differ from the specification's, for those who want to
/// see a rotation while they wait: `leaf=600,renew=200,ca=3600,overlap=60,delivery=120`.
pub const LIFETIMES: &str = "quorate.io/tls-lifetimes";

/// On the CA's Secret: when the previous CA may be forgotten, in seconds since 1970.
pub const RETIRE_AT: &str = "quorate.io/retire-at";

/// On the CA's Secret: when the next CA was first trusted, in seconds since 1970.
pub(super) const TRUSTED_SINCE: &str = "quorate.io/trusted-since";

/// On the Secret of a member or a client: when its files last changed, in seconds since 1970.
pub(super) const WRITTEN_AT: &str = "quorate.io/written-at";
