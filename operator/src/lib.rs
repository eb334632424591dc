//! The Kubernetes operator of Quorate clusters.
//!
//! ```text
//!   run ─▶ operate ─▶ elected? ─▶ watches ─▶ queue ─▶ reconcile ── one look, one step
//!    │                                                    ├─ cluster: what to do, and doing it
//!    │                                                    ├─ tls: who is trusted
//!    └─▶ serve: healthz, readyz, metrics                  ├─ members: asking the members
//!                                                         └─ kubernetes: asking the API server
//! ```
//!
//! What is decided is decided in [`cluster`] and [`tls`], by values in and values out; what is around
//! them asks and writes. An [`operator::Operator`] has no state that matters: who begins anew goes on.

mod arguments;
pub mod backup;
pub mod clock;
pub mod cluster;
pub mod controller;
mod definitions;
pub mod election;
pub mod health;
pub mod kubernetes;
pub mod members;
pub mod metrics;
pub mod operator;
pub mod recovery;
pub mod restore;
mod run;
pub mod serve;
pub mod tls;

use std::process::ExitCode;

use arguments::{Arguments, RUN_USAGE};
pub use definitions::{DefinitionError, manifest};

const USAGE: &str = "\
quorate-operator: the Kubernetes operator of Quorate clusters

  quorate-operator crd          print the definitions of the custom resources
  quorate-operator task TASK    do what the operator gives its pods to do: with backups
  quorate-operator --version    print the version
";

/// Do what the arguments ask for; they are those behind the program's name.
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", "--help" | "-h"] | [] | ["--help" | "-h"] => say(&format!("{USAGE}{RUN_USAGE}")),
        ["run", given @ ..] => match Arguments::parse(given) {
            Ok(arguments) => run::run(arguments),
            Err(error) => refuse(&error.to_string()),
        },
        ["crd"] => match definitions::all() {
            Ok(text) => say(&text),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        ["task", rest @ ..] => backup::worker::command(rest),
        ["--version"] => {
            say(concat!("quorate-operator Version: ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        [other, ..] => refuse(&format!("quorate-operator does not know {other:?}")),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}\n\n{USAGE}{RUN_USAGE}");
    ExitCode::from(2)
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
