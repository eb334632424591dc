//! A real S3 server, which checks who asks.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quorate_operator_api::Destination;
use serde_json::json;

use super::clouds::{credentials_file, program};
use super::process::{Folder, Running, eventually, free_port};

pub(crate) const ID: &str = "test-id";
pub(crate) const SECRET: &str = "test-secret-of-some-length";

/// A server with one bucket, `vault`.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) port: u16,
    pub(crate) bucket: PathBuf,
}

impl Server {
    pub(crate) fn start(test: &str, folder: &Folder) -> Option<Self> {
        let root = folder.path().join("s3");
        Self::start_in(test, folder, root, |program| Command::new(program))
    }

    /// On a disk of so many bytes, which is a mount of the process's own.
    pub(crate) fn start_small(test: &str, folder: &Folder, bytes: u64) -> Option<Self> {
        let root = folder.path().join("s3");
        std::fs::create_dir_all(&root).expect("a folder");
        let mount = format!(
            "mount -t tmpfs -o size={bytes} tmpfs {0} && mkdir {0}/vault && exec \"$@\"",
            root.display()
        );
        Self::start_in(test, folder, root, |program| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &mount, "sh"]).arg(program);
            command
        })
    }

    fn start_in(
        test: &str,
        folder: &Folder,
        root: PathBuf,
        command: impl FnOnce(&Path) -> Command,
    ) -> Option<Self> {
        let program = program(test, "versitygw", "e2e/s3-server")?;
        let (bucket, sidecar) = (root.join("vault"), folder.path().join("sidecar"));
        for made in [&bucket, &sidecar] {
            std::fs::create_dir_all(made).expect("a folder");
        }
        let port = free_port();
        let process = command(&program)
            .args(["--port", &format!("127.0.0.1:{port}"), "--access", ID, "--secret", SECRET])
            .args(["--quiet", "posix", "--sidecar"])
            .args([&sidecar, &root])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server");
        let mut process = Running(process);
        eventually("the S3 server listens", || {
            assert!(process.0.try_wait().expect("a process").is_none(), "the server has ended");
            TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
        });
        Some(Self { process, port, bucket })
    }
}

/// A bucket at a port of this machine.
pub(crate) fn destination(port: u16, bucket: &str) -> Destination {
    let s3 = json!({
        "s3": {
            "bucket": bucket,
            "prefix": "p",
            "endpoint": format!("http://127.0.0.1:{port}"),
            "pathStyle": true,
            "credentials": "secret",
        }
    });
    serde_json::from_value(s3).expect("a destination")
}

/// Credentials as a pod has them: the right ones.
pub(crate) fn credentials(root: &Path) {
    credentials_are(root, ID, SECRET);
}

pub(crate) fn credentials_are(root: &Path, id: &str, secret: &str) {
    credentials_file(root, "accessKeyId", id);
    credentials_file(root, "secretAccessKey", &format!("{secret}\n"));
}
