//! Rows of where an upstream's instances are, and how one of them is chosen.

use super::Field;
use super::Kind::{Choice, Duration, List, Listen, Url};
use super::kinds::words;
use crate::providers::POLICY_NAMES;

pub(super) const BASE_URL: Field = words(
    "base_url",
    Url,
    "the provider's usual address",
    "Address of the only instance. For providers of OpenAI's dialect a missing path means `/v1`. Plain `http://` is meant for your own network.",
);

pub(super) const INSTANCES: Field = words(
    "instances",
    List(&Url),
    "`base_url` alone",
    "Addresses of all instances, instead of `base_url`.",
);

pub(super) const BALANCE: Field = words(
    "balance",
    Choice(POLICY_NAMES),
    "\"model-aware\" for provider ollama, else \"least-latency\"",
    "How one of several instances is chosen; one that fails, is full or is down is passed over under each of them.",
);

pub(super) const RESOLVE: Field = words(
    "resolve",
    Duration { min_ms: 1_000, max_ms: 3_600_000 },
    "names are looked up for each connection, and one name is one instance",
    "How often the names in `base_url` or `instances` are resolved anew. Each address of the answer is then an instance of its own: new ones are asked at once, those that are gone end what they have begun. For headless services and the like. An answer that fails or is empty leaves the last known addresses. TLS and the `Host` header keep the name.",
);

pub(super) const NAME_SERVER: Field = words(
    "name_server",
    Listen,
    "the system's resolver: hosts file, search domains and all",
    "With `resolve`: the name server that is asked, such as Consul's at \"127.0.0.1:8600\". Names are absolute then.",
);
