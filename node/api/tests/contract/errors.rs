//! The table of errors.

use std::collections::BTreeSet;

use quorate_api::{Code, Error};

#[test]
fn every_text_is_unique_and_prefixed() {
    let texts: BTreeSet<&str> = Error::ALL.iter().map(|error| error.message()).collect();
    assert_eq!(texts.len(), Error::ALL.len());
    assert!(texts.iter().all(|text| text.starts_with("etcdserver: ")));
}

#[test]
fn every_error_is_listed_once_and_found_by_its_text() {
    let listed: BTreeSet<Error> = Error::ALL.into_iter().collect();
    assert_eq!(listed.len(), 63, "as many as etcd has");
    for error in Error::ALL {
        assert_eq!(Error::from_message(&error.to_string()), Some(error));
    }
    assert_eq!(Error::from_message("etcdserver: no such text"), None);
    assert_eq!(Error::from_message("key not found"), None);
}

#[test]
fn codes_are_counted_as_in_etcd() {
    let count = |code| Error::ALL.into_iter().filter(|error| error.declared_code() == code).count();
    assert_eq!(count(Code::InvalidArgument), 18);
    assert_eq!(count(Code::OutOfRange), 3);
    assert_eq!(count(Code::ResourceExhausted), 2);
    assert_eq!(count(Code::NotFound), 2);
    assert_eq!(count(Code::FailedPrecondition), 24);
    assert_eq!(count(Code::Canceled), 2);
    assert_eq!(count(Code::PermissionDenied), 1);
    assert_eq!(count(Code::Unauthenticated), 1);
    assert_eq!(count(Code::Unavailable), 8);
    assert_eq!(count(Code::DataLoss), 1);
    assert_eq!(count(Code::DeadlineExceeded), 1);
}

#[test]
fn two_errors_travel_as_unknown() {
    let unknown: Vec<Error> =
        Error::ALL.into_iter().filter(|error| error.code() != error.declared_code()).collect();
    assert_eq!(unknown, [Error::MemberNotEnoughStarted, Error::TooManyRequests]);
    assert!(unknown.iter().all(|error| error.code() == Code::Unknown));
}

#[test]
fn codes_have_their_numbers() {
    assert_eq!(Code::Unauthenticated.number(), 16);
    for number in 0..17 {
        assert_eq!(Code::from_number(number).map(Code::number), Some(number));
    }
    assert_eq!(Code::from_number(17), None);
}
