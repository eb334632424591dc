//! What hashes know of a record's body without reading it.

/// A body's checksum and length, which the index has of each record in memory. From these the
/// checksum of many records one after the other is computed without their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodySum {
    /// CRC-32C of its bytes.
    pub crc: u32,
    /// How many there are.
    pub length: u32,
}

impl BodySum {
    /// That of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let length = u32::try_from(body.len()).expect("a body is shorter than 1 GiB");
        Self { crc: crc32c::crc32c(body), length }
    }
}
