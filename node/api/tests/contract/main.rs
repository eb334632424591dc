//! What the crate promises about bytes, texts and generated code.
//!
//! `vectors.txt` holds bytes that etcd 3.7.1's own code wrote, as `name hex` lines.

mod arbitrary;
mod errors;
mod generated;
mod golden;
mod identity;
mod member_json;
mod peer;
mod requests;
mod urls;

/// The bytes that etcd wrote under this name.
fn vector(name: &str) -> Vec<u8> {
    let line = include_str!("vectors.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no vector {name}"));
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal") as u8;
    line.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
