//! The members of one side.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use prost::Message as _;
use quorate_api::etcdserverpb::{StatusRequest, StatusResponse};

use super::cpu;
use super::member::{Member, Restarted, Start, disk_bytes, free_address};
use super::side::Side;
use crate::load::{Pool, framed};

/// How long a call that is not measured may take.
const CALL_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long an election may take.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(30);
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// A running cluster; its processes end when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    side: Side,
    members: Vec<Member>,
}

impl Cluster {
    /// Start so many members in a folder and wait until all answer.
    pub(crate) fn start(
        side: Side,
        program: &Path,
        folder: &Path,
        size: usize,
    ) -> anyhow::Result<Self> {
        Self::start_with(side, program, folder, size, &[])
    }

    /// The same with further arguments for each.
    pub(crate) fn start_with(
        side: Side,
        program: &Path,
        folder: &Path,
        size: usize,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let mut starts = Vec::new();
        for number in 0..size {
            starts.push(Start {
                program: program.to_owned(),
                name: format!("{side}-{number}"),
                folder: folder.join(format!("{side}-{number}")),
                client: free_address()?,
                peer: free_address()?,
                cluster: String::new(),
                arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            });
        }
        let all: Vec<String> =
            starts.iter().map(|start| format!("{}=http://{}", start.name, start.peer)).collect();
        let all = all.join(",");
        let mut members = Vec::new();
        for start in starts {
            members.push(Member::start(Start { cluster: all.clone(), ..start })?);
        }
        members.iter_mut().try_for_each(Member::wait_until_ready)?;
        Ok(Self { side, members })
    }

    /// Whose it is.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// Where clients find the members.
    pub(crate) fn clients(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Member::client).collect()
    }

    /// Where clients find the leader.
    pub(crate) fn leader(&self) -> anyhow::Result<SocketAddr> {
        let deadline = Instant::now() + LEADER_WAIT_MAX;
        while Instant::now() < deadline {
            for address in self.clients() {
                let status = status(address)?;
                let id = status.header.as_ref().map_or(0, |header| header.member_id);
                if status.leader != 0 && status.leader == id {
                    return Ok(address);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} has no leader", self.side)
    }

    /// CPU of all members so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.members.iter().map(|member| cpu::of(member.id())).sum()
    }

    /// Anonymous memory of all members.
    pub(crate) fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        self.members.iter().map(|member| cpu::anonymous_bytes(member.id())).sum()
    }

    /// All memory of all members, files that are mapped included.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.members.iter().map(|member| cpu::resident_bytes(member.id())).sum()
    }

    /// Files that all members have open.
    pub(crate) fn open_files(&self) -> anyhow::Result<u64> {
        self.members.iter().map(|member| cpu::open_files(member.id())).sum()
    }

    /// Files without a name that all members have open.
    pub(crate) fn nameless_files(&self) -> anyhow::Result<u64> {
        self.members.iter().map(|member| cpu::nameless_files(member.id())).sum()
    }

    /// Threads of all members.
    pub(crate) fn threads(&self) -> anyhow::Result<u64> {
        self.members.iter().map(|member| cpu::threads(member.id())).sum()
    }

    /// What all members' folders occupy.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.members.iter().map(|member| disk_bytes(&member.data())).sum()
    }

    /// Restart the first member and tell how long it took to be ready.
    pub(crate) fn restart_first(&mut self) -> anyhow::Result<Restarted> {
        self.members.first_mut().context("a cluster without members")?.restart()
    }
}

fn status(address: SocketAddr) -> anyhow::Result<StatusResponse> {
    let mut pool = Pool::connect(&[address], 1)?;
    let answer = pool.ask(STATUS, framed(&StatusRequest {}), CALL_WAIT_MAX)?;
    StatusResponse::decode(answer.as_slice()).context("a status that is none")
}
