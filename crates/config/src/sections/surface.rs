//! `[surface]`, `[images]`, and what both mean for upstreams.

use crate::address::{BaseUrl, Reach};
use crate::checked::{ImageUrls, Upstream};
use crate::providers::{self, Provider};
use crate::reader::{Table, Value};
use crate::sections::Names;
use crate::surface::{ImageSettings, SurfaceSettings};
use crate::values::{self, Wrong};

pub(crate) fn surface(
    root: &Table<'_>,
    names: &Names<'_>,
    upstreams: &[Option<Upstream>],
) -> Option<SurfaceSettings> {
    let table = root.child("surface");
    let given = table.given("upstream").is_some();
    let upstream = if given { names.reference(&table, "upstream") } else { None };
    let allow_given = table.given("allow").is_some();
    let allow =
        table.read_set("allow", |value, kind| values::choice(value, kind).map(ToOwned::to_owned));
    let upload_limit_bytes = table.read("upload_limit", values::size);
    let idle_timeout = table.read("idle_timeout", values::duration);
    if let Some(chosen) = upstream.and_then(|at| upstreams.get(at)?.as_ref())
        && !providers::has_stream_options(chosen.provider)
    {
        let message = format!("provider {} does not have these endpoints", chosen.provider.name);
        table.conflict("upstream", message, Some("name one of OpenAI's dialect".to_owned()));
    }
    Some(SurfaceSettings {
        upstream: if given { Some(upstream?) } else { None },
        allow: SurfaceSettings::families(if allow_given { Some(allow?) } else { None }.as_deref()),
        upload_limit_bytes: upload_limit_bytes?,
        idle_timeout: idle_timeout?,
    })
}

pub(crate) fn images(root: &Table<'_>) -> Option<ImageSettings> {
    let table = root.child("images");
    let hosts = table.read_set("hosts", host);
    let private_hosts = table.read_set("private_hosts", host);
    let plain_http = table.read("plain_http", values::boolean);
    let count_max = table.read("max_images", values::count);
    let image_limit_bytes = table.read("image_limit", values::size);
    let total_limit_bytes = table.read("total_limit", values::size);
    let timeout = table.read("timeout", values::duration);
    let redirects_max = table.read("redirects", values::count);
    Some(ImageSettings {
        hosts: hosts?,
        private_hosts: private_hosts?,
        plain_http: plain_http?,
        count_max: count_max?,
        image_limit_bytes: image_limit_bytes?,
        total_limit_bytes: total_limit_bytes?,
        timeout: timeout?,
        redirects_max: redirects_max?,
    })
}

/// A host as a URL has it, in lower case; `*.` before it for all below.
fn host(value: &Value<'_>, kind: &crate::fields::Kind) -> Result<String, Wrong> {
    let text = values::text(value, kind)?.to_ascii_lowercase();
    let name = text.strip_prefix("*.").unwrap_or(&text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(Wrong::new(
            "expected a host, such as \"images.example.com\" or \"*.example.com\"",
        ));
    }
    Ok(text)
}

/// Reads `image_urls`; the inner `None` is the usual choice.
#[expect(clippy::option_option, reason = "the outer one says that the text was wrong")]
pub(crate) fn image_urls(table: &Table<'_>) -> Option<Option<ImageUrls>> {
    let given = table.given("image_urls").is_some();
    let word = table.read("image_urls", values::choice);
    if given { Some(Some(ImageUrls::from_word(word?)?)) } else { Some(None) }
}

/// Hosted services fetch from where they are. A self-hosted engine would fetch from inside the network
/// that it stands in, whatever a client names.
pub(crate) fn usual_image_urls(provider: &Provider, instances: &[BaseUrl]) -> ImageUrls {
    let outside = instances.iter().all(|url| url.reach() == Reach::Public);
    if outside && !provider.self_hosted { ImageUrls::Pass } else { ImageUrls::Refuse }
}

/// Warns of an engine inside one's network that is let fetch what clients name.
pub(crate) fn warn_of_passing(table: &Table<'_>, upstream: &Upstream) {
    let inside = upstream.instances.iter().any(|url| url.reach() != Reach::Public);
    if inside && upstream.image_urls == ImageUrls::Pass && table.given("image_urls").is_some() {
        let message = "the engine fetches what clients name, from inside your network";
        let hint = "\"fetch\" fetches here, checked by [images]";
        table.warn("image_urls", message, Some(hint.to_owned()));
    }
}
