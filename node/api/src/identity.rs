//! Ids of members and clusters, derived as etcd derives them.
//!
//! Both are the first eight bytes, big-endian, of a SHA-1: whoever starts a member with the same
//! peer URLs and the same token computes the same ids, which is how the first members of a cluster
//! agree before they have talked. An id of 0 means "nobody" in Raft and is refused by callers.

use sha1::{Digest, Sha1};

/// The id of a member.
///
/// `peer_urls` in any order; `token` is `--initial-cluster-token`. `added_at` is the time in
/// seconds since the Unix epoch for a member added to a running cluster, which makes an id that is
/// not used again, and `None` for the members that a cluster starts with. A member that is added
/// has no token: etcd passes an empty one.
pub fn member_id<S: AsRef<str>>(peer_urls: &[S], token: &str, added_at: Option<i64>) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(AsRef::as_ref).collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    for url in urls {
        hash.update(url);
    }
    hash.update(token);
    if let Some(seconds) = added_at {
        hash.update(seconds.to_string());
    }
    first_eight_bytes(hash)
}

/// The id of a cluster that starts with these members, in any order.
pub fn cluster_id(member_ids: &[u64]) -> u64 {
    let mut ids = member_ids.to_vec();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in ids {
        hash.update(id.to_be_bytes());
    }
    first_eight_bytes(hash)
}

/// An id as etcd writes it in headers, paths and storage keys: hexadecimal without leading zeroes.
pub fn format_id(id: u64) -> String {
    format!("{id:x}")
}

/// Reads what [`format_id`] writes, in either case of letters.
pub fn parse_id(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

fn first_eight_bytes(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}
