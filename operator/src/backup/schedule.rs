//! When backups are due.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use quorate_operator_api::BackupPlan;

/// Why a schedule is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is not what cron takes.
    #[error("{text:?} is no schedule: {reason}")]
    Pattern {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such zone.
    #[error("{0:?} is no time zone: take a name such as Europe/Berlin")]
    Zone(String),
}

/// A schedule in its time zone. An hour that a clock skips or repeats is taken once.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Of five fields or a word such as `@daily`; without a zone, in UTC.
    ///
    /// # Errors
    /// [`ScheduleError`] says what is wrong.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| ScheduleError::Pattern {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
        };
        Ok(Self { cron, zone })
    }

    /// When backups are made; `None` if only when somebody asks.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_backups(plan: &BackupPlan) -> Result<Option<Self>, ScheduleError> {
        Self::maybe(plan.schedule.as_deref(), plan.time_zone.as_deref())
    }

    /// When the newest is restored to see that it can be; `None` for never.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_drills(plan: &BackupPlan) -> Result<Option<Self>, ScheduleError> {
        Self::maybe(plan.verify_schedule.as_deref(), plan.time_zone.as_deref())
    }

    fn maybe(text: Option<&str>, zone: Option<&str>) -> Result<Option<Self>, ScheduleError> {
        text.map(|text| Self::parse(text, zone)).transpose()
    }

    /// The last time that it was due, now included; `None` if it never was.
    #[must_use]
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        self.cron.find_previous_occurrence(&now, true).ok().map(|due| due.timestamp())
    }

    /// The next time that it is due, after now; `None` if it never is.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&now, false).ok().map(|due| due.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::Schedule;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn what_was_due_last_and_is_due_next() {
        for (schedule, zone, now, last, next) in [
            (
                "0 3 * * *",
                None,
                "2026-03-01T12:00:00Z",
                "2026-03-01T03:00:00Z",
                "2026-03-02T03:00:00Z",
            ),
            (
                "0 3 * * *",
                None,
                "2026-03-01T03:00:00Z",
                "2026-03-01T03:00:00Z",
                "2026-03-02T03:00:00Z",
            ),
            (
                "@hourly",
                None,
                "2026-03-01T12:30:00Z",
                "2026-03-01T12:00:00Z",
                "2026-03-01T13:00:00Z",
            ),
            (
                "*/15 * * * *",
                None,
                "2026-03-01T12:31:07Z",
                "2026-03-01T12:30:00Z",
                "2026-03-01T12:45:00Z",
            ),
            (
                "0 3 * * *",
                Some("Europe/Berlin"),
                "2026-07-01T12:00:00Z",
                "2026-07-01T01:00:00Z",
                "2026-07-02T01:00:00Z",
            ),
            (
                "0 5 * * 0",
                Some("UTC"),
                "2026-03-04T00:00:00Z",
                "2026-03-01T05:00:00Z",
                "2026-03-08T05:00:00Z",
            ),
            // On the night in which clocks go forward there is no 02:30: once, when it would be.
            (
                "30 2 * * *",
                Some("Europe/Berlin"),
                "2026-03-29T12:00:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z",
            ),
        ] {
            let parsed = Schedule::parse(schedule, zone).expect("a schedule");
            let now = time(now);
            assert_eq!(parsed.last(now), Some(time(last)), "{schedule} before {now}");
            assert_eq!(parsed.next(now), Some(time(next)), "{schedule} after {now}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_counts_once() {
        let schedule = Schedule::parse("30 2 * * *", Some("Europe/Berlin")).expect("a schedule");
        let before = time("2026-10-24T12:00:00Z");
        let first = schedule.next(before).expect("due");
        let second = schedule.next(first).expect("due");
        assert_eq!(first, time("2026-10-25T00:30:00Z"));
        assert_eq!(second, time("2026-10-26T01:30:00Z"));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (text, zone, said) in [
            ("99 * * * *", None, "no schedule"),
            ("0 3 * *", None, "no schedule"),
            ("0 0 3 * * *", None, "no schedule"),
            ("@daily", Some("Europe/Atlantis"), "no time zone"),
        ] {
            let error = Schedule::parse(text, zone).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        // A day that never comes.
        let never = Schedule::parse("0 0 31 2 *", None);
        assert!(
            never.is_err()
                || never.is_ok_and(|never| never.next(time("2026-01-01T00:00:00Z")).is_none())
        );
    }
}
