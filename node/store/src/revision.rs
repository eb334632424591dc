//! The number of a change: etcd's revision, a main and a sub number.

/// When a change happened: `main` counts committed transactions that change keys, `sub` the
/// changes within one, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision {
    /// The transaction.
    pub main: i64,
    /// The change within it.
    pub sub: i64,
}

impl Revision {
    /// The `sub`th change of transaction `main`.
    pub const fn new(main: i64, sub: i64) -> Self {
        Self { main, sub }
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.main, self.sub)
    }
}
