//! Ids that etcd derived from the same input.

use quorate_api::identity::{cluster_id, format_id, member_id, parse_id};

#[test]
fn members() {
    let one = ["http://10.0.0.1:2380"];
    assert_eq!(member_id(&one, "etcd-cluster", None), 0x3ebc01aec68d6d70);
    assert_eq!(member_id(&one, "etcd-cluster", Some(1_700_000_000)), 0x26b9acd81aaeba4b);
    let two = ["http://b:2380", "http://a:2380"];
    assert_eq!(member_id(&two, "etcd-cluster", None), 0x96f52114f54832c2);
    assert_eq!(member_id(&["https://m0.peers.svc:2380"], "", None), 0xe791f1667e4d378d);
}

#[test]
fn clusters() {
    let members = [
        member_id(&["http://127.0.0.1:2380"], "token", None),
        member_id(&["http://127.0.0.1:2381"], "token", None),
        member_id(&["http://127.0.0.1:2392", "http://127.0.0.1:2382"], "token", None),
    ];
    let mut sorted = members;
    sorted.sort_unstable();
    assert_eq!(sorted, [0x1dc22b1db165710e, 0x6db4e7afded8809c, 0x8cc93c7b74fac8a2]);
    assert_eq!(cluster_id(&members), 0x3c0648b35629f584);
}

#[test]
fn ids_as_text() {
    assert_eq!(format_id(0x0ab), "ab");
    assert_eq!(parse_id("ab"), Some(0xab));
    assert_eq!(parse_id("FFFFFFFFFFFFFFFF"), Some(u64::MAX));
    for bad in ["", "+1", "0x1", "1ffffffffffffffff", "g"] {
        assert_eq!(parse_id(bad), None, "{bad}");
    }
}
