//! Hashes of the history of keys, in steps between which others have the store.

use std::time::Instant;

use quorate_store::hash::{KvHash, KvHasher};
use quorate_store::mvcc::ReadError;

use super::Member;
use crate::metrics;

impl Member {
    /// The hash of all changes up to a revision; 0 means the current one. Where a compaction left
    /// a hash behind, it is that. A compaction meanwhile may take records away, and then it begins
    /// anew.
    ///
    /// # Errors
    /// The revision is compacted or not there yet, or the disk does not give back what was written.
    pub async fn hash_at(&self, revision: i64) -> Result<KvHash, ReadError> {
        let began = Instant::now();
        'anew: loop {
            let (mut hasher, compacted) = {
                let store = self.readable_store().await;
                (KvHasher::new(store.mvcc(), revision)?, store.compact_revision())
            };
            let is_computed = !hasher.is_remembered();
            loop {
                {
                    let store = self.readable_store().await;
                    match hasher.step(store.mvcc()) {
                        Ok(Some(hash)) => {
                            if is_computed {
                                metrics::keys_hashed(began.elapsed());
                            }
                            return Ok(hash);
                        }
                        Ok(None) => {}
                        Err(_) if store.compact_revision() != compacted => continue 'anew,
                        Err(damage) => return Err(damage.into()),
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    }
}
