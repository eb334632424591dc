//! The revision log.
