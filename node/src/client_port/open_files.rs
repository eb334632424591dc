//! How many connections the process can have open.

use std::fs::File;
use std::os::fd::RawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

/// Files that are not connections of clients: the log's and the store's, the peers', and what is
/// opened for a moment. etcd keeps as many.
const RESERVED: u64 = 150;

/// Files for which there is room from the start: eight bytes each.
const ROOM_FILES: u64 = 16 << 10;

/// There are too few files for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open {limit} files and sockets, of which {RESERVED} are kept for its own \
     use; allow it more (ulimit -n, LimitNOFILE=)"
)]
pub struct TooFew {
    limit: u64,
}

/// Allow the process as many files as the system lets it have, and count what is left for clients.
///
/// # Errors
/// [`TooFew`].
pub(super) fn connections_max() -> Result<usize, TooFew> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // What is allowed already stays so if this fails.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    let limit = getrlimit(Resource::Nofile).current;
    make_room(limit);
    for_clients(limit)
}

/// Let the process's table of open files have its size from the start. Growing it while other
/// threads run waits for all of them: milliseconds in which a thread serves nobody.
fn make_room(limit: Option<u64>) {
    let last = limit.unwrap_or(u64::MAX).min(ROOM_FILES) - 1;
    let (Ok(last), Ok(file)) = (RawFd::try_from(last), File::open("/dev/null")) else { return };
    // A descriptor of a high number makes the room; it can go again. Without, it grows as it must.
    let _ = rustix::io::fcntl_dupfd_cloexec(&file, last);
}

fn for_clients(limit: Option<u64>) -> Result<usize, TooFew> {
    let Some(limit) = limit else { return Ok(Semaphore::MAX_PERMITS) };
    match limit.saturating_sub(RESERVED) {
        0 => Err(TooFew { limit }),
        left => Ok(usize::try_from(left).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept() {
        assert_eq!(for_clients(Some(1024)), Ok(874));
        assert_eq!(for_clients(Some(150)), Err(TooFew { limit: 150 }));
        assert_eq!(for_clients(None), Ok(Semaphore::MAX_PERMITS));
        assert!(connections_max().is_ok());
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
