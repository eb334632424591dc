//! What TLS is asked for, beside the addresses that need it.

use quorate_api::urls::{Url, Urls};

use super::read::{Values, warning};
use super::{Config, ConfigError};
use crate::args::environment::Notice;
use crate::tls::{Asked, Options, Side};

impl Config {
    /// Reads the TLS of both sides, once the URLs are known.
    pub(super) fn read_tls(&mut self, values: &Values<'_>) -> Result<Vec<Notice>, ConfigError> {
        let mut notices = Vec::new();
        self.client_tls = self.client_tls(values, &mut notices)?;
        self.peer_tls = self.peer_tls(values, &mut notices)?;
        Ok(notices)
    }

    fn client_tls(
        &self,
        values: &Values<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<Options>, ConfigError> {
        let asked = asked(Side::Clients, values);
        let options = Options::check(Side::Clients, &asked)?;
        let clients = [self.listen_client_urls.as_slice(), &self.listen_client_http_urls].concat();
        let secure = |urls: &[Url]| urls.iter().find(|url| url.scheme().is_tls()).cloned();
        let (client, metrics) = (secure(&clients), secure(&self.listen_metrics_urls));
        if !options.has_certificate() {
            if let Some(url) = client {
                return Err(ConfigError::NoClientCertificate(url.to_string()));
            }
            if let Some(url) = metrics {
                return Err(ConfigError::NoMetricsCertificate(url.to_string()));
            }
        }
        notices.extend(warnings(&options, &asked, &clients));
        if client.is_none() && metrics.is_none() {
            return Ok(None);
        }
        options.check_used(asked.is_demanded)?;
        Ok(Some(options))
    }

    fn peer_tls(
        &self,
        values: &Values<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<Options>, ConfigError> {
        let asked = asked(Side::Peers, values);
        let mut options = Options::check(Side::Peers, &asked)?;
        let listening = self.listen_peer_urls.as_slice();
        let listens = listening.iter().find(|url| url.scheme().is_tls());
        if let Some(url) = listens
            && !options.has_certificate()
        {
            return Err(ConfigError::NoPeerCertificate(url.address().to_owned()));
        }
        notices.extend(warnings(&options, &asked, listening));
        let others = self.initial_cluster.members().iter().filter(|(name, _)| **name != self.name);
        let mut others = others.flat_map(|(_, urls)| Urls::as_slice(urls));
        let other = others.find(|url| url.scheme().is_tls());
        if listens.is_none() && other.is_none() {
            // Nobody is shown a certificate, so none is made.
            options.self_signed_years = None;
            return Ok(Some(options).filter(|options| !options.is_empty()));
        }
        options.check_used(asked.is_demanded)?;
        match other {
            Some(url) if options.trusted_ca.is_none() && options.self_signed_years.is_none() => {
                Err(ConfigError::PeersUntrusted(url.to_string()))
            }
            _ => Ok(Some(options)),
        }
    }
}

fn asked(side: Side, values: &Values<'_>) -> Asked {
    let flags = side.flags();
    let text = |flag: &str| values.text(flag).to_owned();
    Asked {
        certificate: text(flags.certificate),
        key: text(flags.key),
        outgoing_certificate: text(flags.outgoing_certificate),
        outgoing_key: text(flags.outgoing_key),
        trusted_ca: text(flags.trusted_ca),
        is_demanded: values.boolean(flags.demand),
        revoked: text(flags.revoked),
        common_names: flags.common_names.map(text).unwrap_or_default(),
        host_names: text(flags.host_names),
        is_automatic: values.boolean(flags.automatic),
        years: values.unsigned("self-signed-cert-validity"),
        skips_addresses: values.boolean("peer-skip-client-san-verification"),
        suites: text("cipher-suites"),
        version_min: text("tls-min-version"),
        version_max: text("tls-max-version"),
    }
}

/// What is asked for and not had, where etcd only says so: an address without TLS has none of it.
fn warnings(options: &Options, asked: &Asked, urls: &[Url]) -> Vec<Notice> {
    let (side, flags) = (options.side.name(), options.side.flags());
    let mut warnings = Vec::new();
    if asked.is_automatic && options.certificate.is_some() {
        warnings.push(warning(format!("ignoring {side} auto TLS since certs given")));
    }
    for url in urls.iter().filter(|url| !url.scheme().is_tls()) {
        if options.has_certificate() {
            warnings.push(warning(format!(
                "scheme is HTTP while key and cert files are present; ignoring key and cert files \
                 ({url})"
            )));
        }
        if asked.is_demanded {
            warnings.push(warning(format!(
                "scheme is HTTP while --{} is enabled; ignoring client cert auth for this URL \
                 ({url})",
                flags.demand
            )));
        }
    }
    warnings
}
