//! The log for people: lines as etcd writes them, so that whatever reads those reads these.
//!
//! ```text
//!   {"level":"info","ts":"2026-07-23T10:00:00.123456Z","caller":"server.rs:42","msg":"…","term":3}
//!   2026-07-23T10:00:00.123456Z  info  server.rs:42  …  {"term":3}
//! ```

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::environment::Notice;
use crate::config::{Level, LogFormat, LogOutput, Logging};

/// A file that lines cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("--log-outputs: cannot write to {}: {source}", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

/// Write what the process says from now on. The first call of a process counts.
///
/// # Errors
/// [`OutputError`] for the first file that cannot be opened.
pub fn start(settings: &Logging) -> Result<(), OutputError> {
    let level = match settings.level {
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    };
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).event_format(Lines(settings.format));
    let outputs: Result<Vec<Output>, OutputError> =
        settings.outputs.iter().map(Output::open).collect();
    let subscriber = subscriber.with_writer(Arc::new(Outputs(outputs?))).finish();
    // An error means that a subscriber is there already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Where lines go.
#[derive(Debug)]
enum Output {
    Stderr,
    Stdout,
    File(File),
}

impl Output {
    /// Files grow at their end, whoever else writes or truncates them, and are their owner's alone.
    fn open(output: &LogOutput) -> Result<Self, OutputError> {
        Ok(match output {
            LogOutput::Stderr => Self::Stderr,
            LogOutput::Stdout => Self::Stdout,
            LogOutput::File(path) => {
                let file = File::options().append(true).create(true).mode(0o600).open(path);
                let failed = |source| OutputError { path: path.clone(), source };
                Self::File(file.map_err(failed)?)
            }
        })
    }
}

/// All places that lines go to.
#[derive(Debug)]
struct Outputs(Vec<Output>);

impl io::Write for &Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for output in &self.0 {
            // A full disk of one must not keep the line from the others, nor stop the member.
            let _ = match output {
                Output::Stderr => io::stderr().write_all(line),
                Output::Stdout => io::stdout().write_all(line),
                Output::File(file) => (&mut &*file).write_all(line),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Write what reading the configuration came to.
pub(crate) fn notice(notice: &Notice) {
    if notice.is_warning {
        tracing::warn!("{}", notice.message);
    } else {
        tracing::info!("{}", notice.message);
    }
}

struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG | tracing::Level::TRACE => "debug",
        };
        let time = timestamp(SystemTime::now());
        let file = metadata.file().unwrap_or_default();
        let file = file.rsplit_once("src/").map_or(file, |(_, file)| file);
        let caller = format!("{file}:{}", metadata.line().unwrap_or_default());
        let mut fields = Fields::default();
        event.record(&mut fields);
        match self.0 {
            LogFormat::Json => {
                let message = Value::from(fields.message);
                write!(writer, r#"{{"level":"{level}","ts":"{time}","caller":"{caller}","#)?;
                write!(writer, r#""msg":{message}"#)?;
                if !fields.others.is_empty() {
                    write!(writer, ",{}", fields.others)?;
                }
                writeln!(writer, "}}")
            }
            LogFormat::Console => {
                write!(writer, "{time}\t{level}\t{caller}\t{}", fields.message)?;
                if !fields.others.is_empty() {
                    write!(writer, "\t{{{}}}", fields.others)?;
                }
                writeln!(writer)
            }
        }
    }
}

/// The message apart, the others as the inside of a JSON object.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return;
        }
        let separator = if self.others.is_empty() { "" } else { "," };
        let name = Value::from(field.name());
        // Writing to a string does not fail.
        let _ = write!(self.others, "{separator}{name}:{value}");
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value.to_string().into());
    }
}

/// The time in UTC, with microseconds.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The Gregorian date so many days after 1970-01-01. Years are counted from March, so that the
/// odd day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    // Days since 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_088), (2024, 12, 31));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
        let time = UNIX_EPOCH + Duration::from_micros(1_000_000_000_000_007);
        assert_eq!(timestamp(time), "2001-09-09T01:46:40.000007Z");
    }
}
