//! The directives of interaction scripts: etcd's, and those that our own scripts need besides.

use bytes::Bytes;
use quorate_raft::{
    AnyConfChange, ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition,
    ConfChangeV2, Config, EntryId, Index, Message, MessageKind, NodeId, Participation,
    ReadOnlyOption, Snapshot, SnapshotStatus, StepError, Term,
};

use crate::datadriven::Directive;
use crate::describe;
use crate::environment::{Environment, Fate, Volume, config_stub};

/// Parses changes like `v1 l2 r3 u4`.
pub(crate) fn parse_changes(input: &str) -> Vec<ConfChangeSingle> {
    input
        .split_whitespace()
        .map(|token| {
            let kind = match &token[..1] {
                "v" => ConfChangeKind::AddNode,
                "l" => ConfChangeKind::AddLearnerNode,
                "r" => ConfChangeKind::RemoveNode,
                "u" => ConfChangeKind::UpdateNode,
                other => panic!("unknown change {other}"),
            };
            let id = token[1..].parse().expect("a member's number");
            ConfChangeSingle { kind, node_id: NodeId(id) }
        })
        .collect()
}

fn ids(values: &[String]) -> Vec<NodeId> {
    values.iter().map(|value| NodeId(value.parse().expect("a member's number"))).collect()
}

fn add_nodes(environment: &mut Environment, directive: &Directive) {
    let mut config: Config = config_stub(NodeId(1));
    let mut snapshot = Snapshot::default();
    for argument in &directive.arguments[1..] {
        let value = argument.values[0].as_str();
        let number = || value.parse::<u64>().expect("a number");
        let flag = || value.parse::<bool>().expect("true or false");
        match argument.key.as_str() {
            "voters" => snapshot.metadata.conf_state.voters = ids(&argument.values),
            "learners" => snapshot.metadata.conf_state.learners = ids(&argument.values),
            "index" => {
                snapshot.metadata.index = Index(number());
                config.applied = snapshot.metadata.index;
            }
            "content" => snapshot.data = Bytes::copy_from_slice(value.as_bytes()),
            "inflight" => config.max_inflight_messages = number() as usize,
            "inflight-bytes" => config.max_inflight_bytes = number(),
            "max-message-bytes" => config.max_message_bytes = number(),
            "max-uncommitted-bytes" => config.max_uncommitted_bytes = number(),
            "max-committed-size-per-ready" => config.max_committed_bytes_per_ready = number(),
            "async-storage-writes" => config.async_storage_writes = flag(),
            "prevote" => config.pre_vote = flag(),
            "checkquorum" => config.check_quorum = flag(),
            "disable-conf-change-validation" => config.disable_conf_change_validation = flag(),
            "disable-proposal-forwarding" => config.disable_proposal_forwarding = flag(),
            "step-down-on-removal" => config.step_down_on_removal = flag(),
            "read-only" => {
                config.read_only = match value {
                    "safe" => ReadOnlyOption::Safe,
                    "lease-based" => ReadOnlyOption::LeaseBased,
                    other => panic!("unknown way of reading {other}"),
                };
            }
            other => panic!("unknown setting {other}"),
        }
    }
    environment.add_members(directive.first_number(), &config, snapshot);
}

fn message_kind(directive: &Directive) -> Option<MessageKind> {
    let name = directive.value("type")?;
    Some(*MessageKind::ALL.iter().find(|kind| kind.name() == name).expect("a kind of message"))
}

fn deliver_messages(environment: &mut Environment, directive: &Directive) {
    let to = directive.numbers().into_iter().map(|id| (id, Fate::Deliver));
    let lost = ids(directive.values("drop")).into_iter().map(|id| (id.0, Fate::Drop));
    let recipients: Vec<(u64, Fate)> = to.chain(lost).collect();
    if environment.deliver(message_kind(directive), &recipients) == 0 {
        environment.print("no messages\n");
    }
}

fn propose_conf_change(
    environment: &mut Environment,
    directive: &Directive,
) -> Result<(), StepError> {
    let changes = parse_changes(&directive.input);
    let transition = match directive.value("transition").unwrap_or("auto") {
        "auto" => ConfChangeTransition::Auto,
        "implicit" => ConfChangeTransition::JointImplicit,
        "explicit" => ConfChangeTransition::JointExplicit,
        other => panic!("unknown transition {other}"),
    };
    let change = if directive.value("v1") == Some("true") {
        let ConfChangeSingle { kind, node_id } = changes[0];
        AnyConfChange::V1(ConfChange { kind, node_id, ..ConfChange::default() })
    } else {
        AnyConfChange::V2(ConfChangeV2 { transition, changes, context: Bytes::new() })
    };
    environment.member(directive.first_number()).raw.propose_conf_change(change)
}

fn send_snapshot(environment: &mut Environment, from: u64, to: u64) {
    let raw = &environment.member(from).raw;
    let mut message = Message::new(MessageKind::MsgSnap, NodeId(to));
    message.from = NodeId(from);
    message.term = raw.basic_status().hard_state.term;
    message.snapshot = raw.storage().history.last().cloned();
    environment.print(&describe::message(&message));
    environment.messages.push(message);
}

fn stabilize(environment: &mut Environment, directive: &Directive) {
    let volume = environment.volume;
    if directive.value("log-level") == Some("none") {
        environment.volume = Volume::Quiet;
    }
    environment.stabilize(&directive.numbers());
    environment.volume = volume;
}

/// Runs one directive and gives what it printed, `ok` if that is nothing.
pub(crate) fn run(environment: &mut Environment, directive: &Directive) -> String {
    environment.output.clear();
    if let Err(error) = run_command(environment, directive) {
        if environment.volume == Volume::Quiet {
            return format!("{error}\n");
        }
        environment.print(&error.to_string());
    }
    let mut output = std::mem::take(&mut environment.output);
    if output.is_empty() {
        output.push_str("ok");
    }
    if !output.ends_with('\n') {
        output.push('\n');
    }
    output
}

fn run_command(environment: &mut Environment, directive: &Directive) -> Result<(), StepError> {
    let numbers = directive.numbers();
    let first = || directive.first_number();
    match directive.command.as_str() {
        "add-nodes" => add_nodes(environment, directive),
        "campaign" => environment.member(first()).raw.campaign(),
        "compact" => {
            let log = &mut environment.member(first()).raw.storage_mut().log;
            log.compact(Index(numbers[1])).expect("an index in the log");
            environment.raft_log(first());
        }
        "deliver-msgs" => deliver_messages(environment, directive),
        "process-ready" => {
            environment.for_each(&numbers, "handling Ready", Environment::process_ready);
        }
        "process-append-thread" => {
            let step = Environment::process_append_thread;
            environment.for_each(&numbers, "processing append thread", step);
        }
        "process-apply-thread" => {
            let step = Environment::process_apply_thread;
            environment.for_each(&numbers, "processing apply thread", step);
        }
        "log-level" => {
            let is_quiet = directive.word(0).eq_ignore_ascii_case("none");
            environment.volume = if is_quiet { Volume::Quiet } else { Volume::Loud };
        }
        "raft-log" => environment.raft_log(first()),
        "raft-state" => environment.raft_state(),
        "set-randomized-election-timeout" => {
            let ticks = directive.value("timeout").expect("a timeout").parse().expect("ticks");
            environment.member(first()).raw.set_randomized_election_timeout(ticks);
        }
        "stabilize" => stabilize(environment, directive),
        "status" => environment.status(first()),
        "tick-election" => {
            let ticks = environment.member(first()).config.election_ticks;
            (0..ticks).for_each(|_| environment.member(first()).raw.tick());
        }
        "tick-heartbeat" => {
            let ticks = environment.member(first()).config.heartbeat_ticks;
            (0..ticks).for_each(|_| environment.member(first()).raw.tick());
        }
        "transfer-leadership" => {
            let id = |key| directive.value(key).expect("a member").parse::<u64>().expect("an id");
            environment.member(id("from")).raw.transfer_leadership(NodeId(id("to")));
        }
        "forget-leader" => environment.member(first()).raw.forget_leader(),
        "send-snapshot" => send_snapshot(environment, numbers[0], numbers[1]),
        "propose" => {
            let data = Bytes::copy_from_slice(directive.word(1).as_bytes());
            environment.member(first()).raw.propose(data)?;
        }
        "propose-conf-change" => propose_conf_change(environment, directive)?,
        "report-unreachable" => {
            environment.member(first()).raw.report_unreachable(NodeId(numbers[1]));
        }
        _ => return run_own_command(environment, directive),
    }
    Ok(())
}

/// Directives that etcd's scripts do not have.
fn run_own_command(environment: &mut Environment, directive: &Directive) -> Result<(), StepError> {
    let numbers = directive.numbers();
    let first = directive.first_number();
    match directive.command.as_str() {
        // read-index 1 some-context
        "read-index" => {
            let context = Bytes::copy_from_slice(directive.word(1).as_bytes());
            environment.member(first).raw.read_index(context)?;
        }
        // tick 1 5
        "tick" => (0..numbers[1]).for_each(|_| environment.member(first).raw.tick()),
        // propose-bytes 1 100: a command of so many bytes
        "propose-bytes" => {
            environment.member(first).raw.propose(vec![b'x'; numbers[1] as usize])?;
        }
        // report-snapshot 1 2 finish
        "report-snapshot" => {
            let status = match directive.word(2) {
                "finish" => SnapshotStatus::Finish,
                "failure" => SnapshotStatus::Failure,
                other => panic!("unknown end of a snapshot {other}"),
            };
            environment.member(first).raw.report_snapshot(NodeId(numbers[1]), status);
        }
        // snapshots 1 off: the storage of 1 has none to give for now
        "snapshots" => {
            let is_off = directive.word(1) == "off";
            environment.member(first).raw.storage_mut().snapshot_unavailable = is_off;
        }
        // reset-progress 1 2: 1, the leader, is told that 2 lost part of its log
        "reset-progress" => environment.member(first).raw.reset_progress(NodeId(numbers[1])),
        // participation 1 votes-only 1 13: like one that had index 13 of term 1
        "participation" => {
            let participation = match directive.word(1) {
                "full" => Participation::Full,
                "votes-only" => {
                    let floor = EntryId { term: Term(numbers[1]), index: Index(numbers[2]) };
                    Participation::VotesOnly { floor }
                }
                other => panic!("unknown participation {other}"),
            };
            environment.member(first).raw.set_participation(participation);
        }
        // copy-msgs 1 type=MsgHeartbeatResp: remembers what is on its way to 1
        "copy-msgs" => {
            let kind = message_kind(directive);
            let copies = environment.messages.iter().filter(|message| {
                message.to == NodeId(first) && kind.is_none_or(|kind| message.kind == kind)
            });
            environment.copies = copies.cloned().collect();
            let count = environment.copies.len();
            environment.print(&format!("{count} messages copied\n"));
        }
        // replay-msgs 1: puts the copies for 1 on their way again
        "replay-msgs" => {
            let copies = environment.copies.clone();
            environment.messages.extend(copies.into_iter().filter(|m| m.to == NodeId(first)));
        }
        // restart 1: from what was made durable
        "restart" => environment.restart(first),
        // lose-log 1 11: restarts it with nothing behind index 11
        "lose-log" => {
            environment.lose_log(first, Index(numbers[1]));
            environment.restart(first);
        }
        // member 1: one member in a line
        "member" => {
            let status = environment.member(first).raw.basic_status();
            let state = status.hard_state;
            environment.print(&format!(
                "{} term={} vote={} commit={} applied={} last={} lead={} transferee={}\n",
                describe::role(status.soft_state.role),
                state.term,
                state.vote,
                state.commit,
                status.applied,
                status.last_index,
                status.soft_state.lead,
                status.lead_transferee
            ));
        }
        other => panic!("line {}: unknown command {other}", directive.line),
    }
    Ok(())
}
