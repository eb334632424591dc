//! The project's tools on real processes.
//!
//! ```text
//!   e2e bench            quorate and genuine etcd side by side: a table of ratios
//!   e2e torture          clusters while things go wrong, judged by what their clients saw
//!   e2e soak             members under churn: do memory, files and disk stay?
//!   e2e damage           every file of a member, damaged place by place
//!   e2e harm             what the benchmark starts as clients that do harm
//!   e2e constant-server  what the benchmark measures as the floor of gRPC
//!   e2e prometheus       alerts in a genuine Prometheus; e2e/prometheus gets it and runs this
//!   e2e writer           what scenarios on Kubernetes have as a client; e2e/run starts it
//!   e2e definitions      the definitions of the resources, on the API server of kubectl
//!   e2e rights           the operator's role, beside the calls that it made
//! ```

use std::process::ExitCode;

mod bench;
mod constant;
mod kubernetes;
mod load;
mod process;
mod prometheus;
mod soak;
mod torture;

const USAGE: &str = "usage: e2e bench [--help]
       e2e torture [--help]
       e2e soak [--help]
       e2e damage [--help]
       e2e harm KIND ADDRESS
       e2e constant-server ADDRESS
       e2e prometheus QUORATE FOLDER
       e2e writer [--tls FOLDER] ENDPOINT…
       e2e definitions NAMESPACE
       e2e rights ROLES.json AUDIT.log [GROUP…]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("bench") => bench::run(arguments.collect()),
        Some(bench::harm::COMMAND) => bench::harm::run(&arguments.collect::<Vec<_>>()),
        Some("torture") => torture::run(arguments.collect()),
        Some("soak") => soak::run(arguments.collect()),
        Some("damage") => torture::sweep::run(&arguments.collect::<Vec<_>>()),
        Some("constant-server") => match arguments.next().and_then(|text| text.parse().ok()) {
            Some(address) => constant::run(address),
            None => Err(anyhow::anyhow!("{USAGE}")),
        },
        Some("writer") => kubernetes::writer::run(arguments.collect()),
        Some("definitions") => match arguments.next() {
            Some(namespace) => kubernetes::definitions::run(&namespace),
            None => Err(anyhow::anyhow!("{USAGE}")),
        },
        Some("rights") => kubernetes::rights::run(&arguments.collect::<Vec<_>>()),
        Some("prometheus") => prometheus::run(arguments.collect()),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
