//! The fingerprint of a run: equal seeds must give equal ones.

/// A running hash of everything that happened (FNV-1a, 64 bits), and on demand its text.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    steps: u64,
    verbose: bool,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, verbose }
    }

    /// Something happened: `words` say what, to the fingerprint; `text` says it to people.
    pub(crate) fn note(&mut self, words: &[u64], text: impl FnOnce() -> String) {
        self.steps += 1;
        for word in words {
            for byte in word.to_le_bytes() {
                self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if self.verbose {
            println!("{}", text());
        }
    }

    /// Something that follows from what happened: only for people.
    pub(crate) fn remark(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{}", text());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}
