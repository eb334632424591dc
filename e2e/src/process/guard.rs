//! Servers end with this process, also when it is told to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

static STARTED: Mutex<BTreeMap<u32, Pid>> = Mutex::new(BTreeMap::new());
static IS_STOPPED: AtomicBool = AtomicBool::new(false);
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The exit code of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// From now on SIGINT and SIGTERM end the servers and remove the folder before they end this
/// process.
pub(crate) fn watch_signals(folder: PathBuf) -> anyhow::Result<()> {
    *lock(&FOLDER) = Some(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let stopped = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok::<_, std::io::Error>(())
        });
        if stopped.is_ok() {
            IS_STOPPED.store(true, Ordering::SeqCst);
            // Held to the end, so that nothing is started any more.
            let started = lock(&STARTED);
            for pid in started.values() {
                let _ = kill_process(*pid, Signal::KILL);
            }
            if let Some(folder) = lock(&FOLDER).as_ref() {
                let _ = std::fs::remove_dir_all(folder);
            }
            eprintln!("stopped; all servers were ended");
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// Start a process that ends with this one.
pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let mut started = lock(&STARTED);
    let child = command.spawn()?;
    started.insert(child.id(), Pid::from_child(&child));
    Ok(child)
}

/// Come back only if this process was not told to stop: what is measured while its servers are
/// ended is worth nothing.
pub(crate) fn wait_if_stopped() {
    while IS_STOPPED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// A process was waited for, so its id may soon be another's.
pub(crate) fn ended(id: u32) {
    lock(&STARTED).remove(&id);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
