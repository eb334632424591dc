//! What the client promises without a member to talk to.

mod calls;
mod generated;
