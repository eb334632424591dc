//! A member that speaks TLS: who gets in, what a change of files does, and who holds up whom.

mod authority;
mod backup;
mod caller;
mod cluster;
mod half_open;
mod hellos;
mod matrix;
mod member;
mod names;
mod rotation;
mod starts;
