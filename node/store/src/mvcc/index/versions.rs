//! One key's history: its changes that compaction has not dropped, oldest first.

use crate::hash::BodySum;
use crate::revision::Revision;

/// One change of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Where the record is in the revision log.
    pub revision: Revision,
    /// Main revision of the put that created the key in this life; 0 for a tombstone.
    pub create_revision: i64,
    /// Puts since the key was created, this one included; 0 for a tombstone.
    pub version: i64,
    /// Of the record's body; nothing for a tombstone, whose body follows from its key.
    pub body: BodySum,
}

impl Version {
    /// The deletion of a key.
    #[must_use]
    pub fn tombstone(revision: Revision) -> Self {
        Self { revision, create_revision: 0, version: 0, body: BodySum::default() }
    }

    /// Whether this change deleted the key.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }
}

/// [`Version`] with a narrow sub-revision: with it and the tag of [`Versions`] in one word, a key
/// with one version costs 40 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed {
    main: i64,
    create: i64,
    version: i64,
    body: BodySum,
    sub: u32,
}

impl Packed {
    fn new(version: &Version) -> Self {
        Self {
            main: version.revision.main,
            create: version.create_revision,
            version: version.version,
            body: version.body,
            sub: u32::try_from(version.revision.sub).expect("under 2^32 changes in one revision"),
        }
    }

    fn unpack(&self) -> Version {
        Version {
            revision: Revision { main: self.main, sub: i64::from(self.sub) },
            create_revision: self.create,
            version: self.version,
            body: self.body,
        }
    }
}

/// The changes of one key, ascending by revision; never empty inside the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Versions {
    /// The usual case, in place.
    #[doc(hidden)]
    One {
        /// See [`Version`].
        main: i64,
        /// See [`Version`].
        create: i64,
        /// See [`Version`].
        version: i64,
        /// See [`Version`].
        body: BodySum,
        /// See [`Version`].
        sub: u32,
    },
    /// Several.
    #[doc(hidden)]
    Many(History),
}

/// Several changes, in an allocation of their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History(Vec<Packed>);

impl Versions {
    /// A history of one change.
    #[must_use]
    pub fn one(version: &Version) -> Self {
        let Packed { main, create, version, body, sub } = Packed::new(version);
        Self::One { main, create, version, body, sub }
    }

    /// The history that consists of `versions`, ascending; `None` if there are none.
    #[must_use]
    pub fn from_slice(versions: &[Version]) -> Option<Self> {
        match versions {
            [] => None,
            [one] => Some(Self::one(one)),
            many => Some(Self::Many(History(many.iter().map(Packed::new).collect()))),
        }
    }

    /// How many changes there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a history is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::One { .. } => 1,
            Self::Many(history) => history.0.len(),
        }
    }

    /// The `at`-th change, oldest first.
    #[must_use]
    pub fn nth(&self, at: usize) -> Option<Version> {
        match *self {
            Self::One { main, create, version, body, sub } => {
                (at == 0).then(|| Packed { main, create, version, body, sub }.unpack())
            }
            Self::Many(ref history) => history.0.get(at).map(Packed::unpack),
        }
    }

    /// All changes, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Version> {
        (0..self.len()).filter_map(|at| self.nth(at))
    }

    /// The newest change.
    #[must_use]
    pub fn latest(&self) -> Version {
        self.nth(self.len() - 1).expect("a history is never empty")
    }

    /// Whether the key exists now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.latest().is_tombstone()
    }

    /// How many changes happened at or before main revision `revision`.
    fn until(&self, revision: i64) -> usize {
        match self {
            Self::One { main, .. } => usize::from(*main <= revision),
            Self::Many(history) => history.0.partition_point(|change| change.main <= revision),
        }
    }

    /// The newest change at or before main revision `revision`, which may be a tombstone.
    #[must_use]
    pub fn newest_until(&self, revision: i64) -> Option<Version> {
        self.until(revision).checked_sub(1).and_then(|at| self.nth(at))
    }

    /// The key as it was at main revision `revision`; `None` if it did not exist then.
    #[must_use]
    pub fn at(&self, revision: i64) -> Option<Version> {
        self.newest_until(revision).filter(|version| !version.is_tombstone())
    }

    /// Add a change.
    ///
    /// # Panics
    /// If it is not newer than all that are there: revisions only grow.
    pub(super) fn push(&mut self, version: &Version) {
        assert!(version.revision > self.latest().revision, "a key's revisions ascend");
        match self {
            Self::One { main, create, version: count, body, sub } => {
                let first = Packed {
                    main: *main,
                    create: *create,
                    version: *count,
                    body: *body,
                    sub: *sub,
                };
                *self = Self::Many(History(vec![first, Packed::new(version)]));
            }
            Self::Many(history) => history.0.push(Packed::new(version)),
        }
    }

    /// Drop what compaction at `revision` does not keep, and tell each dropped revision. Kept are
    /// all changes after it, and of those up to it the newest, unless that is a tombstone older
    /// than `revision` itself (etcd keeps one exactly at the compacted revision since 3.5.16).
    /// Answers whether anything is left.
    pub(super) fn compact(&mut self, revision: i64, dropped: &mut Vec<Revision>) -> bool {
        let until = self.until(revision);
        let Some(newest) = until.checked_sub(1).and_then(|at| self.nth(at)) else {
            return true;
        };
        let gone = if newest.is_tombstone() && newest.revision.main < revision {
            until
        } else {
            until - 1
        };
        dropped.extend(self.iter().take(gone).map(|change| change.revision));
        match self {
            Self::One { .. } => gone == 0,
            Self::Many(history) => {
                if gone > 0 {
                    history.0.drain(..gone);
                    history.0.shrink_to_fit();
                }
                match history.0.as_slice() {
                    [] => false,
                    [last] => {
                        let last = last.unpack();
                        *self = Self::one(&last);
                        true
                    }
                    _ => true,
                }
            }
        }
    }

    /// Bytes allocated outside of the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::One { .. } => 0,
            Self::Many(history) => history.0.capacity() * size_of::<Packed>(),
        }
    }
}
