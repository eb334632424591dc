//! Who a member is to its peers: that it is the one that they know, with all that it had.
//!
//! Its votes and acknowledgements are counted because it keeps them. A member whose disk was lost,
//! put back from a copy or doubled has forgotten some, and must never be taken for the one that
//! gave them. Its directory cannot tell: what is old looks whole. Its peers can.
//!
//! ```text
//!   own block, in the book        says in each request and answer       peers remember, durably
//!   ┌──────────────────────┐      ┌───────────────────────────────┐     ┌─────────────────────┐
//!   │ incarnation: drawn   │      │ incarnation, boot, nonces     │     │ the same of its     │
//!   │   with the directory ├─────►│ end of the log                ├────►│   last life         │
//!   │ boot: counts starts  │      └───────────────────────────────┘     │ what it is known to │
//!   │ nonce of each start  │            judge(remembered, claim)       │   have had          │
//!   └──────────────────────┘◄── 200 heard, or 409 with the reason ─────┴─────────────────────┘
//! ```
//!
//! # The rule ([`judge`])
//! Refused is who comes with another directory; with an older one (fewer starts); with one that
//! parted from the known one (a start that both know has two nonces: a copy, or two processes);
//! with a log that ends before what the member is known to have had; or with no claim, after one
//! was heard. Of whom nothing is remembered, everything is taken: so etcd's members, which claim
//! nothing, are peers as ever.
//!
//! What a member is known to have had: what it said to have of committed entries, and what it
//! acknowledged to a leader in the leader's term, where nothing may be cut off any more. It is
//! compared when it comes back, not while it runs on, as what it says may arrive in any order. An
//! uncommitted tail may be replaced by a shorter one in a later term, so its length alone says
//! nothing. A term never goes back.
//!
//! # Who stops ([`Trial`])
//! A refusal is the word of one witness, and a witness may be wrong: a broken book, or somebody who
//! is no member at all. Two cases are kept apart.
//!
//! - *A member that has not worked since it was started* is not needed by anybody yet. One witness
//!   is enough to stop it, whatever others say: a peer that was away, or never led, has seen less
//!   and contradicts nothing. If three of four accept and the fourth led when it acknowledged what
//!   it now lacks, the fourth is right, and one vote more would undo a committed entry.
//! - *A member that has worked* (it led, or followed a leader that hears it) was taken in by a
//!   majority. It stops only when more than half of the other voters refuse it, and never while it
//!   works: so one bad book stops at most a member that is restarted, and never those that run.
//!   What does refuse it says so in the log and in a metric, and is not heard by nor hears it.
//!
//! So a member introduces itself to all peers before it runs. What it says then is judged and not
//! remembered: one of them may refuse it, and the others must not take it for the newest life.
//!
//! A member of which all that knew it are silent starts. Those that come back refuse its messages,
//! so that its vote counts only with peers that know nothing against it. A cluster of one has
//! nobody to ask.
//!
//! # Never heard before it is written
//! What is new of a peer is durable in the book before anything of the peer is acted upon; or a
//! member that forgot would take the older of two lives for the first. What a peer is known to have
//! had may be written later: it is lost with the last seconds before a crash.
//!
//! Nothing here reads a clock or decides about Raft.

mod book;
mod file;
mod format;
mod rule;
mod trial;

pub use book::{Book, Own, Stage};
pub use file::{BookFile, Found, PATH, ReadError, read};
pub use rule::{Doubt, Judgement, Remembered, judge};
pub use trial::{Situation, Trial, Verdict};

pub use quorate_api::peer::{Claim, LogEnd};

/// What brings a member back that is refused.
pub const REMEDY: &str = "remove this member from the cluster (etcdctl member remove) and add it \
                          anew (etcdctl member add), then start it with an empty data directory \
                          and --initial-cluster-state=existing";
