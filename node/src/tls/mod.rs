//! TLS: who may connect, and with whom the member talks.
//!
//! ```text
//!   flags ─► options, suites ─► Options ─► Live: files, as they are now
//!                                           │   files ─► material ─► chain, names ─► verifier
//!                      listener ─► Acceptor ┤
//!                         dialler ─► connect┘
//! ```
//! One [`Live`] for clients (the listeners for clients and for metrics), and one for peers (their
//! listeners, and every connection to them). It decides who is let in, and never looks at what
//! they say then.
//!
//! Invariants:
//! - The provider of cryptography is ring, on both sides; no other is compiled in.
//! - Every listener asks the same question within the handshake: the signature, the use, the list
//!   of what is revoked, and the names that are let in.
//! - What is asked for is had or refused at the start: a check is never passed over.
//! - A file that is replaced by something that is of no use changes nothing.
//! - Handshakes are bounded in number and time, before they cost memory.

mod accept;
mod caller;
mod chain;
mod connect;
mod files;
mod gate;
mod live;
mod material;
mod names;
mod options;
mod self_signed;
mod suites;
mod verifier;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use quorate_api::urls::Url;

pub(crate) use accept::{Acceptor, Arrived};
pub(crate) use caller::{Caller, CallerError, Trust};
pub(crate) use connect::connect;
pub use files::FileError;
pub use live::{Live, LoadError};
pub use options::{Allowed, Asked, Flags, Options, OptionsError, Pair, Side};
pub use self_signed::SelfSignedError;
pub use suites::{SuiteError, Suites};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files of it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The certificate that was to be made.
    #[error(transparent)]
    SelfSigned(#[from] SelfSignedError),
}

/// The certificates of one side; makes those that are to be made, for the hosts of these URLs.
///
/// # Errors
/// [`Error`].
pub fn load(options: &Options, data_dir: &Path, urls: &[Url]) -> Result<Arc<Live>, Error> {
    let mut options = options.clone();
    if let Some(years) = options.self_signed_years {
        let folder = data_dir.join(self_signed::FOLDER).join(options.side.name());
        options.certificate = Some(self_signed::provide(&folder, urls, years)?);
    }
    Ok(Live::load(options)?)
}
