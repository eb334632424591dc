//! The revision log: every change that is not compacted, by revision.

mod damage;
mod record;
mod revision_log;

pub use damage::{Damage, DamageKind};
pub use record::{ChangeLimit, Record};
pub use revision_log::{LogOptions, RevisionLog};
