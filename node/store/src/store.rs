//! The facade of the state machine.

/// The replicated state machine.
#[derive(Debug, Default)]
pub struct Store {}
