//! What a message of a watch holds, without decoding it.

/// Counted for a watch that was created; events count one each.
pub(crate) const CREATED: u64 = 1 << 40;

/// Fields of `WatchResponse`.
const CREATED_FIELD: u64 = 3;
const EVENTS_FIELD: u64 = 11;

/// The events of a `WatchResponse`, and [`CREATED`] if it says that a watch was created.
pub(crate) fn events(mut message: &[u8]) -> u64 {
    let mut counted = 0;
    while let Some((tag, rest)) = varint(message) {
        let Some((value, rest)) = varint(rest) else { return counted };
        message = match (tag >> 3, tag & 7) {
            (CREATED_FIELD, 0) => {
                counted += CREATED;
                rest
            }
            (_, 0) => rest,
            (field, 2) => {
                counted += u64::from(field == EVENTS_FIELD);
                let length = usize::try_from(value).unwrap_or(usize::MAX);
                rest.get(length..).unwrap_or_default()
            }
            _ => return counted,
        };
    }
    counted
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use quorate_api::etcdserverpb::{ResponseHeader, WatchResponse};
    use quorate_api::mvccpb::{Event, KeyValue};

    use super::{CREATED, events};

    #[test]
    fn events_and_creations_are_counted() {
        let kv = KeyValue { value: vec![7; 300].into(), ..KeyValue::default() };
        let event = Event { kv: Some(kv), ..Event::default() };
        let header = Some(ResponseHeader { revision: 1 << 40, ..ResponseHeader::default() });
        let answer = |created, events| WatchResponse {
            header,
            watch_id: 300,
            created,
            events,
            ..WatchResponse::default()
        };
        assert_eq!(events(&answer(false, vec![event; 3]).encode_to_vec()), 3);
        assert_eq!(events(&answer(true, Vec::new()).encode_to_vec()), CREATED);
        assert_eq!(events(&answer(false, Vec::new()).encode_to_vec()), 0);
    }
}
