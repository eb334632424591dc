//! Who may connect. What is asked for here and not there yet stops the start.

use super::{Entry, Kind, accepted, refused, works};
use crate::args::kind::Kind::{Boolean, OneOf, Text, Unsigned};

const NO_GATEWAY: &str = "Checked, and without effect: the member does not connect to itself.";

const VERSIONS: Kind = OneOf(&["", "TLS1.2", "TLS1.3"]);

pub(super) static SECURITY: [Entry; 26] = [
    works("cert-file", "", Text, "The certificate for clients, read again when it changes."),
    works("key-file", "", Text, "Its key."),
    works(
        "trusted-ca-file",
        "",
        Text,
        "The CAs of clients' certificates. With it, clients have to show one.",
    ),
    works("client-cert-auth", "false", Boolean, "Demand certificates of clients."),
    accepted("client-cert-file", "", Text, "The certificate towards itself.", NO_GATEWAY),
    accepted("client-key-file", "", Text, "Its key.", NO_GATEWAY),
    works(
        "client-crl-file",
        "",
        Text,
        "Clients' certificates that are revoked: a CRL as DER, or several as PEM.",
    ),
    works(
        "client-cert-allowed-hostname",
        "",
        Text,
        "Host names or addresses, one of which a client's certificate must be valid for.",
    ),
    works("auto-tls", "false", Boolean, "Make a certificate for clients, if none is given."),
    works("peer-cert-file", "", Text, "The certificate for peers, read again when it changes."),
    works("peer-key-file", "", Text, "Its key."),
    works(
        "peer-trusted-ca-file",
        "",
        Text,
        "The CAs of peers' certificates. With it, peers have to show one.",
    ),
    works("peer-client-cert-auth", "false", Boolean, "Demand certificates of peers."),
    works(
        "peer-client-cert-file",
        "",
        Text,
        "The certificate shown when connecting to peers, if not the same.",
    ),
    works("peer-client-key-file", "", Text, "Its key."),
    works(
        "peer-crl-file",
        "",
        Text,
        "Peers' certificates that are revoked: a CRL as DER, or several as PEM.",
    ),
    works(
        "peer-cert-allowed-cn",
        "",
        Text,
        "Common names, one of which a peer's certificate must have.",
    ),
    works(
        "peer-cert-allowed-hostname",
        "",
        Text,
        "Host names or addresses, one of which a peer's certificate must be valid for.",
    ),
    works("peer-auto-tls", "false", Boolean, "Make a certificate for peers, if none is given."),
    works(
        "peer-skip-client-san-verification",
        "false",
        Boolean,
        "Do not compare a peer's address with its certificate.",
    ),
    works(
        "self-signed-cert-validity",
        "1",
        Unsigned,
        "Years for which a certificate that is made is valid.",
    ),
    works("cipher-suites", "", Text, "The ciphers of TLS 1.2, by Go's names."),
    works("tls-min-version", "TLS1.2", VERSIONS, "The oldest TLS."),
    works("tls-max-version", "", VERSIONS, "The newest TLS."),
    works("cors", "*", Text, "Origins whose pages may send plain HTTP requests."),
    works(
        "host-whitelist",
        "*",
        Text,
        "Names that plain HTTP requests without TLS may call the member by.",
    ),
];

const NO_AUTH: &str = "Without effect: users and roles are not supported.";

pub(super) static AUTHENTICATION: [Entry; 3] = [
    refused(
        "auth-token",
        "simple",
        Text,
        "The kind of tokens.",
        "Only simple: users and roles are not supported.",
    ),
    accepted("auth-token-ttl", "300", Unsigned, "Seconds for which a token is valid.", NO_AUTH),
    accepted("bcrypt-cost", "10", Unsigned, "What it costs to try a password.", NO_AUTH),
];
