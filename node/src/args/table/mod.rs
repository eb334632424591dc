//! Every flag of etcd 3.7.1, in the order in which people look for them.

mod cluster;
mod member;
mod observe;
mod security;
mod unused;

use super::kind::Kind;
use super::syntax::Flag;

/// A flag of the server.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The flag.
    pub flag: Flag,
    /// What becomes of it here.
    pub standing: Standing,
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what it does in etcd.
    Works,
    /// It has no effect, and nobody is worse off; why.
    Accepted(&'static str),
    /// Anything but its default is refused, as passing over it would do harm; why.
    Refused(&'static str),
}

/// Flags that are looked for together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What help calls them.
    pub title: &'static str,
    /// The flags.
    pub flags: &'static [Entry],
}

/// All groups.
pub static GROUPS: &[Group] = &[
    Group { title: "Member", flags: &member::IDENTITY },
    Group { title: "Cluster", flags: &cluster::CLUSTER },
    Group { title: "Timing", flags: &member::TIMING },
    Group { title: "Space and limits", flags: &member::LIMITS },
    Group { title: "Security", flags: &security::SECURITY },
    Group { title: "Authentication", flags: &security::AUTHENTICATION },
    Group { title: "Logging", flags: &observe::LOGGING },
    Group { title: "Metrics and profiles", flags: &observe::METRICS },
    Group { title: "Tracing", flags: &observe::TRACING },
    Group { title: "Discovery", flags: &cluster::DISCOVERY },
    Group { title: "Configuration", flags: &member::CONFIGURATION },
    Group { title: "Without effect here", flags: &unused::WITHOUT_EFFECT },
    Group { title: "Unsafe", flags: &unused::UNSAFE },
];

/// Every entry.
pub fn entries() -> impl Iterator<Item = &'static Entry> + Clone {
    GROUPS.iter().flat_map(|group| group.flags)
}

/// Every flag, with those that etcd accepts and ignores.
pub fn flags() -> impl Iterator<Item = &'static Flag> + Clone {
    entries().map(|entry| &entry.flag).chain(unused::IGNORED.iter())
}

/// Flags of long ago that etcd accepts and ignores.
#[must_use]
pub fn is_ignored(name: &str) -> bool {
    unused::IGNORED.iter().any(|flag| flag.name == name)
}

/// The default of a flag.
///
/// # Panics
/// If there is no such flag.
#[must_use]
pub fn default(name: &str) -> &'static str {
    flags().find(|flag| flag.name == name).expect("only flags of the table are asked for").default
}

const fn works(name: &'static str, default: &'static str, kind: Kind, help: &'static str) -> Entry {
    Entry { flag: Flag { name, default, kind, help }, standing: Standing::Works }
}

const fn accepted(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
    why: &'static str,
) -> Entry {
    Entry { flag: Flag { name, default, kind, help }, standing: Standing::Accepted(why) }
}

const fn refused(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
    why: &'static str,
) -> Entry {
    Entry { flag: Flag { name, default, kind, help }, standing: Standing::Refused(why) }
}
