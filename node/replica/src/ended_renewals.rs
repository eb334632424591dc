//! Renewals of leases whose time is over, while their revoke is under way.
//!
//! Such a lease is not gone: its keys are there until the revoke is applied, and if the leader
//! falls before that, the next one gives the lease its time anew. So nobody is told that it is
//! gone before it is.
//!
//! ```text
//!   renewal of an ended lease ──► waits ──► revoke applied      ──► not found
//!                                      ├──► leadership is lost  ──► asked of the next leader
//!                                      └──► request timeout     ──► failed
//! ```

use crate::Time;
use crate::request_id::RequestId;

/// A renewal that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedRenewal {
    pub(crate) client: RequestId,
    pub(crate) lease: i64,
    pub(crate) deadline: Time,
}

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct EndedRenewals {
    waiting: Vec<EndedRenewal>,
}

impl EndedRenewals {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn push(&mut self, renewal: EndedRenewal) {
        self.waiting.push(renewal);
    }

    /// Who renewed a lease that is now gone.
    pub(crate) fn take_revoked(&mut self, lease: i64) -> Vec<EndedRenewal> {
        self.waiting.extract_if(.., |renewal| renewal.lease == lease).collect()
    }

    /// Who waited too long.
    pub(crate) fn take_expired(&mut self, now: Time) -> Vec<EndedRenewal> {
        self.waiting.extract_if(.., |renewal| renewal.deadline <= now).collect()
    }

    /// Everybody: the member no longer decides.
    pub(crate) fn take_all(&mut self) -> Vec<EndedRenewal> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewal(client: u64, lease: i64, deadline: u64) -> EndedRenewal {
        EndedRenewal { client: RequestId(client), lease, deadline: Time(deadline) }
    }

    #[test]
    fn each_is_taken_once() {
        let mut ended = EndedRenewals::default();
        let all = [renewal(1, 7, 50), renewal(2, 8, 20), renewal(3, 7, 10), renewal(4, 9, 90)];
        all.into_iter().for_each(|renewal| ended.push(renewal));
        assert_eq!(ended.take_expired(Time(10)), [all[2]]);
        assert_eq!(ended.take_revoked(7), [all[0]]);
        assert_eq!(ended.take_revoked(7), []);
        assert_eq!(ended.take_all(), [all[1], all[3]]);
        assert_eq!(ended.len(), 0);
    }
}
