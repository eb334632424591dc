//! Files between members, destinations and local disks, without holding more than a few parts.
//!
//! ```text
//!   save:   member ──▶ parts, under no name ── whole? ──▶ the file gets its name ──▶ what is beside it
//!   fetch:  file ──▶ INTO.part, piece by piece, from where it ended ── its SHA-256? ──▶ INTO
//! ```
//! What is cut off on its way has no name that anybody looks for: parts are given up, and a local
//! file is gone on with by whoever tries again.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use object_store::path::Path as Object;
use object_store::{GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::cause::{Cause, Failure};
use super::place;
use super::snapshot::{Snapshot, hexadecimal};
use super::task::{About, METADATA_FORMAT, Metadata};

/// The smallest part: servers want 5 MiB, and some want all to be of one size.
const PART_BYTES_MIN: u64 = 8 << 20;
/// Parts that a file may have: servers take 10 000.
const PARTS_MAX: u64 = 9000;
/// Parts that are under way at once, and in memory.
const PARTS_AT_ONCE: usize = 3;
/// Bytes that are fetched at once, and in memory.
const FETCH_BYTES: u64 = 8 << 20;
/// The largest description of a file that is read.
const METADATA_BYTES_MAX: u64 = 64 << 10;

/// A file at an open destination.
pub(super) struct Remote {
    /// Where.
    pub(super) store: Arc<dyn ObjectStore>,
    /// Its name there.
    pub(super) object: String,
}

impl Remote {
    fn path(&self) -> Object {
        Object::from(self.object.as_str())
    }

    fn beside(&self) -> Object {
        Object::from(place::beside(&self.object))
    }

    fn failed(&self, error: &object_store::Error) -> Failure {
        Failure::of_store(&self.object, error)
    }

    /// What stands beside it; `None` if nothing does.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be read.
    pub(super) async fn metadata(&self) -> Result<Option<Metadata>, Failure> {
        let range = GetRange::Bounded(0..METADATA_BYTES_MAX);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let found = match self.store.get_opts(&self.beside(), options).await {
            Ok(found) => found.bytes().await.map_err(|error| self.failed(&error))?,
            Err(error) => {
                let failure = self.failed(&error);
                return if failure.cause == Cause::NoSuchObject { Ok(None) } else { Err(failure) };
            }
        };
        let read = serde_json::from_slice(&found).map_err(|error| {
            let name = place::beside(&self.object);
            Failure::new(Cause::Damaged, format!("{name}: {error}"))
        });
        read.map(Some)
    }

    /// Deletes the file and what stands beside it. Gone already is as good.
    ///
    /// # Errors
    /// [`Failure`] if one of them is still there.
    pub(super) async fn remove(&self) -> Result<(), Failure> {
        let mut is_gone = false;
        // The file first: what is left of a half of it says what it was.
        for path in [self.path(), self.beside()] {
            match self.store.delete(&path).await {
                Ok(()) => {}
                Err(error) => {
                    let failure = self.failed(&error);
                    if failure.cause != Cause::NoSuchObject {
                        return Err(failure);
                    }
                    is_gone = true;
                }
            }
        }
        // Whoever deletes many by one request does not say of one that there is no bucket.
        if is_gone {
            self.metadata().await?;
        }
        Ok(())
    }
}

/// Writes a snapshot, and what is known of it beside it; until `told` comes.
///
/// # Errors
/// [`Failure`]; nothing has the file's name then, unless only what is beside it is missing.
pub(super) async fn save(
    mut snapshot: Snapshot,
    remote: &Remote,
    about: &About,
    told: impl Future<Output = ()>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Metadata, Failure> {
    let taken_at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let part_bytes = PART_BYTES_MIN.max(snapshot.total.div_ceil(PARTS_MAX));
    let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
    let upload = remote.store.put_multipart(&remote.path()).await;
    let upload = upload.map_err(|error| remote.failed(&error))?;
    let mut parts = Parts::new(upload, part_bytes);
    let sent = tokio::select! {
        sent = send(&mut snapshot, &mut parts, remote, &mut progress) => sent,
        () = told => Err(Failure::new(Cause::Interrupted, "the pod was told to end")),
    };
    let (cluster_id, revision) = (snapshot.cluster_id, snapshot.revision);
    let version = about.version.clone().or_else(|| Some(snapshot.version.clone()));
    let whole = match sent {
        Ok(()) => snapshot.finish().await,
        Err(failure) => Err(failure),
    };
    let named = match whole {
        Ok(whole) => parts.finish().await.map(|()| whole).map_err(|error| remote.failed(&error)),
        Err(failure) => Err(failure),
    };
    let whole = match named {
        Ok(whole) => whole,
        Err(failure) => {
            parts.give_up().await;
            return Err(failure);
        }
    };
    let metadata = Metadata {
        format: METADATA_FORMAT,
        about: About { version, ..about.clone() },
        cluster_id: format!("{cluster_id:x}"),
        revision,
        size_bytes: whole.bytes,
        sha256: whole.sha256,
        hash: whole.hash,
        taken_at,
    };
    let text = serde_json::to_vec_pretty(&metadata)
        .map_err(|error| Failure::new(Cause::DestinationFailed, error))?;
    let put = remote.store.put(&remote.beside(), text.into()).await;
    put.map_err(|error| remote.failed(&error))?;
    Ok(metadata)
}

async fn send(
    snapshot: &mut Snapshot,
    parts: &mut Parts,
    remote: &Remote,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Failure> {
    let mut sent = 0;
    while let Some(piece) = snapshot.next().await? {
        sent += piece.len() as u64;
        parts.write(&piece).await.map_err(|error| remote.failed(&error))?;
        progress(sent, snapshot.total);
    }
    Ok(())
}

/// A file that is sent in parts of one size, a few at a time.
struct Parts {
    upload: Box<dyn MultipartUpload>,
    under_way: JoinSet<object_store::Result<()>>,
    next: Vec<u8>,
    part_bytes: usize,
}

impl Parts {
    fn new(upload: Box<dyn MultipartUpload>, part_bytes: usize) -> Self {
        let (under_way, next) = (JoinSet::new(), Vec::new());
        Self { upload, under_way, next, part_bytes }
    }

    async fn write(&mut self, mut piece: &[u8]) -> object_store::Result<()> {
        while !piece.is_empty() {
            let room = self.part_bytes.saturating_sub(self.next.len()).min(piece.len());
            let (now, later) = piece.split_at(room);
            self.next.extend_from_slice(now);
            piece = later;
            if self.next.len() == self.part_bytes {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> object_store::Result<()> {
        self.wait_for(PARTS_AT_ONCE - 1).await?;
        let part = std::mem::take(&mut self.next);
        self.under_way.spawn(self.upload.put_part(part.into()));
        Ok(())
    }

    /// Waits until no more than so many are under way.
    async fn wait_for(&mut self, count: usize) -> object_store::Result<()> {
        while self.under_way.len() > count
            && let Some(sent) = self.under_way.join_next().await
        {
            sent??;
        }
        Ok(())
    }

    /// Gives the file its name.
    async fn finish(&mut self) -> object_store::Result<()> {
        if !self.next.is_empty() {
            self.send().await?;
        }
        self.wait_for(0).await?;
        self.upload.complete().await.map(drop)
    }

    /// Servers forget parts without a file after a time of their own, too.
    async fn give_up(mut self) {
        self.under_way.shutdown().await;
        let _ = self.upload.abort().await;
    }
}

/// Has a file of a destination; goes on where an earlier attempt was cut off.
///
/// # Errors
/// [`Failure`]; what there is of it stays under its name with `.part`, unless it is damaged.
pub(super) async fn fetch(
    remote: &Remote,
    into: &Path,
    sha256: Option<&str>,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Failure> {
    let path = remote.path();
    let head = remote.store.head(&path).await.map_err(|error| remote.failed(&error))?;
    let mut part = Part::open(into)?;
    if part.bytes > head.size {
        part.empty()?;
    }
    while part.bytes < head.size {
        let end = head.size.min(part.bytes + FETCH_BYTES);
        let options = GetOptions {
            range: Some(GetRange::Bounded(part.bytes..end)),
            if_match: head.e_tag.clone(),
            ..GetOptions::default()
        };
        let piece = remote.store.get_opts(&path, options).await;
        let piece = piece.map_err(|error| remote.failed(&error))?;
        let piece = piece.bytes().await.map_err(|error| remote.failed(&error))?;
        if piece.is_empty() {
            let text = format!("{}: it ended at {} bytes", remote.object, part.bytes);
            return Err(Failure::new(Cause::DestinationFailed, text));
        }
        part.write(&piece)?;
        progress(part.bytes, head.size);
    }
    part.finish(sha256)
}

/// Has a snapshot of a member as a file, from the beginning: no two snapshots are alike.
///
/// # Errors
/// [`Failure`]; nothing has the file's name then.
pub(super) async fn copy(
    mut snapshot: Snapshot,
    into: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Failure> {
    let mut part = Part::open(into)?;
    part.empty()?;
    while let Some(piece) = snapshot.next().await? {
        part.write(&piece)?;
        progress(part.bytes, snapshot.total);
    }
    let whole = snapshot.finish().await?;
    part.finish(Some(&whole.sha256))
}

/// A local file until it is whole.
struct Part {
    path: PathBuf,
    into: PathBuf,
    file: std::fs::File,
    digest: Sha256,
    bytes: u64,
}

impl Part {
    /// The one of an earlier attempt, or an empty one.
    fn open(into: &Path) -> Result<Self, Failure> {
        let mut path = into.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let failed = |error: std::io::Error| failed(&path, &error);
        if let Some(folder) = into.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed)?;
        let mut digest = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            digest.update(buffer.get(..read).unwrap_or_default());
            bytes += read as u64;
        }
        Ok(Self { path, into: into.to_owned(), file, digest, bytes })
    }

    fn empty(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(|error| failed(&self.path, &error))?;
        self.digest = Sha256::new();
        self.bytes = 0;
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).map_err(|error| failed(&self.path, &error))?;
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Gives it its name, durably, if it is what it has to be. Damaged, it is removed.
    fn finish(self, sha256: Option<&str>) -> Result<(), Failure> {
        let found = hexadecimal(&self.digest.finalize());
        if sha256.is_some_and(|expected| !expected.eq_ignore_ascii_case(&found)) {
            let _ = std::fs::remove_file(&self.path);
            let expected = sha256.unwrap_or_default();
            let text =
                format!("{}: its SHA-256 is {found} and not {expected}", self.into.display());
            return Err(Failure::new(Cause::Damaged, text));
        }
        let synced = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, &self.into));
        synced.map_err(|error| failed(&self.into, &error))?;
        let folder = self.into.parent().unwrap_or(Path::new("."));
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(folder, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::of_disk(path, error)
}

#[cfg(test)]
mod tests {
    use super::{Cause, Part};

    fn target(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("quorate-part-{}-{name}", std::process::id()))
    }

    #[test]
    fn who_tries_again_goes_on_where_it_ended() {
        let into = target("resumed");
        let mut part = Part::open(&into).expect("a file");
        part.write(b"abc").expect("written");
        drop(part);
        assert!(!into.exists());
        let mut part = Part::open(&into).expect("a file");
        assert_eq!(part.bytes, 3);
        part.write(b"def").expect("written");
        // The SHA-256 of `abcdef`.
        let digest = "BEF57EC7F53A6D40BEB640A780A639C83BC29AC8A9816F1FC6C5C6DCD93C4721";
        part.finish(Some(digest)).expect("whole");
        assert_eq!(std::fs::read(&into).expect("a file"), b"abcdef");
        std::fs::remove_file(&into).expect("removed");
    }

    #[test]
    fn what_is_not_what_it_has_to_be_is_removed() {
        let into = target("damaged");
        let mut part = Part::open(&into).expect("a file");
        part.write(b"abc").expect("written");
        let failure = part.finish(Some("00")).expect_err("damaged");
        assert_eq!(failure.cause, Cause::Damaged);
        assert!(!into.exists());
        assert_eq!(Part::open(&into).expect("a file").bytes, 0);
        std::fs::remove_file(into.with_extension("part")).ok();
        let mut part = into.into_os_string();
        part.push(".part");
        std::fs::remove_file(part).ok();
    }
}
