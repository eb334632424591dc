//! URLs that etcd took or refused, with what it made of them.

use quorate_api::urls::{InitialCluster, Scheme, Url, UrlError, Urls};

#[test]
fn urls_are_read_as_etcd_reads_them() {
    for (given, written) in [
        ("http://a:1", "http://a:1"),
        ("http://[::1]:2380", "http://[::1]:2380"),
        ("unix://x/y", "unix://x/y"),
        (" http://a:1 ", "http://a:1"),
        ("http://a:1?x", "http://a:1?x"),
        ("http://A:1", "http://A:1"),
        ("HTTP://a:1", "http://a:1"),
        ("http://u@a:1", "http://u@a:1"),
        ("http://a:", "http://a:"),
        ("http://:1", "http://:1"),
        ("unix:///x", "unix:///x"),
        ("unixs://h:0", "unixs://h:0"),
        ("http://a:1#f", "http://a:1#f"),
        ("http://a:99999", "http://a:99999"),
        ("http://[fe80::1%25en0]:1", "http://[fe80::1%25en0]:1"),
        ("http://é:1", "http://%C3%A9:1"),
        ("unix:abc", "unix:abc"),
    ] {
        assert_eq!(Urls::new(&[given]).map(|urls| urls.to_string()), Ok(written.to_owned()));
    }
}

#[test]
fn urls_are_refused_in_etcds_words() {
    for (given, error) in [
        ("http://a", "URL address does not have the form \"host:port\": http://a"),
        ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
        ("http://a:1/", "URL must not contain a path: http://a:1/"),
        ("http://a:1/x", "URL must not contain a path: http://a:1/x"),
        ("http://::1:2380", "parse \"http://::1:2380\": invalid port \"::1:2380\" after host"),
        ("", "URL scheme must be http, https, unix, or unixs: "),
        ("a:1", "URL scheme must be http, https, unix, or unixs: a:1"),
        ("http://a:b", "parse \"http://a:b\": invalid port \":b\" after host"),
        ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"),
        ("//a:1", "URL scheme must be http, https, unix, or unixs: //a:1"),
        ("http:a:1", "URL address does not have the form \"host:port\": http:a:1"),
        ("localhost", "URL scheme must be http, https, unix, or unixs: localhost"),
        ("http://[::1]", "URL address does not have the form \"host:port\": http://[::1]"),
        ("http://a%20b:1", "parse \"http://a%20b:1\": invalid URL escape \"%20\""),
        ("http://a%zz:1", "parse \"http://a%zz:1\": invalid URL escape \"%zz\""),
        ("http://a:1%", "parse \"http://a:1%\": invalid port \":1%\" after host"),
        ("1http://a:1", "parse \"1http://a:1\": first path segment in URL cannot contain colon"),
        ("http://a:1/%zz", "parse \"http://a:1/%zz\": invalid URL escape \"%zz\""),
    ] {
        assert_eq!(Urls::new(&[given]).map_err(|error| error.to_string()), Err(error.to_owned()));
    }
    assert_eq!(Urls::new::<&str>(&[]), Err(UrlError::Empty));
}

#[test]
fn initial_clusters_are_read_as_etcd_reads_them() {
    for (given, written, members) in [
        (
            "m0=http://a:1,m1=http://b:2,m0=http://a:0",
            "m0=http://a:0,m0=http://a:1,m1=http://b:2",
            2,
        ),
        ("", "", 0),
        (",", "", 0),
        ("=http://a:1", "=http://a:1", 1),
        ("m0=http://a:1,,m1=http://b:1", "m0=http://a:1,m1=http://b:1", 2),
        ("m0= http://a:1", "m0=http://a:1", 1),
    ] {
        let cluster = InitialCluster::parse(given).unwrap();
        assert_eq!(cluster.to_string(), written);
        assert_eq!(cluster.members().len(), members);
    }
    for (given, error) in [
        ("m0", "URL scheme must be http, https, unix, or unixs: "),
        ("m0=", "URL scheme must be http, https, unix, or unixs: "),
        ("a=http://x:1=2", "parse \"http://x:1=2\": invalid port \":1=2\" after host"),
    ] {
        let read = InitialCluster::parse(given).map_err(|error| error.to_string());
        assert_eq!(read, Err(error.to_owned()));
    }
}

#[test]
fn lists_are_sorted() {
    let urls = Urls::parse("http://b:1, http://a:2,https://a:1").unwrap();
    assert_eq!(urls.to_string(), "http://a:2,http://b:1,https://a:1");
}

#[test]
fn addresses_are_taken_apart() {
    let url = Url::parse("https://[fe80::1%25en0]:2380").unwrap();
    assert_eq!((url.scheme(), url.address()), (Scheme::Https, "[fe80::1%en0]:2380"));
    assert_eq!((url.host(), url.port()), ("fe80::1%en0", Some("2380")));
    let url = Url::parse("http://user@m0.peers:").unwrap();
    assert_eq!((url.host(), url.port()), ("m0.peers", Some("")));
    let url = Url::parse("unix://localhost:m0/sock").unwrap_err();
    assert_eq!(
        url.to_string(),
        "parse \"unix://localhost:m0/sock\": invalid port \":m0\" after host"
    );
    let url = Url::parse("unix:///run/m0.sock").unwrap();
    assert_eq!((url.host(), url.port()), ("/run/m0.sock", None));
    assert!(url.scheme().is_unix() && !url.scheme().is_tls());
}
