//! What goes wrong in a run, from its seed: one fault or two at a time, each for a while.
//!
//! A fault leaves what must be left: of several members one is damaged at a time, and only while
//! the others have their disks and stay members. What happened is counted, and told in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use judge::random::Random;

use super::cluster::{Change, Cluster, Mishap};
use super::damage;
use super::fault::Fault;
use super::machine::State;
use super::network::End;

/// Faults at the same time.
const ACTIVE_MAX: usize = 2;
/// Tries to find a fault that can happen now.
const TRIES: usize = 8;

/// How a fault ends.
#[derive(Clone, Debug)]
enum Undo {
    Nothing,
    Start(Vec<u8>),
    Resume(u8),
    Mend(Vec<(End, End)>),
    Quicken(u8),
    Detach(u8),
    Empty(u8),
}

#[derive(Debug)]
struct Active {
    until: Instant,
    undo: Undo,
}

/// What the nemesis wants of an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    MoveLeader { to: u8 },
    Compact,
}

/// What goes wrong in a run.
#[derive(Debug)]
pub(super) struct Nemesis {
    random: Random,
    faults: Vec<(u64, Fault)>,
    active: Vec<Active>,
    next: Instant,
    /// How often each fault happened.
    pub(super) counts: BTreeMap<Fault, u64>,
    /// What happened, told with the time since the beginning.
    pub(super) told: Vec<String>,
    began: Instant,
    /// Where the leader is, as far as is known.
    pub(super) leader: Option<u8>,
    pub(super) errands: Vec<Errand>,
}

impl Nemesis {
    /// One that may do these.
    pub(super) fn new(mut random: Random, faults: Vec<(u64, Fault)>) -> Self {
        let now = Instant::now();
        let first = Duration::from_millis(random.range(200..1_000));
        Self {
            random,
            faults,
            active: Vec::new(),
            next: now + first,
            counts: BTreeMap::new(),
            told: Vec::new(),
            began: now,
            leader: None,
            errands: Vec::new(),
        }
    }

    /// Do what is due.
    pub(super) fn step(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let now = Instant::now();
        let (due, left) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|active: &Active| active.until <= now);
        self.active = left;
        let due: Vec<Active> = due;
        for active in due {
            self.undo(cluster, active.undo)?;
        }
        if self.next > now || self.active.len() >= ACTIVE_MAX {
            return Ok(());
        }
        self.next = now + self.milliseconds(100..900);
        for _ in 0..TRIES {
            let Some(fault) = self.random.weighted(&self.faults).copied() else { break };
            if let Some((undo, text)) = self.begin(cluster, fault)? {
                *self.counts.entry(fault).or_default() += 1;
                self.tell(&format!("{fault} {text}"));
                let until = now + self.milliseconds(200..2_000);
                self.active.push(Active { until, undo });
                break;
            }
        }
        Ok(())
    }

    /// Everything is as it should be again.
    pub(super) fn heal(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        for active in std::mem::take(&mut self.active) {
            self.undo(cluster, active.undo)?;
        }
        self.tell("healed");
        Ok(())
    }

    /// A damaged member has everything again.
    pub(super) fn tell_whole(&mut self, number: u8, refused: u32) {
        self.tell(&format!("m{number} is whole again; starts that it refused: {refused}"));
    }

    fn tell(&mut self, text: &str) {
        self.told.push(format!("{:9.3} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    fn milliseconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.range(range))
    }

    fn undo(&mut self, cluster: &mut Cluster, undo: Undo) -> anyhow::Result<()> {
        match undo {
            Undo::Nothing => {}
            Undo::Start(numbers) => {
                for number in numbers {
                    let is_gone = !cluster.voters.contains(&number);
                    let machine = cluster.machine(number)?;
                    if !is_gone && machine.state == State::Off {
                        machine.start()?;
                        self.tell(&format!("m{number} starts"));
                    }
                }
            }
            Undo::Resume(number) => cluster.machine(number)?.resume()?,
            Undo::Mend(ways) => {
                for (from, to) in ways {
                    cluster.network.mend(from, to)?;
                }
                self.tell("ways are mended");
            }
            Undo::Quicken(number) => cluster.network.quicken(number)?,
            Undo::Detach(number) => cluster.machine(number)?.detach(),
            Undo::Empty(number) => cluster.machine(number)?.empty()?,
        }
        Ok(())
    }

    fn some(&mut self, numbers: &[u8]) -> Option<u8> {
        self.random.pick(numbers).copied()
    }

    /// Begin a fault, if it can happen now; how it ends, and to whom it happened.
    fn begin(
        &mut self,
        cluster: &mut Cluster,
        fault: Fault,
    ) -> anyhow::Result<Option<(Undo, String)>> {
        let running = cluster.in_state(State::Running);
        let untraced: Vec<u8> = running
            .iter()
            .copied()
            .filter(|it| cluster.machines.get(it).is_some_and(|it| !it.is_shaken()))
            .collect();
        Ok(match fault {
            Fault::KillOne | Fault::KillMajority | Fault::KillAll => {
                let mut victims = running;
                self.random.shuffle(&mut victims);
                victims.truncate(match fault {
                    Fault::KillOne => 1,
                    Fault::KillMajority => cluster.voters.len() / 2 + 1,
                    _ => usize::MAX,
                });
                for victim in &victims {
                    cluster.machine(*victim)?.kill()?;
                }
                let text = format!("{victims:?}");
                (!victims.is_empty()).then_some((Undo::Start(victims), text))
            }
            Fault::Pause => match self.some(&running) {
                None => None,
                Some(number) => {
                    cluster.machine(number)?.pause()?;
                    Some((Undo::Resume(number), format!("m{number}")))
                }
            },
            Fault::OneWay
            | Fault::Partial
            | Fault::Isolate
            | Fault::LeaderFromClients
            | Fault::LeaderFromPeers => self.cut(cluster, fault)?,
            Fault::SlowLink => match self.some(&running) {
                Some(number) if !self.is_slow(number) => {
                    let milliseconds = self.random.range(20..300);
                    cluster.network.slow(number, milliseconds)?;
                    Some((Undo::Quicken(number), format!("m{number} by {milliseconds} ms")))
                }
                Some(_) | None => None,
            },
            Fault::ClockJump => match self.some(&cluster.voters) {
                Some(number) if cluster.machine(number)?.has_fake_clock() => {
                    let seconds = self.random.range(1..7_200) as i64 - 3_600;
                    cluster.machine(number)?.jump(seconds)?;
                    Some((Undo::Nothing, format!("m{number} by {seconds} s")))
                }
                Some(_) | None => None,
            },
            Fault::SlowSync => match self.some(&untraced) {
                None => None,
                Some(number) => {
                    let micros = self.random.range(20_000..400_000);
                    cluster.machine(number)?.inject(&format!("delay_enter={micros}"))?;
                    Some((Undo::Detach(number), format!("m{number} by {micros} us")))
                }
            },
            Fault::FailedSync => match self.some(&untraced) {
                Some(number) if !cluster.mishaps.contains_key(&number) => {
                    let when = self.random.range(1..30);
                    let inject = format!("error=EIO:when={when}");
                    cluster.machine(number)?.inject(&inject)?;
                    cluster.mishaps.insert(number, Mishap::FailedSync);
                    Some((Undo::Detach(number), format!("m{number}, the {when}th")))
                }
                Some(_) | None => None,
            },
            Fault::FullDisk => match self.some(&cluster.voters) {
                Some(number) if cluster.machine(number)?.has_small_disk() => {
                    cluster.machine(number)?.fill()?;
                    Some((Undo::Empty(number), format!("m{number}")))
                }
                Some(_) | None => None,
            },
            Fault::MoveLeader => self.some(&running).map(|to| {
                self.errands.push(Errand::MoveLeader { to });
                (Undo::Nothing, format!("to m{to}"))
            }),
            Fault::Compact => {
                self.errands.push(Errand::Compact);
                Some((Undo::Nothing, String::new()))
            }
            Fault::AddMember | Fault::RemoveMember => self.change(cluster, fault),
            Fault::Damage => self.damage(cluster)?,
        })
    }

    fn is_slow(&self, number: u8) -> bool {
        let is_so = |active: &Active| matches!(active.undo, Undo::Quicken(it) if it == number);
        self.active.iter().any(is_so)
    }

    fn cut(&mut self, cluster: &Cluster, fault: Fault) -> anyhow::Result<Option<(Undo, String)>> {
        let Some(one) = self.some(&cluster.voters) else { return Ok(None) };
        let peers = |of: u8| -> Vec<End> {
            let others = cluster.machines.keys().filter(|number| **number != of);
            others.map(|number| End::Member(*number)).collect()
        };
        let others = peers(one);
        let (one, others) = match fault {
            Fault::OneWay | Fault::Partial => {
                let Some(other) = self.random.pick(&others).copied() else { return Ok(None) };
                (one, vec![other])
            }
            Fault::LeaderFromClients => (self.leader.unwrap_or(one), vec![End::Clients]),
            Fault::LeaderFromPeers => {
                let leader = self.leader.unwrap_or(one);
                (leader, peers(leader))
            }
            _ => (one, [others, vec![End::Clients]].concat()),
        };
        let mut ways: Vec<(End, End)> = Vec::new();
        for other in others {
            ways.push((End::Member(one), other));
            if fault != Fault::OneWay {
                ways.push((other, End::Member(one)));
            }
        }
        // A way is cut once at a time, so that it is mended once.
        let is_cut = |way: &(End, End)| {
            self.active.iter().any(|active| match &active.undo {
                Undo::Mend(cut) => cut.contains(way),
                _ => false,
            })
        };
        ways.retain(|way| !is_cut(way));
        if ways.is_empty() {
            return Ok(None);
        }
        for (from, to) in &ways {
            cluster.network.cut(*from, *to)?;
        }
        let text = format!("{ways:?}");
        Ok(Some((Undo::Mend(ways), text)))
    }

    fn change(&mut self, cluster: &mut Cluster, fault: Fault) -> Option<(Undo, String)> {
        if cluster.change.is_some() || !cluster.mishaps.is_empty() {
            return None;
        }
        let (change, text) = match fault {
            Fault::AddMember if cluster.voters.len() < 6 => {
                let number = cluster.take_number()?;
                (Change::Add(number), format!("m{number}"))
            }
            Fault::RemoveMember if cluster.voters.len() > 2 => {
                let number = self.some(&cluster.voters)?;
                (Change::Remove(number), format!("m{number}"))
            }
            _ => return None,
        };
        cluster.change = Some(change);
        Some((Undo::Nothing, text))
    }

    /// One member's disk is damaged while the others' are whole and all of them stay members.
    fn damage(&mut self, cluster: &mut Cluster) -> anyhow::Result<Option<(Undo, String)>> {
        let running = cluster.in_state(State::Running);
        let has_peers = cluster.voters.len() >= 3;
        if !has_peers || cluster.change.is_some() || !cluster.mishaps.is_empty() {
            return Ok(None);
        }
        let Some(number) = self.some(&running) else { return Ok(None) };
        let machine = cluster.machine(number)?;
        machine.kill()?;
        let harmed = damage::harm_some(&machine.data(), &mut self.random)?;
        cluster.mishaps.insert(number, Mishap::Damage { starts: 0 });
        Ok(Some((Undo::Start(vec![number]), format!("m{number}: {harmed}"))))
    }
}
