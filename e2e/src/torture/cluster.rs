//! The members of a run: which there are, what state they are in, and what is asked of them as an
//! administrator would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use judge::history::MemberId;
use judge::random::Random;
use quorate_api::etcdserverpb as pb;
use quorate_client::{Client, Options};

use super::machine::{Machine, State, fake_clock};
use super::network::Network;
use super::stage::Members;

/// Members that a run may have in all, those that went included.
pub(super) const NUMBERS_MAX: u8 = 9;
/// Starts of a damaged member that may end with the news that more is damaged.
const DAMAGED_STARTS_MAX: u32 = 6;
/// How long an administrator waits for an answer.
const ADMIN_WAIT_MAX: Duration = Duration::from_secs(1);

/// A change of members under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add(u8),
    Remove(u8),
}

/// What may end a member that nobody killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// A sync that failed.
    FailedSync,
    /// Damage, found at one of so many starts.
    Damage { starts: u32 },
}

/// The members of a run.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) network: Network,
    program: PathBuf,
    folder: PathBuf,
    settings: Vec<String>,
    pub(super) machines: BTreeMap<u8, Machine>,
    /// Those that clients ask: not learners, nor what is gone.
    pub(super) voters: Vec<u8>,
    pub(super) change: Option<Change>,
    /// What each member may end of.
    pub(super) mishaps: BTreeMap<u8, Mishap>,
    next_number: u8,
    fakes_clocks: bool,
    has_small_disks: bool,
}

impl Cluster {
    /// Members that do not run yet.
    pub(super) fn new(
        network: &Network,
        program: &Path,
        folder: &Path,
        size: u8,
        random: &mut Random,
        wants: Wants,
    ) -> anyhow::Result<Self> {
        Self::with(network, program, folder, size, settings(random), wants)
    }

    /// The same with settings of the caller's.
    pub(super) fn with(
        network: &Network,
        program: &Path,
        folder: &Path,
        size: u8,
        settings: Vec<String>,
        wants: Wants,
    ) -> anyhow::Result<Self> {
        let mut cluster = Self {
            network: network.clone(),
            program: program.to_owned(),
            folder: folder.to_owned(),
            settings,
            machines: BTreeMap::new(),
            voters: (1..=size).collect(),
            change: None,
            mishaps: BTreeMap::new(),
            next_number: size + 1,
            fakes_clocks: wants.clocks && fake_clock().is_some(),
            has_small_disks: wants.small_disks,
        };
        for number in 1..=size {
            cluster.make(number)?;
        }
        let initial: Vec<String> = cluster.machines.values().map(Machine::as_initial).collect();
        let initial = format!("--initial-cluster={}", initial.join(","));
        for machine in cluster.machines.values_mut() {
            let mut arguments = cluster.settings.clone();
            arguments.push(initial.clone());
            machine.set_arguments(arguments);
        }
        Ok(cluster)
    }

    fn make(&mut self, number: u8) -> anyhow::Result<()> {
        let mut machine = Machine::new(number, &self.network, &self.program, &self.folder)?;
        if self.has_small_disks {
            machine.mount_small_disk()?;
        }
        if self.fakes_clocks {
            machine.fake_its_clock();
        }
        self.machines.insert(number, machine);
        Ok(())
    }

    /// What members are told, for a report.
    pub(super) fn settings(&self) -> &[String] {
        &self.settings
    }

    /// Members as clients see them.
    pub(super) fn members(&self) -> Members {
        let known = self.voters.iter().filter_map(|number| {
            let machine = self.machines.get(number)?;
            let id = MemberId(u64::from(*number));
            Some((id, (machine.client_url(), machine.starts)))
        });
        Members { known: known.collect() }
    }

    pub(super) fn machine(&mut self, number: u8) -> anyhow::Result<&mut Machine> {
        self.machines.get_mut(&number).with_context(|| format!("there is no m{number}"))
    }

    /// Voters in a state.
    pub(super) fn in_state(&self, state: State) -> Vec<u8> {
        let is_so = |number: &&u8| self.machines.get(number).is_some_and(|it| it.state == state);
        self.voters.iter().filter(is_so).copied().collect()
    }

    /// The number for one more member, if there may be one.
    pub(super) fn take_number(&mut self) -> Option<u8> {
        let number = self.next_number;
        (number <= NUMBERS_MAX).then(|| {
            self.next_number += 1;
            number
        })
    }

    /// Look for members that ended by themselves. Those that may have are started again.
    ///
    /// # Errors
    /// One that had no reason.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let numbers: Vec<u8> = self.machines.keys().copied().collect();
        for number in numbers {
            let machine = self.machine(number)?;
            let Some(status) = machine.ended()? else { continue };
            let said = machine.log();
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            let is_refusal = status.code() == Some(1) && !said.contains("panicked");
            let may_end = match self.mishaps.get_mut(&number) {
                Some(Mishap::FailedSync) => is_refusal,
                Some(Mishap::Damage { starts }) => {
                    *starts += 1;
                    is_refusal && said.contains("damage") && *starts < DAMAGED_STARTS_MAX
                }
                None => false,
            };
            // Who joins and finds nobody that tells about the cluster ends, and is started again
            // by whoever lets it join.
            let is_changed = match self.change {
                Some(Change::Remove(removed)) => removed == number,
                Some(Change::Add(added)) => added == number && said.contains("cannot join"),
                None => false,
            };
            if is_changed && !said.contains("panicked") {
                continue;
            }
            if !may_end {
                bail!("m{number} ended by itself ({status}): {}", last.join(" | "));
            }
            if self.mishaps.get(&number) == Some(&Mishap::FailedSync) {
                self.mishaps.remove(&number);
            }
            self.machine(number)?.start()?;
        }
        Ok(())
    }

    /// A client of some members, for an administrator.
    pub(super) fn admin(&self, numbers: &[u8]) -> anyhow::Result<Client> {
        let urls: Vec<String> = numbers
            .iter()
            .filter_map(|number| self.machines.get(number).map(Machine::client_url))
            .collect();
        let options = Options {
            connect_timeout: ADMIN_WAIT_MAX / 4,
            call_timeout: ADMIN_WAIT_MAX,
            ..Options::default()
        };
        Client::connect(&urls, options).context("nobody to ask")
    }

    /// Who joins: what it is started with.
    pub(super) fn prepare_to_join(
        &mut self,
        number: u8,
        members: &[pb::Member],
    ) -> anyhow::Result<()> {
        if self.machines.contains_key(&number) {
            return Ok(());
        }
        self.make(number)?;
        let own = self.machine(number)?.as_initial();
        let others = members.iter().filter(|member| !member.name.is_empty());
        let others = others
            .flat_map(|member| member.peer_urls.iter().map(|url| format!("{}={url}", member.name)));
        let initial: Vec<String> = others.chain([own]).collect();
        let mut arguments = self.settings.clone();
        arguments.push(format!("--initial-cluster={}", initial.join(",")));
        arguments.push("--initial-cluster-state=existing".to_owned());
        self.machine(number)?.set_arguments(arguments);
        Ok(())
    }

    /// A removed member is switched off for good.
    pub(super) fn retire(&mut self, number: u8) -> anyhow::Result<()> {
        self.voters.retain(|voter| *voter != number);
        self.mishaps.remove(&number);
        self.machine(number)?.kill()
    }
}

/// What a run's members need for what may happen to them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) clocks: bool,
    pub(super) small_disks: bool,
}

/// How the members of a run are set up: small, so that files are rotated, checkpointed and given
/// back within it, and members that lag need a snapshot.
fn settings(random: &mut Random) -> Vec<String> {
    let entries = random.pick(&[20, 100, 500, 10_000]).copied().unwrap_or(100);
    let kept = if random.chance(1, 2) { 5 } else { 500 };
    let bytes = random.pick(&[64 << 10, 256 << 10, 1 << 20]).copied().unwrap_or(1 << 20);
    vec![
        "--heartbeat-interval=50".to_owned(),
        "--election-timeout=500".to_owned(),
        "--grpc-keepalive-min-time=200ms".to_owned(),
        "--watch-progress-notify-interval=1s".to_owned(),
        format!("--snapshot-count={entries}"),
        format!("--snapshot-catchup-entries={kept}"),
        format!("--segment-bytes={bytes}"),
    ]
}
