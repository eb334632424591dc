//! The program as people and other programs meet it.

mod commands;
