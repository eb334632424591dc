//! What has changed since the last look, in lines.

use std::fmt;

use super::layout::Layout;

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not answered yet.
    Starting,
    /// It answers.
    Up(Answer),
    /// It answered before, and does not now.
    Silent,
    /// Its process has ended, in this way.
    Ended(String),
}

/// What a member answers of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: u64,
    /// 0 for none.
    pub(super) leader: u64,
    pub(super) term: u64,
    pub(super) is_learner: bool,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Up(Answer { leader: 0, .. }) => f.write_str("up, no leader"),
            Self::Up(Answer { id, leader, term, .. }) if id == leader => {
                write!(f, "up, leader of term {term}")
            }
            Self::Up(Answer { is_learner: true, .. }) => f.write_str("up, learner"),
            Self::Up(_) => f.write_str("up, follower"),
            Self::Silent => f.write_str("does not answer"),
            Self::Ended(how) => write!(f, "has ended ({how}); it is not restarted"),
        }
    }
}

/// Lines for the members that are not as they were.
pub(super) fn changes(layout: &Layout, before: &[State], now: &[State]) -> Vec<String> {
    let width = layout.members.iter().map(|member| member.name.len()).max().unwrap_or(0);
    let members = layout.members.iter().zip(before.iter().zip(now));
    let changed = members.filter(|(_, (before, now))| before.to_string() != now.to_string());
    changed
        .map(|(member, (_, now))| format!("{:width$}  {}  {now}", member.name, member.client_url()))
        .collect()
}

/// The leader's place, when all members are up and agree on it.
pub(super) fn agreed_leader(states: &[State]) -> Option<usize> {
    let mut leaders = states.iter().map(|state| match state {
        State::Up(answer) if answer.leader != 0 => Some(answer.leader),
        _ => None,
    });
    let leader = leaders.next()??;
    if !leaders.all(|other| other == Some(leader)) {
        return None;
    }
    states.iter().position(|state| matches!(state, State::Up(answer) if answer.id == leader))
}

/// Who is waited for.
pub(super) fn waiting(layout: &Layout, states: &[State]) -> String {
    let members = layout.members.iter().zip(states);
    let missing = members.filter(|(_, state)| !matches!(state, State::Up(_)));
    let names: Vec<&str> = missing.map(|(member, _)| member.name.as_str()).collect();
    if names.is_empty() { "a leader".to_owned() } else { names.join(", ") }
}

/// What to do with a cluster that is ready.
pub(super) fn ready(layout: &Layout, leader: usize, folder: &str) -> String {
    let leader = layout.members.get(leader).map_or("", |member| &member.name);
    let count = match layout.members.len() {
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    };
    format!(
        "\nReady: {count}, {leader} leads. To try it:\n\n  \
         export ETCDCTL_ENDPOINTS={endpoints}\n  \
         etcdctl put greeting hello\n  \
         etcdctl get greeting\n  \
         etcdctl endpoint status --write-out=table\n\n\
         Data and logs are in {folder}. Ctrl-C stops the members and keeps the data.\n",
        endpoints = layout.endpoints(),
    )
}
