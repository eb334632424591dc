//! The two sides that are compared.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Whose servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Quorate,
    Etcd,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
        })
    }
}

/// The programs of both sides.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) quorate: PathBuf,
    /// `None` if there is no etcd and none can be had.
    pub(crate) etcd: Option<PathBuf>,
}

impl Programs {
    /// The sides that can be measured, ours first.
    pub(crate) fn sides(&self) -> Vec<Side> {
        let etcd = self.etcd.iter().map(|_| Side::Etcd);
        std::iter::once(Side::Quorate).chain(etcd).collect()
    }

    /// The program of a side.
    pub(crate) fn of(&self, side: Side) -> anyhow::Result<&Path> {
        match side {
            Side::Quorate => Ok(&self.quorate),
            Side::Etcd => self.etcd.as_deref().context("there is no etcd"),
        }
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Build the server as it is released, and find it beside this program.
pub(crate) fn build_quorate() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().context("this program is in no folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => bail!("run this with --release, or give --quorate"),
        Some(profile) => profile.to_owned(),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--package", "quorate", "--profile", &profile])
        .current_dir(root())
        .status()
        .context("cargo cannot be started")?;
    let program = folder.join("quorate");
    if !status.success() || !program.exists() {
        bail!("the server could not be built; give --quorate");
    }
    Ok(program)
}

/// Genuine etcd: from its Go modules, else Debian's package.
pub(crate) fn find_etcd() -> Option<PathBuf> {
    if let Some(folder) = from_modules() {
        return Some(folder.join("etcd"));
    }
    eprintln!("etcd cannot be built from its Go modules; looking for the system's");
    if from_path().is_none() {
        // As root on Debian this installs it; elsewhere it fails, which is said below.
        let _ = Command::new("apt-get").args(["install", "--yes", "etcd-server"]).status();
    }
    from_path()
}

fn from_modules() -> Option<PathBuf> {
    let output = Command::new(root().join("e2e/genuine-etcd"))
        .stderr(std::process::Stdio::inherit())
        .output()
        .ok()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    (output.status.success() && folder.join("etcd").exists()).then_some(folder)
}

fn from_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|file| file.exists())
}

/// The first line of `--version`.
pub(crate) fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or("unknown").to_owned())
}
