//! Certificates: who makes them, when they are renewed, and how a CA follows another.
//!
//! ```text
//!            the Secret of the CA                         members' and clients' Secrets
//!   Stable   │ current                        bundle: 1   │ signed by current
//!     │ two thirds of the CA's life, or a person asks
//!   Trusting │ current, next                  bundle: 2   │ signed by current
//!     │ every member has loaded the bundle
//!   Retiring │ current (was next), previous   bundle: 2   │ signed by the new one
//!     │ every member has loaded it, and no client's old certificate is valid any more
//!   Stable   │ current                        bundle: 1   │
//! ```
//!
//! [`managed::step`] is one step: either the CA's Secret changes, in one write, or the Secrets that
//! follow from it do. Everything that has to be remembered stands in these Secrets, so that who
//! begins anew goes on from there. Members read their files again at each handshake: nothing is
//! restarted.
//!
//! Whenever a member's Secret changes, its certificates change, too. So the certificate that a
//! member shows tells which version of its Secret it has loaded, the CAs included: the files of one
//! volume change together.
//!
//! It never asks the clock: time is an argument. Keys leave it towards Secrets alone, never into a
//! log or a debug format.

mod annotations;
mod authority;
mod cert_manager;
mod certificate;
mod files;
mod issue;
pub mod managed;
mod names;
mod policy;
mod rotation;

pub use annotations::{LIFETIMES, RETIRE_AT, ROTATE_CA};
pub use authority::{Authority, AuthorityError};
pub use cert_manager::certificates as cert_manager_certificates;
pub use certificate::{Certificate, CertificateError, Fingerprint};
pub use files::{ClientFiles, Key, MemberFiles};
pub use issue::IssueError;
pub use policy::Policy;
pub use rotation::Stage;

/// The common name of the certificates that members show each other. Clients' certificates are
/// signed by the same CA, and have another.
pub const PEER_COMMON_NAME: &str = "quorate-peer";
