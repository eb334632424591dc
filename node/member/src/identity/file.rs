//! The book's file: two copies, written in turn and synced, so that one is always whole.

use std::io;
use std::sync::Arc;

use quorate_disk::{Completion, Disk, Files, Operation, Ticket};
use thiserror::Error;

use super::book::Book;
use super::format::{COPY_BYTES, Copy, decode, encode};

/// The file, in the data directory.
pub const PATH: &str = "identity";

/// Copies in the file.
const COPIES: u64 = 2;

/// What is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No book.
    Missing,
    /// A file whose copies are both unreadable, perhaps because its making was interrupted.
    Unreadable,
    /// The newest book that was written whole.
    Book(Book),
}

/// Why it is not known what is in a directory.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk does not answer.
    #[error("the file `{PATH}` of the data directory cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A newer release wrote it.
    #[error("the file `{PATH}` has format {0}, which this release does not read")]
    Newer(u32),
}

/// Writes the book. One write at a time.
#[derive(Debug)]
pub struct BookFile {
    exists: bool,
    /// Of the last copy that was tried: the next one goes to the other place.
    generation: u64,
    tickets: u64,
    /// The first and the last operation of the write that is under way.
    under_way: Option<(Ticket, Ticket)>,
}

/// What is in the directory, and the file to write.
///
/// # Errors
/// When that cannot be known.
pub fn read(files: &dyn Files) -> Result<(Found, BookFile), ReadError> {
    let mut file = BookFile { exists: true, generation: 0, tickets: 0, under_way: None };
    let length = match files.length(PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.exists = false;
            return Ok((Found::Missing, file));
        }
        length => length?,
    };
    let mut newest: Option<Book> = None;
    for place in 0..COPIES {
        let offset = place * COPY_BYTES as u64;
        if offset + COPY_BYTES as u64 > length {
            continue;
        }
        match decode(&files.read(PATH, offset, COPY_BYTES)?) {
            Copy::Unreadable => {}
            Copy::Newer(version) => return Err(ReadError::Newer(version)),
            Copy::Whole(book, generation) => {
                if newest.is_none() || generation > file.generation {
                    (newest, file.generation) = (Some(book), generation);
                }
            }
        }
    }
    Ok((newest.map_or(Found::Unreadable, Found::Book), file))
}

impl BookFile {
    /// Submit a write. It is over when [`on_completion`](Self::on_completion) says so.
    pub fn write(&mut self, disk: &mut dyn Disk, book: &Book) {
        assert!(self.under_way.is_none(), "one write at a time");
        self.generation += 1;
        let path: quorate_disk::Path = Arc::from(PATH);
        let offset = self.generation % COPIES * COPY_BYTES as u64;
        let data = vec![encode(book, self.generation)];
        let mut operations = Vec::new();
        if !self.exists {
            let size = COPIES * COPY_BYTES as u64;
            operations.push(Operation::Create { path: path.clone(), size });
            operations.push(Operation::SyncDirectory { path: Arc::from("") });
        }
        operations.push(Operation::Write { path: path.clone(), offset, data });
        operations.push(Operation::Sync { path });
        let first = Ticket(self.tickets + 1);
        for operation in operations {
            self.tickets += 1;
            disk.submit(Ticket(self.tickets), operation);
        }
        self.under_way = Some((first, Ticket(self.tickets)));
    }

    /// Whether a write is under way.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.under_way.is_some()
    }

    /// Hear the end of an operation; whether the write is durable now.
    ///
    /// # Errors
    /// Once for a write that failed. What was there before is still there.
    pub fn on_completion(&mut self, completion: Completion) -> io::Result<bool> {
        let Some((first, last)) = self.under_way else { return Ok(false) };
        if completion.ticket < first {
            // Of a write that failed before.
            return Ok(false);
        }
        if let Err(error) = completion.result {
            self.under_way = None;
            // Tried again in the same place: in the other is the last copy that is whole.
            self.generation -= 1;
            return Err(error);
        }
        // Where there was no file, the first operation makes it.
        self.exists = true;
        let is_whole = completion.ticket == last;
        if is_whole {
            self.under_way = None;
        }
        Ok(is_whole)
    }
}
