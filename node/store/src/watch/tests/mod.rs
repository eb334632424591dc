//! Watching, shown by scripts (one scenario a file), by a naive model, and by counts.

mod encoding;
mod groups;
mod limits;
mod model;
mod scale;
mod script;
mod store;
mod world;
