//! The arguments of `quorate-operator run`: as typed, and what they come to.
//!
//! Every default stands here. Nobody else reads arguments or the environment.

use std::net::SocketAddr;

use crate::cluster::build::Defaults;

/// The help of `run`.
pub(crate) const RUN_USAGE: &str = "\
  quorate-operator run          operate clusters, with
      --namespace=NAME            those of one namespace, or of all (all)
      --listen=ADDRESS            where /healthz, /readyz and /metrics are (0.0.0.0:8080)
      --leader-elect              act only while holding the Lease quorate-operator; it is in the
                                  namespace POD_NAMESPACE, and held under the name POD_NAME
      --member-image=IMAGE        what members run where their cluster says nothing else
      --operator-image=IMAGE      the operator's own image, which fetches backups
      --looks=NUMBER              clusters that are looked at at the same time (8)
      --log-format=FORMAT         text or json (text)
      --log-level=LEVEL           error, warn, info, debug or trace (info)
";

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What the arguments come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) namespace: Option<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) leader_elect: bool,
    pub(crate) defaults: Defaults,
    pub(crate) looks_max: usize,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: tracing::Level,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            namespace: None,
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            leader_elect: false,
            defaults: Defaults {
                member_image: concat!("quorate:", env!("CARGO_PKG_VERSION")).to_owned(),
                operator_image: concat!("quorate-operator:", env!("CARGO_PKG_VERSION")).to_owned(),
            },
            looks_max: 8,
            log_format: LogFormat::Text,
            log_level: tracing::Level::INFO,
        }
    }
}

/// An argument that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ArgumentError(String);

impl Arguments {
    /// Reads `--name=value` and `--name value`.
    pub(crate) fn parse(given: &[&str]) -> Result<Self, ArgumentError> {
        let mut arguments = Self::default();
        let mut rest = given.iter();
        while let Some(argument) = rest.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (*argument, None),
            };
            if name == "--leader-elect" {
                arguments.leader_elect = match value {
                    None | Some("true") => true,
                    Some("false") => false,
                    Some(other) => return Err(refused(name, other, "it is true or false")),
                };
                continue;
            }
            let missing = || ArgumentError(format!("{name} needs a value"));
            let value = value.or_else(|| rest.next().copied()).ok_or_else(missing)?;
            arguments.set(name, value)?;
        }
        Ok(arguments)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ArgumentError> {
        if value.is_empty() {
            return Err(refused(name, value, "it is empty"));
        }
        match name {
            "--namespace" => self.namespace = (value != "all").then(|| value.to_owned()),
            "--listen" => {
                let parsed = value.parse();
                self.listen =
                    parsed.map_err(|_| refused(name, value, "it is an address and a port"))?;
            }
            "--member-image" => value.clone_into(&mut self.defaults.member_image),
            "--operator-image" => value.clone_into(&mut self.defaults.operator_image),
            "--looks" => {
                let parsed = value.parse().ok().filter(|number| (1..=1000).contains(number));
                self.looks_max =
                    parsed.ok_or_else(|| refused(name, value, "it is a number from 1 to 1000"))?;
            }
            "--log-format" => {
                self.log_format = match value {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err(refused(name, value, "it is text or json")),
                };
            }
            "--log-level" => {
                let parsed = value.parse();
                self.log_level = parsed
                    .map_err(|_| refused(name, value, "it is error, warn, info, debug or trace"))?;
            }
            _ => return Err(ArgumentError(format!("run does not know {name}"))),
        }
        Ok(())
    }
}

fn refused(name: &str, value: &str, why: &str) -> ArgumentError {
    ArgumentError(format!("{name} cannot be {value:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{Arguments, LogFormat};

    #[test]
    fn what_the_chart_says_is_understood() {
        let arguments = Arguments::parse(&[
            "--namespace=all",
            "--listen=127.0.0.1:9",
            "--leader-elect",
            "--member-image=host:5000/quorate:0.1.0",
            "--operator-image",
            "host:5000/operator:0.1.0",
            "--log-format=json",
        ])
        .expect("it is understood");
        assert_eq!(arguments.namespace, None);
        assert!(arguments.leader_elect);
        assert_eq!(arguments.listen.to_string(), "127.0.0.1:9");
        assert_eq!(arguments.defaults.member_image, "host:5000/quorate:0.1.0");
        assert_eq!(arguments.defaults.operator_image, "host:5000/operator:0.1.0");
        assert_eq!(arguments.log_format, LogFormat::Json);
        let one = Arguments::parse(&["--namespace=prod"]).expect("it is understood");
        assert_eq!(one.namespace.as_deref(), Some("prod"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (given, named) in [
            (&["--listen=here"][..], "--listen"),
            (&["--looks=0"][..], "--looks"),
            (&["--nothing=1"][..], "--nothing"),
            (&["--namespace"][..], "--namespace"),
            (&["--namespace="][..], "--namespace"),
            (&["--log-level=loud"][..], "--log-level"),
        ] {
            let error = Arguments::parse(given).expect_err("it is refused").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
