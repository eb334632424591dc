//! Settings from `--config-file`, by etcd's rules: the file stands alone, flags and variables
//! beside it are left aside.
//!
//! ```text
//!   name: m1                          a flag's name: its value
//!   grpc-keepalive-interval: 5000000000         durations in nanoseconds
//!   log-outputs: [stderr]                       a list
//!   client-transport-security:                  sections of flags
//!     cert-file: server.crt                     --cert-file
//! ```
//!
//! JSON is YAML, so one reader reads both. etcd passes over keys that it does not know; here they
//! are refused, for a mistyped `client-cert-auth` would leave the door open. All flags can stand at
//! the top, also those that etcd knows in a section or on the command line alone.

use serde_json::{Map, Value};

use super::environment::Notice;
use super::kind::Kind;
use super::nearest::nearest;
use super::syntax::{Flag, Given, removed};
use super::table;

/// The largest file that is read: all settings with long lists of URLs are a few KiB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A key of a section, and its flag.
type Keys = &'static [(&'static str, &'static str)];

/// Settings that etcd groups in its file.
const SECTIONS: [(&str, Keys); 3] = [
    (
        "client-transport-security",
        &[
            ("cert-file", "cert-file"),
            ("key-file", "key-file"),
            ("client-cert-file", "client-cert-file"),
            ("client-key-file", "client-key-file"),
            ("client-cert-auth", "client-cert-auth"),
            ("trusted-ca-file", "trusted-ca-file"),
            ("auto-tls", "auto-tls"),
            ("allowed-hostname", "client-cert-allowed-hostname"),
        ],
    ),
    (
        "peer-transport-security",
        &[
            ("cert-file", "peer-cert-file"),
            ("key-file", "peer-key-file"),
            ("client-cert-file", "peer-client-cert-file"),
            ("client-key-file", "peer-client-key-file"),
            ("client-cert-auth", "peer-client-cert-auth"),
            ("trusted-ca-file", "peer-trusted-ca-file"),
            ("auto-tls", "peer-auto-tls"),
            ("allowed-cn", "peer-cert-allowed-cn"),
            ("allowed-hostname", "peer-cert-allowed-hostname"),
            ("skip-client-san-verification", "peer-skip-client-san-verification"),
        ],
    ),
    (
        "socket-options",
        &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")],
    ),
];

/// Keys of etcd's own sample file that it no longer reads.
const FORMER: [&str; 9] = [
    "discovery",
    "discovery-proxy",
    "enable-v2",
    "proxy",
    "proxy-dial-timeout",
    "proxy-failure-wait",
    "proxy-read-timeout",
    "proxy-refresh-interval",
    "proxy-write-timeout",
];

/// Flags that are about the command line itself.
const NOT_IN_FILES: [&str; 2] = ["config-file", "version"];

/// Settings that are lists in a file and joined by commas on the command line.
const LISTS: [&str; 5] = [
    "log-outputs",
    "cipher-suites",
    "client-cert-allowed-hostname",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
];

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum FileError {
    #[error("--config-file: cannot read {path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("{path}: not YAML: {reason}")]
    Syntax { path: String, reason: String },
    #[error("{path}: expected settings, one `key: value` a line, found {found}")]
    NoSettings { path: String, found: String },
    #[error("{path}: unknown key {key}{}", meant(.hint))]
    Unknown { path: String, key: String, hint: Option<String> },
    #[error("{path}: {key}: expected {expected}, found {found}")]
    Value { path: String, key: String, expected: String, found: String },
    #[error("{path}: {key}: {reason}")]
    Refused { path: String, key: String, reason: String },
    #[error("{path}: {key} says the same as a key before it; give one of them")]
    Twice { path: String, key: String },
}

fn meant(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(" (did you mean {hint}?)")).unwrap_or_default()
}

/// The settings of a file whose text is this, and what to tell people about it.
///
/// # Errors
/// [`FileError`] for the first thing that is not understood; it names file and key.
pub fn read(path: &str, text: &str) -> Result<(Given, Vec<Notice>), FileError> {
    let parsed: Value = serde_yaml::from_str(text).map_err(|error| FileError::Syntax {
        path: path.to_owned(),
        // The lines behind the first one quote the file.
        reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
    })?;
    let mut reader =
        Reader { path, given: Given::default(), notices: vec![loaded(path)], section: None };
    match parsed {
        Value::Null => {}
        Value::Object(settings) => reader.settings(&settings)?,
        other => {
            let found = describe(&other);
            return Err(FileError::NoSettings { path: path.to_owned(), found });
        }
    }
    Ok((reader.given, reader.notices))
}

fn loaded(path: &str) -> Notice {
    let message = format!(
        "loaded server configuration, other configuration command line flags and environment \
         variables will be ignored if provided (path={path})"
    );
    Notice { is_warning: true, message }
}

/// What has been read of a file so far.
struct Reader<'file> {
    path: &'file str,
    given: Given,
    notices: Vec<Notice>,
    section: Option<&'static str>,
}

impl Reader<'_> {
    fn settings(&mut self, settings: &Map<String, Value>) -> Result<(), FileError> {
        for (key, value) in settings {
            if let Some((section, keys)) = SECTIONS.iter().find(|(section, _)| section == key) {
                self.section = Some(section);
                self.in_section(keys, value)?;
                self.section = None;
                continue;
            }
            if FORMER.contains(&key.as_str()) {
                let message = format!("{}: {key} is no longer supported - ignoring", self.path);
                self.notices.push(Notice { is_warning: true, message });
                continue;
            }
            if key == "discovery-config" {
                self.no_discovery(value)?;
                continue;
            }
            let flag = table::flags()
                .find(|flag| flag.name == key && !NOT_IN_FILES.contains(&flag.name))
                .ok_or_else(|| self.unknown(key, all_keys()))?;
            self.set(flag, key, value)?;
        }
        self.fill_in();
        Ok(())
    }

    fn in_section(&mut self, keys: Keys, value: &Value) -> Result<(), FileError> {
        let settings = match value {
            Value::Null => return Ok(()),
            Value::Object(settings) => settings,
            other => return Err(self.misfit("", "settings below it", other)),
        };
        for (key, value) in settings {
            let known = keys.iter().find(|(known, _)| known == key);
            let Some((_, name)) = known else {
                return Err(self.unknown(key, keys.iter().map(|(known, _)| *known)));
            };
            let flag = table::flags().find(|flag| flag.name == *name);
            self.set(flag.expect("sections name flags of the table"), key, value)?;
        }
        Ok(())
    }

    fn no_discovery(&self, value: &Value) -> Result<(), FileError> {
        let is_empty = match value {
            Value::Null => true,
            Value::Object(settings) => settings.is_empty(),
            _ => false,
        };
        if is_empty {
            return Ok(());
        }
        let reason = "not supported: name the members in initial-cluster".to_owned();
        Err(FileError::Refused {
            path: self.path.to_owned(),
            key: self.place("discovery-config"),
            reason,
        })
    }

    fn set(&mut self, flag: &'static Flag, key: &str, value: &Value) -> Result<(), FileError> {
        let Some(text) = self.text(flag, key, value)? else { return Ok(()) };
        if let Err(reason) = flag.kind.check(&text) {
            let (path, key) = (self.path.to_owned(), self.place(key));
            return Err(FileError::Refused { path, key, reason: format!("{text:?}: {reason}") });
        }
        if self.given.values.insert(flag.name, text).is_some() {
            return Err(FileError::Twice { path: self.path.to_owned(), key: self.place(key) });
        }
        Ok(())
    }

    /// The value as it would be on the command line; `None` where nothing is said.
    fn text(&self, flag: &Flag, key: &str, value: &Value) -> Result<Option<String>, FileError> {
        let expected = expected(flag);
        let text = match (flag.kind, value) {
            (_, Value::Null) => return Ok(None),
            (_, Value::Array(items)) if LISTS.contains(&flag.name) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.map(|texts| texts.join(","))
            }
            // etcd expects lists here; one text alone cannot mean anything else.
            (_, Value::String(text)) if LISTS.contains(&flag.name) => Some(text.clone()),
            (Kind::Boolean, Value::Bool(is_on)) => Some(is_on.to_string()),
            (Kind::Unsigned | Kind::Unsigned32, Value::Number(number)) => {
                number.as_u64().map(|number| number.to_string())
            }
            (Kind::Signed, Value::Number(number)) => {
                number.as_i64().map(|number| number.to_string())
            }
            (Kind::Duration, Value::Number(nanos)) => nanos.as_u64().map(|n| format!("{n}ns")),
            (
                Kind::Text | Kind::Urls | Kind::OneOf(_) | Kind::FeatureGates | Kind::Ignored,
                value,
            ) => match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(is_on) => Some(is_on.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            },
            (Kind::Boolean | Kind::Unsigned | Kind::Unsigned32, _) => None,
            (Kind::Signed | Kind::Duration, _) => None,
        };
        text.map(Some).ok_or_else(|| self.misfit(key, expected, value))
    }

    /// A file that says where to listen and nothing more tells clients the default, as in etcd;
    /// on the command line, this is refused.
    fn fill_in(&mut self) {
        let values = &mut self.given.values;
        let name = "advertise-client-urls";
        if values.contains_key("listen-client-urls") && !values.contains_key(name) {
            values.insert(name, table::default(name).to_owned());
            let message = format!(
                "{}: listen-client-urls without {name}: clients are told {}",
                self.path,
                table::default(name)
            );
            self.notices.push(Notice { is_warning: true, message });
        }
    }

    /// The key with its section.
    fn place(&self, key: &str) -> String {
        match self.section {
            Some(section) if key.is_empty() => section.to_owned(),
            Some(section) => format!("{section}.{key}"),
            None => key.to_owned(),
        }
    }

    fn misfit(&self, key: &str, expected: &str, found: &Value) -> FileError {
        FileError::Value {
            path: self.path.to_owned(),
            key: self.place(key),
            expected: expected.to_owned(),
            found: describe(found),
        }
    }

    fn unknown(&self, key: &str, known: impl Iterator<Item = &'static str>) -> FileError {
        let hint = removed(key).or_else(|| nearest(key, known).map(str::to_owned));
        FileError::Unknown { path: self.path.to_owned(), key: self.place(key), hint }
    }
}

/// All keys at the top of a file.
fn all_keys() -> impl Iterator<Item = &'static str> {
    let flags = table::flags().map(|flag| flag.name);
    flags
        .filter(|name| !NOT_IN_FILES.contains(name))
        .chain(SECTIONS.iter().map(|(section, _)| *section))
}

/// What a key takes, in words.
fn expected(flag: &Flag) -> &'static str {
    if LISTS.contains(&flag.name) {
        return "a list of texts";
    }
    match flag.kind {
        Kind::Boolean => "true or false",
        Kind::Unsigned | Kind::Unsigned32 => "a whole number that is not negative",
        Kind::Signed => "a whole number",
        Kind::Duration => "a whole number of nanoseconds (5000000000 for 5s)",
        Kind::Urls => "URLs joined by commas",
        Kind::Text | Kind::OneOf(_) | Kind::FeatureGates | Kind::Ignored => "text",
    }
}

/// A value as it is shown to people.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a group of settings".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
# Settings as they are written in the field.
name: m1
data-dir: /var/lib/m1
heartbeat-interval: 100
quota-backend-bytes: -1
listen-client-urls: http://127.0.0.1:2379,http://127.0.0.2:2379
advertise-client-urls: http://127.0.0.1:2379
wal-dir:
pre-vote: false
auto-compaction-retention: 1
initial-cluster-token: 7
proxy: 'off'
grpc-keepalive-interval: 5000000000
feature-gates: InitialCorruptCheck=true
client-transport-security:
  cert-file: server.crt
  client-cert-auth: true
  allowed-hostname: [a, b]
peer-transport-security:
  cert-file: peer.crt
  allowed-cn:
    - c
  skip-client-san-verification: true
socket-options: {reuse-port: true}
log-outputs: [stderr, /var/log/m1.log]
";

    fn refusal(text: &str) -> String {
        read("m.yaml", text).expect_err("refused").to_string()
    }

    #[test]
    fn settings_stand_as_on_the_command_line() {
        let (given, notices) = read("m.yaml", SAMPLE).expect("good");
        let expected = [
            ("advertise-client-urls", "http://127.0.0.1:2379"),
            ("auto-compaction-retention", "1"),
            ("cert-file", "server.crt"),
            ("client-cert-allowed-hostname", "a,b"),
            ("client-cert-auth", "true"),
            ("data-dir", "/var/lib/m1"),
            ("feature-gates", "InitialCorruptCheck=true"),
            ("grpc-keepalive-interval", "5000000000ns"),
            ("heartbeat-interval", "100"),
            ("initial-cluster-token", "7"),
            ("listen-client-urls", "http://127.0.0.1:2379,http://127.0.0.2:2379"),
            ("log-outputs", "stderr,/var/log/m1.log"),
            ("name", "m1"),
            ("peer-cert-allowed-cn", "c"),
            ("peer-cert-file", "peer.crt"),
            ("peer-skip-client-san-verification", "true"),
            ("pre-vote", "false"),
            ("quota-backend-bytes", "-1"),
            ("socket-reuse-port", "true"),
        ];
        let values: Vec<(&str, &str)> =
            given.values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(values, expected);
        let messages: Vec<&str> = notices.iter().map(|notice| notice.message.as_str()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].contains("environment variables will be ignored"), "{messages:?}");
        assert!(messages[1].contains("proxy is no longer supported"), "{messages:?}");
    }

    #[test]
    fn json_is_read_and_nothing_is_all_defaults() {
        let (given, _) = read("m.json", r#"{"name": "a", "max-txn-ops": 7}"#).expect("good");
        assert_eq!(given.values.get("max-txn-ops").map(String::as_str), Some("7"));
        for nothing in ["", "# nothing\n", "---\n", "{}"] {
            assert!(read("m", nothing).expect("good").0.values.is_empty(), "{nothing:?}");
        }
        let (given, notices) = read("m", "listen-client-urls: http://127.0.0.1:1\n").expect("good");
        let advertised = given.values.get("advertise-client-urls").map(String::as_str);
        assert_eq!(advertised, Some("http://localhost:2379"));
        assert!(notices.iter().any(|notice| notice.message.contains("clients are told")));
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_key() {
        for (text, expected) in [
            ("nmae: a", "m.yaml: unknown key nmae (did you mean name?)"),
            ("client-transport-securty: {}", "(did you mean client-transport-security?)"),
            (
                "client-transport-security: {client-cert-aut: true}",
                "m.yaml: unknown key client-transport-security.client-cert-aut (did you mean \
                 client-cert-auth?)",
            ),
            (
                "experimental-initial-corrupt-check: true",
                "(did you mean feature-gates=InitialCorruptCheck=true?)",
            ),
            ("config-file: x", "unknown key config-file"),
            (
                "grpc-keepalive-interval: 5s",
                "m.yaml: grpc-keepalive-interval: expected a whole number of nanoseconds \
                 (5000000000 for 5s), found \"5s\"",
            ),
            (
                "peer-transport-security: {client-cert-auth: 'true'}",
                "m.yaml: peer-transport-security.client-cert-auth: expected true or false, found \
                 \"true\"",
            ),
            ("snapshot-count: -1", "snapshot-count: expected a whole number that is not negative"),
            ("max-txn-ops: 1.5", "max-txn-ops: expected a whole number that is not negative"),
            ("listen-peer-urls: [http://a:1]", "expected URLs joined by commas, found a list"),
            ("listen-peer-urls: localhost:1", "m.yaml: listen-peer-urls: \"localhost:1\": "),
            ("name: {a: b}", "m.yaml: name: expected text, found a group of settings"),
            ("log-outputs: [1]", "log-outputs: expected a list of texts, found a list"),
            ("socket-options: 7", "m.yaml: socket-options: expected settings below it, found 7"),
            ("discovery-config: {token: a}", "m.yaml: discovery-config: not supported"),
            ("- name", "m.yaml: expected settings, one `key: value` a line, found a list"),
            ("name: [", "m.yaml: not YAML: "),
            ("name: a\nname: b\n", "m.yaml: not YAML: "),
            (
                "cert-file: a\nclient-transport-security: {cert-file: b}\n",
                "says the same as a key before it",
            ),
        ] {
            let said = refusal(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
