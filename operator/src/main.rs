//! The program: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate_operator::run(std::env::args().skip(1))
}
