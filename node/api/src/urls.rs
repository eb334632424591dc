//! The URLs of members, read with etcd's rules, refused with etcd's words.
//!
//! ```text
//!   http://10.0.0.1:2380,https://m1.peers:2380        a list: sorted, never empty
//!   m0=http://10.0.0.1:2380,m0=http://…,m1=http://…   an initial cluster: names may repeat
//! ```
//!
//! A member's id is a hash over its URLs as text, so a URL is written back exactly as etcd writes
//! it back: the scheme in lower case, the rest as given, bytes outside ASCII escaped.
//!
//! It never resolves a name and never looks at a port's number.

use std::collections::BTreeMap;
use std::fmt;

/// Why a URL is refused. The texts are etcd's, which are those of Go's parser where it says `parse`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// An empty list.
    #[error("no valid URLs given")]
    Empty,
    /// Not a URL.
    #[error("parse {url:?}: {reason}")]
    Malformed {
        /// The URL as given, without the white space around it.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No port.
    #[error("URL address does not have the form \"host:port\": {0}")]
    NoPort(String),
    /// A path, even if it is only a slash.
    #[error("URL must not contain a path: {0}")]
    Path(String),
    /// A scheme that members are not reached by, or none.
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
}

/// How a member is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// TCP.
    Http,
    /// TCP with TLS.
    Https,
    /// A Unix socket.
    Unix,
    /// A Unix socket with TLS.
    Unixs,
}

impl Scheme {
    /// Whether TLS is spoken.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Unixs)
    }

    /// Whether it is a Unix socket.
    pub const fn is_unix(self) -> bool {
        matches!(self, Self::Unix | Self::Unixs)
    }
}

/// One URL of a member. Ordered by its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    text: String,
    scheme: Scheme,
    address: String,
}

impl Url {
    /// Reads one URL; white space around it is dropped.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let url = url.trim();
        let parts = Parts::split(url)
            .map_err(|reason| UrlError::Malformed { url: url.to_owned(), reason })?;
        let scheme = match parts.scheme.as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(UrlError::Scheme(url.to_owned())),
        };
        if !scheme.is_unix() {
            if !has_port(parts.host) {
                return Err(UrlError::NoPort(url.to_owned()));
            }
            if !parts.path.is_empty() {
                return Err(UrlError::Path(url.to_owned()));
            }
        }
        // Only the zone of an IPv6 address can hold an escaped `%`.
        let address = format!("{}{}", parts.host.replace("%25", "%"), parts.path);
        let text = escape_non_ascii(&format!("{}:{}", parts.scheme, parts.rest));
        Ok(Self { text, scheme, address })
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host:port`, an IPv6 address in brackets; for a Unix socket, its path.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The host without port and brackets; for a Unix socket, its path.
    pub fn host(&self) -> &str {
        if self.scheme.is_unix() {
            return &self.address;
        }
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port as given, which may be empty; `None` for a Unix socket.
    pub fn port(&self) -> Option<&str> {
        if self.scheme.is_unix() {
            return None;
        }
        self.address.rsplit_once(':').map(|(_, port)| port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The URLs of one member: at least one, sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Urls(Vec<Url>);

impl Urls {
    /// Reads URLs given one by one.
    pub fn new<S: AsRef<str>>(urls: &[S]) -> Result<Self, UrlError> {
        if urls.is_empty() {
            return Err(UrlError::Empty);
        }
        let mut urls: Vec<Url> =
            urls.iter().map(|url| Url::parse(url.as_ref())).collect::<Result<_, _>>()?;
        urls.sort();
        Ok(Self(urls))
    }

    /// Reads a list joined by commas, as flags are given.
    pub fn parse(list: &str) -> Result<Self, UrlError> {
        Self::new(&list.split(',').collect::<Vec<_>>())
    }

    /// The URLs.
    pub fn as_slice(&self) -> &[Url] {
        &self.0
    }

    /// The URLs as text.
    pub fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(Url::to_string).collect()
    }
}

impl fmt::Display for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_strings().join(","))
    }
}

/// The members that a cluster starts with, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialCluster(BTreeMap<String, Urls>);

impl InitialCluster {
    /// Reads `name=url,name=url`. Empty parts are skipped, so an empty text is an empty cluster.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, url) = part.split_once('=').unwrap_or((part, ""));
            members.entry(name).or_default().push(url);
        }
        let read = |(name, urls): (&str, Vec<&str>)| Ok((name.to_owned(), Urls::new(&urls)?));
        Ok(Self(members.into_iter().map(read).collect::<Result<_, UrlError>>()?))
    }

    /// The members, by name.
    pub fn members(&self) -> &BTreeMap<String, Urls> {
        &self.0
    }
}

impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs: Vec<String> = self
            .0
            .iter()
            .flat_map(|(name, urls)| urls.0.iter().map(move |url| format!("{name}={url}")))
            .collect();
        pairs.sort();
        f.write_str(&pairs.join(","))
    }
}

/// A URL cut up by the rules of Go's parser, as far as they can matter for a member.
struct Parts<'a> {
    /// In lower case; empty without one.
    scheme: String,
    /// All that follows the scheme and its colon.
    rest: &'a str,
    host: &'a str,
    path: &'a str,
}

impl<'a> Parts<'a> {
    /// The parts, or the reason why there are none, in the words of Go's parser.
    fn split(url: &'a str) -> Result<Self, String> {
        if url.chars().any(|character| character.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, rest) = split_scheme(url)?;
        let before_fragment = rest.split('#').next().unwrap_or_default();
        let before_query = before_fragment.split('?').next().unwrap_or_default();
        let (host, path) = match before_query.strip_prefix("//") {
            Some(after) => {
                let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
                (authority.rsplit_once('@').map_or(authority, |(_, host)| host), path)
            }
            None if before_query.starts_with('/') => ("", before_query),
            // An opaque URL: neither host nor path.
            None if !scheme.is_empty() => ("", ""),
            None => {
                let first = before_query.split('/').next().unwrap_or_default();
                if first.contains(':') {
                    return Err("first path segment in URL cannot contain colon".to_owned());
                }
                ("", before_query)
            }
        };
        check_host(host)?;
        check_escapes(path, |_| true)?;
        Ok(Self { scheme, rest, host, path })
    }
}

/// The scheme in lower case and what follows its colon. Without a scheme, all of the text.
fn split_scheme(url: &str) -> Result<(String, &str), String> {
    let Some((scheme, rest)) = url.split_once(':') else { return Ok((String::new(), url)) };
    if scheme.is_empty() {
        return Err("missing protocol scheme".to_owned());
    }
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    match is_scheme {
        true => Ok((scheme.to_ascii_lowercase(), rest)),
        false => Ok((String::new(), url)),
    }
}

/// Checks a host with its optional port.
fn check_host(host: &str) -> Result<(), String> {
    let bad_port = |port: &str| format!("invalid port {port:?} after host");
    let port = if host.starts_with('[') {
        let (_, after) = host.rsplit_once(']').ok_or("missing ']' in host")?;
        match after.strip_prefix(':') {
            None if !after.is_empty() => return Err(bad_port(after)),
            port => port.unwrap_or_default(),
        }
    } else {
        host.split_once(':').map_or("", |(_, port)| port)
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad_port(&format!(":{port}")));
    }
    // In brackets, a zone follows the escape `%25`, and may hold escapes of its own.
    let (name, zone) = match host.starts_with('[') {
        true => host.split_once("%25").unwrap_or((host, "")),
        false => (host, ""),
    };
    check_escapes(name, |byte| byte >= 0x80)?;
    check_escapes(zone, |_| true)?;
    let allowed = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    match name.chars().find(|character| !allowed(*character)) {
        Some(character) => {
            Err(format!("invalid character {:?} in host name", character.to_string()))
        }
        None => Ok(()),
    }
}

/// Checks that each `%` is an escape of a byte that may be escaped here.
fn check_escapes(text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let end = text.len().min(at + 3);
        let escape = text.get(at..end).unwrap_or("%");
        let byte = escape.get(1..3).and_then(|digits| {
            let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        });
        if !byte.is_some_and(&allowed) {
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    Ok(())
}

/// Whether the host ends in a port, possibly empty: `host:port` or `[address]:port`.
fn has_port(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(_, after)| after.starts_with(':')),
        None => host.matches(':').count() == 1,
    }
}

/// Escapes what is not ASCII, byte by byte.
fn escape_non_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            escaped.push(character);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in character.encode_utf8(&mut bytes).bytes() {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
