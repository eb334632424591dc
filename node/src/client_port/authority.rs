//! Authorities that are whole addresses, as etcd's Go client before 3.5 sends them.
//!
//! Its calls for maintenance name `http://10.0.0.1:2379` as their `:authority`, which is none, and the
//! HTTP/2 library resets their streams. Nothing here depends on what the authority is, so one that
//! begins like an address is overwritten on its way in: with as many bytes, which stand for no more
//! characters than before, so that both ends' tables of headers stay in step (RFC 7541).

/// `:authority` in the table that every connection begins with.
const AUTHORITY: usize = 1;
/// The marks of frames that begin with more than their block of headers.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// `X` and its Huffman code, which has eight bits.
const FILLER: u8 = b'X';
const FILLER_CODE: u8 = 0xfc;

/// What an address begins with, and the bits of its Huffman code with how many count of the last byte.
const ADDRESSES: [(&[u8], &[u8], u8); 2] = [
    (b"http://", &[0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x00], 0x80),
    (b"https://", &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x60], 0xfc),
];

/// Overwrite the authority in the content of a HEADERS frame, or what there is of it, if it begins
/// like an address.
pub(super) fn mend(flags: u8, content: &mut [u8]) {
    let block_at = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let Some(value) = content.get(block_at..).and_then(find) else { return };
    let (from, to) = (block_at + value.from, block_at + value.to);
    let Some(bytes) = content.get_mut(from..to) else { return };
    if is_address(bytes, value.is_huffman) {
        bytes.fill(if value.is_huffman { FILLER_CODE } else { FILLER });
    }
}

/// A string in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    from: usize,
    to: usize,
    is_huffman: bool,
}

fn is_address(bytes: &[u8], is_huffman: bool) -> bool {
    ADDRESSES.iter().any(|(plain, code, mask)| match (is_huffman, code.split_last()) {
        (true, Some((last, whole))) => {
            bytes.starts_with(whole)
                && bytes.get(whole.len()).is_some_and(|byte| byte & mask == *last)
        }
        _ => bytes.starts_with(plain),
    })
}

/// The value of `:authority`, if the block spells it out.
fn find(block: &[u8]) -> Option<Text> {
    let mut at = 0;
    loop {
        let first = *block.get(at)?;
        let name_bits = match first {
            0x80.. => {
                number(block, &mut at, 7)?;
                continue;
            }
            0x40..0x80 => 6,
            0x20..0x40 => {
                number(block, &mut at, 5)?;
                continue;
            }
            0..0x20 => 4,
        };
        let name = number(block, &mut at, name_bits)?;
        if name == 0 {
            text(block, &mut at)?;
        }
        let value = text(block, &mut at)?;
        if name == AUTHORITY {
            return Some(value);
        }
    }
}

/// A number whose first byte has so many bits of it.
fn number(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn text(block: &[u8], at: &mut usize) -> Option<Text> {
    let is_huffman = *block.get(*at)? >= 0x80;
    let length = number(block, at, 7)?;
    let from = *at;
    *at = from.checked_add(length)?;
    Some(Text { from, to: *at, is_huffman })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `:method: POST`, `:scheme: http`, a path, then the authority and one header more.
    fn block(authority: &[u8]) -> Vec<u8> {
        [&[0x83, 0x86, 0x44, 0x02, b'/', b'a', 0x41], authority, &[0x40, 0x01, b'x', 0x01, b'y']]
            .concat()
    }

    fn mended(flags: u8, before: &[u8], authority: &[u8]) -> Vec<u8> {
        let mut content = [before, &block(authority)].concat();
        mend(flags, &mut content);
        content
    }

    #[test]
    fn an_address_is_overwritten_and_nothing_else() {
        let plain = b"\x15http://127.0.0.1:2379";
        assert_eq!(mended(4, &[], plain), block(b"\x15XXXXXXXXXXXXXXXXXXXXX"));
        assert_eq!(mended(0x2c, &[9; 6], plain)[6..], block(b"\x15XXXXXXXXXXXXXXXXXXXXX"));
        // `https://www.example.com` as RFC 7541 has it (C.6.1).
        let code = b"\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3";
        let filled = [&[0x91][..], &[0xfc; 17]].concat();
        assert_eq!(mended(4, &[], code), block(&filled));
        // `http://a`: `a` is 00011, then two bits of padding.
        let code = b"\x86\x9d\x29\xae\xe3\x0c\x0f";
        assert_eq!(mended(4, &[], code), block(&[0x86, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc]));
        // `www.example.com` (C.4.1), and an authority in the clear.
        let name = b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        for good in [&name[..], b"\x0e127.0.0.1:2379", b"\x00", b"\x05http:"] {
            assert_eq!(mended(4, &[], good), block(good));
        }
    }

    #[test]
    fn what_is_cut_off_is_left_alone() {
        let whole = block(b"\x15http://127.0.0.1:2379");
        for length in 0..7 + 22 {
            let mut cut = whole[..length].to_vec();
            mend(4, &mut cut);
            assert_eq!(cut, whole[..length]);
        }
        let mut endless = vec![0xff; 40];
        mend(4, &mut endless);
        mend(0x28, &mut [1, 2]);
        assert_eq!(endless, [0xff; 40]);
    }
}
