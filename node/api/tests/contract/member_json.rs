//! JSON that etcd wrote for the same members.

use quorate_api::member_json::{ConfChangeContext, Member, members_to_json};

fn strange() -> Member {
    Member {
        id: u64::MAX,
        peer_urls: Some(vec!["http://a:1".into(), "http://b:2".into()]),
        is_learner: true,
        name: "m<&>\u{2028}\"\\\n\u{1}\u{7f}é".into(),
        client_urls: vec!["http://c:3".into()],
    }
}

const STRANGE: &str = "{\"id\":18446744073709551615,\"peerURLs\":[\"http://a:1\",\"http://b:2\"],\
    \"isLearner\":true,\"name\":\"m\\u003c\\u0026\\u003e\\u2028\\\"\\\\\\n\\u0001\u{7f}é\",\
    \"clientURLs\":[\"http://c:3\"]}";

#[test]
fn members() {
    assert_eq!(String::from_utf8(strange().to_json()).unwrap(), STRANGE);
    assert_eq!(Member::from_json(STRANGE.as_bytes()).unwrap(), strange());
    let empty = Member { peer_urls: Some(vec![]), ..Member::default() };
    assert_eq!(empty.to_json(), br#"{"id":0,"peerURLs":[]}"#);
    let list = String::from_utf8(members_to_json(&[empty.clone(), empty])).unwrap();
    assert_eq!(list, "[{\"id\":0,\"peerURLs\":[]},{\"id\":0,\"peerURLs\":[]}]\n");
}

#[test]
fn contexts() {
    let add = ConfChangeContext {
        member: Member { id: 5, peer_urls: Some(vec!["http://a:1".into()]), ..Member::default() },
        is_promote: false,
    };
    let add_json = br#"{"id":5,"peerURLs":["http://a:1"],"isPromote":false}"#;
    assert_eq!(add.to_json(), add_json);
    assert_eq!(ConfChangeContext::from_json(add_json).unwrap(), add);
    assert_eq!(Member::from_json(add_json).unwrap(), add.member);
    let promote =
        ConfChangeContext { member: Member { id: 5, ..Member::default() }, is_promote: true };
    let promote_json = br#"{"id":5,"peerURLs":null,"isPromote":true}"#;
    assert_eq!(promote.to_json(), promote_json);
    assert_eq!(ConfChangeContext::from_json(promote_json).unwrap(), promote);
}

#[test]
fn what_is_absent_is_empty() {
    let member = Member::from_json(br#"{"id":1,"clientURLs":null,"new":{}}"#).unwrap();
    assert_eq!(member, Member { id: 1, ..Member::default() });
    assert!(Member::from_json(b"").is_err());
    assert!(Member::from_json(br#"{"id":-1}"#).is_err());
}
