//! What can happen in a run, and how the trace tells it.

use bytes::Bytes;
use quorate_raft::Message;
use quorate_replica::SnapshotOutcome;
use sim_disk::HandleId;

use crate::client::{Call, Stream};
use crate::history::{ClientId, Outcome, Request, WatchMessage};

/// Something that is going to happen.
pub(super) enum Happening {
    Tick {
        machine: u64,
        incarnation: u32,
    },
    TickProgress {
        machine: u64,
        incarnation: u32,
    },
    /// A message of a member, sent at this one of its starts.
    Deliver {
        to: u64,
        from: u64,
        sent_by: u32,
        message: Box<Message>,
        body: Option<Bytes>,
    },
    /// A member hears at this one of its starts that a peer does not hear it.
    Refuse {
        machine: u64,
        incarnation: u32,
        by: u64,
        why: String,
    },
    SnapshotSent {
        machine: u64,
        incarnation: u32,
        to: u64,
        outcome: SnapshotOutcome,
    },
    Connect {
        machine: u64,
        peer: u64,
        up: bool,
    },
    Disk {
        machine: u64,
        incarnation: u32,
        handle: HandleId,
    },
    Task {
        machine: u64,
        incarnation: u32,
    },
    Job {
        machine: u64,
        incarnation: u32,
    },
    Ask {
        to: u64,
        incarnation: u32,
        client: ClientId,
        call: Call,
        request: Box<Request>,
    },
    Answer {
        client: ClientId,
        call: Call,
        outcome: Box<Outcome>,
    },
    ToStream {
        to: u64,
        incarnation: u32,
        client: ClientId,
        stream: Stream,
        message: WatchMessage,
    },
    FromStream {
        client: ClientId,
        stream: Stream,
        message: WatchMessage,
    },
    Hangup {
        to: u64,
        incarnation: u32,
        client: ClientId,
        stream: Stream,
    },
    Broken {
        client: ClientId,
        stream: Stream,
    },
    Wake {
        client: ClientId,
    },
    Start {
        machine: u64,
    },
    Resume {
        machine: u64,
    },
    Strike {
        machine: u64,
        incarnation: u32,
    },
    Weather,
    Administrate,
    Heal,
    Judge,
}

impl Happening {
    /// The machine to which it happens, if to one.
    pub(super) fn machine(&self) -> Option<u64> {
        match self {
            Self::Tick { machine, .. }
            | Self::TickProgress { machine, .. }
            | Self::SnapshotSent { machine, .. }
            | Self::Refuse { machine, .. }
            | Self::Disk { machine, .. }
            | Self::Task { machine, .. }
            | Self::Job { machine, .. }
            | Self::Deliver { to: machine, .. }
            | Self::Ask { to: machine, .. }
            | Self::ToStream { to: machine, .. }
            | Self::Hangup { to: machine, .. } => Some(*machine),
            Self::Connect { .. }
            | Self::Answer { .. }
            | Self::FromStream { .. }
            | Self::Broken { .. }
            | Self::Wake { .. }
            | Self::Start { .. }
            | Self::Resume { .. }
            | Self::Strike { .. }
            | Self::Weather
            | Self::Administrate
            | Self::Heal
            | Self::Judge => None,
        }
    }

    /// What the fingerprint takes of it.
    pub(super) fn words(&self) -> (u64, u64, u64) {
        match self {
            Self::Tick { machine, .. } => (1, *machine, 0),
            Self::TickProgress { machine, .. } => (2, *machine, 0),
            Self::Deliver { to, message, .. } => {
                (3, to << 8 | message.kind.number(), message.index.0 << 16 ^ message.term.0)
            }
            Self::SnapshotSent { machine, to, .. } => (4, *machine, *to),
            Self::Connect { machine, peer, up } => (5, machine << 8 | peer, u64::from(*up)),
            Self::Disk { machine, handle, .. } => (6, *machine, handle.0),
            Self::Task { machine, .. } => (7, *machine, 0),
            Self::Job { machine, .. } => (8, *machine, 0),
            Self::Ask { to, client, call, .. } => (9, to << 8 | client.0, call.0),
            Self::Answer { client, call, .. } => (10, client.0, call.0),
            Self::ToStream { to, client, stream, .. } => (11, to << 8 | client.0, stream.0),
            Self::FromStream { client, stream, .. } => (12, client.0, stream.0),
            Self::Hangup { to, client, stream, .. } => (13, to << 8 | client.0, stream.0),
            Self::Broken { client, stream } => (14, client.0, stream.0),
            Self::Wake { client } => (15, client.0, 0),
            Self::Start { machine } => (16, *machine, 0),
            Self::Weather => (17, 0, 0),
            Self::Administrate => (18, 0, 0),
            Self::Heal => (19, 0, 0),
            Self::Judge => (20, 0, 0),
            Self::Resume { machine } => (21, *machine, 0),
            Self::Strike { machine, .. } => (22, *machine, 0),
            Self::Refuse { machine, by, .. } => (23, *machine, *by),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Tick { machine, .. } => format!("{machine} ticks"),
            Self::TickProgress { machine, .. } => format!("{machine} tells progress"),
            Self::Deliver { to, message, .. } => format!(
                "{} → {to} {} term {} log {}/{} commit {} entries {} reject {} hint {}",
                message.from.0,
                message.kind.name(),
                message.term.0,
                message.log_term.0,
                message.index.0,
                message.commit.0,
                message.entries.len(),
                message.reject,
                message.reject_hint.0
            ),
            Self::SnapshotSent { machine, to, outcome, .. } => {
                format!("{machine} sent a snapshot to {to}: {outcome:?}")
            }
            Self::Connect { machine, peer, up } => format!("{machine} link to {peer}: {up}"),
            Self::Disk { machine, handle, .. } => format!("{machine} disk {}", handle.0),
            Self::Task { machine, .. } => format!("{machine} applies"),
            Self::Job { machine, .. } => format!("{machine} background"),
            Self::Ask { to, client, call, request, .. } => {
                format!("client {} asks {to} #{}: {request:?}", client.0, call.0)
            }
            Self::Answer { client, call, outcome } => {
                format!("client {} hears #{}: {outcome:?}", client.0, call.0)
            }
            Self::ToStream { to, client, stream, message, .. } => {
                format!("client {} stream {} tells {to}: {message:?}", client.0, stream.0)
            }
            Self::FromStream { client, stream, message } => {
                format!("client {} stream {} hears: {message:?}", client.0, stream.0)
            }
            Self::Hangup { to, client, stream, .. } => {
                format!("client {} leaves stream {} at {to}", client.0, stream.0)
            }
            Self::Broken { client, stream } => {
                format!("client {} loses stream {}", client.0, stream.0)
            }
            Self::Wake { client } => format!("client {} wakes", client.0),
            Self::Start { machine } => format!("{machine} starts"),
            Self::Resume { machine } => format!("{machine} goes on"),
            Self::Strike { machine, .. } => format!("{machine} is struck"),
            Self::Refuse { machine, by, why, .. } => format!("{machine} hears of {by}: {why}"),
            Self::Weather => "weather".to_owned(),
            Self::Administrate => "administration".to_owned(),
            Self::Heal => "healing".to_owned(),
            Self::Judge => "judgement".to_owned(),
        }
    }
}
