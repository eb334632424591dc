//! Entries, messages, progress and outputs as etcd's scripts print them.

use std::fmt::Write as _;

use quorate_raft::{
    AnyConfChange, ConfChangeKind, ConfChangeSingle, ConfState, Entry, EntryKind, HardState,
    Message, NodeId, ProgressState, ProgressStatus, Ready, Role, Snapshot, SoftState,
};

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "StateFollower",
        Role::Candidate => "StateCandidate",
        Role::Leader => "StateLeader",
        Role::PreCandidate => "StatePreCandidate",
    }
}

pub(crate) fn progress(progress: &ProgressStatus) -> String {
    let state = match progress.state {
        ProgressState::Probe => "StateProbe",
        ProgressState::Replicate => "StateReplicate",
        ProgressState::Snapshot => "StateSnapshot",
    };
    let mut text = format!("{state} match={} next={}", progress.match_index, progress.next_index);
    if progress.is_learner {
        text.push_str(" learner");
    }
    if progress.paused {
        text.push_str(" paused");
    }
    if progress.pending_snapshot.0 > 0 {
        let _ = write!(text, " pendingSnap={}", progress.pending_snapshot);
    }
    if !progress.recent_active {
        text.push_str(" inactive");
    }
    if progress.inflight_messages > 0 {
        let _ = write!(text, " inflight={}", progress.inflight_messages);
        if progress.inflights_full {
            text.push_str("[full]");
        }
    }
    text
}

fn ids(ids: &[NodeId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    format!("[{}]", ids.join(" "))
}

fn conf_state(state: &ConfState) -> String {
    format!(
        "Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}",
        ids(&state.voters),
        ids(&state.voters_outgoing),
        ids(&state.learners),
        ids(&state.learners_next),
        state.auto_leave
    )
}

fn snapshot(snapshot: &Snapshot) -> String {
    let metadata = &snapshot.metadata;
    let state = conf_state(&metadata.conf_state);
    format!("Index:{} Term:{} ConfState:{state}", metadata.index, metadata.term)
}

fn target(id: NodeId) -> String {
    match id {
        NodeId::NONE => "None".to_owned(),
        NodeId::APPEND_THREAD => "AppendThread".to_owned(),
        NodeId::APPLY_THREAD => "ApplyThread".to_owned(),
        id => id.to_string(),
    }
}

fn changes(changes: &[ConfChangeSingle]) -> String {
    let changes: Vec<String> = changes
        .iter()
        .map(|change| {
            let letter = match change.kind {
                ConfChangeKind::AddNode => 'v',
                ConfChangeKind::AddLearnerNode => 'l',
                ConfChangeKind::RemoveNode => 'r',
                ConfChangeKind::UpdateNode => 'u',
            };
            format!("{letter}{}", change.node_id.0)
        })
        .collect();
    changes.join(" ")
}

fn quoted(data: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(data))
}

pub(crate) fn entry(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::Normal => "EntryNormal",
        EntryKind::ConfChange => "EntryConfChange",
        EntryKind::ConfChangeV2 => "EntryConfChangeV2",
    };
    let data = match AnyConfChange::from_entry(entry) {
        Ok(None) => quoted(&entry.data),
        Ok(Some(change)) => changes(&change.into_v2().changes),
        Err(error) => error.to_string(),
    };
    let space = if data.is_empty() { "" } else { " " };
    format!("{}/{} {kind}{space}{data}", entry.term, entry.index)
}

pub(crate) fn entries(list: &[Entry]) -> String {
    list.iter().map(|one| entry(one) + "\n").collect()
}

pub(crate) fn message(message: &Message) -> String {
    indented_message(message, "")
}

fn indented_message(message: &Message, indent: &str) -> String {
    let mut text = format!(
        "{indent}{}->{} {} Term:{} Log:{}/{}",
        target(message.from),
        target(message.to),
        message.kind.name(),
        message.term,
        message.log_term,
        message.index
    );
    if message.reject {
        let _ = write!(text, " Rejected (Hint: {})", message.reject_hint);
    }
    if message.commit.0 != 0 {
        let _ = write!(text, " Commit:{}", message.commit);
    }
    if message.vote.is_some() {
        let _ = write!(text, " Vote:{}", message.vote.0);
    }
    if let [only] = &message.entries[..] {
        let _ = write!(text, " Entries:[{}]", entry(only));
    } else if !message.entries.is_empty() {
        text.push_str(" Entries:[");
        for one in &message.entries {
            let _ = write!(text, "\n{indent}  {}", entry(one));
        }
        let _ = write!(text, "\n{indent}]");
    }
    if let Some(carried) = message.snapshot.as_ref().filter(|snapshot| !snapshot.is_empty()) {
        let _ = write!(text, "\n{indent}  Snapshot: {}", snapshot(carried));
    }
    if !message.responses.is_empty() {
        text.push_str(" Responses:[");
        for response in &message.responses {
            let _ = write!(text, "\n{}", indented_message(response, &format!("{indent}  ")));
        }
        let _ = write!(text, "\n{indent}]");
    }
    text
}

/// Prints a Ready. With asynchronous storage the work is only in the messages, but the scripts
/// show it in both places.
pub(crate) fn ready(ready: &Ready) -> String {
    let mut text = String::new();
    let Ready {
        soft_state,
        hard_state,
        read_states,
        entries: unstable,
        snapshot: received,
        committed_entries,
        messages,
        must_sync,
    } = ready;
    let work_of = |thread| messages.iter().find(|message| message.to == thread);
    let append = work_of(NodeId::APPEND_THREAD);
    let apply = work_of(NodeId::APPLY_THREAD);
    if let Some(SoftState { lead, role: is }) = soft_state {
        let _ = writeln!(text, "Lead:{} State:{}", lead.0, role(*is));
    }
    if let Some(HardState { term, vote, commit }) = hard_state {
        let vote = if vote.is_some() { format!(" Vote:{}", vote.0) } else { String::new() };
        let _ = writeln!(text, "HardState Term:{term}{vote} Commit:{commit}");
    }
    for read in read_states {
        let _ = writeln!(text, "ReadState Index:{} Context:{}", read.index, quoted(&read.context));
    }
    let unstable = append.map_or(unstable, |message| &message.entries);
    if !unstable.is_empty() {
        let _ = write!(text, "Entries:\n{}", entries(unstable));
    }
    if let Some(received) = append.map_or(received.as_ref(), |message| message.snapshot.as_ref()) {
        let _ = writeln!(text, "Snapshot {}", snapshot(received));
    }
    let committed = apply.map_or(committed_entries, |message| &message.entries);
    if !committed.is_empty() {
        let _ = write!(text, "CommittedEntries:\n{}", entries(committed));
    }
    if !messages.is_empty() {
        text.push_str("Messages:\n");
        for one in messages {
            let _ = writeln!(text, "{}", message(one));
        }
    }
    if text.is_empty() {
        return "<empty Ready>".to_owned();
    }
    format!("Ready MustSync={must_sync}:\n{text}")
}
