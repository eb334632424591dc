//! `quorate dev`: a whole cluster on this machine, of real processes of this program.
//!
//! ```text
//!   flags ──► folder (kept, marked as ours) ──► layout (names, ports) ──► processes
//!                                                                            │ Status, every
//!   lines on the terminal ◄── report: what has changed ◄─────────────────────┘ moment
//! ```
//!
//! Invariants: it deletes only what it has made itself; it restarts nothing by itself; whatever
//! way it ends, but by SIGKILL, no member outlives it.

mod cluster;
mod folder;
mod layout;
mod process;
mod report;
mod screen;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::args::{self, Flag, Given, Kind, Words};
use layout::{Layout, MEMBERS_MAX};
use screen::Screen;

/// Where the data is kept unless said otherwise.
const FOLDER: &str = "quorate-dev";

static FLAGS: [Flag; 4] = [
    Flag {
        name: "members",
        default: "3",
        kind: Kind::Unsigned,
        help: "How many members, 1 to 5. A kept cluster stays as it is.",
    },
    Flag {
        name: "base-port",
        default: "",
        kind: Kind::Unsigned,
        help: "The first port; each member takes the next two, for clients and for peers. Without \
               it: 2379 and 2380, 22379 and 22380, 32379 and 32380, and so on.",
    },
    Flag {
        name: "data-dir",
        default: FOLDER,
        kind: Kind::Text,
        help: "The folder for data and logs. It is kept: the next run goes on with it.",
    },
    Flag {
        name: "fresh",
        default: "false",
        kind: Kind::Boolean,
        help: "Start anew: what an earlier run has left in the folder is deleted.",
    },
];

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    members: Option<usize>,
    base_port: Option<u16>,
    folder: PathBuf,
    is_fresh: bool,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
enum DevError {
    /// Too many or none.
    #[error("--members {0}: 1 to {MEMBERS_MAX} can be started")]
    Members(u64),
    /// Above 65535, or 0.
    #[error("--base-port {0}: there are no such ports")]
    Ports(u64),
    /// Somebody listens.
    #[error(
        "port {port} ({what} {name}) is in use: stop what listens there, or choose other ports \
         with --base-port{}", again(*.is_kept)
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// Whom it is for.
        what: &'static str,
        /// The member.
        name: String,
        /// The ports come from an earlier run.
        is_kept: bool,
    },
    /// Nobody listens, and the port cannot be had.
    #[error("port {port} cannot be listened at: {source}")]
    Port {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// About the folder.
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
    /// Processes or signals.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

fn again(is_kept: bool) -> &'static str {
    if is_kept { " and --fresh: those of this cluster are part of its data" } else { "" }
}

/// Run `quorate dev` with these arguments.
pub(crate) fn command(arguments: &[String]) -> ExitCode {
    let given = match args::parse(FLAGS.iter(), arguments, Words::BetweenFlags) {
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, "quorate dev --help"),
    };
    if given.is_help {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    if let Some(word) = given.words.first() {
        eprintln!("quorate dev: {word:?} is not a flag; see quorate dev --help");
        return ExitCode::from(args::EXIT_USAGE);
    }
    match request(&given).and_then(run) {
        Ok(code) => code,
        Err(error) => args::failure(&error),
    }
}

fn request(given: &Given) -> Result<Request, DevError> {
    let number = |name: &str| given.values.get(name).and_then(|value| args::unsigned(value));
    let members = match number("members") {
        Some(count) => Some(
            usize::try_from(count)
                .ok()
                .filter(|count| (1..=MEMBERS_MAX).contains(count))
                .ok_or(DevError::Members(count))?,
        ),
        None => None,
    };
    let base_port = match number("base-port") {
        Some(port) => Some(u16::try_from(port).map_err(|_| DevError::Ports(port))?),
        None => None,
    };
    let fresh = given.values.get("fresh").and_then(|value| args::boolean(value));
    let folder = given.values.get("data-dir").map_or(FOLDER, String::as_str).into();
    Ok(Request { members, base_port, folder, is_fresh: fresh == Some(true) })
}

fn run(request: Request) -> Result<ExitCode, DevError> {
    let wanted = Layout::new(request.members, request.base_port)
        .ok_or(DevError::Ports(request.base_port.unwrap_or_default().into()))?;
    let is_default = request.members.is_none() && request.base_port.is_none();
    let folder = folder::open(&request.folder, wanted, is_default, request.is_fresh)?;
    check_ports(&folder.layout, folder.is_kept)?;
    let line = if folder.is_kept {
        "going on with the data of an earlier run (--fresh starts anew)"
    } else {
        "a new cluster"
    };
    let mut out = screen::Output::new();
    out.say(&format!("{}: {line}", request.folder.display()));
    let system = |what: &str| {
        let what = what.to_owned();
        |source| DevError::System { what, source }
    };
    let program = std::env::current_exe().map_err(system("find this program"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start"))?;
    runtime.block_on(cluster::run(&folder, &program, &mut out))
}

/// Whether every port is free, before anything is started.
fn check_ports(layout: &Layout, is_kept: bool) -> Result<(), DevError> {
    for member in &layout.members {
        let name = &member.name;
        for (port, what) in
            [(member.client_port, "for clients of"), (member.peer_port, "for peers of")]
        {
            match TcpListener::bind((layout::HOST, port)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    let name = name.clone();
                    return Err(DevError::PortTaken { port, what, name, is_kept });
                }
                Err(source) => return Err(DevError::Port { port, source }),
            }
        }
    }
    Ok(())
}

/// The help of `quorate dev`.
fn help() -> String {
    let usage = "Usage: quorate dev [flags]\n\n  \
        Runs a cluster on this machine until Ctrl-C: real members, each with its own process, data\n  \
        and log file. For trying things out, not for keeping anything of value.\n\nFlags:\n";
    format!("{usage}{}", args::flag_list(FLAGS.iter()))
}
