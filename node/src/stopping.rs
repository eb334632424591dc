//! How everything that serves clients hears that the member stops.

use tokio::sync::watch;

/// Cheap to clone; all clones hear the same.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

/// Says it.
#[derive(Debug)]
pub(crate) struct StopSwitch(watch::Sender<bool>);

impl StopSwitch {
    /// A switch, not thrown.
    pub(crate) fn new() -> (Self, Stopping) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stopping(receiver))
    }

    /// Everything is to stop.
    pub(crate) fn throw(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Whether the member stops.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }

    /// Wait until it does.
    pub(crate) async fn wait(mut self) {
        // An error means that the switch is gone: who would throw it is gone as well.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
