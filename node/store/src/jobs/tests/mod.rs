//! Jobs, checkpoints and restart against a model, on a disk that fails.

mod crashes;
mod damage;
mod faults;
mod memory;
mod model;
mod policy;
mod restart;
mod world;
