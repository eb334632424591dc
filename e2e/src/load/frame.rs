//! Frames of HTTP/2 (RFC 9113 §4 and §6), as far as a client of gRPC meets them.

/// Bytes before a frame's payload.
pub(super) const HEAD_BYTES: usize = 9;
/// The payload that every peer takes without being asked.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;
/// What a client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const FLAG_ACK: u8 = 1;
pub(super) const FLAG_END_STREAM: u8 = 1;
pub(super) const FLAG_END_HEADERS: u8 = 4;

/// What a peer may have open at first.
pub(super) const SETTING_INITIAL_WINDOW: u16 = 4;
/// Windows begin with this.
pub(super) const WINDOW_BYTES_FIRST: i64 = 65_535;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// The head at the beginning of `bytes`, if it is whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[l0, l1, l2, kind, flags, s0, s1, s2, s3], _) =
            bytes.split_first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).ok()?,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }
}

/// Append a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX, "larger than a frame");
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Append a body as DATA frames; the last may end the stream.
pub(super) fn put_data(out: &mut Vec<u8>, stream: u32, body: &[u8], ends: bool) {
    let mut rest = body;
    loop {
        let (part, after) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
        let flags = if ends && after.is_empty() { FLAG_END_STREAM } else { 0 };
        put(out, DATA, flags, stream, part);
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

/// Append headers of a gRPC call. What does not change within a connection is sent in full once
/// and by its index then (RFC 7541 §6.1, §6.2).
pub(super) fn put_headers(out: &mut Vec<u8>, stream: u32, headers: &mut Headers, path: &str) {
    let mut block = Vec::with_capacity(96);
    block.extend_from_slice(&[0x83, 0x86]);
    match &headers.path {
        None => {
            literal(&mut block, 0x44, path);
            literal(&mut block, 0x41, &headers.authority);
            literal(&mut block, 0x5f, "application/grpc");
            block.push(0x40);
            string(&mut block, "te");
            string(&mut block, "trailers");
            headers.path = Some(path.to_owned());
        }
        Some(known) => {
            if known == path {
                block.push(0x80 | 65);
            } else {
                literal(&mut block, 0x04, path);
            }
            block.extend_from_slice(&[0x80 | 64, 0x80 | 63, 0x80 | 62]);
        }
    }
    put(out, HEADERS, FLAG_END_HEADERS, stream, &block);
}

/// What a connection's headers are made of.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) authority: String,
    /// The path that the peer has in its table.
    pub(super) path: Option<String>,
}

fn literal(block: &mut Vec<u8>, first: u8, value: &str) {
    block.push(first);
    string(block, value);
}

/// A string without Huffman coding. All are shorter than 127 bytes.
fn string(block: &mut Vec<u8>, value: &str) {
    debug_assert!(value.len() < 127, "needs a longer length");
    block.push(u8::try_from(value.len()).unwrap_or(126));
    block.extend_from_slice(value.as_bytes());
}
