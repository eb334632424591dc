//! Which command was asked for.

use std::ffi::OsString;
use std::io::Read as _;
use std::process::ExitCode;

use quorate_api::version::ETCD_VERSION;

use crate::args::environment::{self, Notice};
use crate::args::file::{self, FileError};
use crate::args::{self, Words, help, table};
use crate::config::{Config, ConfigError};
use crate::{allocator, backup, dev, inspect, logging, recovery, server};

/// What there is besides starting a member.
const COMMANDS: [&str; 6] = ["dev", "log", "snapshot", "data", "recover", "help"];

/// Commands of etcd that are programs of their own, and not here.
const OTHER_PROGRAMS: [&str; 2] = ["gateway", "grpc-proxy"];

/// Run the program with its words, the first of which is its name. The name does not matter: as
/// `etcd`, it does the same.
#[must_use]
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = Vec::new();
    for word in words.skip(1) {
        match word.into_string() {
            Ok(word) => arguments.push(word),
            Err(word) => {
                eprintln!("quorate: {} is not UTF-8", word.display());
                return ExitCode::from(args::EXIT_USAGE);
            }
        }
    }
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("dev") => dev::command(rest),
        Some("log") => inspect::command(rest),
        Some("snapshot") => backup::command(rest),
        Some("data") => recovery::data_command(rest),
        Some("recover") => recovery::recover_command(rest),
        Some("help") => {
            print!("{}", help::program());
            ExitCode::SUCCESS
        }
        Some(word) if OTHER_PROGRAMS.contains(&word) => {
            eprintln!("quorate: {word} is not part of this program");
            ExitCode::FAILURE
        }
        Some(word) if !word.starts_with('-') => args::unknown_word("quorate", word, &COMMANDS),
        _ => start(&arguments),
    }
}

/// Start a member.
fn start(arguments: &[String]) -> ExitCode {
    let given = match args::parse(table::flags(), arguments, Words::EndFlags) {
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, "quorate --help"),
    };
    if given.is_help {
        print!("{}", help::program());
        return ExitCode::SUCCESS;
    }
    if given.values.get("version").and_then(|value| args::boolean(value)) == Some(true) {
        print!("{}", versions());
        return ExitCode::SUCCESS;
    }
    allocator::use_small_pages();
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match configure(given, &variables) {
        Ok((config, notices)) => {
            if let Err(error) = logging::start(&config.logging) {
                return args::failure(&error);
            }
            for notice in notices {
                logging::notice(&notice);
            }
            serve(config)
        }
        Err(error) => args::failure(&error),
    }
}

/// The configuration of flags and variables together, or of a file alone.
fn configure(
    mut given: args::Given,
    variables: &[(String, String)],
) -> Result<(Config, Vec<Notice>), ConfigError> {
    let mut notices = match config_file(&given, variables) {
        Some(path) => {
            // Checked before it is left aside: a word that is no flag is a mistake all the same.
            let words = std::mem::take(&mut given.words);
            let (read, notices) = file::read(&path, &file_text(&path)?)?;
            given = args::Given { words, ..read };
            notices
        }
        None => environment::apply(&mut given, table::flags(), variables)?,
    };
    let (config, more) = Config::read(&given)?;
    notices.extend(more);
    Ok((config, notices))
}

/// The file of settings, if one is named: on the command line, or else in the environment.
fn config_file(given: &args::Given, variables: &[(String, String)]) -> Option<String> {
    let flag = "config-file";
    let named = given.values.get(flag).filter(|path| !path.is_empty());
    let variable = environment::variable(flag);
    let in_environment = || variables.iter().find(|(name, _)| *name == variable);
    named
        .or_else(|| in_environment().map(|(_, path)| path).filter(|path| !path.is_empty()))
        .cloned()
}

fn file_text(path: &str) -> Result<String, FileError> {
    let unreadable = |reason: String| FileError::Unreadable { path: path.to_owned(), reason };
    let open = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = String::new();
    let read = open.take(file::FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| unreadable(error.to_string()))?;
    if bytes as u64 > file::FILE_BYTES_MAX {
        return Err(unreadable(format!("it has more than {} bytes", file::FILE_BYTES_MAX)));
    }
    Ok(text)
}

/// Run the member until it is told to stop.
fn serve(config: Config) -> ExitCode {
    match server::run(config) {
        Ok(code) => code,
        Err(error) => args::failure(&error),
    }
}

/// Ours first, then etcd's four lines, which programs look for.
fn versions() -> String {
    let ours = env!("CARGO_PKG_VERSION");
    format!(
        "quorate Version: {ours}\netcd Version: {ETCD_VERSION}\n\
         Git SHA: Not provided (use ./build instead of go build)\n\
         Go Version: none (Rust {rust})\nGo OS/Arch: {os}/{architecture}\n",
        rust = env!("CARGO_PKG_RUST_VERSION"),
        os = std::env::consts::OS,
        architecture = architecture(),
    )
}

/// The machine, as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
