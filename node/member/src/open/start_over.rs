//! A lost store: log and store begin anew, and everything comes from peers.

use std::sync::Arc;

use quorate_disk::{Disk, Files};
use quorate_raft::{HardState, Index, NodeId, Term};
use quorate_replica::Boot;
use quorate_store::checkpoint;
use quorate_store::restart::IndexLoader;
use quorate_store::store::Store;
use quorate_wal::{self as wal, Log};

use super::loss::Loss;
use super::peers::has_peers_by_log;
use super::{Finding, OpenError, Opened, Opening, Settings, StoreError, open_options};
use crate::applier;
use crate::{JobRunner, LogWriter};

/// The store is lost: log and store begin anew, empty, and everything comes from peers. The
/// member still stands for what its log held.
pub(super) fn start_over(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
    (mut log, recovered): (Log, wal::Recovered),
    error: StoreError,
) -> Result<Opening, OpenError> {
    if !has_peers_by_log(settings, &recovered)? {
        return Err(error.into());
    }
    let loss = Loss::of_everything(&recovered);
    let Loss { repair, hard_state } = loss;
    let identity = wal::Identity { boot: settings.boot, ..recovered.identity };
    let wait = log.abandon(log_disk, settings.boot, loss.end(), hard_state);
    let opened = checkpoint::begin_anew(store_files, open_options(settings, identity, 1))
        .map_err(StoreError::from)?;
    let checkpoint::Opened { state, log: records, jobs, .. } = opened;
    let store = Store::restart(settings.store, &state, IndexLoader::default(), records)
        .map_err(StoreError::from)?;
    let hard_state =
        HardState { term: Term(hard_state.term), vote: NodeId(hard_state.vote), commit: Index(0) };
    let boot =
        Boot { hard_state, facts: applier::facts(&store), repair: Some(repair), ..Boot::default() };
    let opened = Opened {
        cluster: identity.cluster_id,
        member: identity.member_id,
        incarnation: identity.incarnation,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings: vec![Finding::DamagedStore(error.to_string())],
    };
    Ok(Opening { opened, wait })
}
