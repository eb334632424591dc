//! What went wrong with other operators, one case each.
//!
//! `f01` to `f20` are failures of clusters that operators mishandled; `o01` to `o15` are bugs that
//! operators had. Those that only a real network or a real process can show are in `e2e`; what is
//! about backups (`o15`, and `o09` for clusters that are made of one) is in `scenarios/backups`.

mod clusters;
mod operators;
