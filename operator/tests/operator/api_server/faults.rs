//! What goes wrong between the operator and the server.

use serde_json::Value;

/// A call, as it was made, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    /// With its part, as roles have it: `pods/status`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The answer's code; 0 as long as there is none.
    pub(crate) code: u16,
}

impl Call {
    /// Whether it is meant to change something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is refused: somebody was quicker.
    Conflict,
    /// It is refused: too many.
    TooMany,
    /// The server has an error of its own.
    Internal,
    /// It never arrives.
    Lost,
    /// It is carried out, and the server says that it had no time for it.
    TimeoutAfter,
    /// It is carried out, and the connection is cut.
    CutAfter,
}

/// What becomes of an event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFault {
    None,
    Dropped,
    Repeated,
    /// The stream ends before it.
    Cut,
    /// The stream ends with the word that the past is forgotten.
    Forgotten,
}

type OfCall = Box<dyn FnMut(&Call) -> Fault + Send>;
type OfEvent = Box<dyn FnMut(&Value) -> EventFault + Send>;

/// All that goes wrong. Nothing does at first.
pub(crate) struct Faults {
    /// What becomes of a call.
    pub(crate) of_call: OfCall,
    /// What becomes of an event.
    pub(crate) of_event: OfEvent,
    /// How many revisions reads and watches are behind.
    pub(crate) lag: u64,
    /// Whether nobody answers.
    pub(crate) is_down: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            of_call: Box::new(|_| Fault::None),
            of_event: Box::new(|_| EventFault::None),
            lag: 0,
            is_down: false,
        }
    }
}
