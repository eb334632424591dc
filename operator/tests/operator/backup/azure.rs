//! Azurite, Microsoft's own stand-in for Azure Blob Storage, which checks who asks.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder,
};
use object_store::client::{HttpConnector as _, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, ObjectStore};
use quorate_operator_api::Destination;
use serde_json::json;

use super::clouds::{Cloud, credentials_file, program};
use super::process::{Folder, Running, eventually, free_port};

const ACCOUNT: &str = "quoratetest";
const KEY: &str = "YSBrZXkgdGhhdCBvcGVucyBub3RoaW5nIGF0IGFsbA==";
/// One that is well made, and another's.
const OTHER_KEY: &str = "YW5vdGhlciBrZXksIHdoaWNoIG9wZW5zIG5vdGhpbmc=";

/// A server with one container, `vault`.
pub(crate) async fn start(test: &str, folder: &Folder) -> Option<Cloud> {
    let main = "azurite/node_modules/azurite/dist/src/blob/main.js";
    let main = program(test, main, "e2e/azure-server")?;
    let port = free_port();
    let process = Command::new("node")
        .arg(main)
        .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
        .arg("--location")
        .arg(folder.path().join("azure"))
        .args(["--silent", "--disableTelemetry"])
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("node, with which the server was installed");
    let mut process = Running(process);
    eventually("the Azure server listens", || {
        assert!(process.0.try_wait().expect("a process").is_none(), "the server has ended");
        TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    make_container(port).await;
    let seen = MicrosoftAzureBuilder::new()
        .with_account(ACCOUNT)
        .with_access_key(KEY)
        .with_endpoint(format!("http://127.0.0.1:{port}/{ACCOUNT}"))
        .with_allow_http(true)
        .with_container_name("vault")
        .build()
        .expect("a destination");
    Some(Cloud {
        _processes: vec![process],
        port,
        seen: Arc::new(seen) as Arc<dyn ObjectStore>,
        parts: None,
        destination,
        credentials,
        strangers: vec![|root| credentials_are(root, OTHER_KEY)],
        nonsense: vec![|root| credentials_are(root, "not base64!")],
    })
}

/// Who may ask is seen from the request's signature.
async fn make_container(port: u16) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let uri = format!("http://127.0.0.1:{port}/{ACCOUNT}/vault?restype=container");
    let mut request = http::Request::put(uri)
        .header(http::header::CONTENT_LENGTH, 0)
        .body(HttpRequestBody::empty())
        .expect("a request");
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).expect("a key"));
    AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).expect("signed");
    let options = ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default().connect(&options).expect("a client");
    let answer = client.execute(request).await.expect("an answer");
    assert_eq!(answer.status(), http::StatusCode::CREATED);
}

/// A container at a port of this machine, where the account stands in the path.
fn destination(port: u16, container: &str) -> Destination {
    let azure = json!({
        "azure": {
            "account": ACCOUNT,
            "container": container,
            "prefix": "p",
            "endpoint": format!("http://127.0.0.1:{port}/{ACCOUNT}/"),
            "accessKey": { "name": "secret", "key": "accessKey" },
        }
    });
    serde_json::from_value(azure).expect("a destination")
}

fn credentials(root: &Path) {
    credentials_are(root, KEY);
}

fn credentials_are(root: &Path, key: &str) {
    credentials_file(root, "access-key", &format!("{key}\n"));
}
