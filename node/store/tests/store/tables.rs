//! The small tables as rows and as a blob.

use bytes::Bytes;
use quorate_api::etcdserverpb::{LeaseGrantRequest, PutRequest};
use quorate_api::membershippb::{ClusterVersionSetRequest, DowngradeInfoSetRequest};
use quorate_api::request::RequestKind;
use quorate_store::members::Member;
use quorate_store::tables::{Tables, TablesError};

use crate::ours::Ours;

fn filled() -> Tables {
    let mut ours = Ours::new();
    ours.request(RequestKind::LeaseGrant, &LeaseGrantRequest { id: 0x1234, ttl: 10 });
    ours.request(RequestKind::LeaseGrant, &LeaseGrantRequest { id: -1, ttl: 10 });
    let put = PutRequest { key: "k".into(), lease: 0x1234, ..PutRequest::default() };
    ours.request(RequestKind::Put, &put);
    ours.request(RequestKind::ClusterVersionSet, &ClusterVersionSetRequest { ver: "3.7.0".into() });
    ours.request(
        RequestKind::DowngradeInfoSet,
        &DowngradeInfoSetRequest { enabled: true, ver: "3.6.0".into() },
    );
    let mut tables = ours.store.tables().clone();
    let member = Member { id: 0xab, name: "one".into(), ..Member::default() };
    tables.insert_row("members", "ab".into(), member.to_json().into()).unwrap();
    tables.insert_row("members_removed", "cd".into(), "removed".into()).unwrap();
    tables.insert_row("alarm", Bytes::from_static(b"\x08\x05\x10\x01"), Bytes::new()).unwrap();
    tables
}

#[test]
fn rows_are_those_of_etcds_buckets() {
    let text: Vec<String> = filled()
        .buckets()
        .into_iter()
        .map(|(name, rows)| {
            let rows: Vec<String> = rows
                .iter()
                .map(|(key, value)| format!("{}={}", key.escape_ascii(), value.escape_ascii()))
                .collect();
            format!("{name}: {}", rows.join(" "))
        })
        .collect();
    let expected = [
        r"alarm: \x08\x05\x10\x01=",
        r"auth: ",
        r"authRoles: ",
        r"authUsers: ",
        r#"cluster: clusterVersion=3.7.0 downgrade={\"target-version\":\"3.6.0\",\"enabled\":true}"#,
        concat!(
            r"lease: \x00\x00\x00\x00\x00\x00\x124=\x08\xb4$\x10\n ",
            r"\xff\xff\xff\xff\xff\xff\xff\xff=\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\n",
        ),
        r#"members: ab={\"id\":171,\"peerURLs\":null,\"name\":\"one\"}"#,
        r"members_removed: cd=removed",
    ];
    assert_eq!(text, expected);
}

#[test]
fn a_blob_reads_back_and_damage_is_noticed() {
    let blob = filled().encode();
    let read = Tables::decode(&blob).unwrap();
    assert_eq!(read.encode(), blob);
    assert_eq!(read.leases.of_key(b"k"), Some(0x1234));
    for at in 0..blob.len() {
        assert!(Tables::decode(&blob.slice(..at)).is_err());
        for bit in 0..8 {
            let mut damaged = blob.to_vec();
            damaged[at] ^= 1 << bit;
            assert!(Tables::decode(&damaged.into()).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let mut tables = Tables::default();
    let mut refusal = |table: &str, key: &'static str, value: &'static str| {
        tables.insert_row(table, key.into(), value.into()).unwrap_err()
    };
    assert_eq!(refusal("auth", "authEnabled", "\x01"), TablesError::Auth);
    assert_eq!(refusal("news", "", ""), TablesError::Unknown("news".into()));
    for (table, key, value) in [
        ("lease", "k", ""),
        ("members", "zz", "{}"),
        ("members_removed", "zz", "removed"),
        ("cluster", "other", ""),
        ("alarm", "\x08", ""),
    ] {
        assert_eq!(refusal(table, key, value), TablesError::Row { table: table.into() });
    }
}
