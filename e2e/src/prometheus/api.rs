//! Prometheus's HTTP interface, as far as it is asked here.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// An answer may take so long.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(20);

/// One Prometheus.
pub(super) struct Api {
    address: SocketAddr,
}

/// An alert as Prometheus evaluates it.
pub(super) struct Alert {
    pub(super) name: String,
    /// `ok`, or what its expression came to.
    pub(super) health: String,
    pub(super) error: String,
    /// `inactive`, `pending` or `firing`.
    pub(super) state: String,
    /// For how many label sets it holds.
    pub(super) active: usize,
}

impl Api {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.get("/-/ready").is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// How many series an expression has now.
    pub(super) fn count(&self, query: &str) -> anyhow::Result<usize> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(query)))?;
        let result = data.pointer("/result").and_then(Value::as_array);
        Ok(result.with_context(|| format!("{query}: no result"))?.len())
    }

    /// All alerts.
    pub(super) fn alerts(&self) -> anyhow::Result<Vec<Alert>> {
        let data = self.ask("/api/v1/rules?type=alert")?;
        let groups = data.pointer("/groups").and_then(Value::as_array).context("no groups")?;
        let rules = groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten();
        let text = |rule: &Value, name: &str| {
            rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let alert = |rule: &Value| Alert {
            name: text(rule, "name"),
            health: text(rule, "health"),
            error: text(rule, "lastError"),
            state: text(rule, "state"),
            active: rule.get("alerts").and_then(Value::as_array).map_or(0, Vec::len),
        };
        Ok(rules.map(alert).collect())
    }

    fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.get(path)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let mut answer: Value =
            serde_json::from_str(body).with_context(|| format!("{path}: {head}\n{body}"))?;
        let status = answer.get("status").and_then(Value::as_str);
        ensure!(status == Some("success"), "{path}: {answer}");
        Ok(answer.get_mut("data").context("no data")?.take())
    }

    /// HTTP/1.0, so that the body comes as it is.
    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// A text in a query of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
