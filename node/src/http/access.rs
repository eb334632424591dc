//! Whom plain HTTP is for: which names the member may be called, and pages of which origins may
//! ask.
//!
//! Without it, a page in somebody's browser could reach a member on that machine by giving a name
//! of its own the address 127.0.0.1 (DNS rebinding, CVE-2018-5702).

use std::collections::BTreeSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    ORIGIN,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::{Answer, error};

/// Stands for all.
const ALL: &str = "*";

/// Who may ask, as `--host-whitelist` and `--cors` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
}

/// Whether a connection is encrypted: its server has proved its name then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TLS.
    Encrypted,
    /// No TLS.
    Plain,
}

impl Access {
    /// The names and the origins, joined by commas; nothing and `*` are all.
    #[must_use]
    pub(crate) fn new(hosts: &str, origins: &str) -> Self {
        let set = |text: &str| -> BTreeSet<String> {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            let words: BTreeSet<String> = words.map(str::to_owned).collect();
            if words.contains(ALL) { BTreeSet::new() } else { words }
        };
        Self { hosts: set(hosts), origins: set(origins) }
    }

    /// The refusal, if the member is called by a name that it does not have.
    pub(super) fn refuse(
        &self,
        transport: Transport,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Answer> {
        if self.hosts.is_empty() || transport == Transport::Encrypted {
            return None;
        }
        let header = headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = uri.authority().map(http::uri::Authority::as_str).or(header);
        let host = without_port(authority.unwrap_or_default());
        if self.hosts.contains(host) {
            return None;
        }
        tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
        let text = format!(
            "the member was reached by the name {host:?}, which it does not know.\n\nEither name \
             it among those that it may be called, with --host-whitelist={host}, or use TLS, \
             where names are proved."
        );
        Some(error(StatusCode::MISDIRECTED_REQUEST, &text))
    }

    /// Tell a browser which pages may read the answer.
    pub(super) fn allow(&self, headers: &HeaderMap, answer: &mut Answer) {
        let origin = headers.get(ORIGIN);
        let allowed = if self.origins.is_empty() {
            Some(HeaderValue::from_static(ALL))
        } else {
            let is_known = |origin: &&HeaderValue| {
                origin.to_str().is_ok_and(|origin| self.origins.contains(origin))
            };
            origin.filter(is_known).cloned()
        };
        let Some(allowed) = allowed else { return };
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        let named = HeaderValue::from_static("accept, content-type, authorization");
        let answer = answer.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, named);
    }
}

/// `[::1]:2379` is `::1`, as Go splits it.
fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        Some(_) | None => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).expect("a value"))])
    }

    #[test]
    fn names_are_looked_at_without_tls_alone() {
        let access = Access::new("localhost, ::1,10.0.0.1", "*");
        let uri = Uri::from_static("/health");
        let is_refused = |host: &str, transport| {
            access.refuse(transport, &uri, &headers(HOST, host)).map(|answer| answer.status())
        };
        for host in ["localhost", "localhost:2379", "[::1]:2379", "10.0.0.1:1"] {
            assert_eq!(is_refused(host, Transport::Plain), None, "{host}");
        }
        for host in ["evil.example", "evil.example:2379", "", "localhost.evil:1", "[::2]"] {
            let status = Some(StatusCode::MISDIRECTED_REQUEST);
            assert_eq!(is_refused(host, Transport::Plain), status, "{host}");
            assert_eq!(is_refused(host, Transport::Encrypted), None, "{host}");
        }
        // HTTP/2 has the name in the request's address.
        let uri = Uri::from_static("http://localhost:1/health");
        assert!(access.refuse(Transport::Plain, &uri, &HeaderMap::new()).is_none());
        let all = Access::new("*", "");
        assert!(all.refuse(Transport::Plain, &uri, &headers(HOST, "evil")).is_none());
    }

    #[test]
    fn origins_are_named() {
        let allowed = |access: &Access, origin: &str| {
            let mut answer = super::super::only_get();
            access.allow(&headers(ORIGIN, origin), &mut answer);
            let header = answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
            header.map(|origin| origin.to_str().expect("text").to_owned())
        };
        let all = Access::new("*", "*");
        assert_eq!(allowed(&all, "http://a").as_deref(), Some("*"));
        let some = Access::new("*", "http://a,http://b");
        assert_eq!(allowed(&some, "http://b").as_deref(), Some("http://b"));
        assert_eq!(allowed(&some, "http://c"), None);
    }
}
