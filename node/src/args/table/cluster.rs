//! How members find each other.

use super::member::CLUSTER_STATES;
use super::{Entry, accepted, refused, works};
use crate::args::kind::Kind::{Boolean, Duration, OneOf, Text};

pub(super) static CLUSTER: [Entry; 5] = [
    works(
        "initial-cluster",
        "default=http://localhost:2380",
        Text,
        "The first members with their peer URLs: name=url,name=url. Only read when the data \
         folder is empty.",
    ),
    works(
        "initial-cluster-state",
        "new",
        CLUSTER_STATES,
        "new for a new cluster, existing to join one that runs and has added this member. Only \
         read when the data folder is empty.",
    ),
    works(
        "initial-cluster-token",
        "etcd-cluster",
        Text,
        "Keeps clusters apart that have the same URLs.",
    ),
    works(
        "strict-reconfig-check",
        "true",
        Boolean,
        "Refuse changes of members that would cost the majority.",
    ),
    works(
        "corrupt-check-time",
        "0s",
        Duration,
        "How often the leader compares its data with its peers' and raises an alarm for whoever \
         has other data; 0 for never.",
    ),
];

const NO_DISCOVERY: &str = "Not supported: name the members in --initial-cluster.";
const ONLY_DISCOVERY: &str = "Without effect: there is no discovery.";

pub(super) static DISCOVERY: [Entry; 16] = [
    refused("discovery-endpoints", "", Text, "Endpoints of a discovery service.", NO_DISCOVERY),
    refused("discovery-token", "", Text, "The cluster's token there.", NO_DISCOVERY),
    refused("discovery-srv", "", Text, "A DNS domain that names the members.", NO_DISCOVERY),
    refused("discovery-srv-name", "", Text, "A suffix of the DNS service.", NO_DISCOVERY),
    accepted(
        "discovery-fallback",
        "exit",
        OneOf(&["exit", "proxy"]),
        "What to do when discovery fails.",
        ONLY_DISCOVERY,
    ),
    accepted("discovery-dial-timeout", "2s", Duration, "Its dial timeout.", ONLY_DISCOVERY),
    accepted("discovery-request-timeout", "5s", Duration, "Its request timeout.", ONLY_DISCOVERY),
    accepted("discovery-keepalive-time", "2s", Duration, "Its ping interval.", ONLY_DISCOVERY),
    accepted("discovery-keepalive-timeout", "6s", Duration, "Its ping timeout.", ONLY_DISCOVERY),
    accepted("discovery-insecure-transport", "true", Boolean, "Without TLS.", ONLY_DISCOVERY),
    accepted(
        "discovery-insecure-skip-tls-verify",
        "false",
        Boolean,
        "Trust any certificate.",
        ONLY_DISCOVERY,
    ),
    accepted("discovery-cert", "", Text, "Its client certificate.", ONLY_DISCOVERY),
    accepted("discovery-key", "", Text, "That one's key.", ONLY_DISCOVERY),
    accepted("discovery-cacert", "", Text, "Its CA.", ONLY_DISCOVERY),
    accepted("discovery-user", "", Text, "Its user.", ONLY_DISCOVERY),
    accepted("discovery-password", "", Text, "That one's password.", ONLY_DISCOVERY),
];
