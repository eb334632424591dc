//! What befalls a cluster and its operator.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use crate::api_server::{EventFault, Fault, Faults};
use crate::model::random::Random;
use crate::scenarios::NAME;
use crate::world::{MemberFault, World};

/// How likely something is in a second: once in so many.
const POD: usize = 45;
const VOLUME: usize = 90;
const NODE: usize = 60;
const WISH: usize = 50;
const KILL: usize = 25;
const WEATHER: usize = 20;

pub(super) struct Trouble {
    random: Random,
    /// Nodes that are down, and for how many seconds still.
    down: Vec<(String, usize)>,
    /// Seconds for which the API server is still away.
    away_seconds: usize,
}

/// Which calls fail, and how often.
#[derive(Clone, Copy)]
struct Weather {
    once_in: usize,
    member_once_in: usize,
}

impl Trouble {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0x5eed), down: Vec::new(), away_seconds: 0 }
    }

    /// A second's worth of it.
    pub(super) fn happen(&mut self, world: &mut World) {
        if self.random.once_in(POD) {
            self.lose_pod(world);
        }
        if self.random.once_in(VOLUME) {
            self.lose_volume(world);
        }
        self.nodes(world);
        if self.random.once_in(WISH) {
            self.wish(world);
        }
        if self.random.once_in(KILL) {
            world.machines.lock().mark("killed");
            match self.random.below(2) {
                0 => world.kill(0),
                _ => world.kill_behind(0, 1 + self.random.below(12)),
            }
        }
        if self.random.once_in(WEATHER) {
            self.weather(world);
        }
        if self.random.once_in(200) {
            world.server.forget();
        }
        self.away_seconds = self.away_seconds.saturating_sub(1);
        if self.random.once_in(150) {
            self.away_seconds = 5 + self.random.below(60);
        }
        let is_away = self.away_seconds > 0;
        world.server.faults(|faults| faults.is_down = is_away);
    }

    fn lose_pod(&mut self, world: &mut World) {
        let members = world.voters(NAME);
        if let Some(member) = self.random.pick(&members) {
            world.disturb();
            world.delete_pod_of(member);
        }
    }

    /// Only as long as a majority of the voters' disks stays: what all copies are gone of nobody
    /// can bring back.
    fn lose_volume(&mut self, world: &mut World) {
        let members = world.voters(NAME);
        let whole: Vec<&String> =
            members.iter().filter(|member| world.has_its_disk(NAME, member)).collect();
        if whole.len().saturating_sub(1) < members.len() / 2 + 1 {
            return;
        }
        let Some(member) = self.random.pick(&members) else { return };
        world.disturb();
        if self.random.once_in(3) {
            world.machines.lock().mark("wiped disk");
            world.wipe(member);
            world.delete_pod_of(member);
        } else {
            world.machines.lock().mark("lost volume");
            world.lose_volume_of(member);
        }
    }

    fn nodes(&mut self, world: &mut World) {
        for (node, seconds) in &mut self.down {
            *seconds -= 1;
            if *seconds == 0 {
                world.set_up(node, true);
            }
        }
        self.down.retain(|(_, seconds)| *seconds > 0);
        if self.down.len() < 2 && self.random.once_in(NODE) {
            let node = format!("node-{}", self.random.below(7));
            if self.down.iter().all(|(down, _)| *down != node) {
                world.machines.lock().mark("node down");
                world.disturb();
                world.set_up(&node, false);
                self.down.push((node, 10 + self.random.below(200)));
            }
        }
    }

    fn wish(&mut self, world: &mut World) {
        let choice = self.random.below(8);
        let replicas = [1, 3, 5][self.random.below(3)];
        let interval = 100 + 10 * self.random.below(3);
        let is_bad = self.random.once_in(2);
        world.wish(NAME, |spec| match choice {
            0..=2 => spec["replicas"] = json!(replicas),
            3 | 4 => spec["config"]["heartbeatIntervalMs"] = json!(interval),
            5 => {
                let flags =
                    if is_bad { json!({ "log-level": "does-not-start" }) } else { json!({}) };
                spec["config"]["extraArgs"] = flags;
            }
            6 => spec["hibernate"] = json!(is_bad),
            _ => spec["paused"] = json!(is_bad),
        });
    }

    /// How well calls arrive from now on.
    fn weather(&mut self, world: &mut World) {
        let lag = [0, 0, 0, 1, 5, 50][self.random.below(6)];
        if lag > 0 {
            world.machines.lock().mark("stale reads");
        }
        let weather = Weather {
            once_in: [usize::MAX, usize::MAX, 40, 10][self.random.below(4)],
            member_once_in: [usize::MAX, usize::MAX, 30, 8][self.random.below(4)],
        };
        let seed = u64::try_from(self.random.below(usize::MAX)).unwrap_or_default();
        let random = Arc::new(Mutex::new(Random::new(seed)));
        world.server.faults(|faults| {
            faults.lag = lag;
            let random = Arc::clone(&random);
            faults.of_call = Box::new(move |call| {
                let mut random = random.lock();
                if !random.once_in(weather.once_in) {
                    return Fault::None;
                }
                let all = [
                    Fault::TooMany,
                    Fault::Internal,
                    Fault::Lost,
                    Fault::TimeoutAfter,
                    Fault::CutAfter,
                    Fault::Conflict,
                ];
                let fault = all[random.below(all.len())];
                if fault == Fault::Conflict && !call.is_write() { Fault::Internal } else { fault }
            });
            faults.of_event = Box::new(|_| EventFault::None);
        });
        let machines = Arc::clone(&world.machines);
        world.member_faults(0, move |_| {
            let mut random = random.lock();
            if !random.once_in(weather.member_once_in) {
                return MemberFault::None;
            }
            let all = [MemberFault::Lost, MemberFault::LostAfter, MemberFault::Refused];
            let fault = all[random.below(all.len())];
            if fault == MemberFault::LostAfter {
                machines.lock().mark("unheard call");
            }
            fault
        });
    }

    /// It is over: what is wished for is sensible, and nothing fails any more.
    pub(super) fn end(&mut self, world: &mut World) {
        for (node, _) in self.down.drain(..) {
            world.set_up(&node, true);
        }
        world.server.faults(|faults| *faults = Faults::default());
        world.member_faults(0, |_| MemberFault::None);
        world.wish(NAME, |spec| {
            spec["paused"] = json!(false);
            spec["hibernate"] = json!(false);
            spec["config"]["extraArgs"] = json!({});
        });
    }
}
