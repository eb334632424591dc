//! Which indexes the log has, and their terms, without the entries.

use crate::record::MarkKind;
use crate::{End, Entry, Mark};

/// First and last index, and where the term changes in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The mark that the log starts after.
    base: Option<(u64, u64)>,
    /// Index of the first entry of each term, ascending.
    runs: Vec<(u64, u64)>,
    last: u64,
}

impl Extent {
    /// The last index, of an entry or of the mark; 0 for an empty log.
    pub(crate) fn last_index(&self) -> u64 {
        self.last
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> End {
        End { term: self.term(self.last).unwrap_or(0), index: self.last }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.base.is_none()
    }

    pub(crate) fn has_entries(&self) -> bool {
        !self.runs.is_empty()
    }

    fn term(&self, index: u64) -> Option<u64> {
        if index > self.last {
            return None;
        }
        if let Some((at, term)) = self.base
            && at == index
        {
            return Some(term);
        }
        self.runs.iter().rev().find(|(start, _)| *start <= index).map(|(_, term)| *term)
    }

    /// The entries go into the log, replacing what is there from the first on. The caller has
    /// checked that they fit.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        self.runs.retain(|(start, _)| *start < first.index);
        for entry in entries {
            if self.runs.last().is_none_or(|(_, term)| *term != entry.term) {
                self.runs.push((entry.index, entry.term));
            }
        }
        self.last = last.index;
    }

    /// Whether entries from `first` on leave no gap.
    pub(crate) fn fits(&self, first: u64) -> bool {
        self.is_empty()
            || (first <= self.last.saturating_add(1)
                && self.base.is_none_or(|(index, _)| first > index))
    }

    /// What the mark means for the entries that are there.
    pub(crate) fn kind_of(&self, mark: &Mark) -> MarkKind {
        if self.term(mark.index) == Some(mark.term) { MarkKind::Keeps } else { MarkKind::Replaces }
    }

    /// Start after the mark.
    pub(crate) fn mark(&mut self, mark: &Mark, kind: MarkKind) {
        if kind == MarkKind::Keeps && self.last > mark.index {
            let keep = self.runs.iter().rposition(|(start, _)| *start <= mark.index + 1);
            self.runs.drain(..keep.unwrap_or(0));
        } else {
            self.runs.clear();
            self.last = mark.index;
        }
        self.base = Some((mark.index, mark.term));
    }
}
