//! The first words of a connection: versions, ciphers, protocols, and what is no TLS at all.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustls::crypto::ring::cipher_suite as suite;

use super::authority::{Authority, Identity, as_is};
use super::caller::{Caller, DOORS, Door, ONLY_1_2, ONLY_1_3, Outcome, PATIENCE, roots};
use super::member::{Folder, Member, OK, block_on};

const FILES: [&str; 6] = [
    "--cert-file=member.pem",
    "--key-file=member.key",
    "--trusted-ca-file=ca.pem",
    "--peer-cert-file=member.pem",
    "--peer-key-file=member.key",
    "--peer-trusted-ca-file=ca.pem",
];

struct Running {
    member: Member,
    root: Authority,
    client: Identity,
    // Last, so that it is there while the member runs.
    _folder: Folder,
}

fn start(name: &str, flags: &[&str]) -> Running {
    let root = Authority::root("root", &as_is);
    let folder = Folder::new(name);
    let member = root.member("one", &as_is);
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("ca.pem", &root.pem);
    let mut member = Member::start(&folder, &[&FILES[..], flags].concat());
    member.wait_until_ready();
    let client = root.client("client", &as_is);
    Running { member, root, client, _folder: folder }
}

impl Running {
    fn ask(&self, door: Door, change: impl Fn(&mut Caller)) -> Outcome {
        let mut caller = Caller::new(&roots(&self.root.pem), Some(&self.client));
        change(&mut caller);
        block_on(caller.ask(door, self.member.address(door)))
    }
}

#[test]
fn versions_and_ciphers_are_those_asked_for() {
    let newest = start("only-1-3", &["--tls-min-version=TLS1.3"]);
    for door in DOORS {
        let outcome = newest.ask(door, |caller| caller.versions = ONLY_1_2);
        assert_eq!(outcome, Outcome::Refused("ProtocolVersion".to_owned()), "{door:?}");
        assert_eq!(newest.ask(door, |caller| caller.versions = ONLY_1_3), OK, "{door:?}");
    }
    drop(newest);
    let oldest = start(
        "only-1-2",
        &[
            "--tls-max-version=TLS1.2",
            "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,\
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ],
    );
    for door in DOORS {
        let outcome = oldest.ask(door, |caller| caller.versions = ONLY_1_3);
        assert_eq!(outcome, Outcome::Refused("ProtocolVersion".to_owned()), "{door:?}");
        for (offered, is_spoken) in [
            (suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true),
            (suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, false),
            (suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, false),
            // The certificate's key is none for RSA.
            (suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, false),
        ] {
            let outcome = oldest.ask(door, |caller| {
                (caller.versions, caller.suites) = (ONLY_1_2, vec![offered]);
            });
            let refused = Outcome::Refused("HandshakeFailure".to_owned());
            let expected = if is_spoken { OK } else { refused };
            assert_eq!(outcome, expected, "{door:?}, {offered:?}");
        }
    }
}

/// A hello of a client, written by hand: rustls would not say such things.
fn hello(version: [u8; 2], suites: &[u16], groups: &[u16], protocol: Option<&str>) -> Vec<u8> {
    fn with_length(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).expect("short").to_be_bytes();
        [&length[..], bytes].concat()
    }
    let words =
        |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let extension =
        |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &with_length(content)].concat();
    let mut extensions = extension(10, &with_length(&words(groups)));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &with_length(&words(&[0x0403, 0x0804, 0x0401]))));
    if let Some(protocol) = protocol {
        let length = u8::try_from(protocol.len()).expect("short");
        let list = [&[length][..], protocol.as_bytes()].concat();
        extensions.extend(extension(16, &with_length(&list)));
    }
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(with_length(&words(suites)));
    body.extend([1, 0]);
    body.extend(with_length(&extensions));
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let handshake = [&[1][..], length.get(1..).expect("three bytes"), &body].concat();
    [&[22, 3, 1][..], &with_length(&handshake)].concat()
}

/// What a member says to that: everything until it hangs up.
fn said(member: &Member, door: Door, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(member.address(door)).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _ = stream.write_all(words);
    let mut answer = Vec::new();
    // It may hang up hard, as it has not read everything.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn what_is_too_old_or_no_tls_is_refused_at_every_door() {
    const SPOKEN: &[u16] = &[0xc02b, 0xc02c, 0xcca9];
    const GROUPS: &[u16] = &[23, 29];
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    let running = start("hellos", &[]);
    for door in DOORS {
        for (name, words, alert) in [
            ("SSL 3", hello([3, 0], SPOKEN, GROUPS, None), PROTOCOL_VERSION),
            ("TLS 1.0", hello([3, 1], SPOKEN, GROUPS, None), PROTOCOL_VERSION),
            ("TLS 1.1", hello([3, 2], SPOKEN, GROUPS, None), PROTOCOL_VERSION),
            (
                "keys without forward secrecy",
                hello([3, 3], &[0x9c, 0x9d], GROUPS, None),
                HANDSHAKE_FAILURE,
            ),
            ("CBC", hello([3, 3], &[0xc009, 0xc00a, 0x2f, 0x35], GROUPS, None), HANDSHAKE_FAILURE),
            ("RC4 and 3DES", hello([3, 3], &[0x05, 0x0a, 0xc007], GROUPS, None), HANDSHAKE_FAILURE),
            ("export ciphers", hello([3, 3], &[0x03, 0x08, 0x14], GROUPS, None), HANDSHAKE_FAILURE),
            (
                "no encryption",
                hello([3, 3], &[0x00, 0x01, 0x02, 0x3b], GROUPS, None),
                HANDSHAKE_FAILURE,
            ),
            ("anonymous", hello([3, 3], &[0x34, 0xa6, 0xc018], GROUPS, None), HANDSHAKE_FAILURE),
            ("no group in common", hello([3, 3], SPOKEN, &[30], None), HANDSHAKE_FAILURE),
            (
                "another protocol",
                hello([3, 3], SPOKEN, GROUPS, Some("imap")),
                NO_APPLICATION_PROTOCOL,
            ),
        ] {
            let answer = said(&running.member, door, &words);
            // An alert that ends the connection, in the clear.
            let found = answer.get(5..7).map(<[u8]>::to_vec);
            assert_eq!(answer.first(), Some(&21), "{name} at {door:?}: {answer:?}");
            assert_eq!(found, Some(vec![2, alert]), "{name} at {door:?}: {answer:?}");
        }
        for (name, words) in [
            ("HTTP/1", &b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"[..]),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
            ("zeroes", &[0; 600]),
            ("a length that lies", &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0]),
            ("SSL 2", &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80]),
        ] {
            let answer = said(&running.member, door, words);
            assert!(!answer.starts_with(b"HTTP/"), "{name} at {door:?}: {answer:?}");
            assert!(!answer.starts_with(&[0, 0]), "frames for {name} at {door:?}: {answer:?}");
        }
        assert_eq!(running.ask(door, |_| {}), OK, "{door:?}");
    }
    // A hello that never ends is not waited for.
    let mut stream = TcpStream::connect(running.member.client).expect("connects");
    stream.write_all(&[22, 3, 1]).expect("said");
    stream.set_read_timeout(Some(PATIENCE + Duration::from_secs(10))).expect("a timeout");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it hangs up by itself");
}
