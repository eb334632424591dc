//! How much of a thread's time large work may take while small calls are served.
//!
//! ```text
//!   step of a range, piece of an answer, newcomer ─► Turn ─► is its time, or nobody is disturbed?
//!        ▲                                             ├── yes ─► it works, and is charged for it
//!        └── woken one by one, each when its time comes ┴── no ──► it waits in a queue
//! ```
//! A thread that serves clients has one queue. Whoever works is charged for the time that it took,
//! and a multiple of that passes before the next turn: in between, the thread sleeps or serves
//! small calls, and the threads that write the log and apply find a processor free. While no small
//! call was answered for a while, nobody waits.
//!
//! It knows no requests. Outside the threads that serve clients every turn is granted at once.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe;
use tokio::sync::Notify;

/// How many times as long as it worked the next turn waits: large work has a fourth of the thread.
const REST_FACTOR: u32 = 3;
/// A turn waits for those before it this long, at most: work goes on, whatever it was charged.
const REST_MAX: Duration = Duration::from_millis(5);
/// How long after a small call's answer its client counts as there.
const SMALL_CALL_LASTS_MS: u64 = 200;

/// When the last small call was answered, in milliseconds since the first; of all threads.
static LAST_SMALL_CALL_MS: AtomicU64 = AtomicU64::new(0);
static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static PACE: RefCell<Option<Arc<Pace>>> = const { RefCell::new(None) };
}

/// Turns of one thread.
#[derive(Debug, Default)]
struct Pace {
    state: Mutex<State>,
    has_waiting: Notify,
}

impl Pace {
    fn rest(&self, since: Instant) -> Option<Duration> {
        self.state.lock().rest(since, Instant::now())
    }

    fn grant(&self) -> Option<Waker> {
        self.state.lock().grant()
    }
}

#[derive(Debug, Default)]
struct State {
    /// From when on the next turn may be.
    free_at: Option<Instant>,
    queue: VecDeque<u64>,
    /// Of those in the queue that still wait.
    wakers: HashMap<u64, Waker>,
    next_id: u64,
}

impl State {
    fn is_free(&self, now: Instant) -> bool {
        self.free_at.is_none_or(|free_at| free_at <= now)
    }

    fn charge(&mut self, now: Instant, worked: Duration) {
        let from = self.free_at.map_or(now, |free_at| free_at.max(now));
        let until = from + worked.saturating_mul(REST_FACTOR);
        self.free_at = Some(until.min(now + REST_MAX));
    }

    /// How long the next turn has still to wait, if the one before was at `since`. Whoever has no
    /// turns may be charged all the time, so the end is not always where `free_at` is.
    fn rest(&self, since: Instant, now: Instant) -> Option<Duration> {
        if self.wakers.is_empty() {
            return None;
        }
        let until = self.free_at?.min(since + REST_MAX);
        until.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    fn enter(&mut self, waker: Waker) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.queue.push_back(id);
        self.wakers.insert(id, waker);
        id
    }

    /// The first in the queue that still waits.
    fn grant(&mut self) -> Option<Waker> {
        while let Some(id) = self.queue.pop_front() {
            if let Some(waker) = self.wakers.remove(&id) {
                return Some(waker);
            }
        }
        None
    }
}

/// A small call was answered: whoever asked must not be kept waiting by large work.
pub(crate) fn small_call_answered(now: Instant) {
    let now = milliseconds(now);
    // Written once a millisecond: all threads would write it else, all the time.
    if LAST_SMALL_CALL_MS.load(Relaxed) != now {
        LAST_SMALL_CALL_MS.store(now, Relaxed);
    }
}

fn milliseconds(now: Instant) -> u64 {
    let since = now.saturating_duration_since(*FIRST).as_millis();
    // Never 0, which is "none yet".
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
}

/// Whether small calls are answered these days, so that their clients would be disturbed.
pub(crate) fn are_small_calls_served(now: Instant) -> bool {
    let last = LAST_SMALL_CALL_MS.load(Relaxed);
    last != 0 && milliseconds(now).saturating_sub(last) <= SMALL_CALL_LASTS_MS
}

/// Waits for a turn of this thread. It has its place in the queue until it has had it, or is gone.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    waits: Option<(Arc<Pace>, u64)>,
}

impl Turn {
    /// Ready once, when the turn has come.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some((pace, id)) = &self.waits {
            let mut state = pace.state.lock();
            if let Some(waker) = state.wakers.get_mut(id) {
                waker.clone_from(context.waker());
                return Poll::Pending;
            }
            drop(state);
            self.waits = None;
            return Poll::Ready(());
        }
        let Some(pace) = PACE.with_borrow(Clone::clone) else { return Poll::Ready(()) };
        let now = Instant::now();
        let mut state = pace.state.lock();
        if !are_small_calls_served(now) || (state.wakers.is_empty() && state.is_free(now)) {
            return Poll::Ready(());
        }
        let id = state.enter(context.waker().clone());
        drop(state);
        pace.has_waiting.notify_one();
        self.waits = Some((pace, id));
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((pace, id)) = self.waits.take() {
            pace.state.lock().wakers.remove(&id);
        }
    }
}

/// Wait for a turn of this thread.
pub(crate) async fn turn() {
    let mut turn = Turn::default();
    poll_fn(|context| turn.poll(context)).await;
}

/// Charge this thread for large work that took so long and has just ended.
pub(crate) fn charge(worked: Duration) {
    PACE.with_borrow(|pace| {
        if let Some(pace) = pace {
            pace.state.lock().charge(Instant::now(), worked);
        }
    });
}

/// Do large work of this thread, and be charged for it.
pub(crate) fn charged<T>(work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    charge(began.elapsed());
    done
}

/// A future all of whose work is charged for.
pub(crate) async fn all_charged<F: Future>(work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| charged(|| work.as_mut().poll(context))).await
}

/// A future whose beginning is charged for.
pub(crate) async fn begin_charged<F: Future>(work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    let mut is_new = true;
    poll_fn(|context| match std::mem::take(&mut is_new) {
        true => charged(|| work.as_mut().poll(context)),
        false => work.as_mut().poll(context),
    })
    .await
}

/// From now on, this thread has turns. To be run on the thread's own runtime for as long as there
/// are tasks on it; never ends.
pub(crate) async fn keep() {
    let pace = Arc::new(Pace::default());
    PACE.set(Some(pace.clone()));
    let alarm = Alarm::new();
    loop {
        pace.has_waiting.notified().await;
        loop {
            let since = Instant::now();
            while let Some(rest) = pace.rest(since) {
                // Charges may come meanwhile: the time is looked at again.
                alarm.after(rest).await;
            }
            let Some(waker) = pace.grant() else { break };
            waker.wake();
            // Whoever was woken works first, and is charged.
            tokio::task::yield_now().await;
        }
    }
}

/// Wakes after less than a millisecond, which the runtime's timers cannot.
struct Alarm(Option<pipe::Receiver>);

impl Alarm {
    /// Without one, the runtime's timers must do.
    fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok();
        // It is read like a pipe: eight bytes once it is time, nothing before.
        Self(timer.and_then(|timer| pipe::Receiver::from_owned_fd_unchecked(timer).ok()))
    }

    async fn after(&self, rest: Duration) {
        if self.sleep(rest).await.is_none() {
            tokio::time::sleep(rest).await;
        }
    }

    async fn sleep(&self, rest: Duration) -> Option<()> {
        let timer = self.0.as_ref()?;
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would mean never.
        let rest = rest.max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(rest.as_secs()).ok()?,
            tv_nsec: i64::from(rest.subsec_nanos()),
        };
        let times = Itimerspec { it_interval: once, it_value };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &times).ok()?;
        let mut expired = [0; 8];
        loop {
            timer.readable().await.ok()?;
            match timer.try_read(&mut expired) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                result => return result.ok().map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const WORK: Duration = Duration::from_millis(1);

    fn waker() -> Waker {
        Waker::noop().clone()
    }

    #[test]
    fn work_is_charged_for_and_never_for_long() {
        let now = Instant::now();
        let mut state = State::default();
        assert!(state.is_free(now));
        state.charge(now, WORK);
        assert!(!state.is_free(now + WORK * REST_FACTOR - Duration::from_nanos(1)));
        assert!(state.is_free(now + WORK * REST_FACTOR));
        for _ in 0..100 {
            state.charge(now, WORK);
        }
        assert!(state.is_free(now + REST_MAX));
    }

    #[test]
    fn turns_come_in_their_order_and_who_is_gone_is_passed_over() {
        let mut state = State::default();
        let ids: Vec<u64> = (0..3).map(|_| state.enter(waker())).collect();
        state.wakers.remove(&ids[0]);
        assert!(state.grant().is_some());
        assert!(!state.wakers.contains_key(&ids[1]), "the second is the first who is there");
        assert!(state.wakers.contains_key(&ids[2]));
        assert!(state.grant().is_some());
        assert!(state.grant().is_none());
    }

    /// A thread with turns on which `tasks` work in turns, `times` each; how long that takes.
    fn work_in_turns(tasks: usize, times: u32) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let local = tokio::task::LocalSet::new();
        let done = Rc::new(std::cell::Cell::new(0));
        let elapsed = local.block_on(&runtime, async {
            tokio::task::spawn_local(keep());
            // It has to begin before there is anything to wait for.
            tokio::task::yield_now().await;
            let began = Instant::now();
            let work = (0..tasks).map(|_| {
                let done = done.clone();
                tokio::task::spawn_local(async move {
                    for _ in 0..times {
                        small_call_answered(Instant::now());
                        turn().await;
                        charge(WORK);
                        done.set(done.get() + 1);
                    }
                })
            });
            for task in work.collect::<Vec<_>>() {
                task.await.expect("it ends");
            }
            began.elapsed()
        });
        PACE.set(None);
        assert_eq!(done.get(), tasks * times as usize, "everybody has had all turns");
        elapsed
    }

    #[test]
    fn a_turn_comes_however_much_others_are_charged() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let local = tokio::task::LocalSet::new();
        let came = local.block_on(&runtime, async {
            tokio::task::spawn_local(keep());
            tokio::task::yield_now().await;
            // Who writes to watchers has no turns, but is charged.
            let charged = tokio::task::spawn_local(async {
                loop {
                    small_call_answered(Instant::now());
                    charge(WORK);
                    tokio::task::yield_now().await;
                }
            });
            tokio::task::yield_now().await;
            let came = tokio::time::timeout(Duration::from_secs(5), turn()).await;
            charged.abort();
            came
        });
        PACE.set(None);
        assert!(came.is_ok(), "no turn in 5 s");
    }

    #[test]
    fn between_turns_there_is_time_for_others() {
        // However they come, and whoever else is late: a rest follows all turns but the last.
        assert!(work_in_turns(1, 10) >= WORK * REST_FACTOR * 9);
        assert!(work_in_turns(5, 2) >= WORK * REST_FACTOR * 9);
    }

    #[test]
    fn who_stops_waiting_is_no_hindrance() {
        let pace = Arc::new(Pace::default());
        PACE.set(Some(pace.clone()));
        let now = Instant::now();
        small_call_answered(now);
        pace.state.lock().charge(now, WORK);
        let mut gone = Turn::default();
        let waker = waker();
        let mut context = Context::from_waker(&waker);
        assert!(gone.poll(&mut context).is_pending());
        assert!(gone.poll(&mut context).is_pending(), "it keeps its place");
        assert_eq!(pace.state.lock().queue.len(), 1);
        drop(gone);
        assert!(pace.state.lock().wakers.is_empty());
        PACE.set(None);
    }

    #[test]
    fn a_thread_without_turns_grants_all() {
        let mut turn = Turn::default();
        let waker = waker();
        small_call_answered(Instant::now());
        assert!(turn.poll(&mut Context::from_waker(&waker)).is_ready());
    }
}
