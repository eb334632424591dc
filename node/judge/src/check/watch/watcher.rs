//! One watcher: what it must see next, and what it saw.

use super::Broken;
use crate::check::Rule;
use crate::check::linearizable::{Linearization, Made, last_changes};
use crate::history::{Event, EventKind, Time, WatchCreate};

/// A watcher that is open.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    pub(super) create: &'a WatchCreate,
    /// When it last heard anything.
    pub(super) touched: Time,
    /// The first revision it is for.
    first: i64,
    /// Everything up to here has been seen.
    done: i64,
    /// The highest revision promised to be complete.
    progress: i64,
    /// The revision whose events come in several responses.
    partial: Option<Partial>,
}

/// A revision of which only the first events came.
#[derive(Debug)]
struct Partial {
    revision: i64,
    /// How many events came.
    seen: usize,
    /// What they may be the beginning of.
    extents: Vec<Extent>,
}

/// What there is to see of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Every change.
    All,
    /// The last change of each key: the revision was compacted to before it was read.
    Last,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(create: &'a WatchCreate, revision: i64, time: Time) -> Self {
        let first = match create.start_revision {
            0 => revision.saturating_add(1),
            start => start,
        };
        let done = first.saturating_sub(1);
        Self { create, touched: time, first, done, progress: 0, partial: None }
    }

    /// The first revision of which something may be missing.
    pub(super) fn next(&self) -> i64 {
        self.done.saturating_add(1)
    }

    /// The first revision up to `last` that holds an event not yet seen.
    pub(super) fn first_missing(&self, linearization: &Linearization, last: i64) -> Option<i64> {
        linearization
            .made_from(self.next())
            .take_while(|(revision, _)| *revision <= last)
            .find(|(revision, made)| {
                let (seen, extents) = self.begun(linearization, *revision);
                extents.iter().all(|extent| self.expected(made, *extent).len() > seen)
            })
            .map(|(revision, _)| revision)
    }

    /// How many events of a revision came, and how much of it the store may have had left when it
    /// was read for this watcher.
    fn begun(&self, linearization: &Linearization, revision: i64) -> (usize, Vec<Extent>) {
        match &self.partial {
            Some(partial) if partial.revision == revision => {
                (partial.seen, partial.extents.clone())
            }
            _ if linearization.compacted_to(revision, self.touched) => {
                (0, vec![Extent::All, Extent::Last])
            }
            _ => (0, vec![Extent::All]),
        }
    }

    /// The events of a revision that this watcher is to see.
    fn expected<'b>(&self, made: &'b Made, extent: Extent) -> Vec<&'b Event> {
        let wanted = |event: &&Event| self.wants(event);
        match extent {
            Extent::All => made.events.iter().filter(wanted).collect(),
            Extent::Last => last_changes(&made.events).filter(wanted).collect(),
        }
    }

    pub(super) fn on_progress(
        &mut self,
        linearization: &Linearization,
        revision: i64,
    ) -> Result<(), Broken> {
        if revision < self.create.start_revision {
            let text = format!("progress {revision}, starts at {}", self.create.start_revision);
            return Err((Rule::WatchStart, text));
        }
        if let Some(missing) = self.first_missing(linearization, revision) {
            let text = format!("progress {revision} without the events of {missing}");
            return Err((Rule::WatchBookmarkable, text));
        }
        self.progress = self.progress.max(revision);
        self.done = self.done.max(revision);
        Ok(())
    }

    pub(super) fn on_events(
        &mut self,
        linearization: &Linearization,
        header: i64,
        fragment: bool,
        events: &[Event],
    ) -> Result<(), Broken> {
        if fragment && !self.create.fragment {
            let text = "a fragment, without being asked for".into();
            return Err((Rule::WatchProtocol, text));
        }
        if let Some(event) = events.iter().find(|event| event.mod_revision > header) {
            let text = format!("{event:?} under the older header {header}");
            return Err((Rule::WatchProtocol, text));
        }
        let mut groups = events.chunk_by(|a, b| a.mod_revision == b.mod_revision).peekable();
        while let Some(group) = groups.next() {
            let rest_may_follow = fragment && groups.peek().is_none();
            self.on_revision(linearization, group, rest_may_follow)?;
        }
        Ok(())
    }

    /// Events of one revision, in one response.
    fn on_revision(
        &mut self,
        linearization: &Linearization,
        group: &[Event],
        rest_may_follow: bool,
    ) -> Result<(), Broken> {
        let Some(first) = group.first() else { return Ok(()) };
        let revision = first.mod_revision;
        for event in group {
            self.check_place(linearization, event)?;
        }
        if let Some(missing) = self.first_missing(linearization, revision - 1) {
            let begins =
                self.done < self.first && self.partial.is_none() && self.create.start_revision > 0;
            let rule = if begins { Rule::WatchResumable } else { Rule::WatchReliable };
            return Err((rule, format!("got {revision}, {missing} is missing")));
        }
        let (seen, extents) = self.begun(linearization, revision);
        let made = linearization.made(revision);
        let (mut possible, mut complete, mut broken) = (Vec::new(), true, None);
        for extent in extents {
            let expected = made.map_or_else(Vec::new, |made| self.expected(made, extent));
            match self.compare(linearization, group, &expected, seen, rest_may_follow) {
                Ok(left) => {
                    complete &= left == 0;
                    possible.push(extent);
                }
                // What is wrong is told of the revision as it was, the first one.
                Err(wrong) => broken = broken.or(Some(wrong)),
            }
        }
        match (possible.is_empty(), broken) {
            (true, Some(broken)) => return Err(broken),
            _ if complete => {
                self.partial = None;
                self.done = self.done.max(revision);
            }
            _ => {
                let seen = seen + group.len();
                self.partial = Some(Partial { revision, seen, extents: possible });
            }
        }
        Ok(())
    }

    /// Whether a group is what was expected of its revision, less what came before; how many
    /// events are to follow in the next response.
    fn compare(
        &self,
        linearization: &Linearization,
        group: &[Event],
        expected: &[&Event],
        seen: usize,
        rest_may_follow: bool,
    ) -> Result<usize, Broken> {
        let left = expected.get(seen..).unwrap_or(&[]);
        for (position, event) in group.iter().enumerate() {
            match left.get(position) {
                Some(truth) if truth.key == event.key => {
                    self.check_event(linearization, truth, event)?;
                }
                Some(_) | None => return Err(misplaced(expected, group, event)),
            }
        }
        if group.len() < left.len() && !rest_may_follow {
            let text = format!("{} of {} events in {group:?}", group.len(), left.len());
            return Err((Rule::WatchAtomic, text));
        }
        Ok(left.len() - group.len())
    }

    /// Whether an event may come now at all.
    fn check_place(&self, linearization: &Linearization, event: &Event) -> Result<(), Broken> {
        let revision = event.mod_revision;
        if revision < self.first {
            let text = format!("{event:?}, but it starts at {}", self.first);
            return Err((Rule::WatchStart, text));
        }
        if !self.wants(event) {
            return Err((Rule::WatchFilter, format!("{event:?} is not watched")));
        }
        if revision > self.done {
            return Ok(());
        }
        let made = linearization.made(revision);
        let known = made.is_some_and(|made| made.events.iter().any(|one| one.key == event.key));
        let rule = if revision <= self.progress {
            Rule::WatchBookmarkable
        } else if known {
            Rule::WatchUnique
        } else {
            Rule::WatchOrdered
        };
        let text = format!("{event:?}, was at {} (progress {})", self.done, self.progress);
        Err((rule, text))
    }

    fn check_event(
        &self,
        linearization: &Linearization,
        truth: &Event,
        event: &Event,
    ) -> Result<(), Broken> {
        if truth.kind != event.kind {
            return Err((Rule::WatchEvent, format!("{event:?}, in truth {truth:?}")));
        }
        let wanted = truth.prev_kv.as_ref().filter(|_| self.create.prev_kv);
        if event.prev_kv.as_ref() == wanted {
            return Ok(());
        }
        // What stood before may have been compacted away by the time the event was read.
        let compacted = linearization.compacted_before(self.touched);
        if event.prev_kv.is_none() && truth.mod_revision - 1 < compacted {
            return Ok(());
        }
        let text = format!("{event:?}, before it stood {wanted:?}");
        Err((Rule::WatchPrevKv, text))
    }

    fn wants(&self, event: &Event) -> bool {
        let filtered = match event.kind {
            EventKind::Put(_) => self.create.no_put,
            EventKind::Delete => self.create.no_delete,
        };
        self.create.keys.contains(&event.key) && !filtered
    }
}

/// Names what is wrong with an event that is not the one expected at its place.
fn misplaced(expected: &[&Event], group: &[Event], event: &Event) -> Broken {
    let times = group.iter().filter(|other| other.key == event.key).count();
    let known = expected.iter().any(|truth| truth.key == event.key);
    if times > 1 {
        return (Rule::WatchUnique, format!("{event:?} twice"));
    }
    if !known {
        return (Rule::WatchEvent, format!("{event:?} never happened"));
    }
    let missing = expected.iter().find(|truth| group.iter().all(|one| one.key != truth.key));
    match missing {
        Some(missing) => (Rule::WatchAtomic, format!("{event:?} without {missing:?}")),
        None => (Rule::WatchOrdered, format!("{event:?} is out of order in its revision")),
    }
}
