//! Counts the messages of gRPC in bytes that come in pieces.

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Where a body stands between its messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    have: usize,
    /// Of the message's content.
    left: usize,
}

impl Messages {
    /// How many messages end in these bytes.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
                ended += u64::from(self.left == 0);
                continue;
            }
            let taken = (PREFIX_BYTES - self.have).min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            self.prefix[self.have..self.have + taken].copy_from_slice(head);
            self.have += taken;
            bytes = rest;
            if self.have == PREFIX_BYTES {
                let [_, l3, l2, l1, l0] = self.prefix;
                self.have = 0;
                self.left = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
                ended += u64::from(self.left == 0);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_across_pieces() {
        let mut bytes = Vec::new();
        for length in [0_u32, 1, 300, 0, 7] {
            bytes.push(0);
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![0xff; length as usize]);
        }
        for size in [1, 2, 3, 7, 100, 1000] {
            let mut messages = Messages::default();
            let ended: u64 = bytes.chunks(size).map(|piece| messages.read(piece)).sum();
            assert_eq!(ended, 5, "pieces of {size}");
        }
        assert_eq!(Messages::default().read(&[0, 0, 0, 0, 9, 1]), 0);
    }
}
