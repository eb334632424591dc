//! Names and ports of the members.

use std::path::Path;

use serde_json::{Value, json};

/// More would teach nothing, and the usual ports end at six.
pub(super) const MEMBERS_MAX: usize = 5;

/// How many there are unless said otherwise.
const MEMBERS_DEFAULT: usize = 3;

/// Where members listen.
pub(super) const HOST: &str = "127.0.0.1";

/// The members of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) members: Vec<Member>,
}

/// A member's name and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
}

impl Layout {
    /// Members at ports from `base_port` on, or at the usual ones; `None` if there are no such
    /// ports.
    pub(super) fn new(members: Option<usize>, base_port: Option<u16>) -> Option<Self> {
        let members = (0..members.unwrap_or(MEMBERS_DEFAULT)).map(|at| {
            let at = u16::try_from(at).ok()?;
            let client_port = match base_port {
                Some(0) => return None,
                Some(base) => base.checked_add(at.checked_mul(2)?)?,
                None if at == 0 => 2_379,
                None => at.checked_add(1)?.checked_mul(10_000)?.checked_add(2_379)?,
            };
            let peer_port = client_port.checked_add(1)?;
            Some(Member { name: format!("m{}", at + 1), client_port, peer_port })
        });
        Some(Self { members: members.collect::<Option<_>>()? })
    }

    /// As it is written down.
    pub(super) fn to_json(&self) -> Value {
        let member = |member: &Member| {
            let Member { name, client_port, peer_port } = member;
            json!({ "name": name, "client_port": client_port, "peer_port": peer_port })
        };
        json!({ "members": self.members.iter().map(member).collect::<Vec<_>>() })
    }

    /// As it was written down.
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let members = json.get("members")?.as_array()?.iter().map(|member| {
            let port = |field| u16::try_from(member.get(field)?.as_u64()?).ok();
            Some(Member {
                name: member.get("name")?.as_str()?.to_owned(),
                client_port: port("client_port")?,
                peer_port: port("peer_port")?,
            })
        });
        let members: Vec<Member> = members.collect::<Option<_>>()?;
        (1..=MEMBERS_MAX).contains(&members.len()).then_some(Self { members })
    }

    /// Where clients reach the cluster.
    pub(super) fn endpoints(&self) -> String {
        self.members.iter().map(Member::client_url).collect::<Vec<_>>().join(",")
    }

    /// What the member is started with.
    pub(super) fn arguments(&self, member: &Member, folder: &Path) -> Vec<String> {
        let cluster: Vec<String> =
            self.members.iter().map(|one| format!("{}={}", one.name, one.peer_url())).collect();
        let data = folder.join(&member.name);
        vec![
            format!("--name={}", member.name),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={}", member.client_url()),
            format!("--advertise-client-urls={}", member.client_url()),
            format!("--listen-peer-urls={}", member.peer_url()),
            format!("--initial-advertise-peer-urls={}", member.peer_url()),
            format!("--initial-cluster={}", cluster.join(",")),
            "--initial-cluster-token=quorate-dev".to_owned(),
            "--log-format=console".to_owned(),
        ]
    }
}

impl Member {
    pub(super) fn client_url(&self) -> String {
        format!("http://{HOST}:{}", self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("http://{HOST}:{}", self.peer_port)
    }
}
