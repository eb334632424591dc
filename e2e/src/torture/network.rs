//! Where members live: each in a network namespace of its own, or all on this machine's loopback.
//!
//! ```text
//!   clients ── bridge 10.99.0.254 ─┬─ veth ─ namespace m1, 10.99.0.1
//!   (this process's namespace)     ├─ veth ─ namespace m2, 10.99.0.2
//!                                  └─ …
//! ```
//! The bridge is in a namespace that this program makes for itself by starting anew under
//! `unshare`; all of it ends with the program, and nothing of the machine's own network is touched.
//!
//! A way from one to another is cut by a permanent neighbour entry with an address that nobody
//! has: packets leave and arrive nowhere, without an error, as behind a switch that failed. So each
//! direction can be cut alone, and no firewall is needed.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The variable that tells the program that it is in the namespace that it made.
const INSIDE: &str = "E2E_TORTURE_INSIDE";
/// An address of the link layer that nobody has.
const NOWHERE: &str = "02:00:00:00:00:ee";
/// The clients' number among the ends.
const CLIENTS: u8 = 254;

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// One end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// The clients, all of them.
    Clients,
    /// The member with this number, from 1.
    Member(u8),
}

impl End {
    fn number(self) -> u8 {
        match self {
            Self::Clients => CLIENTS,
            Self::Member(number) => number,
        }
    }

    fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number())
    }
}

/// How a slow link is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shaping {
    /// Delay and loss.
    Netem,
    /// A narrow link whose queue delays and overflows; every kernel has it.
    Bucket,
}

/// Where members live.
#[derive(Clone, Debug)]
pub(super) enum Network {
    /// Each in a namespace of its own.
    Namespaces {
        /// How their links are slowed.
        shaping: Shaping,
    },
    /// On loopback: nothing can be cut. The reason why.
    Loopback(String),
}

impl Network {
    /// Namespaces for so many members, or loopback and why. If it can, this starts the program
    /// anew in a namespace of its own and does not come back.
    pub(super) fn prepare(members: u8, arguments: &[String]) -> anyhow::Result<Self> {
        if std::env::var_os(INSIDE).is_none() {
            return Ok(Self::Loopback(enter(arguments)));
        }
        // Names of namespaces are files, which the machine must not see.
        run("mkdir -p /run/netns\nmount -t tmpfs tmpfs /run/netns")?;
        run("ip link set lo up\nip link add bridge type bridge\nip link set bridge up")?;
        run(&format!("ip address add {}/24 dev bridge", End::Clients.address()))?;
        for number in 1..=members {
            let (name, address) = (format!("m{number}"), End::Member(number).address());
            run(&format!(
                "ip netns add {name}
                ip link add {name} type veth peer name eth0 netns {name}
                ip link set {name} master bridge up
                ip -n {name} link set lo up
                ip -n {name} link set eth0 up
                ip -n {name} address add {address}/24 dev eth0"
            ))?;
        }
        let netem = run("tc -n m1 qdisc add dev eth0 root netem delay 1ms");
        if netem.is_ok() {
            run("tc -n m1 qdisc del dev eth0 root")?;
        }
        let shaping = if netem.is_ok() { Shaping::Netem } else { Shaping::Bucket };
        Ok(Self::Namespaces { shaping })
    }

    /// All ways are as they were made, whatever a run that failed left behind.
    pub(super) fn mend_all(&self, members: u8) -> anyhow::Result<()> {
        if !self.can_cut() {
            return Ok(());
        }
        run("ip neigh flush dev bridge nud permanent")?;
        for number in 1..=members {
            run(&format!("ip -n m{number} neigh flush dev eth0 nud permanent"))?;
            // There is mostly nothing to remove.
            let _ = self.quicken(number);
        }
        Ok(())
    }

    /// Whether ways can be cut.
    pub(super) fn can_cut(&self) -> bool {
        matches!(self, Self::Namespaces { .. })
    }

    /// The address of a member.
    fn address(&self, number: u8) -> Ipv4Addr {
        match self {
            Self::Namespaces { .. } => End::Member(number).address(),
            Self::Loopback(_) => {
                let [.., high, low] = std::process::id().to_be_bytes();
                Ipv4Addr::new(127, 128 | high, low, number)
            }
        }
    }

    /// Where clients find a member.
    pub(super) fn client_url(&self, number: u8) -> String {
        format!("http://{}:{CLIENT_PORT}", self.address(number))
    }

    /// Where peers find a member.
    pub(super) fn peer_url(&self, number: u8) -> String {
        format!("http://{}:{PEER_PORT}", self.address(number))
    }

    /// A command that runs a program where a member lives.
    pub(super) fn command(&self, number: u8, program: &Path) -> Command {
        match self {
            Self::Namespaces { .. } => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &format!("m{number}")]).arg(program);
                command
            }
            Self::Loopback(_) => Command::new(program),
        }
    }

    /// What one end sends to another goes nowhere from now on.
    pub(super) fn cut(&self, from: End, to: End) -> anyhow::Result<()> {
        let to = to.address();
        self.at(from, &format!("neigh replace {to} lladdr {NOWHERE} nud permanent dev"))
    }

    /// What one end sends to another arrives again.
    pub(super) fn mend(&self, from: End, to: End) -> anyhow::Result<()> {
        self.at(from, &format!("neigh del {} dev", to.address()))
    }

    /// A member's link is slow and loses something from now on.
    pub(super) fn slow(&self, number: u8, milliseconds: u64) -> anyhow::Result<()> {
        let Self::Namespaces { shaping } = self else { return Ok(()) };
        let half = milliseconds / 2;
        let how = match shaping {
            Shaping::Netem => format!("netem delay {milliseconds}ms {half}ms loss 5%"),
            Shaping::Bucket => format!("tbf rate 256kbit burst 4kb latency {milliseconds}ms"),
        };
        run(&format!("tc -n m{number} qdisc replace dev eth0 root {how}"))
    }

    /// A member's link is as it was.
    pub(super) fn quicken(&self, number: u8) -> anyhow::Result<()> {
        run(&format!("tc -n m{number} qdisc del dev eth0 root"))
    }

    fn at(&self, end: End, what: &str) -> anyhow::Result<()> {
        match (self, end) {
            (Self::Loopback(_), _) => Ok(()),
            (Self::Namespaces { .. }, End::Clients) => run(&format!("ip {what} bridge")),
            (Self::Namespaces { .. }, End::Member(number)) => {
                run(&format!("ip -n m{number} {what} eth0"))
            }
        }
    }
}

/// Start anew inside of a namespace. It comes back only if that cannot be, and says why.
fn enter(arguments: &[String]) -> String {
    if !rustix::process::geteuid().is_root() {
        return "network namespaces need root".to_owned();
    }
    for tool in ["unshare", "ip", "tc"] {
        let mut known = Command::new(tool);
        known.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
        if known.status().is_err() {
            return format!("there is no {tool} (Debian: util-linux, iproute2)");
        }
    }
    let can = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-ec"])
        .arg("mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; ip netns add try")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        return "this machine lets nobody make network namespaces".to_owned();
    }
    let Ok(program) = std::env::current_exe() else {
        return "this program does not find itself".to_owned();
    };
    let error = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(program)
        .arg("torture")
        .args(arguments)
        .env(INSIDE, "1")
        .exec();
    format!("unshare does not start: {error}")
}

/// Run commands, one a line.
fn run(lines: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("sh")
        .arg("-e")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("there is no sh")?;
    shell.stdin.take().context("piped")?.write_all(lines.as_bytes())?;
    let output = shell.wait_with_output()?;
    if !output.status.success() {
        bail!("{lines}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
