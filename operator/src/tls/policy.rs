//! How long certificates live.

use quorate_operator_api::QuorateCluster;

use super::{LIFETIMES, ROTATE_CA};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// How long a CA lives: longer than anybody wants to think about it, and it is renewed all the same.
const CA_SECONDS: i64 = 3650 * DAY_SECONDS;

/// How long Kubernetes may take to bring a changed Secret into pods, with room.
const DELIVERY_SECONDS: i64 = 5 * 60;

/// How long certificates live, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A certificate of a member or a client.
    pub leaf_seconds: i64,
    /// How long before its end it is renewed.
    pub renew_seconds: i64,
    /// A CA.
    pub ca_seconds: i64,
    /// How long a CA is trusted after the next one has begun to sign.
    pub overlap_seconds: i64,
    /// How long a Secret that was written may take to reach everybody, applications too, whom nobody
    /// can ask.
    pub delivery_seconds: i64,
    /// The value with which a person asks for another CA.
    pub rotation: Option<String>,
}

impl Policy {
    /// Of a cluster.
    #[must_use]
    pub fn of(cluster: &QuorateCluster) -> Self {
        let tls = &cluster.spec.tls;
        let leaf_seconds = i64::from(tls.cert_validity_days) * DAY_SECONDS;
        let annotation = |name: &str| {
            cluster.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name))
        };
        let mut policy = Self {
            leaf_seconds,
            renew_seconds: i64::from(tls.renew_before_days) * DAY_SECONDS,
            ca_seconds: CA_SECONDS.max(3 * leaf_seconds),
            overlap_seconds: leaf_seconds,
            delivery_seconds: DELIVERY_SECONDS,
            rotation: annotation(ROTATE_CA).cloned(),
        };
        if let Some(text) = annotation(LIFETIMES) {
            policy.read(text);
        }
        policy
    }

    /// Take what is readable and can be; the rest stays as it is.
    fn read(&mut self, text: &str) {
        let mut leaf_is_given = false;
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else { continue };
            let Some(seconds) = value.trim().parse().ok().filter(|seconds| *seconds > 0) else {
                continue;
            };
            match name.trim() {
                "leaf" => {
                    self.leaf_seconds = seconds;
                    leaf_is_given = true;
                }
                "renew" => self.renew_seconds = seconds,
                "ca" => self.ca_seconds = seconds,
                "overlap" => self.overlap_seconds = seconds,
                "delivery" => self.delivery_seconds = seconds,
                _ => {}
            }
        }
        if leaf_is_given && self.renew_seconds >= self.leaf_seconds {
            self.renew_seconds = self.leaf_seconds / 3;
        }
        self.overlap_seconds = self.overlap_seconds.min(self.leaf_seconds);
    }
}

#[cfg(test)]
mod tests {
    use quorate_operator_api::{ClusterSpec, QuorateCluster};

    use super::{DAY_SECONDS, Policy};

    #[test]
    fn lifetimes_come_from_the_specification() {
        let policy = Policy::of(&QuorateCluster::new("a", ClusterSpec::default()));
        assert_eq!(policy.leaf_seconds, 90 * DAY_SECONDS);
        assert_eq!(policy.renew_seconds, 30 * DAY_SECONDS);
        assert_eq!(policy.overlap_seconds, policy.leaf_seconds);
        assert!(policy.ca_seconds > 10 * policy.leaf_seconds);
    }

    #[test]
    fn those_who_watch_have_shorter_ones() {
        let mut cluster = QuorateCluster::new("a", ClusterSpec::default());
        let text = "leaf=120, ca=600,overlap=9999,other=1,renew=x".to_owned();
        cluster.metadata.annotations = Some([(super::LIFETIMES.to_owned(), text)].into());
        let policy = Policy::of(&cluster);
        assert_eq!((policy.leaf_seconds, policy.renew_seconds), (120, 40));
        assert_eq!((policy.ca_seconds, policy.overlap_seconds), (600, 120));
    }
}
