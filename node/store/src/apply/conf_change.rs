//! Configuration changes: validated here, so that all members accept or reject alike.

use bytes::Bytes;
use prost::Message;
use quorate_api::Error;
use quorate_api::raftpb::{ConfChange, ConfChangeType, ConfChangeV2};

use super::Context;
use crate::entry::{ConfChangeVerdict, Reply, Touched};
use crate::members::{Change, ConfChangeContext, Member};
use crate::mvcc::ReadError;

/// Why an entry is no configuration change.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfChangeError {
    #[error("no configuration change: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("configuration change: its context is no member: {0}")]
    Context(#[from] serde_json::Error),
    #[error("configuration change of {node:x} tells of member {context:x}")]
    OtherMember { node: u64, context: u64 },
    #[error("configuration change of unknown type {0}")]
    Type(i32),
}

/// The id to wake, and the reply.
type Outcome = (u64, Result<Reply, ReadError>);

pub(super) fn apply(context: &mut Context<'_>, data: &Bytes) -> Result<Outcome, ConfChangeError> {
    let message = ConfChange::decode(data.clone())?;
    let id = message.id.unwrap_or_default();
    let node = message.node_id.unwrap_or_default();
    let kind = message.r#type.unwrap_or_default();
    let change = read(kind, node, &message.context.unwrap_or_default())?;
    Ok((id, context.change(node, change, data)))
}

/// The second version: a change of one member is as in the first; one of nobody leaves a joint
/// configuration. Changes of several members at once are rejected: etcd has no words for them.
pub(super) fn apply_v2(
    context: &mut Context<'_>,
    data: &Bytes,
) -> Result<Outcome, ConfChangeError> {
    let message = ConfChangeV2::decode(data.clone())?;
    let reply = match message.changes.as_slice() {
        [] => {
            context.changes.conf_change = Some(ConfChangeVerdict::Accepted(data.clone()));
            Ok(Reply::Empty)
        }
        [single] => {
            let node = single.node_id.unwrap_or_default();
            let kind = single.r#type.unwrap_or_default();
            let change = read(kind, node, &message.context.unwrap_or_default())?;
            context.change(node, change, data)
        }
        _ => {
            context.changes.conf_change = Some(ConfChangeVerdict::Rejected);
            Err(Error::NotCapable.into())
        }
    };
    Ok((0, reply))
}

fn read(kind: i32, node: u64, json: &[u8]) -> Result<Change, ConfChangeError> {
    let same = |context: u64| {
        if context == node { Ok(()) } else { Err(ConfChangeError::OtherMember { node, context }) }
    };
    match ConfChangeType::try_from(kind).map_err(|_| ConfChangeError::Type(kind))? {
        kind @ (ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode) => {
            let ConfChangeContext { member, is_promote } = ConfChangeContext::from_json(json)?;
            same(member.id)?;
            if is_promote {
                return Ok(Change::Promote { id: node });
            }
            let learner = kind == ConfChangeType::ConfChangeAddLearnerNode;
            Ok(Change::Add { member, learner })
        }
        ConfChangeType::ConfChangeRemoveNode => Ok(Change::Remove { id: node }),
        ConfChangeType::ConfChangeUpdateNode => {
            let member = Member::from_json(json)?;
            same(member.id)?;
            Ok(Change::Update { member })
        }
    }
}

impl Context<'_> {
    fn change(&mut self, id: u64, change: Change, data: &Bytes) -> Result<Reply, ReadError> {
        let members = &mut self.store.tables.members;
        if let Err(error) = members.validate(id, &change, self.store.options.learners_max) {
            self.changes.conf_change = Some(ConfChangeVerdict::Rejected);
            return Err(error.into());
        }
        members.change(change);
        let listed = members.iter().cloned().collect();
        self.changes.conf_change = Some(ConfChangeVerdict::Accepted(data.clone()));
        self.changes.members = Touched::Yes;
        Ok(Reply::Members(listed))
    }
}
