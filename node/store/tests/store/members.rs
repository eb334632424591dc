//! Membership and alarms, as the log changes them.

use bytes::Bytes;
use prost::Message;
use quorate_api::Error;
use quorate_api::etcdserverpb::{
    AlarmRequest, AlarmType, DeleteRangeRequest, LeaseGrantRequest, PutRequest,
};
use quorate_api::member_json::{ConfChangeContext, Member};
use quorate_api::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use quorate_api::raftpb::{ConfChange, ConfChangeType, ConfChangeV2};
use quorate_api::request::RequestKind;
use quorate_store::entry::{Applied, ConfChangeVerdict, Entry, EntryKind, Fatal, Reply, Touched};

use crate::ours::Ours;

fn member(id: u64, is_learner: bool) -> Member {
    let peer_urls = Some(vec![format!("http://10.0.0.{id}:2380")]);
    Member { id, peer_urls, is_learner, ..Member::default() }
}

fn change(ours: &mut Ours, kind: ConfChangeType, node: u64, context: Vec<u8>) -> Applied {
    let message = ConfChange {
        r#type: Some(kind as i32),
        node_id: Some(node),
        context: Some(context.into()),
        id: Some(77),
    };
    ours.apply(EntryKind::ConfChange, message.encode_to_vec().into())
}

fn add(ours: &mut Ours, member: Member) -> Applied {
    let kind = if member.is_learner {
        ConfChangeType::ConfChangeAddLearnerNode
    } else {
        ConfChangeType::ConfChangeAddNode
    };
    let node = member.id;
    change(ours, kind, node, ConfChangeContext { member, is_promote: false }.to_json())
}

fn promote(ours: &mut Ours, id: u64) -> Applied {
    let member = Member { id, ..Member::default() };
    let context = ConfChangeContext { member, is_promote: true }.to_json();
    change(ours, ConfChangeType::ConfChangeAddNode, id, context)
}

fn remove(ours: &mut Ours, id: u64) -> Applied {
    change(ours, ConfChangeType::ConfChangeRemoveNode, id, Vec::new())
}

fn update(ours: &mut Ours, member: &Member) -> Applied {
    change(ours, ConfChangeType::ConfChangeUpdateNode, member.id, member.to_json())
}

fn rejection(applied: Applied) -> Error {
    assert_eq!(applied.changes.conf_change, Some(ConfChangeVerdict::Rejected));
    assert_eq!(applied.changes.members, Touched::No);
    applied.reply.unwrap_err()
}

#[test]
fn changes_follow_etcds_rules() {
    let mut ours = Ours::new();
    let applied = add(&mut ours, member(1, false));
    assert_eq!(applied.request_id, Some(77));
    assert_eq!(applied.reply, Ok(Reply::Members(vec![member(1, false)])));
    assert!(matches!(applied.changes.conf_change, Some(ConfChangeVerdict::Accepted(_))));

    assert_eq!(rejection(add(&mut ours, member(1, false))), Error::MemberExists);
    let same_url = Member { id: 9, ..member(1, false) };
    assert_eq!(rejection(add(&mut ours, same_url)), Error::PeerUrlExists);
    assert_eq!(rejection(promote(&mut ours, 1)), Error::MemberNotLearner);
    assert_eq!(rejection(promote(&mut ours, 5)), Error::MemberNotFound);
    assert_eq!(rejection(remove(&mut ours, 5)), Error::MemberNotFound);
    assert_eq!(rejection(update(&mut ours, &member(5, false))), Error::MemberNotFound);

    add(&mut ours, member(2, true)).reply.unwrap();
    assert_eq!(rejection(add(&mut ours, member(3, true))), Error::TooManyLearners);
    promote(&mut ours, 2).reply.unwrap();
    assert!(!ours.store.members().get(2).unwrap().is_learner);

    let moved = Member { id: 2, ..member(22, true) };
    update(&mut ours, &moved).reply.unwrap();
    let known = ours.store.members().get(2).unwrap();
    assert_eq!(known.peer_urls, moved.peer_urls);
    assert!(!known.is_learner, "an update changes the URLs only");
    assert_eq!(
        rejection(update(&mut ours, &Member { id: 2, ..member(1, false) })),
        Error::PeerUrlExists
    );

    remove(&mut ours, 2).reply.unwrap();
    assert_eq!(rejection(add(&mut ours, member(2, false))), Error::MemberNotFound);
    assert!(ours.store.members().is_removed(2));
    assert_eq!(ours.store.revision(), 1, "members make no revision");
}

#[test]
fn the_second_version_of_a_change_is_validated_too() {
    let mut ours = Ours::new();
    let leave = ConfChangeV2::default();
    let applied = ours.apply(EntryKind::ConfChangeV2, leave.encode_to_vec().into());
    assert_eq!(applied.changes.conf_change, Some(ConfChangeVerdict::Accepted(Bytes::new())));
    let single = quorate_api::raftpb::ConfChangeSingle {
        r#type: Some(ConfChangeType::ConfChangeRemoveNode as i32),
        node_id: Some(4),
    };
    let changes = [single, single];
    for count in [1, 2] {
        let changes = changes[..count].to_vec();
        let message = ConfChangeV2 { changes, ..ConfChangeV2::default() };
        rejection(ours.apply(EntryKind::ConfChangeV2, message.encode_to_vec().into()));
    }
}

#[test]
fn a_member_says_its_name() {
    let mut ours = Ours::new();
    add(&mut ours, member(1, false));
    let set = |member_id| ClusterMemberAttrSetRequest {
        member_id,
        member_attributes: Some(Attributes {
            name: "one".into(),
            client_urls: vec!["http://10.0.0.1:2379".into()],
        }),
    };
    let applied = ours.request(RequestKind::ClusterMemberAttrSet, &set(1));
    assert_eq!(applied.changes.members, Touched::Yes);
    assert_eq!(ours.store.members().get(1).unwrap().name, "one");
    let applied = ours.request(RequestKind::ClusterMemberAttrSet, &set(2));
    assert_eq!(applied.changes.members, Touched::No, "one that is not there is passed over");
}

fn alarm(ours: &mut Ours, action: i32, alarm: AlarmType) -> Applied {
    let request = AlarmRequest { action, member_id: 5, alarm: alarm as i32 };
    ours.request(RequestKind::Alarm, &request)
}

fn listed(applied: Applied) -> usize {
    match applied.reply {
        Ok(Reply::Alarm(response)) => response.alarms.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn alarms_forbid_growth_or_everything() {
    const GET: i32 = 0;
    const ACTIVATE: i32 = 1;
    const DEACTIVATE: i32 = 2;
    let mut ours = Ours::new();
    let put = PutRequest { key: "k".into(), ..PutRequest::default() };
    let grant = LeaseGrantRequest { id: 1, ttl: 10 };
    let delete = DeleteRangeRequest { key: "k".into(), ..DeleteRangeRequest::default() };
    let refusals = |ours: &mut Ours| {
        [
            ours.request(RequestKind::Put, &put).reply.err(),
            ours.request(RequestKind::LeaseGrant, &grant).reply.err(),
            ours.request(RequestKind::DeleteRange, &delete).reply.err(),
        ]
    };
    assert_eq!(listed(alarm(&mut ours, ACTIVATE, AlarmType::None)), 0);
    assert_eq!(listed(alarm(&mut ours, ACTIVATE, AlarmType::Nospace)), 1);
    assert_eq!(listed(alarm(&mut ours, ACTIVATE, AlarmType::Nospace)), 1);
    assert_eq!(refusals(&mut ours), [Some(Error::NoSpace), Some(Error::NoSpace), None]);
    assert_eq!(listed(alarm(&mut ours, ACTIVATE, AlarmType::Corrupt)), 1);
    assert_eq!(refusals(&mut ours), [Some(Error::Corrupt); 3]);
    assert_eq!(listed(alarm(&mut ours, GET, AlarmType::None)), 2);
    assert_eq!(listed(alarm(&mut ours, GET, AlarmType::Corrupt)), 1);
    assert_eq!(listed(alarm(&mut ours, DEACTIVATE, AlarmType::Corrupt)), 1);
    assert_eq!(listed(alarm(&mut ours, DEACTIVATE, AlarmType::Corrupt)), 0);
    alarm(&mut ours, DEACTIVATE, AlarmType::Nospace);
    assert_eq!(refusals(&mut ours), [None; 3]);
}

#[test]
fn what_cannot_be_applied_stops_the_member() {
    let mut ours = Ours::new();
    let mut malformed = |kind, data: &'static [u8]| {
        let entry = Entry { index: 1, term: 1, kind, data: Bytes::from_static(data) };
        assert!(matches!(ours.store.apply(&entry), Err(Fatal::Malformed { index: 1, .. })));
    };
    malformed(EntryKind::Normal, b"\xff");
    malformed(EntryKind::Normal, b"\x08\x01");
    malformed(EntryKind::ConfChange, b"\x08\x00\x10\x01\x1a\x01{");
    malformed(EntryKind::ConfChange, b"\x08\x63");
}

#[test]
fn authentication_is_answered_alike_everywhere() {
    let mut ours = Ours::new();
    let enable = quorate_api::etcdserverpb::AuthEnableRequest {};
    let applied = ours.request(RequestKind::AuthEnable, &enable);
    assert_eq!(applied.reply, Err(Error::NotCapable));
}
