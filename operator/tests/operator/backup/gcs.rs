//! Google Cloud Storage as far as it can be had: an S3 server behind a gate that asks for a bearer.
//!
//! The interface of Google's that takes files in parts is S3's with other credentials: a token that
//! a service account has signed. The gate checks that token, as Google does, and passes on under a
//! signature of S3's what the account may ask. No server of Google's protocol alone takes parts.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, ObjectStore};
use quorate_operator_api::Destination;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::clouds::{Cloud, credentials_file};
use super::process::Folder;
use super::s3;

/// A key of tests, which opens nothing.
const KEY: &str = include_str!("../../../../node/tests/node/tls/fixtures/rsa2048.key");
const KEY_ID: &str = "first";
const ACCOUNT: &str = "backups@project.example";

/// A server with one bucket, `vault`.
pub(crate) fn start(test: &str, folder: &Folder) -> Option<Cloud> {
    let server = s3::Server::start(test, folder)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seen = AmazonS3Builder::new()
        .with_access_key_id(s3::ID)
        .with_secret_access_key(s3::SECRET)
        .with_endpoint(format!("http://127.0.0.1:{}", server.port))
        .with_allow_http(true)
        .with_bucket_name("vault")
        .build()
        .expect("a destination");
    let s3::Server { process, port, bucket } = server;
    Some(Cloud {
        _processes: vec![process],
        port: gate(port),
        seen: Arc::new(seen) as Arc<dyn ObjectStore>,
        parts: Some(bucket.join(".sgwtmp/multipart")),
        destination,
        credentials,
        strangers: vec![|root| credentials_are(root, KEY, "withdrawn", ACCOUNT), |root| {
            credentials_are(root, KEY, KEY_ID, "somebody@else.example")
        }],
        nonsense: vec![|root| credentials_are(root, "no key", KEY_ID, ACCOUNT), |root| {
            credentials_file(root, "service-account.json", "{}")
        }],
    })
}

/// A bucket at a port of this machine.
fn destination(port: u16, bucket: &str) -> Destination {
    let gcs = json!({
        "gcs": {
            "bucket": bucket,
            "prefix": "p",
            "endpoint": format!("http://127.0.0.1:{port}/"),
            "serviceAccount": { "name": "secret", "key": "key.json" },
        }
    });
    serde_json::from_value(gcs).expect("a destination")
}

fn credentials(root: &Path) {
    credentials_are(root, KEY, KEY_ID, ACCOUNT);
}

fn credentials_are(root: &Path, key: &str, key_id: &str, account: &str) {
    let text = json!({
        "type": "service_account",
        "private_key": key,
        "private_key_id": key_id,
        "client_email": account,
    });
    credentials_file(root, "service-account.json", &text.to_string());
}

/// Its port. It ends with the process of the test.
fn gate(to: u16) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("a listener");
    let options = ClientOptions::new().with_allow_http(true).with_timeout_disabled();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let client = ReqwestConnector::default().connect(&options).expect("a client");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let client = client.clone();
                let service = hyper::service::service_fn(move |request| {
                    let client = client.clone();
                    async move { answer(request, to, &client).await }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // Lines are cut on purpose.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
    });
    port
}

/// What the server says, or that nobody knows who asks.
async fn answer(
    request: Request<Incoming>,
    to: u16,
    client: &HttpClient,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if !is_known(&parts.headers) {
        let text = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AuthenticationRequired\
                    </Code><Message>Authentication required.</Message></Error>";
        let refusal = Response::builder().status(StatusCode::UNAUTHORIZED);
        return Ok(refusal.body(Full::from(text)).expect("an answer"));
    }
    // Google takes any character of a name in hexadecimal digits, and S3 signs names as they are.
    let path = parts.uri.path_and_query().expect("a path").as_str();
    let path = path.replace("%2F", "/").replace("%2E", ".").replace("%2D", "-");
    assert!(!path.contains('%'), "{path}");
    let mut asked = Request::new(HttpRequestBody::from(body));
    *asked.method_mut() = parts.method.clone();
    *asked.uri_mut() = format!("http://127.0.0.1:{to}{path}").parse().expect("a URL");
    for name in [header::RANGE, header::IF_MATCH, header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        if let Some(value) = parts.headers.get(&name) {
            asked.headers_mut().insert(name, value.clone());
        }
    }
    let credential =
        AwsCredential { key_id: s3::ID.to_owned(), secret_key: s3::SECRET.to_owned(), token: None };
    let signer = AwsAuthorizer::new(&credential, "s3", "us-east-1");
    signer.try_authorize(&mut asked, None).expect("signed");
    let Ok(answer) = client.execute(asked).await else {
        let none = Response::builder().status(StatusCode::BAD_GATEWAY);
        return Ok(none.body(Full::default()).expect("an answer"));
    };
    let (head, body) = answer.into_parts();
    let mut told = Response::builder().status(head.status);
    for (name, value) in &head.headers {
        // The body is here as a whole.
        if name != header::TRANSFER_ENCODING {
            told = told.header(name, value);
        }
    }
    let body = body.bytes().await.unwrap_or_default();
    Ok(told.body(Full::from(body)).expect("an answer"))
}

/// Whether the account has signed who asks, with the key that is not withdrawn.
fn is_known(headers: &http::HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = bearer.and_then(|text| text.strip_prefix("Bearer ")) else { return false };
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { return false };
    decoded(head)["kid"] == KEY_ID
        && decoded(claims)["iss"] == ACCOUNT
        && signed(&format!("{head}.{claims}")) == signature
}

/// There is one signature of a message alone.
fn signed(message: &str) -> String {
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).expect("RSA");
    let signature = signer.sign(message.as_bytes()).expect("a signature");
    let text = serde_json::to_value(ByteString(signature)).expect("a text");
    let text = text.as_str().expect("a text").trim_end_matches('=');
    text.replace('+', "-").replace('/', "_")
}

fn decoded(part: &str) -> Value {
    let mut text = part.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    let bytes: Option<ByteString> = serde_json::from_value(json!(text)).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes.0).ok()).unwrap_or_default()
}
