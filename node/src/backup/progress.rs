//! Long work says how far it is, so that nobody takes it for stuck.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::print::bytes;

/// Work that ends sooner says nothing.
const SILENCE: Duration = Duration::from_secs(2);

/// Between two lines.
const PACE: Duration = Duration::from_secs(2);

/// Counts bytes, and tells people from time to time.
pub(crate) struct Progress {
    step: Cell<&'static str>,
    done: Cell<u64>,
    total: Cell<u64>,
    next: Cell<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let next = Cell::new(Instant::now() + SILENCE);
        Self { step: Cell::new(""), done: Cell::new(0), total: Cell::new(0), next }
    }

    /// Begin with a step, which is done after so many bytes, about.
    pub(crate) fn begin(&self, step: &'static str, total: u64) {
        self.step.set(step);
        self.done.set(0);
        self.total.set(total);
    }

    /// So many bytes more are done.
    pub(crate) fn add(&self, done: u64) {
        self.done.set(self.done.get().saturating_add(done));
        let now = Instant::now();
        if now >= self.next.get() {
            self.next.set(now + PACE);
            eprintln!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let (step, done, total) = (self.step.get(), self.done.get(), self.total.get());
        match total {
            0 => format!("{step}: {}", bytes(done)),
            total => {
                let percent = (u128::from(done) * 100 / u128::from(total)).min(100);
                format!("{step}: {percent} % of {}", bytes(total))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = Progress::new();
        progress.begin("reading", 2_000_000_000);
        progress.add(500_000_000);
        assert_eq!(progress.line(), "reading: 25 % of 2.0 GB");
        progress.add(2_000_000_000);
        assert_eq!(progress.line(), "reading: 100 % of 2.0 GB");
        progress.begin("fetching", 0);
        progress.add(700);
        assert_eq!(progress.line(), "fetching: 700 B");
    }
}
