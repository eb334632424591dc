//! The bbolt file format.
