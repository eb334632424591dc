//! The Kubernetes operator of Quorate clusters.
//!
//! What there is of it: the command that prints the definitions of the resources, and the pure parts
//! of [`cluster`] and [`tls`].

pub mod clock;
pub mod cluster;
mod definitions;
pub mod election;
pub mod kubernetes;
pub mod members;
pub mod metrics;
pub mod operator;
pub mod tls;

use std::process::ExitCode;

pub use definitions::{DefinitionError, manifest};

const USAGE: &str = "\
quorate-operator: the Kubernetes operator of Quorate clusters

  quorate-operator crd          print the definitions of the custom resources
  quorate-operator --version    print the version
";

/// Do what the arguments ask for; they are those behind the program's name.
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["crd"] => match definitions::all() {
            Ok(text) => say(&text),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        ["--version"] => {
            say(concat!("quorate-operator Version: ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        [] | ["--help" | "-h"] => say(USAGE),
        [other, ..] => {
            eprintln!("quorate-operator does not know {other:?}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) -> ExitCode {
    use std::io::Write as _;

    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the output cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}
