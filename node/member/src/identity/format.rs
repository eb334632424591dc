//! The book as bytes: one copy of fixed size, with a checksum.
//!
//! ```text
//!   ┌─────────┬───────────┬──────────┬──────────────┬───────────┬────────────────┬──────┐
//!   │"QIdentit│ version 4 │ crc32c 4 │ generation 8 │ length 4  │ own, peers     │ 0…   │
//!   └─────────┴───────────┴──────────┴──────────────┴───────────┴────────────────┴──────┘
//!                                      the checksum is of all from here to the end
//!   own:   cluster 8, member 8, stage 1, life         peers: count 2, then for each
//!   life:  incarnation 8, boot 8, count 1, nonces 8…  id 8, life, term 8, committed 8,
//!                                                     acknowledged 8, its term 8
//! ```
//! Numbers are big-endian.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quorate_api::peer::NONCES_MAX;

use super::book::{Book, Own, PEERS_MAX, Stage};
use super::rule::Remembered;

/// Bytes of a copy.
pub(super) const COPY_BYTES: usize = 16 << 10;

const MAGIC: &[u8; 8] = b"QIdentit";
const VERSION: u32 = 1;
/// Before the checksum ends.
const HEAD_BYTES: usize = 16;

/// A copy of the book.
pub(super) fn encode(book: &Book, generation: u64) -> Bytes {
    let mut body = BytesMut::new();
    let Own { cluster, member, incarnation, boot, nonces, stage } = &book.own;
    body.put_u64(*cluster);
    body.put_u64(*member);
    body.put_u8(match stage {
        Stage::Founding => 0,
        Stage::Founded => 1,
    });
    put_life(&mut body, *incarnation, *boot, nonces);
    body.put_u16(u16::try_from(book.peers.len()).expect("peers are bounded"));
    for (id, remembered) in &book.peers {
        let Remembered { incarnation, boot, nonces, term, committed, acknowledged } = remembered;
        body.put_u64(*id);
        put_life(&mut body, *incarnation, *boot, nonces);
        let (acknowledged, in_term) = acknowledged;
        for number in [term, committed, acknowledged, in_term] {
            body.put_u64(*number);
        }
    }
    let mut sealed = BytesMut::new();
    sealed.put_u64(generation);
    sealed.put_u32(u32::try_from(body.len()).expect("peers are bounded"));
    sealed.unsplit(body);
    assert!(HEAD_BYTES + sealed.len() <= COPY_BYTES, "peers are bounded");
    sealed.resize(COPY_BYTES - HEAD_BYTES, 0);
    let mut copy = BytesMut::with_capacity(COPY_BYTES);
    copy.put_slice(MAGIC);
    copy.put_u32(VERSION);
    copy.put_u32(crc32c::crc32c(&sealed));
    copy.unsplit(sealed);
    copy.freeze()
}

fn put_life(body: &mut BytesMut, incarnation: u64, boot: u64, nonces: &[u64]) {
    body.put_u64(incarnation);
    body.put_u64(boot);
    body.put_u8(u8::try_from(nonces.len()).expect("nonces are bounded"));
    for nonce in nonces {
        body.put_u64(*nonce);
    }
}

/// What a copy is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// Nothing was written, or not to its end, or it is damaged.
    Unreadable,
    /// A release wrote it that is newer than this one.
    Newer(u32),
    /// The book, and the how manieth of its kind it is.
    Whole(Book, u64),
}

/// Reads a copy.
pub(super) fn decode(copy: &[u8]) -> Copy {
    let Some((magic, mut rest)) = copy.split_at_checked(MAGIC.len()) else {
        return Copy::Unreadable;
    };
    if magic != MAGIC || rest.len() < HEAD_BYTES - MAGIC.len() {
        return Copy::Unreadable;
    }
    let (version, sum) = (rest.get_u32(), rest.get_u32());
    if sum != crc32c::crc32c(rest) {
        return Copy::Unreadable;
    }
    if version > VERSION {
        return Copy::Newer(version);
    }
    match read(rest) {
        Some((book, generation)) => Copy::Whole(book, generation),
        None => Copy::Unreadable,
    }
}

fn read(mut rest: &[u8]) -> Option<(Book, u64)> {
    let generation = rest.try_get_u64().ok()?;
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let mut body = rest.get(..length)?;
    let (cluster, member) = (body.try_get_u64().ok()?, body.try_get_u64().ok()?);
    let stage = match body.try_get_u8().ok()? {
        0 => Stage::Founding,
        1 => Stage::Founded,
        _ => return None,
    };
    let (incarnation, boot, nonces) = read_life(&mut body)?;
    let own = Own { cluster, member, incarnation, boot, nonces, stage };
    let mut peers = std::collections::BTreeMap::new();
    let count = usize::from(body.try_get_u16().ok()?);
    if count > PEERS_MAX {
        return None;
    }
    for _ in 0..count {
        let id = body.try_get_u64().ok()?;
        let (incarnation, boot, nonces) = read_life(&mut body)?;
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = body.try_get_u64().ok()?;
        }
        let [term, committed, acknowledged, in_term] = numbers;
        let acknowledged = (acknowledged, in_term);
        let remembered = Remembered { incarnation, boot, nonces, term, committed, acknowledged };
        peers.insert(id, remembered);
    }
    body.is_empty().then_some((Book { own, peers }, generation))
}

fn read_life(body: &mut &[u8]) -> Option<(u64, u64, Vec<u64>)> {
    let (incarnation, boot) = (body.try_get_u64().ok()?, body.try_get_u64().ok()?);
    let count = usize::from(body.try_get_u8().ok()?);
    if count > NONCES_MAX {
        return None;
    }
    let nonces = (0..count).map(|_| body.try_get_u64().ok()).collect::<Option<Vec<u64>>>()?;
    Some((incarnation, boot, nonces))
}

#[cfg(test)]
mod tests {
    use quorate_api::peer::{Claim, LogEnd};

    use super::*;

    fn full() -> Book {
        let mut book = Book::new(7);
        for start in 0..100 {
            book.begin(start << 32);
        }
        book.found(0xc1, 1, 7);
        let nonces: Vec<u64> = (0..NONCES_MAX as u64).collect();
        let end = Some(LogEnd { term: 3, index: 9, committed: 8 });
        let claim = Claim { incarnation: u64::MAX, boot: 40, nonces, end };
        for peer in 0..PEERS_MAX as u64 + 3 {
            assert_eq!(book.remember(peer, &claim), peer < PEERS_MAX as u64);
        }
        book
    }

    #[test]
    fn who_was_removed_is_forgotten_when_room_is_wanted() {
        let mut book = full();
        let forgotten = (0..PEERS_MAX as u64).filter(|peer| book.forget(*peer)).count();
        assert_eq!(forgotten, PEERS_MAX / 2);
        let claim = Claim { incarnation: 3, boot: 1, nonces: vec![5], end: None };
        assert!(book.remember(0, &claim), "there is room again");
        let known = PEERS_MAX as u64 - 1;
        assert!(book.judge(known, Some(&claim)).is_err(), "one of few is not forgotten");
    }

    #[test]
    fn a_full_book_fits_and_is_read_again() {
        for book in [Book::new(1), full()] {
            let copy = encode(&book, 5);
            assert_eq!(copy.len(), COPY_BYTES);
            assert_eq!(decode(&copy), Copy::Whole(book, 5));
        }
    }

    #[test]
    fn no_changed_byte_and_no_part_is_taken_for_a_book() {
        let copy = encode(&full(), 5);
        for at in (0..copy.len()).step_by(7).chain(0..64) {
            let mut changed = copy.to_vec();
            changed[at] ^= 1;
            // The version stands before the checksum, and a newer one may look otherwise.
            let decoded = decode(&changed);
            let is_version = (8..12).contains(&at);
            assert!(is_version || decoded == Copy::Unreadable, "byte {at}: {decoded:?}");
            assert_eq!(decode(&copy[..at]), Copy::Unreadable);
        }
        assert_eq!(decode(&[0; COPY_BYTES]), Copy::Unreadable);
    }
}
