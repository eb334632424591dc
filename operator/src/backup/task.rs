//! What the operator gives its pods to do, and what they report.
//!
//! ```text
//!   Task ── argument of the container ──▶ worker ──▶ Report ── the container's last message ──▶ plan
//!                                           └── a line of JSON now and then ──▶ status.sizeBytes
//! ```
//!
//! Both ends are of one release: pods are made by the operator with its own image. Nothing secret
//! stands in a task: credentials are files of the pod.

use std::path::PathBuf;

use quorate_operator_api::Destination;
use serde::{Deserialize, Serialize};

use super::cause::Failure;

/// A file and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Where.
    pub destination: Destination,
    /// The file's whole name there.
    pub object: String,
}

/// A cluster that is asked for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// URLs of members: the first that answers is asked.
    pub endpoints: Vec<String>,
    /// The cluster's id in hexadecimal digits, if it must be this one.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

/// What a backup is told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The cluster's namespace.
    pub namespace: String,
    /// Its name.
    pub cluster: String,
    /// The version that its members run, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "task")]
pub enum Task {
    /// A snapshot of a cluster becomes a backup.
    Save {
        /// The cluster.
        source: Source,
        /// Where the backup goes.
        place: Place,
        /// What is written beside it.
        about: About,
    },
    /// A backup becomes a local file.
    Fetch {
        /// The backup.
        place: Place,
        /// The local file.
        into: PathBuf,
        /// The SHA-256 that it must have, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// A snapshot of a cluster becomes a local file.
    Copy {
        /// The cluster.
        source: Source,
        /// The local file.
        into: PathBuf,
    },
    /// A backup is deleted, and what stands beside it.
    Remove {
        /// The backup.
        place: Place,
    },
    /// A member that was made of a backup is compared with what stands beside that.
    Compare {
        /// The backup.
        place: Place,
        /// The member.
        endpoint: String,
    },
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "report")]
pub enum Report {
    /// The backup is there.
    Saved(Metadata),
    /// It was done.
    Done,
    /// It was not done.
    Failed(Failure),
}

/// What stands beside a backup, in a file of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The version of this description.
    pub format: u32,
    /// What it is of.
    #[serde(flatten)]
    pub about: About,
    /// The cluster's id in hexadecimal digits.
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    /// The newest revision in it.
    pub revision: i64,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// The hash of the keys and their history, as the member told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<KeyHash>,
    /// When the snapshot was taken.
    pub taken_at: String,
}

/// The format of [`Metadata`] that is written.
pub const METADATA_FORMAT: u32 = 1;

/// The hash of keys and history at a revision: equal for equal data and equal compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyHash {
    /// The hash.
    pub hash: u32,
    /// At which revision.
    pub revision: i64,
    /// Up to where history was forgotten then.
    pub compact_revision: i64,
}

/// How far a task is, as a line of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes in all, as far as that is known.
    pub total: u64,
}

impl Report {
    /// What a container's last message says; `None` if it is no report.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }
}

impl Progress {
    /// Of a container's output: its last line that says how far it is.
    #[must_use]
    pub fn parse(output: &str) -> Option<Self> {
        output.lines().rev().find_map(|line| serde_json::from_str(line).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Report};

    #[test]
    fn what_is_no_report_is_none() {
        assert_eq!(Report::parse("{\"report\":\"done\"}"), Some(Report::Done));
        assert_eq!(Report::parse("thread 'main' panicked"), None);
        assert_eq!(Report::parse(""), None);
    }

    #[test]
    fn the_last_line_that_tells_counts() {
        let output = "{\"bytes\":1,\"total\":9}\n{\"bytes\":5,\"total\":9}\nsomething else\n";
        assert_eq!(Progress::parse(output), Some(Progress { bytes: 5, total: 9 }));
        assert_eq!(Progress::parse("nothing\n"), None);
    }
}
