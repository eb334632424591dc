//! One process that talks to the world: it may be killed right behind one of its writes, before it
//! hears that there was one.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Life(Arc<Inner>);

struct Inner {
    writes: Mutex<Writes>,
    over: watch::Sender<bool>,
}

#[derive(Default)]
struct Writes {
    log: Vec<String>,
    last: Option<usize>,
}

impl Life {
    /// It ends behind so many writes, or by [`Life::end`] alone.
    pub(crate) fn new(last: Option<usize>) -> Self {
        let writes = Mutex::new(Writes { log: Vec::new(), last });
        Self(Arc::new(Inner { writes, over: watch::Sender::new(false) }))
    }

    /// Something was written.
    pub(crate) fn wrote(&self, what: impl Into<String>) {
        let is_last = {
            let mut writes = self.0.writes.lock();
            writes.log.push(what.into());
            writes.last == Some(writes.log.len())
        };
        if is_last {
            self.end();
        }
    }

    /// What was written.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.0.writes.lock().log.clone()
    }

    /// It ends behind so many writes from now.
    pub(crate) fn end_behind(&self, count: usize) {
        let mut writes = self.0.writes.lock();
        writes.last = Some(writes.log.len() + count);
    }

    pub(crate) fn end(&self) {
        self.0.over.send_replace(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.0.over.borrow()
    }

    /// When it has ended.
    pub(crate) async fn ended(&self) {
        let mut over = self.0.over.subscribe();
        let _ = over.wait_for(|is_over| *is_over).await;
    }

    /// Nothing more is heard by a process that is no more.
    pub(crate) async fn or_never<T>(&self, value: T) -> T {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
        value
    }
}
