//! The operator as CA: nobody is ever refused who should not be.

mod fleet;
mod handshake;
mod steps;
