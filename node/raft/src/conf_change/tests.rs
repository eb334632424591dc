use bytes::Bytes;
use proptest::prelude::*;

use super::encoding::varint_bytes;
use super::*;

fn any_kind() -> impl Strategy<Value = ConfChangeKind> {
    prop_oneof![
        Just(ConfChangeKind::AddNode),
        Just(ConfChangeKind::RemoveNode),
        Just(ConfChangeKind::UpdateNode),
        Just(ConfChangeKind::AddLearnerNode),
    ]
}

fn any_transition() -> impl Strategy<Value = ConfChangeTransition> {
    prop_oneof![
        Just(ConfChangeTransition::Auto),
        Just(ConfChangeTransition::JointImplicit),
        Just(ConfChangeTransition::JointExplicit),
    ]
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

proptest! {
    #[test]
    fn older_form_survives_a_round_trip(
        id in any::<u64>(), kind in any_kind(), node in any::<u64>(), context in any_bytes()
    ) {
        let change = ConfChange { id, kind, node_id: NodeId(node), context };
        prop_assert_eq!(ConfChange::decode(&change.encode()), Ok(change));
    }

    #[test]
    fn newer_form_survives_a_round_trip(
        transition in any_transition(),
        changes in prop::collection::vec((any_kind(), any::<u64>()), 0..5),
        context in any_bytes(),
    ) {
        let changes = changes
            .into_iter()
            .map(|(kind, id)| ConfChangeSingle { kind, node_id: NodeId(id) })
            .collect();
        let change = ConfChangeV2 { transition, changes, context };
        prop_assert_eq!(ConfChangeV2::decode(&change.encode()), Ok(change));
    }

    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..64)) {
        let data = Bytes::from(data);
        let _ = ConfChange::decode(&data);
        let _ = ConfChangeV2::decode(&data);
    }

    #[test]
    fn a_varint_is_as_long_as_it_says(value in any::<u64>()) {
        let change = ConfChange { node_id: NodeId(value), ..ConfChange::default() };
        // Two bytes of kind and one of tag precede the number.
        prop_assert_eq!(change.encode().len() as u64, 3 + varint_bytes(value));
    }
}

/// The bytes were made with etcd's own library: `ConfChange{Id: 7, Type: AddLearnerNode,
/// NodeId: 300, Context: "x"}` and `ConfChangeV2{Transition: JointExplicit, Changes: [r1, v2]}`.
#[test]
fn bytes_are_those_of_raftpb() {
    let change = ConfChange {
        id: 7,
        kind: ConfChangeKind::AddLearnerNode,
        node_id: NodeId(300),
        context: Bytes::from_static(b"x"),
    };
    assert_eq!(&change.encode()[..], b"\x08\x07\x10\x03\x18\xac\x02\x22\x01x");
    let change = ConfChangeV2 {
        transition: ConfChangeTransition::JointExplicit,
        changes: vec![
            ConfChangeSingle { kind: ConfChangeKind::RemoveNode, node_id: NodeId(1) },
            ConfChangeSingle { kind: ConfChangeKind::AddNode, node_id: NodeId(2) },
        ],
        context: Bytes::new(),
    };
    let bytes = b"\x08\x02\x12\x04\x08\x01\x10\x01\x12\x04\x08\x00\x10\x02";
    assert_eq!(&change.encode()[..], bytes);
}

#[test]
fn what_is_not_a_change_is_an_error() {
    let decode = |bytes: &'static [u8]| ConfChange::decode(&Bytes::from_static(bytes));
    assert_eq!(decode(b"\x10"), Err(DecodeError::Truncated));
    assert_eq!(decode(b"\x10\x09"), Err(DecodeError::UnknownKind(9)));
    assert_eq!(decode(b"\x22\x05ab"), Err(DecodeError::Truncated));
    assert_eq!(decode(b"\x12\x00"), Err(DecodeError::WireType(2)));
    assert_eq!(decode(b"\x13"), Err(DecodeError::UnknownWireType(3)));
    assert_eq!(decode(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), Err(DecodeError::Overlong));
    let unknown_field = decode(b"\x78\x01\x18\x05");
    assert_eq!(unknown_field, Ok(ConfChange { node_id: NodeId(5), ..ConfChange::default() }));
}

#[test]
fn an_empty_change_leaves_a_joint_configuration() {
    assert_eq!(ConfChangeV2::default().procedure(), Procedure::LeaveJoint);
    assert!(ConfChangeV2::default().encode().is_empty());
    let explicit =
        ConfChangeV2 { transition: ConfChangeTransition::JointExplicit, ..ConfChangeV2::default() };
    assert_eq!(explicit.procedure(), Procedure::EnterJoint(AutoLeave::No));
}
