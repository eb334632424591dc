//! A member as a process: its directory, its ports, its end.
//!
//! ```text
//!   config ─► directory: locked, opened ─► introduced to peers ─► member ─► ports ─► published
//!   signal, removal, damage, failure ─► hand over ─► ports closed ─► log closed ─► exit code
//! ```
//!
//! It decides nothing; it puts the parts together and takes them apart.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_api::member_json;
use quorate_api::urls::Urls;
use quorate_member::open::Fresh;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client_port::{self, ClientPort};
use crate::comparison::{self, ComparisonError};
use crate::config::{ClusterState, Config, ConfigError};
use crate::introduction::{Newcomer, NotTaken, check_cluster, introduce};
use crate::member::{
    Directory, Drawn, Ids, Member, Running, StartError, Stop, bootstrap, cluster_of, is_empty,
    named,
};
use crate::peer::{self, Dialer, Transport, client};
use crate::tls;

/// Where snapshots of peers arrive, in the data directory.
const SNAPSHOT_FOLDER: &str = "snapshots";

/// The wait for a peer that tells a new member who the members are.
const PEER_PATIENCE: Duration = Duration::from_secs(5);

/// Before a peer that does not know a new member yet is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A removed member stays this long, so that its peers hear its last messages.
const REMOVED_WAIT: Duration = Duration::from_secs(1);

/// Why a member does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its configuration or directory does not allow it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port for clients cannot be opened.
    #[error(transparent)]
    ClientPort(#[from] client_port::Error),
    /// The port for peers cannot be opened.
    #[error(transparent)]
    Peers(#[from] peer::StartError),
    /// Its data are not its peers'.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// Its peers do not take it for the member that it was.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The certificates are of no use.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The operating system refuses something.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// A member that joins finds nobody who knows it.
    #[error(
        "cannot join the cluster: {0}; add this member first (etcdctl member add), and name the \
         others in --initial-cluster"
    )]
    Join(String),
}

/// Run the member until it ends.
///
/// # Errors
/// Why it does not start.
pub fn run(config: Config) -> Result<ExitCode, ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = |options: &Option<tls::Options>, urls: &Urls| {
        let load = |options| tls::load(options, &config.data_dir, urls.as_slice());
        options.as_ref().map(load).transpose()
    };
    let client_tls = load(&config.client_tls, &config.listen_client_urls)?;
    let dialer = Dialer::new(load(&config.peer_tls, &config.listen_peer_urls)?);
    let directory = {
        let drawn = Drawn::new()?;
        let fresh = runtime.block_on(fresh(&config, &dialer, drawn))?;
        runtime.block_on(check_again(&config, &dialer))?;
        let directory = Directory::open(&config, fresh, drawn)?;
        if directory.is_removed() {
            let stop = Stop::Removed;
            tracing::info!("{stop}");
            return Ok(exit_code(&stop));
        }
        runtime.block_on(introduce_again(&config, &dialer, &directory))?;
        directory
    };
    let ids = directory.ids();
    tracing::info!(
        name = config.name,
        member = named(ids.member),
        cluster = named(ids.cluster),
        "the member starts"
    );
    // Both ports are open before anything runs: an address in use ends the start.
    let client_port = ClientPort::open(&config, client_tls.as_ref())?;
    let folder = config.data_dir.join(SNAPSHOT_FOLDER);
    std::fs::create_dir_all(&folder)?;
    let settings = peer::Settings::of_member(&config, ids, folder, dialer);
    let transport = Arc::new(Transport::bind(settings)?);
    let running = directory.run(config, transport.clone())?;
    let member = running.member().clone();
    if member.config().compares_first
        && let Err(inconsistent) = runtime.block_on(comparison::before_serving(&member))
    {
        running.end();
        return Err(inconsistent.into());
    }
    transport.start(Arc::new(member.clone()))?;
    let serving = client_port.serve(&member)?;
    let stop = runtime.block_on(async {
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok::<Stop, std::io::Error>(attend(&member, signals).await)
    })?;
    // Before the end, which takes its time and may be cut short.
    say(&stop);
    // Whoever is impatient ends the process at once.
    runtime.spawn(async {
        let _ = either().await;
        std::process::exit(1);
    });
    let end = std::thread::spawn(move || end(serving, running));
    runtime.block_on(async {
        while !end.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    Ok(exit_code(&stop))
}

/// What the member does by itself while it runs; why it ends.
async fn attend(member: &Member, (mut terminate, mut interrupt): (Signal, Signal)) -> Stop {
    let work = async {
        tokio::join!(
            async {
                member.publish().await;
                if member.is_published() {
                    tracing::info!("ready to serve client requests");
                }
            },
            member.keep_cluster_version(),
            member.compact_automatically(),
            comparison::regularly(member, member.config().comparison_interval),
        )
    };
    tokio::select! {
        _ = work => Stop::Asked,
        stop = member.ended() => {
            if stop == Stop::Removed {
                tokio::time::sleep(REMOVED_WAIT).await;
            }
            stop
        }
        _ = terminate.recv() => leave(member, "SIGTERM").await,
        _ = interrupt.recv() => leave(member, "SIGINT").await,
    }
}

async fn leave(member: &Member, signal: &str) -> Stop {
    tracing::info!(signal, "told to stop");
    tokio::select! {
        () = member.hand_over() => {}
        () = either() => std::process::exit(1),
    }
    Stop::Asked
}

/// Another signal to end.
async fn either() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn end(serving: client_port::Serving, running: Running) {
    // Whoever has ended by itself answers no call that waits: the port need not wait for them.
    running.fail_waiting();
    serving.stop();
    running.end();
}

fn exit_code(stop: &Stop) -> ExitCode {
    match stop {
        Stop::Asked | Stop::Removed => ExitCode::SUCCESS,
        Stop::LogFailed(_)
        | Stop::StoreFailed(_)
        | Stop::Damaged(_)
        | Stop::Refused { .. }
        | Stop::Broken(_) => ExitCode::FAILURE,
    }
}

/// Why a member ends that has failed.
fn say(stop: &Stop) {
    if exit_code(stop) != ExitCode::SUCCESS {
        eprintln!("quorate: {stop}");
    }
}

/// What an empty directory becomes. A directory that is somebody's already says so itself.
async fn fresh(config: &Config, dialer: &Dialer, drawn: Drawn) -> Result<Fresh, ServerError> {
    if !is_empty(config)? {
        return Ok(match config.initial_cluster_state {
            ClusterState::New => bootstrap(config),
            ClusterState::Existing => Fresh::Join { cluster: 0, member: 0 },
        });
    }
    config.check_initial_cluster().map_err(StartError::Config)?;
    let (fresh, peers) = match config.initial_cluster_state {
        ClusterState::New => {
            let fresh = bootstrap(config);
            let peers = first_members(&fresh);
            (fresh, peers)
        }
        ClusterState::Existing => join(config, dialer).await?,
    };
    // Before anything is left behind: the directory may be empty because it was lost.
    let (Fresh::Bootstrap { cluster, member, .. } | Fresh::Join { cluster, member }) = fresh;
    let ids = Ids { cluster, member };
    let advertise = config.initial_advertise_peer_urls.as_slice();
    introduce(dialer, Newcomer { ids, advertise, claim: drawn.first_claim() }, &peers).await?;
    Ok(fresh)
}

/// Whom a new cluster begins with.
fn first_members(fresh: &Fresh) -> Vec<member_json::Member> {
    match fresh {
        Fresh::Bootstrap { members, .. } => members.clone(),
        Fresh::Join { .. } => Vec::new(),
    }
}

/// A directory that was put into another's place is told from it before anything is written there.
async fn check_again(config: &Config, dialer: &Dialer) -> Result<(), ServerError> {
    let Some(cluster) = cluster_of(config)? else { return Ok(()) };
    let members = config.initial_cluster.members();
    let others = members.iter().filter(|(name, _)| **name != config.name);
    Ok(check_cluster(dialer, cluster, others.map(|(_, urls)| urls.to_strings())).await?)
}

/// A member that is not new introduces itself to those that it knows.
async fn introduce_again(
    config: &Config,
    dialer: &Dialer,
    directory: &Directory,
) -> Result<(), NotTaken> {
    let mut peers = directory.members();
    if peers.is_empty() && config.initial_cluster_state == ClusterState::New {
        // All is to come from peers.
        peers = first_members(&bootstrap(config));
    }
    let advertise = config.initial_advertise_peer_urls.as_slice();
    let newcomer = Newcomer { ids: directory.ids(), advertise, claim: directory.claim() };
    introduce(dialer, newcomer, &peers).await
}

/// Ask the others who this member is: they have added it. Who they are, too.
async fn join(
    config: &Config,
    dialer: &Dialer,
) -> Result<(Fresh, Vec<member_json::Member>), ServerError> {
    let members = config.initial_cluster.members();
    let own = members
        .get(&config.name)
        .map(Urls::to_strings)
        .ok_or_else(|| StartError::Config(ConfigError::NotInCluster(config.name.clone())))?;
    let others: Vec<String> = members
        .iter()
        .filter(|(name, _)| **name != config.name)
        .flat_map(|(_, urls)| urls.to_strings())
        .collect();
    let is_own = |member: &member_json::Member| {
        let mut urls = member.peer_urls.clone().unwrap_or_default();
        urls.sort();
        urls == own
    };
    let until = Instant::now() + PEER_PATIENCE;
    let (cluster, known, member) = loop {
        let (cluster, known) = client::fetch_members(dialer, &others, PEER_PATIENCE)
            .await
            .map_err(|error| ServerError::Join(error.to_string()))?;
        if let Some(member) = known.iter().find(|member| is_own(member)).cloned() {
            break (cluster, known, member);
        }
        if Instant::now() >= until {
            let urls = own.join(",");
            let what = format!("no member there has the peer URLs {urls}");
            return Err(ServerError::Join(what));
        }
        // Whoever was asked may not have heard yet that this member was added.
        tokio::time::sleep(ASK_AGAIN).await;
    };
    let fresh = Fresh::Join { cluster, member: member.id };
    Ok((fresh, known))
}
