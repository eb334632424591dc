//! Who may connect. What is asked for here and not there yet stops the start.

use super::{Entry, accepted, refused, works};
use crate::args::kind::Kind::{Boolean, OneOf, Text, Unsigned};

const NO_TLS: &str = "TLS is not supported: the member does not start without it when it is \
                      asked for.";

pub(super) static SECURITY: [Entry; 26] = [
    refused("cert-file", "", Text, "The certificate for clients.", NO_TLS),
    refused("key-file", "", Text, "Its key.", NO_TLS),
    refused("trusted-ca-file", "", Text, "The CA of clients' certificates.", NO_TLS),
    refused("client-cert-auth", "false", Boolean, "Demand certificates of clients.", NO_TLS),
    refused("client-cert-file", "", Text, "The certificate towards other members.", NO_TLS),
    refused("client-key-file", "", Text, "Its key.", NO_TLS),
    refused("client-crl-file", "", Text, "Clients' certificates that are revoked.", NO_TLS),
    refused(
        "client-cert-allowed-hostname",
        "",
        Text,
        "Names that a client's certificate must have.",
        NO_TLS,
    ),
    refused("auto-tls", "false", Boolean, "Make a certificate for clients.", NO_TLS),
    refused("peer-cert-file", "", Text, "The certificate for peers.", NO_TLS),
    refused("peer-key-file", "", Text, "Its key.", NO_TLS),
    refused("peer-trusted-ca-file", "", Text, "The CA of peers' certificates.", NO_TLS),
    refused("peer-client-cert-auth", "false", Boolean, "Demand certificates of peers.", NO_TLS),
    refused("peer-client-cert-file", "", Text, "The certificate used towards peers.", NO_TLS),
    refused("peer-client-key-file", "", Text, "Its key.", NO_TLS),
    refused("peer-crl-file", "", Text, "Peers' certificates that are revoked.", NO_TLS),
    refused("peer-cert-allowed-cn", "", Text, "Names that a peer's certificate must have.", NO_TLS),
    refused(
        "peer-cert-allowed-hostname",
        "",
        Text,
        "Host names that a peer's certificate must have.",
        NO_TLS,
    ),
    refused("peer-auto-tls", "false", Boolean, "Make a certificate for peers.", NO_TLS),
    accepted(
        "peer-skip-client-san-verification",
        "false",
        Boolean,
        "Do not compare a peer's address with its certificate.",
        "Without effect: there are no certificates.",
    ),
    accepted(
        "self-signed-cert-validity",
        "1",
        Unsigned,
        "Years for which a certificate that is made is valid.",
        "Without effect: none is made.",
    ),
    refused("cipher-suites", "", Text, "The ciphers of TLS.", NO_TLS),
    refused(
        "tls-min-version",
        "TLS1.2",
        OneOf(&["", "TLS1.2", "TLS1.3"]),
        "The oldest TLS.",
        NO_TLS,
    ),
    refused("tls-max-version", "", OneOf(&["", "TLS1.2", "TLS1.3"]), "The newest TLS.", NO_TLS),
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
