//! Which of several operators acts: the one whose name is in a Lease.
//!
//! ```text
//!   stand by ──▶ the Lease is nobody's, or has not changed for its duration ──▶ hold
//!      ▲                                                                         │ renew
//!      └── it was not renewed in time, or somebody else's name is in it ◀────────┘
//! ```
//!
//! Who holds it stops acting well before others may take it: it measures from before the call that
//! renewed it, they from when they saw it change. Clocks of different machines are never compared.
//!
//! Invariants: the Lease is written on the version that was read alone; who has lost it acts no
//! more, not even to finish a step, and stands by again.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::kubernetes::{Error, ErrorKind};

/// How long a Lease counts that nobody renews.
const DURATION: Duration = Duration::from_secs(15);
/// How long its holder acts on it.
const ACTS: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// How long a call about it may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether an operator may act.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// Until when; `None` for ever.
    until: Option<Arc<Mutex<Option<Instant>>>>,
}

impl Leadership {
    /// That of an operator that is the only one.
    #[must_use]
    pub fn always() -> Self {
        Self { until: None }
    }

    /// That of an operator that has yet to be chosen.
    #[must_use]
    pub fn pending() -> Self {
        Self { until: Some(Arc::default()) }
    }

    /// Whether it may act now.
    #[must_use]
    pub fn holds(&self) -> bool {
        match &self.until {
            None => true,
            Some(until) => until.lock().is_some_and(|until| Instant::now() < until),
        }
    }

    fn extend(&self, from: Instant) {
        if let Some(until) = &self.until {
            *until.lock() = Some(from + ACTS);
        }
    }

    fn end(&self) {
        if let Some(until) = &self.until {
            *until.lock() = None;
        }
    }
}

/// The Lease by which operators agree.
#[derive(Clone)]
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    clock: Clock,
    leadership: Leadership,
}

/// What was last seen of the Lease of somebody else.
#[derive(Clone, Debug, Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
}

impl Election {
    /// By the Lease of a name, of an operator that calls itself so.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, clock: Clock) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            clock,
            leadership: Leadership::pending(),
        }
    }

    /// Whether this operator may act.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Waits until this operator is the one that acts.
    pub async fn win(&self) {
        let mut seen = Seen::default();
        let mut told = String::new();
        loop {
            let begin = Instant::now();
            match self.attempt(&mut seen).await {
                Ok(None) => {
                    self.leadership.extend(begin);
                    tracing::info!(identity = self.identity, "this operator leads");
                    return;
                }
                Ok(Some(holder)) if told != holder => {
                    tracing::info!(holder, "another operator leads: standing by");
                    told = holder;
                }
                Ok(Some(_)) => {}
                Err(error) if told != error.to_string() => {
                    tracing::warn!(%error, "the Lease cannot be had");
                    told = error.to_string();
                }
                Err(_) => {}
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Renews the Lease until it is lost.
    pub async fn hold(&self) {
        let mut seen = Seen::default();
        while self.leadership.holds() {
            tokio::time::sleep(PERIOD).await;
            let begin = Instant::now();
            match self.attempt(&mut seen).await {
                Ok(None) => self.leadership.extend(begin),
                Ok(Some(holder)) => {
                    tracing::warn!(holder, "another operator has taken the Lease");
                    break;
                }
                Err(error) => tracing::warn!(%error, "the Lease cannot be renewed"),
            }
        }
        self.leadership.end();
        tracing::warn!(identity = self.identity, "this operator leads no more");
    }

    /// Gives the Lease back, so that nobody has to wait for its end.
    pub async fn release(&self) {
        self.leadership.end();
        let Ok(Some(mut lease)) = self.read().await else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = None;
        match self.write(&lease).await {
            Ok(_) => tracing::info!("the Lease is given back"),
            Err(error) => tracing::warn!(%error, "the Lease cannot be given back"),
        }
    }

    /// Takes or renews the Lease; says who has it if that cannot be.
    async fn attempt(&self, seen: &mut Seen) -> Result<Option<String>, Error> {
        let Some(mut lease) = self.read().await? else {
            return match self.create().await {
                Ok(()) => Ok(None),
                Err(error) if error.kind() == ErrorKind::Exists => Ok(Some(String::new())),
                Err(error) => Err(error),
            };
        };
        let now = MicroTime(self.clock.wall());
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let is_mine = holder.as_deref() == Some(self.identity.as_str());
        if let Some(holder) = holder.filter(|_| !is_mine) {
            let version = lease.metadata.resource_version.clone();
            if seen.version != version {
                *seen = Seen { version, since: Some(Instant::now()) };
            }
            if seen.since.is_none_or(|since| since.elapsed() < DURATION) {
                return Ok(Some(holder));
            }
        }
        let transitions = spec.lease_transitions.unwrap_or_default();
        *spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_mine { spec.acquire_time.take() } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if is_mine { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        };
        match self.write(&lease).await {
            Ok(_) => Ok(None),
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Some(String::new())),
            Err(error) => Err(error),
        }
    }

    async fn read(&self) -> Result<Option<Lease>, Error> {
        self.within("get", self.leases.get_opt(&self.name)).await
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, Error> {
        let params = PostParams::default();
        self.within("update", self.leases.replace(&self.name, &params, lease)).await
    }

    async fn create(&self) -> Result<(), Error> {
        let now = MicroTime(self.clock.wall());
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        self.within("create", self.leases.create(&PostParams::default(), &lease)).await.map(drop)
    }

    async fn within<T>(
        &self,
        verb: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let call_name = || format!("{verb} the Lease {}", self.name);
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(answer) => answer.map_err(|error| Error::of(call_name(), &error)),
            Err(_) => Err(Error::new(call_name(), ErrorKind::Away, "no answer in time")),
        }
    }
}

impl std::fmt::Debug for Election {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Election").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{ACTS, DURATION, Leadership, PERIOD};

    #[tokio::test(start_paused = true)]
    async fn who_does_not_renew_stops_acting_before_anybody_may_take_over() {
        let leadership = Leadership::pending();
        assert!(!leadership.holds());
        leadership.extend(Instant::now());
        advance(ACTS - Duration::from_millis(1)).await;
        assert!(leadership.holds());
        advance(Duration::from_millis(1)).await;
        assert!(!leadership.holds());
        assert!(ACTS + PERIOD < DURATION, "there is time between the two");
        leadership.extend(Instant::now());
        leadership.end();
        assert!(!leadership.holds());
        assert!(Leadership::always().holds());
    }
}
