//! Wrapping an encoded request gives etcd's entry, and splitting gives the request back.

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::{
    AuthEnableRequest, InternalRaftRequest, PutRequest, RequestHeader,
};
use quorate_api::membershippb::ClusterVersionSetRequest;
use quorate_api::request::{RequestError, RequestKind, Wrapped, decode, split, wrap};

use crate::vector;

fn header(id: u64) -> RequestHeader {
    RequestHeader { id, ..Default::default() }
}

#[test]
fn wrapping_equals_encoding() {
    let put = PutRequest {
        key: "foo".into(),
        value: "bar".into(),
        lease: 7,
        prev_kv: true,
        ..Default::default()
    };
    let wrapped = wrap(&header(0x1122334455667788), RequestKind::Put, &put.encode_to_vec());
    assert_eq!(wrapped, vector("internal_put"));
    let by_root = RequestHeader { id: 300, username: "root".into(), auth_revision: 5 };
    let wrapped = wrap(&by_root, RequestKind::Put, &put.encode_to_vec());
    assert_eq!(wrapped, vector("internal_put_user"));
    assert_eq!(wrap(&header(300), RequestKind::Put, &[]), vector("internal_put_empty"));
    let enable = AuthEnableRequest {}.encode_to_vec();
    assert_eq!(wrap(&header(1), RequestKind::AuthEnable, &enable), vector("internal_auth_enable"));
    let version = ClusterVersionSetRequest { ver: "3.7.0".into() }.encode_to_vec();
    let wrapped = wrap(&header(1), RequestKind::ClusterVersionSet, &version);
    assert_eq!(wrapped, vector("internal_version"));
}

#[test]
fn splitting_shares_the_entry() {
    let entry = Bytes::from(vector("internal_put_user"));
    let Wrapped { header, request } = split(entry.clone()).unwrap();
    assert_eq!(header, RequestHeader { id: 300, username: "root".into(), auth_revision: 5 });
    let (kind, request) = request.unwrap();
    assert_eq!(kind, RequestKind::Put);
    assert!(entry.as_ptr_range().contains(&request.as_ptr()), "the request was copied");
    let put = PutRequest::decode(request).unwrap();
    assert!(entry.as_ptr_range().contains(&put.value.as_ptr()), "the value was copied");
    assert_eq!(decode(entry).unwrap().put, Some(put));
}

#[test]
fn every_kind_is_its_field() {
    for kind in RequestKind::ALL {
        let entry = wrap(&header(9), kind, &[]);
        let split = split(entry.clone()).unwrap();
        assert_eq!(split, Wrapped { header: header(9), request: Some((kind, Bytes::new())) });
        let request = InternalRaftRequest::decode(entry.clone()).unwrap();
        assert_eq!(request.encode_to_vec(), entry, "{kind:?} is not a field of the request");
        assert_ne!(request, InternalRaftRequest { header: Some(header(9)), ..Default::default() });
        assert_eq!(RequestKind::from_field(kind.field()), Some(kind));
    }
}

#[test]
fn an_old_entry_has_only_an_id() {
    let old =
        InternalRaftRequest { id: 77, put: Some(PutRequest::default()), ..Default::default() };
    let split = split(old.encode_to_vec().into()).unwrap();
    assert_eq!(split.header, header(77));
    assert_eq!(split.request, Some((RequestKind::Put, Bytes::new())));
}

#[test]
fn what_is_unknown_is_skipped_and_what_is_wrong_is_refused() {
    let unknown = [0xa2, 0x06, 2, 8, 5, 0xf2, 0x7f, 1, 9, 0xf8, 0x7f, 3];
    let split_unknown = split(Bytes::copy_from_slice(&unknown)).unwrap();
    assert_eq!(split_unknown, Wrapped { header: header(5), request: None });
    let two = [0x22, 0, 0x2a, 0];
    let error = split(Bytes::copy_from_slice(&two)).unwrap_err();
    assert_eq!(error, RequestError::Ambiguous { first: 4, second: 5 });
    let cut = [0x22, 5, 1];
    assert_eq!(split(Bytes::copy_from_slice(&cut)).unwrap_err(), RequestError::Truncated);
}
