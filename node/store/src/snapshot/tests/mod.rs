//! Tests of snapshots, and what they have in common.

mod disk;
mod file;
mod install;
mod status;

use std::io;

use bytes::Bytes;
use quorate_disk::Files;

use super::{SnapshotStream, Step};

/// A folder without files: what is not flushed is read from memory.
pub(super) struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str, _: u64, _: usize) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn length(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// The whole stream.
fn drain(mut stream: SnapshotStream) -> Bytes {
    let mut file = Vec::new();
    loop {
        match stream.step().unwrap() {
            Step::Again => {}
            Step::Chunk(chunk) => {
                assert!(stream.stream_bytes().is_some(), "the length comes first");
                file.extend_from_slice(&chunk);
            }
            Step::End => break,
        }
    }
    assert_eq!(stream.stream_bytes(), Some(file.len() as u64));
    assert_eq!(stream.step().unwrap(), Step::End);
    file.into()
}
