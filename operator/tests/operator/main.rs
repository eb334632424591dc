//! The operator's tests.

mod definitions;
