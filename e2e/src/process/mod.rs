//! Server processes: started, looked at through `/proc`, and ended, whatever happens.
//!
//! A process is ended by its id, when its [`member::Member`] is dropped, and by [`guard`] when this
//! process is told to stop. It never looks for processes by name.

pub(crate) mod cluster;
pub(crate) mod cpu;
pub(crate) mod guard;
pub(crate) mod machine;
pub(crate) mod member;
pub(crate) mod side;
