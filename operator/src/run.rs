//! `quorate-operator run`: the operator as a process.
//!
//! It ends when it is told to, and for nothing else: an API server that is away is waited for.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, LogFormat};
use crate::clock::Clock;
use crate::controller::operate;
use crate::election::Election;
use crate::kubernetes::Counted;
use crate::members::Remote;
use crate::metrics::Metrics;
use crate::operator::{Operator, Settings};
use crate::serve::serve;

/// The Lease, and the name of the operator where it has none.
const NAME: &str = "quorate-operator";
/// How long a connection to the API server may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the operator does not begin.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("the API server is not known: {0}")]
    Config(#[source] kube::config::InferConfigError),
    #[error("the API server cannot be spoken to: {0}")]
    Client(#[source] kube::Error),
    #[error("--listen={address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the process cannot be set up: {0}")]
    Process(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    start_log(arguments.log_format, arguments.log_level);
    // Another part of the process may have been faster, with the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(RunError::Process).and_then(|runtime| {
        let result = runtime.block_on(run_until_told(arguments));
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator cannot begin");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat, level: tracing::Level) {
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    // An error means that there is a log already.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(log.json().flatten_event(true).finish())
        }
    };
}

async fn run_until_told(arguments: Arguments) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Process)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Process)?;
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new(clock.clone()));
    let client = client(&metrics).await?;
    let address = arguments.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
    let identity = variable("POD_NAME").unwrap_or_else(|| NAME.to_owned());
    let own_namespace =
        variable("POD_NAMESPACE").unwrap_or_else(|| client.default_namespace().to_owned());
    let settings = Settings {
        namespace: arguments.namespace,
        defaults: arguments.defaults,
        identity: identity.clone(),
        looks_max: arguments.looks_max,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity,
        namespace = settings.namespace.as_deref().unwrap_or("all"),
        listen = %address,
        member_image = settings.defaults.member_image,
        "the operator begins"
    );
    let election = arguments
        .leader_elect
        .then(|| Election::new(client.clone(), &own_namespace, NAME, &identity, clock.clone()));
    let mut operator =
        Operator::new(client, Arc::new(Remote), Arc::clone(&metrics), clock, settings);
    if let Some(election) = &election {
        operator = operator.led_by(election.leadership());
    }
    let operator = Arc::new(operator);
    let health = Arc::clone(&operator.health);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: the operator ends"),
            _ = interrupt.recv() => tracing::info!("SIGINT: the operator ends"),
        }
    };
    tokio::select! {
        () = operate(operator, election, stop) => {}
        () = serve(listener, health, metrics) => {}
    }
    Ok(())
}

async fn client(metrics: &Arc<Metrics>) -> Result<Client, RunError> {
    let mut config = Config::infer().await.map_err(RunError::Config)?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let counted = Counted::new({
        let metrics = Arc::clone(metrics);
        Arc::new(move |verb: &str, code| metrics.called(verb, code))
    });
    let builder = ClientBuilder::try_from(config).map_err(RunError::Client)?;
    Ok(builder.with_layer(&counted).build())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
