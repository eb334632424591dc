//! Where lines for people go.

use std::io::{self, IsTerminal, Write};

/// Takes lines. Somebody who does not read does not stop the cluster, so nothing fails.
pub(super) trait Screen {
    /// A line that stays.
    fn say(&mut self, line: &str);

    /// A line that the next one replaces.
    fn pass(&mut self, line: &str);
}

/// Standard output.
pub(super) struct Output {
    is_terminal: bool,
    /// A line that is to be replaced stands there.
    is_passing: bool,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), is_passing: false }
    }

    fn write(&mut self, text: &str) {
        let clear = if self.is_passing { "\r\x1b[K" } else { "" };
        let mut out = io::stdout().lock();
        let _ = write!(out, "{clear}{text}").and_then(|()| out.flush());
    }
}

impl Screen for Output {
    fn say(&mut self, line: &str) {
        self.write(&format!("{line}\n"));
        self.is_passing = false;
    }

    fn pass(&mut self, line: &str) {
        if self.is_terminal {
            self.write(line);
            self.is_passing = true;
        }
    }
}
