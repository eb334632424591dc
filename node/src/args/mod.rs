//! The command line: what was typed, read by one table of flags.
//!
//! ```text
//!   words ── syntax ──► Given ─┐
//!   ETCD_* ─ environment ──────┴─► Given ──► crate::config::Config
//!   --config-file ── file ───────► Given ──┘   alone, without the two above
//!   table: every flag of etcd 3.7.1, its default, its help, and what becomes of it here
//! ```
//!
//! It says what was asked for, and never what that means: checking values against each other is
//! the configuration's. Nothing else reads the environment.
//!
//! Invariants: every flag of etcd is known; what would make a member less safe than asked for is
//! refused, never passed over; the rest that has no effect here says so once.

pub mod environment;
pub mod file;
pub mod gates;
pub mod help;
mod kind;
mod nearest;
mod syntax;
pub mod table;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::process::ExitCode;

pub use kind::{Kind, boolean, duration, signed, unsigned};
pub use nearest::nearest;
pub use syntax::{Flag, Given, SyntaxError, Words, parse};

/// What a command line that is not understood exits with, as Go's programs do.
pub const EXIT_USAGE: u8 = 2;

/// Say what is wrong with the command line.
pub(crate) fn usage_error(error: &SyntaxError, help: &str) -> ExitCode {
    eprintln!("{error}");
    eprintln!("See {help}");
    ExitCode::from(EXIT_USAGE)
}

/// Say that there is no such command.
pub(crate) fn unknown_word(program: &str, word: &str, known: &[&'static str]) -> ExitCode {
    let near = nearest(word, known.iter().copied());
    let near = near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
    eprintln!("{program}: there is no command {word:?}{near}");
    eprintln!("See {program} --help");
    ExitCode::from(EXIT_USAGE)
}

/// Say why something failed, with what led to it.
pub(crate) fn failure(error: &dyn Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors already quote their cause.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    eprintln!("quorate: {text}");
    ExitCode::FAILURE
}

/// Flags with their help, for a command's `--help`.
pub(crate) fn flag_list(flags: impl Iterator<Item = &'static Flag>) -> String {
    flags.map(|flag| help::paragraph(flag, None)).collect()
}
