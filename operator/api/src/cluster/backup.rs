//! Backups that are made by themselves.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::from_nothing;
use crate::Destination;

/// Where backups go and when they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.timeZone) || has(self.schedule)").message(
    "a time zone is one of a schedule: set schedule, too"
))]
pub struct BackupPlan {
    /// Where they go, unless a backup says otherwise.
    pub destination: Destination,
    /// When they are made, as cron has it: minute, hour, day, month, day of the week. Left out,
    /// when a QuorateBackup asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^(@(hourly|daily|weekly|monthly|yearly)|\S+(\s+\S+){4})$")
    )]
    pub schedule: Option<String>,
    /// The schedule's time zone, such as `Europe/Berlin`; left out, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")
    )]
    pub time_zone: Option<String>,
    /// Which are kept.
    #[serde(default)]
    pub retention: Retention,
    /// When the newest is restored into a member that is thrown away, to see that it can be, as
    /// cron has it. Left out, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^(@(hourly|daily|weekly|monthly|yearly)|\S+(\s+\S+){4})$")
    )]
    pub verify_schedule: Option<String>,
}

/// Which backups of a schedule are kept. The newest one always is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// The newest so many.
    #[serde(default = "default_keep_last")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep_last: i32,
    /// None that is older than this, such as `720h`; left out, age does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+(s|m|h|d))+$"))]
    pub max_age: Option<String>,
}

impl Default for Retention {
    fn default() -> Self {
        from_nothing()
    }
}

fn default_keep_last() -> i32 {
    7
}
