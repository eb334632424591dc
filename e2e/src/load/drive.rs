//! Calls at a chosen pace until it is enough, and what came of it.

use std::time::{Duration, Instant};

use super::connection::Keep;
use super::pool::{Call, Next, Pool};
use super::times::Times;
use crate::process::cpu;

/// When the next call begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many clients, each of which asks again as soon as it is answered.
    Closed { clients: u32 },
    /// So many calls a second, whether or not the ones before were answered.
    Open { per_second: f64 },
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Time(Duration),
    Calls(u64),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) path: &'static str,
    pub(crate) pace: Pace,
    pub(crate) until: Until,
    pub(crate) keep: Keep,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    pub(crate) times: Times,
    /// Bytes of all answers.
    pub(crate) bytes: u64,
    /// CPU of this process.
    pub(crate) own_cpu: Duration,
}

impl Outcome {
    /// Calls a second.
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    pub(crate) fn per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

/// How long answers are waited for after the last request.
const LAST_ANSWERS_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often an open loop looks at the clock: the resolution of a poll.
const OPEN_LOOP_STEP: Duration = Duration::from_millis(1);

/// Ask. `message` makes the n-th request.
pub(crate) fn drive(
    pool: &mut Pool,
    load: Load,
    mut message: impl FnMut(u64) -> Vec<u8>,
) -> anyhow::Result<Outcome> {
    let cpu_before = cpu::own()?;
    let began = Instant::now();
    let (end, calls_max) = match load.until {
        Until::Time(time) => (began + time, u64::MAX),
        Until::Calls(calls) => (began + Duration::from_secs(3600), calls),
    };
    let (clients, per_second) = match load.pace {
        Pace::Closed { clients } => (u64::from(clients), None),
        Pace::Open { per_second } => (0, Some(per_second)),
    };
    let mut begun = 0;
    let mut outcome = Outcome {
        calls: 0,
        elapsed: Duration::ZERO,
        times: Times::default(),
        bytes: 0,
        own_cpu: Duration::ZERO,
    };
    while begun < clients.min(calls_max) {
        let connection = usize::try_from(begun).unwrap_or(0) % pool.len();
        pool.call(connection, load.path, message(begun), load.keep);
        begun += 1;
    }
    pool.flush()?;
    let mut now = Instant::now();
    while outcome.calls < begun || (now < end && begun < calls_max) {
        if let Some(per_second) = per_second {
            let due = due(now.min(end) - began, per_second).min(calls_max);
            while begun < due {
                let connection = usize::try_from(begun).unwrap_or(0) % pool.len();
                pool.call(connection, load.path, message(begun), load.keep);
                begun += 1;
            }
            pool.flush()?;
        }
        let wait = per_second.map_or(LAST_ANSWERS_WAIT_MAX, |_| OPEN_LOOP_STEP);
        pool.turn(Some(wait), |call: Call| {
            let arrived = Instant::now();
            outcome.calls += 1;
            outcome.bytes += call.bytes;
            match per_second {
                // A server that cannot follow may refuse: to whoever asked that is as bad as no
                // answer.
                Some(_) if !call.is_answered() => outcome.times.push(LAST_ANSWERS_WAIT_MAX),
                _ => {
                    call.check()?;
                    outcome.times.push(arrived - call.sent);
                }
            }
            if per_second.is_some() || arrived >= end || begun >= calls_max {
                return Ok(None);
            }
            begun += 1;
            Ok(Some(Next { path: load.path, message: message(begun - 1), keep: load.keep }))
        })?;
        now = Instant::now();
        if now > end + LAST_ANSWERS_WAIT_MAX {
            anyhow::bail!("{} calls of {} were not answered", begun - outcome.calls, load.path);
        }
    }
    outcome.elapsed = began.elapsed();
    outcome.own_cpu = cpu::own()?.saturating_sub(cpu_before);
    Ok(outcome)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
fn due(elapsed: Duration, per_second: f64) -> u64 {
    (elapsed.as_secs_f64() * per_second) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Keep, Load, Pace, Pool, Until, drive};
    use crate::load::{Keys, path, value};
    use crate::process::member::free_address;

    /// A server with a constant answer, which ends with the tests.
    fn server() -> std::net::SocketAddr {
        let address = free_address().expect("a free port");
        std::thread::spawn(move || crate::constant::run(address));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(address).is_err() {
            assert!(std::time::Instant::now() < deadline, "nobody listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        address
    }

    #[test]
    fn every_call_is_answered_once_at_either_pace() {
        let address = server();
        let (keys, value) = (Keys::new("/test/", 20), value(1));
        for pace in [Pace::Closed { clients: 64 }, Pace::Open { per_second: 20_000.0 }] {
            let mut pool = Pool::connect(&[address], 4).expect("connections");
            let mut asked = Vec::new();
            let until = Until::Calls(3000);
            let load = Load { path: path::PUT, pace, until, keep: Keep::Nothing };
            let outcome = drive(&mut pool, load, |number| {
                asked.push(number);
                keys.put(number, &value, 0)
            })
            .expect("all are answered");
            assert_eq!(outcome.calls, 3000);
            assert_eq!(asked, (0..3000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_is_not_an_answer() {
        let address = server();
        let mut pool = Pool::connect(&[address], 1).expect("a connection");
        // A key whose length goes beyond the message.
        let broken = vec![0, 0, 0, 0, 2, 0x0a, 0x70];
        let answer = pool.ask(path::PUT, broken, Duration::from_secs(30));
        assert!(answer.is_err(), "{answer:?}");
    }
}
