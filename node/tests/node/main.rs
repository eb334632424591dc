//! The program as people and other programs meet it.

mod backup;
mod clients;
mod cluster;
mod commands;
mod dev;
mod flags;
mod generated;
mod kill_points;
mod limits;
mod process;
mod tls;
