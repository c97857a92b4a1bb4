//! Rows of the sections about endpoints that are passed on, and about images in chats.

use super::Kind::{Bool, Choice, List, Name, Text};
use super::kinds::{count, deadline, size, value, words};
use super::{Kind, Section};
use crate::surface::FAMILY_NAMES;

pub(crate) static SURFACE: Section = Section {
    path: "surface",
    doc: "Endpoints of the OpenAI API that are passed on untouched: audio, images, files, batches and more.",
    fields: &[
        words(
            "upstream",
            Name("upstreams"),
            "the default upstream, if its provider speaks OpenAI's dialect over a connection; else none",
            "The upstream that takes them, unless the baseline of the use case that a request names (by header or key) is at one that can.",
        ),
        words(
            "allow",
            List(&Choice(FAMILY_NAMES)),
            "all of them",
            "The families that are passed on; others are answered 403. What clients keep at the vendor's (files, batches ...) is visible to all clients that share an upstream's key.",
        ),
        value(
            "upload_limit",
            size(1 << 10, 1 << 40),
            r#""512 MiB""#,
            "Largest request body. More is answered 413. Bodies are passed on as they come, not held.",
        ),
        value(
            "idle_timeout",
            deadline(),
            r#""60 s""#,
            "Longest time in which not a byte of a request body moves, whoever is to blame. There is no limit on the time of a whole upload.",
        ),
    ],
};

pub(crate) static IMAGES: Section = Section {
    path: "images",
    doc: "How images in chats are fetched for upstreams with `image_urls = \"fetch\"`.",
    fields: &[
        value(
            "hosts",
            List(&Text),
            "[]",
            "The only hosts that images are fetched from: a name, or `*.` and a domain for all names below it. Empty: any public host; for local-only use cases none, because a fetch tells that a request exists.",
        ),
        value(
            "private_hosts",
            List(&Text),
            "[]",
            "Hosts of your own that may be at private or loopback addresses; allowed beside `hosts`, also for local-only use cases. Link-local addresses, where clouds keep machines' secrets, are never fetched from.",
        ),
        value(
            "plain_http",
            Bool,
            "false",
            "Whether `http://` is fetched, too, not only `https://`.",
        ),
        value("max_images", count(1, 1_000), "10", "Most images by address in a request."),
        value("image_limit", size(1 << 10, 1 << 28), r#""10 MiB""#, "Largest image."),
        value(
            "total_limit",
            size(1 << 10, 1 << 30),
            r#""32 MiB""#,
            "Largest sum of a request's fetched images.",
        ),
        value("timeout", deadline(), r#""10 s""#, "Time for all images of a request."),
        value(
            "redirects",
            count(0, 10),
            "2",
            "Most redirects of an image. Each is checked like the first address.",
        ),
    ],
};

/// What happens to images' addresses at an upstream.
pub(crate) const IMAGE_URLS: Kind = Choice(crate::checked::ImageUrls::WORDS);
