//! How everything of a cluster is named, and found again by its labels.
//!
//! A member is an incarnation: `<cluster>-<n>`, where `n` counts up and never returns, so that
//! neither a name nor a URL nor an id stands for two members. Its StatefulSet has this name, its
//! one pod `<cluster>-<n>-0`.

use std::collections::BTreeMap;

/// Where members serve clients.
pub const CLIENT_PORT: i32 = 2379;
/// Where members serve each other.
pub const PEER_PORT: i32 = 2380;
/// Where members answer probes and tell their metrics, in plain HTTP.
pub const METRICS_PORT: i32 = 2381;

/// The label with the name of the cluster.
pub const CLUSTER_LABEL: &str = "quorate.io/cluster";
/// The label with the name of the member.
pub const MEMBER_LABEL: &str = "quorate.io/member";
/// The label of pods that says whether a member votes. Templates leave it out: who votes is the
/// cluster's to say, so the operator puts it on pods when the cluster has said so.
pub const ROLE_LABEL: &str = "quorate.io/role";
/// The value of [`ROLE_LABEL`] for a member that votes.
pub const VOTER: &str = "voter";
/// The value of [`ROLE_LABEL`] for a member that does not.
pub const LEARNER: &str = "learner";

/// What kubectl and others know the operator's objects by.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "quorate-operator");

/// The names of one cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The cluster's name.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
}

/// Whether members speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP/2.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As a URL begins.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Names {
    /// Of a cluster in a namespace.
    #[must_use]
    pub fn new(cluster: &str, namespace: &str) -> Self {
        Self { cluster: cluster.to_owned(), namespace: namespace.to_owned() }
    }

    /// A member, and its StatefulSet.
    #[must_use]
    pub fn member(&self, number: i64) -> String {
        format!("{}-{number}", self.cluster)
    }

    /// The number of a member of this name.
    #[must_use]
    pub fn number(&self, member: &str) -> Option<i64> {
        let digits = member.strip_prefix(&self.cluster)?.strip_prefix('-')?;
        let number = digits.parse().ok().filter(|number| *number >= 0)?;
        // Not `demo-007`, nor `demo-+7`: each number has one name.
        (self.member(number) == member).then_some(number)
    }

    /// A member's pod.
    #[must_use]
    pub fn pod(&self, number: i64) -> String {
        format!("{}-0", self.member(number))
    }

    /// A member's volume claim.
    #[must_use]
    pub fn claim(&self, number: i64) -> String {
        format!("data-{}", self.pod(number))
    }

    /// A member's host name.
    #[must_use]
    pub fn host(&self, number: i64) -> String {
        format!("{}.{}.{}.svc", self.pod(number), self.members_service(), self.namespace)
    }

    /// Where peers reach a member.
    #[must_use]
    pub fn peer_url(&self, number: i64, scheme: Scheme) -> String {
        format!("{}://{}:{PEER_PORT}", scheme.as_str(), self.host(number))
    }

    /// Where clients reach a member.
    #[must_use]
    pub fn client_url(&self, number: i64, scheme: Scheme) -> String {
        format!("{}://{}:{CLIENT_PORT}", scheme.as_str(), self.host(number))
    }

    /// The headless Service of all members, ready or not.
    #[must_use]
    pub fn members_service(&self) -> String {
        format!("{}-members", self.cluster)
    }

    /// The Service of the members that serve clients.
    #[must_use]
    pub fn client_service(&self) -> String {
        format!("{}-client", self.cluster)
    }

    /// The PodDisruptionBudget.
    #[must_use]
    pub fn budget(&self) -> String {
        self.cluster.clone()
    }

    /// The NetworkPolicy.
    #[must_use]
    pub fn network_policy(&self) -> String {
        format!("{}-peers", self.cluster)
    }

    /// The members' ServiceAccount.
    #[must_use]
    pub fn service_account(&self) -> String {
        format!("{}-member", self.cluster)
    }

    /// The Secret of the CA.
    #[must_use]
    pub fn ca_secret(&self) -> String {
        format!("{}-ca", self.cluster)
    }

    /// The Secret of a member's certificates.
    #[must_use]
    pub fn member_tls_secret(&self, number: i64) -> String {
        format!("{}-tls", self.member(number))
    }

    /// The Secret in which cert-manager puts the certificate that a member shows to clients.
    #[must_use]
    pub fn server_tls_secret(&self, number: i64) -> String {
        format!("{}-server-tls", self.member(number))
    }

    /// The Secret in which cert-manager puts the certificate that a member shows to peers.
    #[must_use]
    pub fn peer_tls_secret(&self, number: i64) -> String {
        format!("{}-peer-tls", self.member(number))
    }

    /// The Secret of the certificate that applications show.
    #[must_use]
    pub fn client_tls_secret(&self) -> String {
        format!("{}-client-tls", self.cluster)
    }

    /// The Secret of the certificate that the operator shows.
    #[must_use]
    pub fn operator_tls_secret(&self) -> String {
        format!("{}-operator-tls", self.cluster)
    }

    /// The Secret with everything that an application needs to connect.
    #[must_use]
    pub fn connection_secret(&self) -> String {
        format!("{}-connection", self.cluster)
    }

    /// The labels of all objects.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            ("app.kubernetes.io/name", "quorate"),
            ("app.kubernetes.io/instance", self.cluster.as_str()),
            MANAGED_BY,
            (CLUSTER_LABEL, self.cluster.as_str()),
        ];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// The labels of a member's objects.
    #[must_use]
    pub fn member_labels(&self, number: i64) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert("app.kubernetes.io/component".to_owned(), "member".to_owned());
        labels.insert(MEMBER_LABEL.to_owned(), self.member(number));
        labels
    }

    /// By which all pods of members are selected.
    #[must_use]
    pub fn members_selector(&self) -> BTreeMap<String, String> {
        let labels =
            [(CLUSTER_LABEL, self.cluster.as_str()), ("app.kubernetes.io/component", "member")];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// By which the pods of voting members are selected.
    #[must_use]
    pub fn voters_selector(&self) -> BTreeMap<String, String> {
        let mut labels = self.members_selector();
        labels.insert(ROLE_LABEL.to_owned(), VOTER.to_owned());
        labels
    }

    /// By which one member's pod is selected.
    #[must_use]
    pub fn member_selector(&self, number: i64) -> BTreeMap<String, String> {
        let mut labels = self.members_selector();
        labels.insert(MEMBER_LABEL.to_owned(), self.member(number));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Scheme};

    #[test]
    fn a_member_has_one_name_and_the_name_one_number() {
        let names = Names::new("demo", "ns");
        assert_eq!(names.member(7), "demo-7");
        assert_eq!(names.claim(7), "data-demo-7-0");
        assert_eq!(names.peer_url(7, Scheme::Https), "https://demo-7-0.demo-members.ns.svc:2380");
        assert_eq!(names.number("demo-7"), Some(7));
        for other in ["demo", "demo-", "demo-07", "demo-+7", "demo--7", "demo-7-0", "other-7"] {
            assert_eq!(names.number(other), None, "{other}");
        }
        // A cluster whose name looks like a member's of another.
        assert_eq!(Names::new("demo", "ns").number("demo-1-0"), None);
    }
}
