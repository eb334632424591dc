//! A destination, opened: one interface for all kinds.
//!
//! Whole requests have no deadline, for files are large; a connection on which nothing comes is cut.
//! What a server or a connection fails at is repeated for a while within, with growing pauses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use quorate_operator_api::{
    AzureDestination, Destination, GcsDestination, PvcDestination, S3Destination, SecretKey,
};

use super::cause::{Cause, Failure};
use super::place;

/// The region that is taken where none is said, as servers of S3's protocol have it.
const REGION: &str = "us-east-1";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing may come; a part that is sent has to be taken within it.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The first pause before something is repeated, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The most repetitions of one request, however quickly each fails.
const REPETITIONS_MAX: usize = 10;

/// Where a pod's files are: the root of its file system, or a test's folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root<'a>(pub(super) &'a Path);

impl Root<'_> {
    /// A path as pods have it.
    pub(super) fn path(self, path: &str) -> std::path::PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A file's text without the newline that editors add; `None` if there is no such file.
    fn maybe_text(self, folder: &str, file: &str) -> Result<Option<String>, Failure> {
        let path = self.path(folder).join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    fn text(self, folder: &str, file: &str) -> Result<String, Failure> {
        let missing = || {
            let path = self.path(folder).join(file);
            let error = std::io::Error::from(std::io::ErrorKind::NotFound);
            unreadable(&path, &error)
        };
        self.maybe_text(folder, file)?.ok_or_else(missing)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Cause::Misconfigured, format!("{}: {error}", path.display()))
}

/// A destination that can be written to and read from.
///
/// # Errors
/// [`Failure`] if it cannot be one. Whether it is there is seen when it is used.
pub(super) fn open(
    destination: &Destination,
    root: Root<'_>,
    patience: Duration,
) -> Result<Arc<dyn ObjectStore>, Failure> {
    let Destination { s3, gcs, azure, pvc } = destination;
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: PAUSES.0,
            max_backoff: PAUSES.1,
            ..BackoffConfig::default()
        },
        max_retries: REPETITIONS_MAX,
        retry_timeout: patience,
    };
    // Whatever is spoken over TLS here has this provider and no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled()
        .with_read_timeout(READ_TIMEOUT);
    match (s3, gcs, azure, pvc) {
        (Some(s3), None, None, None) => of_s3(s3, root, retry, options),
        (None, Some(gcs), None, None) => of_gcs(gcs, root, retry, options),
        (None, None, Some(azure), None) => of_azure(azure, root, retry, options),
        (None, None, None, Some(pvc)) => of_pvc(pvc, root),
        _ => Err(Failure::new(
            Cause::Misconfigured,
            "a destination is exactly one of s3, gcs, azure and pvc",
        )),
    }
}

fn misconfigured(error: object_store::Error) -> Failure {
    Failure::new(Cause::Misconfigured, error)
}

/// Servers whose certificates are signed by the destination's CA are trusted, too.
fn trusting(
    ca: Option<&SecretKey>,
    root: Root<'_>,
    mut options: ClientOptions,
) -> Result<ClientOptions, Failure> {
    if ca.is_none() {
        return Ok(options);
    }
    let text = root.text(place::AUTHORITY, place::CA)?;
    let found = Certificate::from_pem_bundle(text.as_bytes()).map_err(misconfigured)?;
    if found.is_empty() {
        return Err(Failure::new(Cause::Misconfigured, "the destination's CA is no certificate"));
    }
    for certificate in found {
        options = options.with_root_certificate(certificate);
    }
    Ok(options)
}

/// A server's URL as names of objects are put behind it; without TLS only where it says so.
fn server(endpoint: &str, options: ClientOptions) -> (String, ClientOptions) {
    let options = options.with_allow_http(endpoint.starts_with("http://"));
    (endpoint.trim_end_matches('/').to_owned(), options)
}

fn of_s3(
    s3: &S3Destination,
    root: Root<'_>,
    retry: RetryConfig,
    options: ClientOptions,
) -> Result<Arc<dyn ObjectStore>, Failure> {
    let mut options = trusting(s3.ca.as_ref(), root, options)?;
    // With an identity of the pod, the environment says where it is to be had.
    let mut builder = match s3.credentials {
        Some(_) => AmazonS3Builder::new(),
        None => AmazonS3Builder::from_env(),
    };
    if s3.credentials.is_some() {
        let [id, secret, token] = place::S3_KEYS;
        builder = builder
            .with_access_key_id(root.text(place::CREDENTIALS, id)?)
            .with_secret_access_key(root.text(place::CREDENTIALS, secret)?);
        if let Some(token) = root.maybe_text(place::CREDENTIALS, token)? {
            builder = builder.with_token(token);
        }
    }
    if let Some(endpoint) = &s3.endpoint {
        let (endpoint, allowing) = server(endpoint, options);
        // Under the host's own name the bucket is a part of it.
        let endpoint = match (s3.path_style, endpoint.split_once("://")) {
            (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", s3.bucket),
            (true, _) | (false, None) => endpoint,
        };
        options = allowing;
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder
        .with_bucket_name(&s3.bucket)
        .with_region(s3.region.as_deref().unwrap_or(REGION))
        .with_virtual_hosted_style_request(!s3.path_style)
        .with_retry(retry)
        .with_client_options(options)
        .build()
        .map_err(misconfigured)?;
    Ok(Arc::new(store))
}

fn of_gcs(
    gcs: &GcsDestination,
    root: Root<'_>,
    retry: RetryConfig,
    options: ClientOptions,
) -> Result<Arc<dyn ObjectStore>, Failure> {
    let mut options = trusting(gcs.ca.as_ref(), root, options)?;
    let mut builder = match gcs.service_account {
        Some(_) => GoogleCloudStorageBuilder::new()
            .with_service_account_key(root.text(place::CREDENTIALS, place::SERVICE_ACCOUNT)?),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    if let Some(endpoint) = &gcs.endpoint {
        let (endpoint, allowing) = server(endpoint, options);
        options = allowing;
        builder = builder.with_base_url(&endpoint);
    }
    let store = builder
        .with_bucket_name(&gcs.bucket)
        .with_retry(retry)
        .with_client_options(options)
        .build()
        .map_err(misconfigured)?;
    Ok(Arc::new(store))
}

fn of_azure(
    azure: &AzureDestination,
    root: Root<'_>,
    retry: RetryConfig,
    options: ClientOptions,
) -> Result<Arc<dyn ObjectStore>, Failure> {
    let mut options = trusting(azure.ca.as_ref(), root, options)?;
    let mut builder = match azure.access_key {
        Some(_) => MicrosoftAzureBuilder::new()
            .with_access_key(root.text(place::CREDENTIALS, place::ACCESS_KEY)?),
        None => MicrosoftAzureBuilder::from_env(),
    };
    if let Some(endpoint) = &azure.endpoint {
        let (endpoint, allowing) = server(endpoint, options);
        options = allowing;
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder
        .with_account(&azure.account)
        .with_container_name(&azure.container)
        .with_retry(retry)
        .with_client_options(options)
        .build()
        .map_err(misconfigured)?;
    Ok(Arc::new(store))
}

/// A file is another name until it is whole and durable.
fn of_pvc(pvc: &PvcDestination, root: Root<'_>) -> Result<Arc<dyn ObjectStore>, Failure> {
    let mut folder = root.path(place::VOLUME);
    if let Some(inner) = &pvc.folder {
        folder = folder.join(inner);
    }
    std::fs::create_dir_all(&folder).map_err(|error| {
        let cause = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Cause::DestinationFull
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                Cause::AccessDenied
            }
            _ => Cause::DestinationFailed,
        };
        Failure::new(cause, format!("{}: {error}", folder.display()))
    })?;
    let store = LocalFileSystem::new_with_prefix(&folder).map_err(misconfigured)?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// Remove what an attempt that was killed has left beside a file in a volume.
pub(super) fn sweep(destination: &Destination, object: &str, root: Root<'_>) {
    let Some(pvc) = &destination.pvc else { return };
    let mut folder = root.path(place::VOLUME);
    if let Some(inner) = &pvc.folder {
        folder = folder.join(inner);
    }
    let file = folder.join(object);
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return };
    let unfinished = format!("{}#", name.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&unfinished) {
            // Whoever cannot remove it meets it as a lack of room.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
