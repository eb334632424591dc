//! The bytes of a checkpoint's two files, version 1.

/// The number that a file's name ends in: 16 lower-case hexadecimal digits, nothing else.
pub(crate) fn parse_number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits.len() != 16 || !plain {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}
