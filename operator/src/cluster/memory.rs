//! What the operator remembers of a cluster from one look to the next, to do less. All of it may be
//! forgotten at any time.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// How long an object counts as written whose version nobody looks at.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// What is remembered of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Objects as they were written, and the version that came of it.
    written: HashMap<String, Written>,
    /// What was last told of the wait, so that it is told once.
    pub(crate) told: Option<String>,
    /// The refusals that were last told.
    pub(crate) refused: String,
    /// The generation for which objects that nobody asks for were looked for.
    pub(crate) swept: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    hash: u64,
    version: Option<String>,
    at: Instant,
}

impl Memory {
    /// Whether an object is as it was written: it would be written in the same way, and nobody has
    /// touched it since.
    pub(crate) fn is_written(
        &self,
        name: &str,
        object: &impl Serialize,
        now: Option<&str>,
    ) -> bool {
        let Some(written) = self.written.get(name) else { return false };
        now.is_some() && written.version.as_deref() == now && hash(object) == Some(written.hash)
    }

    /// Whether an object was written in the same way a short time ago.
    pub(crate) fn is_recent(&self, name: &str, object: &impl Serialize) -> bool {
        self.written.get(name).is_some_and(|written| {
            written.at.elapsed() < RECENT && hash(object) == Some(written.hash)
        })
    }

    /// Remembers that an object was written, and is of this version now.
    pub(crate) fn wrote(&mut self, name: &str, object: &impl Serialize, version: Option<String>) {
        if let Some(hash) = hash(object) {
            let at = Instant::now();
            self.written.insert(name.to_owned(), Written { hash, version, at });
        }
    }

    /// Forgets an object.
    pub(crate) fn unwrote(&mut self, name: &str) {
        self.written.remove(name);
    }
}

fn hash(object: &impl Serialize) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(object).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn what_somebody_has_touched_is_written_again() {
        let mut memory = Memory::default();
        assert!(!memory.is_written("a", &1, Some("7")));
        memory.wrote("a", &1, Some("7".to_owned()));
        assert!(memory.is_written("a", &1, Some("7")));
        assert!(!memory.is_written("a", &2, Some("7")), "another wish");
        assert!(!memory.is_written("a", &1, Some("8")), "another version");
        assert!(!memory.is_written("a", &1, None), "gone");
        assert!(!memory.is_written("b", &1, Some("7")), "another object");
        memory.unwrote("a");
        assert!(!memory.is_written("a", &1, Some("7")));
    }
}
