//! `/livez` and `/readyz`: whether to restart the member, and whether to send it clients.

use std::fmt::Write as _;

use http::{HeaderValue, Method, StatusCode};
use quorate_api::etcdserverpb::AlarmType;

use super::{Answer, Query, error, only_get, with_type};
use crate::grpc;
use crate::member::Member;
use crate::metrics;

/// One thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

/// A set of checks under a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Its path.
    pub(super) root: &'static str,
    name: &'static str,
    checks: &'static [(&'static str, Check)],
}

/// The process does what it should; a restart would help if not.
pub(super) const LIVEZ: Kind = Kind {
    root: "/livez",
    name: "livez",
    checks: &[("serializable_read", Check::SerializableRead)],
};

/// The member serves everything.
pub(super) const READYZ: Kind = Kind {
    root: "/readyz",
    name: "readyz",
    checks: &[
        ("data_corruption", Check::DataCorruption),
        ("serializable_read", Check::SerializableRead),
        ("linearizable_read", Check::LinearizableRead),
        ("non_learner", Check::NonLearner),
    ],
};

impl Kind {
    /// Whether it has a check of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.checks.iter().any(|(check, _)| *check == name)
    }
}

/// Run one check, or all but `?exclude=`; `?verbose` shows each.
pub(super) async fn answer(
    member: &Member,
    kind: Kind,
    only: Option<&str>,
    method: &Method,
    query: Query<'_>,
) -> Answer {
    if method != Method::GET {
        return only_get();
    }
    let excluded = if only.is_none() { query.all("exclude") } else { Vec::new() };
    let mut report = String::new();
    let mut has_failed = false;
    for (name, check) in kind.checks {
        if only.is_some_and(|only| only != *name) || excluded.contains(name) {
            continue;
        }
        let result = run(member, *check).await;
        metrics::healthcheck(kind.name, name, result.as_ref().map(drop).map_err(drop));
        // Writing to a text does not fail.
        let _ = match result {
            Ok(()) => writeln!(report, "[+]{name} ok"),
            Err(reason) => {
                has_failed = true;
                writeln!(report, "[-]{name} failed: {reason}")
            }
        };
    }
    if has_failed {
        tracing::error!(path = kind.root, report, "a health check failed");
        return error(StatusCode::SERVICE_UNAVAILABLE, &report);
    }
    let report = if query.has("verbose") { report } else { String::new() };
    let mut answer = with_type("text/plain; charset=utf-8", format!("{report}ok\n"));
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

async fn run(member: &Member, check: Check) -> Result<(), String> {
    match check {
        Check::DataCorruption => {
            let is_corrupt = member.readable_store().await.alarms().is_raised(AlarmType::Corrupt);
            if is_corrupt { Err("alarm activated: CORRUPT".to_owned()) } else { Ok(()) }
        }
        Check::SerializableRead => {
            // The store answers, or the request waits and the probe's patience ends.
            let _ = member.readable_store().await.revision();
            Ok(())
        }
        Check::LinearizableRead => member.confirm().await.map_err(|error| error.to_string()),
        Check::NonLearner => {
            if grpc::is_learner(member) {
                Err("not supported for learner".to_owned())
            } else {
                Ok(())
            }
        }
    }
}
