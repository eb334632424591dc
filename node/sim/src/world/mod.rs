//! The world of a run: members on machines, clients, a network, and misfortune.
//!
//! ```text
//!   queue (virtual time) ──► one happening ──► a member, a disk, a client, the weather
//!          ▲                                            │
//!          └────────── what follows, each later ────────┘
//!                            after each: the judges of members look
//! ```
//!
//! A run has two phases. In the first anything goes wrong that the seed says, within one bound:
//! damage leaves a good copy of everything on a majority. In the second nothing goes wrong any
//! more, and the cluster must come to agree and to serve within a bounded time.
//!
//! Invariant: everything follows from the seed.

mod admin;
mod chaos;
mod convert;
mod damage;
mod happening;
mod impostor;
mod judge;
mod links;
mod machine;
mod marks;
mod network;
mod power;
mod process;
mod profile;
mod queue;
mod trace;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_api::member_json::Member;
use quorate_member::open::Fresh;
use quorate_raft::{Message, MessageKind, NodeId};
use quorate_replica::{Event, SnapshotOutcome};
use sim_disk::HandleId;

use crate::check::Violation;
use crate::client::{Client, ClientOptions};
use crate::history::{ClientId, MemberId, Outcome, Time};
use crate::random::Random;
use admin::Admin;
use chaos::{Chaos, Tender};
use happening::Happening;
use judge::Judge;
use links::Links;
use machine::{Machine, Power};
use network::{End, Network};
use process::{Life, Output};
use profile::Profile;
use queue::Queue;
use trace::Trace;

pub use marks::{Mark, Marks};

/// The cluster's id in every run.
const CLUSTER: u64 = 0xc1;
/// Nanoseconds in a microsecond.
const MICROS: u64 = 1_000;
/// Nanoseconds in a millisecond.
const MILLIS: u64 = 1_000_000;
/// Happenings after which a run is over, whatever its time: no seed needs as many.
const STEPS_MAX: u64 = 5_000_000;
/// Milliseconds that the network needs to notice that a peer has gone.
const NOTICE_MS: u64 = 200;
/// Milliseconds between members' progress notifications.
const PROGRESS_MS: u64 = 1_000;

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// The run's fingerprint.
    pub trace_hash: u64,
    /// Happenings.
    pub steps: u64,
    /// Virtual time of the run.
    pub time: Time,
    /// Requests that clients made.
    pub operations: usize,
    /// Situations that it was in.
    pub marks: Marks,
    /// Faults injected, by their names.
    pub faults: BTreeMap<String, u64>,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
}

/// How much a run tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    Quiet,
    /// Every happening, on standard output.
    Verbose,
}

/// Run a seed.
#[must_use]
pub fn run(seed: u64, detail: Detail) -> Report {
    World::new(seed, detail).run()
}

struct World {
    profile: Profile,
    random: Random,
    now: Time,
    queue: Queue<Happening>,
    network: Network,
    machines: BTreeMap<u64, Machine>,
    clients: BTreeMap<ClientId, Client>,
    links: Links,
    admin: Admin,
    chaos: Chaos,
    judge: Judge,
    marks: Marks,
    trace: Trace,
    /// What waits for machines that are paused, in its order.
    held: BTreeMap<u64, Vec<Happening>>,
    /// Disks with a completion under way.
    busy: BTreeMap<(u64, HandleId), Time>,
    healed_at: Option<Time>,
    over: bool,
}

impl World {
    fn new(seed: u64, detail: Detail) -> Self {
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random);
        let network = Network::new(profile.network.clone(), random.fork(1));
        let mut world = Self {
            network,
            now: Time(0),
            queue: Queue::new(),
            machines: BTreeMap::new(),
            clients: BTreeMap::new(),
            links: Links::default(),
            admin: Admin::new(profile.members),
            chaos: Chaos::new(random.fork(2)),
            judge: Judge::new(&profile),
            marks: Marks::default(),
            trace: Trace::new(detail == Detail::Verbose),
            held: BTreeMap::new(),
            busy: BTreeMap::new(),
            healed_at: None,
            over: false,
            random,
            profile,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let members: Vec<Member> = (1..=self.profile.members).map(admin::member).collect();
        for id in 1..=self.profile.members {
            let fresh = Fresh::Bootstrap { cluster: CLUSTER, member: id, members: members.clone() };
            let machine = Machine::new(id, fresh, &self.profile, &mut self.random);
            self.machines.insert(id, machine);
            let wait = self.random.below(300);
            self.after(wait * MILLIS, Happening::Start { machine: id });
        }
        for number in 0..self.profile.clients {
            let client = ClientId(number);
            let random = self.random.fork(100 + number);
            let options = ClientOptions::draw(&mut self.random);
            self.clients.insert(client, Client::new(client, random, options));
            let wait = self.random.below(2_000);
            self.after(wait * MILLIS, Happening::Wake { client });
        }
        self.after(500 * MILLIS, Happening::Weather);
        self.after(2_000 * MILLIS, Happening::Administrate);
        self.after(self.profile.unsafe_ms * MILLIS, Happening::Heal);
    }

    fn run(mut self) -> Report {
        let mut violation = None;
        while !self.over {
            let Some((time, happening)) = self.queue.pop() else { break };
            self.now = self.now.max(time);
            if let Err(found) = self.happen(happening) {
                violation = Some(found);
                break;
            }
            if self.trace.steps() > STEPS_MAX {
                violation = Some(self.judge.no_end(self.now));
                break;
            }
        }
        let operations = self.links.history().operations().len();
        Report {
            trace_hash: self.trace.hash(),
            steps: self.trace.steps(),
            time: self.now,
            operations,
            faults: self.faults(),
            marks: self.marks,
            violation,
        }
    }

    fn after(&mut self, nanos: u64, happening: Happening) {
        self.queue.push(self.now.plus(Time(nanos)), happening);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        // A machine that is paused does nothing; what comes for it waits.
        if let Some(machine) = happening.machine().and_then(|id| self.machines.get(&id))
            && machine.paused_until > self.now
        {
            self.held.entry(machine.id).or_default().push(happening);
            return Ok(());
        }
        self.note(&happening);
        match happening {
            Happening::Tick { machine, incarnation } => self.tick(machine, incarnation),
            Happening::TickProgress { machine, incarnation } => {
                if let Some(process) = self.process_of(machine, incarnation) {
                    process.tick_progress();
                    let next = Happening::TickProgress { machine, incarnation };
                    self.after(PROGRESS_MS * MILLIS, next);
                }
                self.settle(machine)
            }
            Happening::Deliver { to, from, sent_by, message, body } => {
                self.deliver(to, (from, sent_by), message, body)
            }
            Happening::Refuse { machine, incarnation, by, why } => {
                if let Some(process) = self.process_of(machine, incarnation) {
                    process.refused_by(by, &why);
                }
                self.settle(machine)
            }
            Happening::SnapshotSent { machine, incarnation, to, outcome } => {
                let to = NodeId(to);
                self.tell(machine, incarnation, Event::SnapshotSent { to, outcome })
            }
            Happening::Connect { machine, peer, up } => self.connect(machine, peer, up),
            Happening::Disk { machine, incarnation, handle } => {
                self.complete(machine, incarnation, handle)
            }
            Happening::Task { machine, incarnation } => {
                let now = self.local(machine);
                if let Some(process) = running(&mut self.machines, machine, incarnation) {
                    process.run_task(now, &mut self.marks);
                }
                self.after(50 * MICROS, Happening::Job { machine, incarnation });
                self.settle(machine)
            }
            Happening::Job { machine, incarnation } => self.job(machine, incarnation),
            Happening::Ask { to, incarnation, client, call, request } => {
                let now = self.local(to);
                match running(&mut self.machines, to, incarnation) {
                    Some(process) => process.ask(now, client, call, *request),
                    None => self.answer(client, call, Outcome::Unknown),
                }
                self.settle(to)
            }
            Happening::Answer { client, call, outcome } => {
                self.on_answer(client, call, &outcome);
                Ok(())
            }
            Happening::ToStream { to, incarnation, client, stream, message } => {
                match running(&mut self.machines, to, incarnation) {
                    Some(process) => process.watch(client, stream, &message),
                    None => self.break_stream(client, stream),
                }
                self.settle(to)
            }
            Happening::FromStream { client, stream, message } => {
                self.on_stream(client, stream, message);
                Ok(())
            }
            Happening::Hangup { to, incarnation, client, stream } => {
                if let Some(process) = self.process_of(to, incarnation) {
                    process.close_watch(client, stream);
                }
                Ok(())
            }
            Happening::Broken { client, stream } => {
                self.on_broken(client, stream);
                Ok(())
            }
            Happening::Wake { client } => {
                let members = self.member_ids();
                if let Some(asker) = self.clients.get_mut(&client) {
                    let actions = asker.wake(self.now, &members);
                    self.act(client, actions);
                }
                Ok(())
            }
            Happening::Resume { machine } => self.resume(machine),
            Happening::Strike { machine, incarnation } => {
                self.strike(machine, incarnation);
                Ok(())
            }
            Happening::Start { machine } => self.start(machine),
            Happening::Weather => self.weather(),
            Happening::Administrate => self.administrate(),
            Happening::Heal => self.heal(),
            Happening::Judge => self.look(),
        }
    }

    fn local(&self, machine: u64) -> quorate_replica::Time {
        self.machines.get(&machine).map_or(quorate_replica::Time(0), |it| it.local(self.now))
    }

    fn process_of(&mut self, machine: u64, incarnation: u32) -> Option<&mut process::Process> {
        running(&mut self.machines, machine, incarnation)
    }

    /// Members that clients know.
    fn member_ids(&self) -> Vec<MemberId> {
        self.admin.members().map(MemberId).collect()
    }

    fn tick(&mut self, machine: u64, incarnation: u32) -> Result<(), Violation> {
        if self.process_of(machine, incarnation).is_none() {
            return Ok(());
        }
        let interval = self.machines.get(&machine).map_or(Time(MILLIS), Machine::tick_interval);
        self.after(interval.0, Happening::Tick { machine, incarnation });
        self.after(MICROS, Happening::Job { machine, incarnation });
        let now = self.local(machine);
        if let Some(process) = self.process_of(machine, incarnation) {
            process.tick(now);
        }
        self.settle(machine)
    }

    fn tell(&mut self, machine: u64, incarnation: u32, event: Event) -> Result<(), Violation> {
        let now = self.local(machine);
        if let Some(process) = self.process_of(machine, incarnation) {
            process.hear(now, event);
        }
        self.settle(machine)
    }

    fn deliver(
        &mut self,
        to: u64,
        sender: Life,
        message: Box<Message>,
        body: Option<Bytes>,
    ) -> Result<(), Violation> {
        if !self.is_heard(to, sender, &message)? {
            return self.settle(to);
        }
        let now = self.local(to);
        if let Some(process) = self.machines.get_mut(&to).and_then(Machine::process) {
            process.receive(now, message, body);
        }
        self.settle(to)
    }

    fn connect(&mut self, machine: u64, peer: u64, up: bool) -> Result<(), Violation> {
        let reachable = self.machines.get(&peer).is_some_and(Machine::is_on)
            && !self.network.is_cut(End::Member(machine), End::Member(peer))
            && !self.network.is_cut(End::Member(peer), End::Member(machine));
        let Some(incarnation) = self.machines.get(&machine).map(|machine| machine.incarnation)
        else {
            return Ok(());
        };
        let event = match (up, reachable) {
            (true, true) => Event::PeerConnected(NodeId(peer)),
            (false, false) => Event::PeerDisconnected(NodeId(peer)),
            (true, false) | (false, true) => return Ok(()),
        };
        self.tell(machine, incarnation, event)
    }

    /// Tell all what has become of the links to and from a machine.
    fn reconnect(&mut self, machine: u64) {
        let peers: Vec<u64> = self.machines.keys().copied().filter(|id| *id != machine).collect();
        for peer in peers {
            for up in [true, false] {
                let delay = NOTICE_MS * MILLIS;
                self.after(delay, Happening::Connect { machine, peer, up });
                self.after(delay, Happening::Connect { machine: peer, peer: machine, up });
            }
        }
    }

    fn complete(&mut self, id: u64, incarnation: u32, handle: HandleId) -> Result<(), Violation> {
        self.busy.remove(&(id, handle));
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        if machine.incarnation != incarnation {
            return Ok(());
        }
        machine.disk.complete(handle, None);
        let local = machine.local(now);
        match &mut machine.power {
            Power::On(process) => {
                process.poll_disks(local);
                self.after(10 * MICROS, Happening::Job { machine: id, incarnation });
            }
            Power::Opening(_) => self.go_on_starting(id)?,
            Power::Off | Power::Gone | Power::Refused(_) => {}
        }
        self.settle(id)
    }

    fn job(&mut self, machine: u64, incarnation: u32) -> Result<(), Violation> {
        let now = self.local(machine);
        if let Some(process) = running(&mut self.machines, machine, incarnation)
            && process.run_job(now, &mut self.marks)
        {
            self.after(50 * MICROS, Happening::Job { machine, incarnation });
        }
        self.settle(machine)
    }

    /// Carry out what a member wants of the world, and let the judges look at it.
    fn settle(&mut self, id: u64) -> Result<(), Violation> {
        self.schedule_disks(id);
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let incarnation = machine.incarnation;
        let Some(process) = machine.process() else { return Ok(()) };
        let outputs = std::mem::take(&mut process.outputs);
        if process.wakes_applier() {
            self.queue.push(
                self.now.plus(Time(10 * MICROS)),
                Happening::Task { machine: id, incarnation },
            );
        }
        self.judge.observe(self.now, machine, &mut self.marks)?;
        for output in outputs {
            self.output(id, incarnation, output)?;
        }
        Ok(())
    }

    fn schedule_disks(&mut self, id: u64) {
        let Some(machine) = self.machines.get(&id) else { return };
        let handles = machine.handles();
        let incarnation = machine.incarnation;
        let is_slow = machine.slow_until > self.now;
        for pending in machine.disk.pending() {
            if !handles.contains(&pending.handle) || self.busy.contains_key(&(id, pending.handle)) {
                continue;
            }
            let (least, most) = self.profile.disk_us;
            let mut delay = least + self.random.below(most - least + 1);
            if is_slow {
                delay += self.random.below(400_000);
            }
            let at = self.now.plus(Time(delay * MICROS));
            self.busy.insert((id, pending.handle), at);
            let happening = Happening::Disk { machine: id, incarnation, handle: pending.handle };
            self.queue.push(at, happening);
        }
    }

    fn output(&mut self, from: u64, incarnation: u32, output: Output) -> Result<(), Violation> {
        match output {
            Output::Send(message) => {
                if !self.is_impostor(from) {
                    self.judge.on_sent(self.now, &message)?;
                }
                let to = message.to.0;
                let mut arrivals = self.network.send(self.now, End::Member(from), End::Member(to));
                if message.kind == MessageKind::MsgProp {
                    // Raft bears every message twice but this: a transport sends a forwarded
                    // request once or not at all.
                    arrivals.truncate(1);
                }
                for at in arrivals {
                    let message = message.clone();
                    let sent_by = incarnation;
                    let deliver = Happening::Deliver { to, from, sent_by, message, body: None };
                    self.queue.push(at, deliver);
                }
            }
            Output::SendSnapshot(message, body) => {
                let to = message.to.0;
                let arrivals = self.network.send(self.now, End::Member(from), End::Member(to));
                let outcome = match arrivals.first() {
                    Some(at) => {
                        let body = Some(body);
                        let sent_by = incarnation;
                        let deliver = Happening::Deliver { to, from, sent_by, message, body };
                        self.queue.push(*at, deliver);
                        SnapshotOutcome::Finished
                    }
                    None => SnapshotOutcome::Failed,
                };
                let told = Happening::SnapshotSent { machine: from, incarnation, to, outcome };
                self.after(300 * MILLIS, told);
            }
            Output::Answer(client, call, outcome) => self.answer(client, call, outcome),
            Output::Watch(client, stream, message) => {
                let at = self.links.arrival_at_client(&mut self.network, self.now, from, client);
                self.queue.push(at, Happening::FromStream { client, stream, message });
            }
            Output::Membership(result) => self.admin.on_result(result),
            Output::Leadership(leader, term) => {
                if leader == Some(NodeId(from)) {
                    self.chaos.on_leader(from, term, &mut self.marks);
                    self.on_tender(from, incarnation, Tender::Lead);
                }
            }
            Output::Tender(tender) => self.on_tender(from, incarnation, tender),
            Output::EndLost => self.on_end_lost(from)?,
            Output::LogRepaired => self.on_log_repaired(from, incarnation),
            Output::Reached(mark) => self.marks.reach(mark),
            Output::Unsound(rule, text) => return Err(Violation::at(rule, self.now, text)),
            Output::Stop(stop) => self.on_stop(from, stop)?,
        }
        Ok(())
    }

    fn note(&mut self, happening: &Happening) {
        let words = happening.words();
        let now = self.now;
        self.trace
            .note(&[now.0, words.0, words.1, words.2], || format!("{now} {}", happening.text()));
    }

    fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults = self.chaos.counts();
        for machine in self.machines.values() {
            for (kind, count) in machine.disk.counts() {
                *faults.entry(format!("disk {kind:?}")).or_default() += count;
            }
        }
        let network = &self.network;
        for (name, count) in [
            ("message lost", network.lost),
            ("message doubled", network.doubled),
            ("message late", network.delayed),
            ("message cut off", network.cut),
        ] {
            faults.insert(name.to_owned(), count);
        }
        faults
    }
}

fn running(
    machines: &mut BTreeMap<u64, Machine>,
    id: u64,
    incarnation: u32,
) -> Option<&mut process::Process> {
    let machine = machines.get_mut(&id)?;
    if machine.incarnation != incarnation {
        return None;
    }
    machine.process()
}
