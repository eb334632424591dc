//! How the operator itself is, for the kubelet's probes.

use parking_lot::Mutex;

/// What an operator does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has just begun.
    #[default]
    Starting,
    /// It waits for something, in words.
    Waiting(String),
    /// Another operator acts, and this one would take over.
    StandingBy,
    /// It operates clusters.
    Acting,
    /// It is about to end.
    Stopping,
}

/// What the operator does now.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

impl Health {
    /// It does something else now.
    pub fn set(&self, state: State) {
        *self.state.lock() = state;
    }

    /// What it does.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Whether it is of use, and what it does in words.
    #[must_use]
    pub fn readiness(&self) -> (bool, String) {
        match self.state() {
            State::Starting => (false, "starting".to_owned()),
            State::Waiting(reason) => (false, reason),
            State::StandingBy => (true, "standing by".to_owned()),
            State::Acting => (true, "operating clusters".to_owned()),
            State::Stopping => (false, "stopping".to_owned()),
        }
    }
}
