//! Where calls go when endpoints do not answer, and what their errors say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_api::Code;
use quorate_api::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use quorate_client::{Client, Error, Options};
use tokio::net::TcpListener;
use tonic::Status;

fn impatient() -> Options {
    Options { call_timeout: Duration::from_millis(100), ..Options::default() }
}

/// A listener on a free port, and its endpoint.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, format!("http://{address}"))
}

/// An endpoint where nobody listens.
async fn closed() -> String {
    listen().await.1
}

/// An endpoint that takes connections and never answers, and how many it has taken.
async fn silent() -> (String, Arc<AtomicUsize>) {
    let (listener, endpoint) = listen().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            connections.push(connection);
        }
    });
    (endpoint, taken)
}

fn taken(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn nobody_listens() {
    let client = Client::connect(&[closed().await, closed().await], impatient()).unwrap();
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(!error.may_have_happened());
    let error = client.watch(WatchCreateRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_change_is_sent_once() {
    let (first, first_taken) = silent().await;
    let (second, second_taken) = silent().await;
    let client = Client::connect(&[first, second], impatient()).unwrap();
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert_eq!(error, Error::Deadline);
    assert!(error.may_have_happened());
    assert_eq!((taken(&first_taken), taken(&second_taken)), (1, 0));
    // The next call asks the other endpoint.
    assert_eq!(client.put(PutRequest::default()).await, Err(Error::Deadline));
    assert_eq!((taken(&first_taken), taken(&second_taken)), (1, 1));
}

#[tokio::test]
async fn a_change_that_was_never_sent_goes_on() {
    let (second, second_taken) = silent().await;
    let client = Client::connect(&[closed().await, second], impatient()).unwrap();
    assert_eq!(client.put(PutRequest::default()).await, Err(Error::Deadline));
    assert_eq!(taken(&second_taken), 1);
}

#[tokio::test]
async fn a_read_goes_on() {
    let (first, first_taken) = silent().await;
    let (second, second_taken) = silent().await;
    let client = Client::connect(&[first, second], impatient()).unwrap();
    assert_eq!(client.range(RangeRequest::default()).await, Err(Error::Deadline));
    assert_eq!((taken(&first_taken), taken(&second_taken)), (1, 1));
}

/// An endpoint that breaks each connection once something has come.
async fn breaking() -> String {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            connection.readable().await.expect("something comes");
            // What has come is not taken: the other end hears that the connection was reset.
            drop(connection);
        }
    });
    endpoint
}

#[tokio::test]
async fn a_connection_that_breaks_says_nothing_about_a_change_and_a_read_goes_on() {
    let (second, second_taken) = silent().await;
    let client = Client::connect(&[breaking().await, second], impatient()).unwrap();
    assert_eq!(client.range(RangeRequest::default()).await, Err(Error::Deadline));
    assert_eq!(taken(&second_taken), 1);

    let client = Client::connect(&[breaking().await], impatient()).unwrap();
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Status { code: Code::Unavailable, .. }), "{error:?}");
    assert!(error.may_have_happened());
}

#[tokio::test]
async fn endpoints_are_checked() {
    let none: [&str; 0] = [];
    assert!(matches!(Client::connect(&none, impatient()), Err(Error::Endpoint(_))));
    for bad in ["", "https://a:1", "http://", "http://a b:1"] {
        let client = Client::connect(&[bad], impatient());
        assert!(matches!(client, Err(Error::Endpoint(_))), "{bad:?}");
    }
    let token = Some("two\nlines".to_owned());
    let client = Client::connect(&["a:1"], Options { token, ..impatient() });
    assert!(matches!(client, Err(Error::Token)));
}

#[test]
fn errors_are_told_by_their_text() {
    let told = |code, message: &str| Error::from(Status::new(code, message));
    assert_eq!(
        told(tonic::Code::Unknown, "etcdserver: too many requests"),
        Error::Etcd(quorate_api::Error::TooManyRequests)
    );
    assert_eq!(
        told(tonic::Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        Error::Etcd(quorate_api::Error::Compacted)
    );
    assert_eq!(
        told(tonic::Code::Internal, "else"),
        Error::Status { code: Code::Internal, message: "else".to_owned() }
    );
    assert_eq!(told(tonic::Code::DeadlineExceeded, "context deadline exceeded"), Error::Deadline);
    assert!(!Error::Etcd(quorate_api::Error::Compacted).may_have_happened());
    assert!(Error::Etcd(quorate_api::Error::Timeout).may_have_happened());
}
