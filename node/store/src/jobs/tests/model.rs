//! What a store's content should be, in the plainest way.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::log::Record;
use crate::revision::Revision;

/// One entry of the Raft log.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// One main revision with a change per key; a length of 0 deletes the key.
    Change(Vec<(u8, u16)>),
    /// Compact this many revisions below the current one.
    Compact { below: u8 },
}

/// A key's versions: revision, and whether it is deleted there.
pub(super) type Versions = Vec<(Revision, bool)>;

/// The state after some entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) applied: u64,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) index: BTreeMap<Bytes, Versions>,
    pub(super) records: BTreeMap<Revision, Record>,
}

/// What an entry changes in the log.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) appended: Vec<Record>,
    pub(super) released: Vec<Revision>,
}

pub(super) fn key(number: u8) -> Bytes {
    Bytes::from(format!("/registry/pods/{:04}/{number}", number / 7))
}

impl Model {
    pub(super) fn after(entries: &[Entry]) -> Self {
        let mut model = Self::default();
        for entry in entries {
            model.apply(entry);
        }
        model
    }

    pub(super) fn apply(&mut self, entry: &Entry) -> Effect {
        self.applied += 1;
        let mut effect = Effect::default();
        match entry {
            Entry::Change(changes) => {
                self.revision += 1;
                for (sub, (number, length)) in (0..).zip(changes) {
                    effect.appended.push(self.change(sub, *number, *length));
                }
            }
            Entry::Compact { below } => {
                self.compacted = self.compacted.max(self.revision - i64::from(*below));
                effect.released = self.compact();
            }
        }
        effect
    }

    fn change(&mut self, sub: i64, number: u8, length: u16) -> Record {
        let revision = Revision::new(self.revision, sub);
        let tombstone = length == 0;
        let fill = (self.revision * 31 + sub) as u8;
        let body = match tombstone {
            true => key(number),
            false => Bytes::from(vec![fill; usize::from(length)]),
        };
        self.index.entry(key(number)).or_default().push((revision, tombstone));
        let record = Record { revision, tombstone, body };
        self.records.insert(revision, record.clone());
        record
    }

    fn compact(&mut self) -> Vec<Revision> {
        let mut released = Vec::new();
        let compacted = self.compacted;
        for versions in self.index.values_mut() {
            let latest = versions.iter().rposition(|(revision, _)| revision.main <= compacted);
            let Some(latest) = latest else { continue };
            let keep = if versions[latest].1 { latest + 1 } else { latest };
            released.extend(versions.drain(..keep).map(|(revision, _)| revision));
        }
        self.index.retain(|_, versions| !versions.is_empty());
        for revision in &released {
            self.records.remove(revision);
        }
        released
    }

    pub(super) fn live_bytes(&self) -> u64 {
        let size = |record: &Record| crate::log::format::record_bytes(record.body.len());
        self.records.values().map(size).sum()
    }
}

pub(super) fn encode_versions(versions: &Versions) -> Bytes {
    let mut out = Vec::new();
    for (revision, tombstone) in versions {
        out.extend(revision.main.to_le_bytes());
        out.extend(revision.sub.to_le_bytes());
        out.push(u8::from(*tombstone));
    }
    out.into()
}

pub(super) fn decode_versions(bytes: &[u8]) -> Option<Versions> {
    let (chunks, rest) = bytes.as_chunks::<17>();
    let decode = |chunk: &[u8; 17]| {
        let main = i64::from_le_bytes(chunk[..8].try_into().ok()?);
        let sub = i64::from_le_bytes(chunk[8..16].try_into().ok()?);
        Some((Revision::new(main, sub), chunk[16] == 1))
    };
    rest.is_empty().then(|| chunks.iter().map(decode).collect())?
}
