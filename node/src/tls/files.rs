//! Files that may be replaced at any time, and how their replacement is noticed and taken.
//!
//! ```text
//!   looked at:  path ─► stamp (device, inode, size, times) ── as before? ─► nothing to do
//!                                                          └─ else ─► read, parse ─► taken
//!                                                                        └─ of no use ─► what
//!                                                                           was there stays
//! ```
//!
//! A path is followed through symbolic links, so that the swap of a Kubernetes secret is seen.
//! Files that belong together are read together: taken is only what did not change while it was
//! read, and fits.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::material::MaterialError;

/// The largest file that is read: thousands of certificates, or hundreds of thousands of serial
/// numbers in a list of what is revoked.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// A file that is written in place is taken when nobody has written to it for so long: several
/// writes may belong together. One that is put in the place of another is whole.
const WRITING: Duration = Duration::from_millis(100);

/// A file that changed so lately is read again although its times are the same: clocks of file
/// systems are coarse, and two changes may fall into one tick.
const FRESH: Duration = Duration::from_secs(2);

/// Why files are not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too large to be what it should be.
    #[error(
        "{path} has more than {FILE_BYTES_MAX} bytes: is it the right file?", path = path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// What is in it is of no use.
    #[error("{names}: {why}")]
    Content {
        /// The files that belong together.
        names: String,
        /// What is wrong with them.
        why: String,
    },
}

/// Which version of a file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    /// Numbers of files that are gone are used again. Not every file system knows it.
    created: Option<SystemTime>,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &PathBuf) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            created: metadata.created().ok(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn is_same_file(&self, other: &Self) -> bool {
        let Self { device, inode, created, .. } = *self;
        (device, inode, created) == (other.device, other.inode, other.created)
    }

    /// How long ago it was changed; nothing if its clock is ahead of ours.
    fn age(&self, now: SystemTime) -> Duration {
        let nanos = u32::try_from(self.changed.1).unwrap_or_default();
        let since = Duration::new(u64::try_from(self.changed.0).unwrap_or_default(), nanos);
        now.duration_since(SystemTime::UNIX_EPOCH + since).unwrap_or_default()
    }
}

/// Files that belong together, and what they are taken for.
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    parse: fn(&[Vec<u8>]) -> Result<T, MaterialError>,
    value: T,
    /// What was taken: its bytes, and the files that had them.
    digest: [u8; 32],
    taken: Vec<Stamp>,
    /// Whether the files would have other times if they were changed once more.
    is_settled: bool,
    /// What was looked at and is of no use.
    failed: Vec<Stamp>,
    /// What is wrong, so that it is said once.
    said: Option<String>,
}

impl<T> Watched<T> {
    /// Read them for the first time.
    pub(super) fn open(
        paths: Vec<PathBuf>,
        parse: fn(&[Vec<u8>]) -> Result<T, MaterialError>,
    ) -> Result<Self, FileError> {
        let taken = stamps(&paths)?;
        let contents = read(&paths)?;
        let value = parse(&contents).map_err(|error| content_error(&paths, &error))?;
        let digest = digest(&contents);
        let (is_settled, failed, said) = (false, Vec::new(), None);
        Ok(Self { paths, parse, value, digest, taken, is_settled, failed, said })
    }

    pub(super) fn value(&self) -> &T {
        &self.value
    }

    /// Look whether they were replaced; says whether there is something new.
    pub(super) fn refresh(&mut self, now: SystemTime) -> bool {
        match self.look(now) {
            Ok(is_new) => is_new,
            Err(error) => {
                let text = error.to_string();
                if self.said.as_ref() != Some(&text) {
                    tracing::warn!(
                        error = text,
                        "certificates cannot be replaced; those from before stay in use"
                    );
                    self.said = Some(text);
                }
                false
            }
        }
    }

    fn look(&mut self, now: SystemTime) -> Result<bool, FileError> {
        let stamps = stamps(&self.paths)?;
        if self.is_settled && stamps == self.taken || stamps == self.failed {
            return Ok(false);
        }
        let is_being_written = stamps.iter().zip(&self.taken).any(|(stamp, taken)| {
            stamp.is_same_file(taken) && stamp != taken && stamp.age(now) < WRITING
        });
        if is_being_written {
            return Ok(false);
        }
        let contents = read(&self.paths)?;
        if self::stamps(&self.paths)? != stamps {
            return Ok(false);
        }
        let is_settled = stamps.iter().all(|stamp| stamp.age(now) >= FRESH);
        let digest = digest(&contents);
        let is_new = digest != self.digest;
        if is_new {
            match (self.parse)(&contents) {
                Ok(value) => (self.value, self.digest) = (value, digest),
                // Half of a replacement is not worth a word yet.
                Err(_) if !is_settled => return Ok(false),
                Err(error) => {
                    self.failed = stamps;
                    return Err(content_error(&self.paths, &error));
                }
            }
            let files = names(&self.paths);
            tracing::info!(files, "certificates were replaced");
        }
        (self.taken, self.is_settled, self.said) = (stamps, is_settled, None);
        self.failed.clear();
        Ok(is_new)
    }
}

fn stamps(paths: &[PathBuf]) -> Result<Vec<Stamp>, FileError> {
    let of = |path: &PathBuf| {
        Stamp::of(path).map_err(|source| FileError::Read { path: path.clone(), source })
    };
    paths.iter().map(of).collect()
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    use std::io::Read as _;
    let of = |path: &PathBuf| {
        let mut bytes = Vec::new();
        let file = fs::File::open(path);
        file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|source| FileError::Read { path: path.clone(), source })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(FileError::TooLarge { path: path.clone() });
        }
        Ok(bytes)
    };
    paths.iter().map(of).collect()
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

fn content_error(paths: &[PathBuf], error: &MaterialError) -> FileError {
    FileError::Content { names: names(paths), why: error.to_string() }
}
