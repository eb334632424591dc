//! `quorate snapshot save`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use quorate_client::{Client, Error as ClientError, Options};
use sha2::{Digest as _, Sha256};

use super::connect::Connector;
use super::one_file;
use super::progress::Progress;
use crate::args::{self, Flag, Given, Kind, Words};
use crate::tls::{Caller, CallerError, Pair, Trust};

const SAVE: &str = "quorate snapshot save";

/// Bytes of the digest, which are the stream's last.
const DIGEST_BYTES: usize = 32;

/// etcdctl's flags of the same names.
static FLAGS: [Flag; 10] = [
    Flag {
        name: "endpoints",
        default: "127.0.0.1:2379",
        kind: Kind::Text,
        help: "The member to ask, and no other: a snapshot is one member's.",
    },
    Flag {
        name: "cacert",
        default: "",
        kind: Kind::Text,
        help: "Who signs the member's certificate, with https.",
    },
    Flag { name: "cert", default: "", kind: Kind::Text, help: "The certificate to show." },
    Flag { name: "key", default: "", kind: Kind::Text, help: "Its key." },
    Flag {
        name: "insecure-skip-tls-verify",
        default: "false",
        kind: Kind::Boolean,
        help: "Take any certificate. Whoever is in between can read the backup, or change it.",
    },
    Flag {
        name: "insecure-transport",
        default: "true",
        kind: Kind::Boolean,
        help: "Whether an endpoint without http:// or https:// may be asked without TLS.",
    },
    Flag {
        name: "user",
        default: "",
        kind: Kind::Text,
        help: "name:password, or a name with --password, where authentication is enabled.",
    },
    Flag { name: "password", default: "", kind: Kind::Text, help: "The password of --user." },
    Flag {
        name: "dial-timeout",
        default: "2s",
        kind: Kind::Duration,
        help: "The time for a connection to stand.",
    },
    Flag {
        name: "command-timeout",
        default: "0s",
        kind: Kind::Duration,
        help: "The time for all of it; 0 for as long as it takes.",
    },
];

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error("snapshot must be requested to one selected node, not multiple {0}")]
    Endpoints(String),
    #[error("--cert and --key are given together")]
    HalfAPair,
    #[error(
        "{0}: nobody is trusted to sign the member's certificate: give --cacert, or \
         --insecure-skip-tls-verify to do without"
    )]
    Untrusted(String),
    #[error("{0}: --insecure-transport=false asks for an endpoint with https://")]
    Insecure(String),
    #[error("--user has no password: give name:password, or --password")]
    NoPassword,
    #[error(transparent)]
    Tls(#[from] CallerError),
    #[error("{endpoint}: {source}")]
    Call {
        endpoint: String,
        #[source]
        source: ClientError,
    },
    /// TLS 1.3 has told us that it stands before the member looks at our certificate.
    #[error(
        "{endpoint}: {source}; if the member asks for certificates, --cert and --key have to name \
         one that it trusts"
    )]
    Closed {
        endpoint: String,
        #[source]
        source: ClientError,
    },
    #[error("{endpoint}: {why}; nothing was saved")]
    Stream { endpoint: String, why: &'static str },
    #[error("{endpoint}: not done within --command-timeout={timeout:?}")]
    Timeout { endpoint: String, timeout: Duration },
    #[error(transparent)]
    Part(#[from] PartError),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// Run `quorate snapshot save` with these arguments.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    let given = match args::parse(FLAGS.iter(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!(
                "Usage: {SAVE} [flags] FILE\n\n  Has a snapshot of one member and compares it \
                 with its SHA-256. FILE is there when it is\n  whole and durable; until then it is \
                 FILE.part.\n\nFlags:\n{}",
                args::flag_list(FLAGS.iter())
            );
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, &format!("{SAVE} --help")),
    };
    let file = match one_file(SAVE, &given.words) {
        Ok(file) => PathBuf::from(file),
        Err(code) => return code,
    };
    match run(&given, &file) {
        Ok(version) => {
            println!("Snapshot saved at {}", file.display());
            if !version.is_empty() {
                println!("Server version {version}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => args::failure(&error),
    }
}

fn run(given: &Given, file: &Path) -> Result<String, SaveError> {
    let values = Values(given);
    let target = Target::of(&values)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(SaveError::Runtime)?;
    let part = Part::create(file)?;
    runtime.block_on(async {
        let saved = save(&target, part, file);
        match target.timeout {
            None => saved.await,
            Some(timeout) => tokio::time::timeout(timeout, saved).await.unwrap_or_else(|_| {
                Err(SaveError::Timeout { endpoint: target.endpoint.clone(), timeout })
            }),
        }
    })
}

/// Values with their defaults.
struct Values<'given>(&'given Given);

impl Values<'_> {
    fn text(&self, name: &str) -> &str {
        let default =
            || FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default);
        self.0.values.get(name).map_or_else(default, String::as_str)
    }

    fn boolean(&self, name: &str) -> bool {
        args::boolean(self.text(name)).unwrap_or(false)
    }

    fn duration(&self, name: &str) -> Duration {
        args::duration(self.text(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }
}

/// The member to ask, and how.
struct Target {
    endpoint: String,
    connector: Connector,
    user: Option<(String, String)>,
    dial_timeout: Duration,
    timeout: Option<Duration>,
}

impl Target {
    fn of(values: &Values<'_>) -> Result<Self, SaveError> {
        let endpoint = values.text("endpoints").to_owned();
        if endpoint.is_empty() || endpoint.contains(',') {
            return Err(SaveError::Endpoints(endpoint));
        }
        let certificate = match (values.path("cert"), values.path("key")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
            (Some(_), None) | (None, Some(_)) => return Err(SaveError::HalfAPair),
        };
        let trust = match values.path("cacert") {
            _ if values.boolean("insecure-skip-tls-verify") => Some(Trust::Anybody),
            ca => ca.map(Trust::SignedBy),
        };
        // As in etcdctl: what is given for TLS decides where the endpoint does not.
        let asks_for_tls = certificate.is_some() || trust.is_some();
        let endpoint = match endpoint.contains("://") {
            true => endpoint,
            false if asks_for_tls => format!("https://{endpoint}"),
            false if !values.boolean("insecure-transport") => {
                return Err(SaveError::Insecure(endpoint));
            }
            false => format!("http://{endpoint}"),
        };
        let tls = match endpoint.starts_with("https://") {
            false => None,
            true => {
                let trust = trust.ok_or_else(|| SaveError::Untrusted(endpoint.clone()))?;
                Some(Caller { trust, certificate }.load()?)
            }
        };
        let user = user(values.text("user"), values.text("password"))?;
        let timeout = Some(values.duration("command-timeout")).filter(|time| !time.is_zero());
        let (connector, dial_timeout) = (Connector { tls }, values.duration("dial-timeout"));
        Ok(Self { endpoint, connector, user, dial_timeout, timeout })
    }

    /// A client, which has a token if there is a user.
    async fn client(&self) -> Result<Client, ClientError> {
        let connect = |token| {
            let options =
                Options { connect_timeout: self.dial_timeout, token, ..Options::default() };
            Client::connect_with(&[&self.endpoint], options, &self.connector)
        };
        let client = connect(None)?;
        let Some((name, password)) = &self.user else { return Ok(client) };
        connect(Some(client.authenticate(name, password).await?))
    }
}

fn user(user: &str, password: &str) -> Result<Option<(String, String)>, SaveError> {
    let (name, password) = match (user, password) {
        ("", _) => return Ok(None),
        (user, "") => user.split_once(':').ok_or(SaveError::NoPassword)?,
        (user, password) => (user, password),
    };
    Ok(Some((name.to_owned(), password.to_owned())))
}

/// Have all of the stream, and give the file its name when it is whole; the member's version.
async fn save(target: &Target, mut part: Part, file: &Path) -> Result<String, SaveError> {
    let endpoint = || target.endpoint.clone();
    let failed = |source| SaveError::Call { endpoint: endpoint(), source };
    let wrong = |why| SaveError::Stream { endpoint: endpoint(), why };
    let client = target.client().await.map_err(failed)?;
    let opened = client.snapshot().await.map_err(|source| match source {
        ClientError::Status { .. } if target.connector.tls.is_some() => {
            SaveError::Closed { endpoint: endpoint(), source }
        }
        source => failed(source),
    });
    let mut stream = opened?;
    let progress = Progress::new();
    let (mut version, mut received) = (String::new(), 0_u64);
    while let Some(piece) = stream.next().await.map_err(failed)? {
        if received == 0 {
            progress.begin("saved", piece.remaining_bytes + piece.blob.len() as u64);
            version = piece.version;
        }
        part.write(&piece.blob)?;
        received += piece.blob.len() as u64;
        progress.add(piece.blob.len() as u64);
    }
    if received == 0 {
        return Err(wrong("the member sent nothing"));
    }
    if !part.is_whole() {
        return Err(wrong("what the member sent does not fit its SHA-256, or has none"));
    }
    part.name(file)?;
    Ok(version)
}

/// A file or folder that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(crate) struct PartError {
    path: PathBuf,
    source: io::Error,
}

/// The file until it is whole; removed if it does not become so.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    digest: Sha256,
    /// The last bytes, which may be the digest.
    tail: Vec<u8>,
    is_named: bool,
}

impl Part {
    pub(crate) fn create(file: &Path) -> Result<Self, PartError> {
        let mut path = file.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let created =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = created.map_err(|source| PartError { path: path.clone(), source })?;
        Ok(Self { path, file, digest: Sha256::new(), tail: Vec::new(), is_named: false })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PartError> {
        self.tail.extend_from_slice(bytes);
        let before = self.tail.len().saturating_sub(DIGEST_BYTES);
        self.digest.update(&self.tail[..before]);
        self.tail.drain(..before);
        self.file.write_all(bytes).map_err(|source| self.failed(source))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.tail.len() == DIGEST_BYTES && self.digest.clone().finalize()[..] == self.tail[..]
    }

    /// Make it durable under its name.
    pub(crate) fn name(mut self, file: &Path) -> Result<(), PartError> {
        self.file.sync_all().map_err(|source| self.failed(source))?;
        fs::rename(&self.path, file).map_err(|source| self.failed(source))?;
        self.is_named = true;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| PartError { path: folder.to_owned(), source })
    }

    fn failed(&self, source: io::Error) -> PartError {
        PartError { path: self.path.clone(), source }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> PathBuf {
        let name = format!("quorate-save-{}-{name}.db", std::process::id());
        std::env::temp_dir().join(name)
    }

    /// What a stream of these bytes comes to, in pieces of this size.
    fn saved(name: &str, bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
        let file = target(name);
        let mut part = Part::create(&file).expect("a file");
        bytes.chunks(piece).for_each(|piece| part.write(piece).expect("written"));
        if part.is_whole() {
            part.name(&file).expect("named");
        } else {
            drop(part);
        }
        let found = fs::read(&file).ok();
        let _ = fs::remove_file(&file);
        let mut part = file.into_os_string();
        part.push(".part");
        assert!(!Path::new(&part).exists(), "{name} left its beginning");
        found
    }

    #[test]
    fn only_what_fits_its_digest_gets_a_name() {
        let body = vec![7; 1000];
        let whole = [&body[..], &Sha256::digest(&body)[..]].concat();
        for piece in [1, 7, 31, 32, 33, 999, 2000] {
            assert_eq!(saved("whole", &whole, piece), Some(whole.clone()), "{piece}");
        }
        assert_eq!(saved("cut", &whole[..whole.len() - 1], 100), None);
        assert_eq!(saved("without", &body, 100), None);
        assert_eq!(saved("short", &body[..31], 100), None);
        let mut changed = whole;
        changed[500] ^= 1;
        assert_eq!(saved("changed", &changed, 100), None);
    }
}
