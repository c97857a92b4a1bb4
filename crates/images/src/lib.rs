//! Images that a chat names by address, on their way to an upstream that shall not fetch them itself.
//!
//! ```text
//! pass    the upstream fetches; of a local-only use case only from listed hosts
//! refuse  400
//! fetch   fetched here, checked, and put inside the request as data URLs
//! ```
//!
//! It happens per leg: what one arm refuses, another may take. An error names the field and the kind of
//! trouble, never the address, and never anything that a server said; kinds that would tell of this
//! machine's network are one kind to the client, and apart in the metric.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cutover_config::{ImageSettings, ImageUrls};
use cutover_dialects::images::{self, Named};
use cutover_relay::Form;
use cutover_telemetry::{Registry, families};
use cutover_units::{Code, UpstreamName};
use cutover_upstream::fetch::{FetchError, FetchLimits, FetchRules, Fetcher, SystemResolver};
use cutover_upstream::{Tls, TlsError};
use cutover_wire::{Fault, Head};
use tokio::time::Instant;

/// What the configuration says of fetching.
#[derive(Debug)]
pub struct ImageLane {
    /// Fetches by the configured rules.
    pub fetcher: Fetcher,
    /// What stands for each image where a request is only looked at, so that nothing is fetched.
    pub stand_in: Option<Bytes>,
    /// Most images of a request.
    pub count_max: usize,
    /// Largest image, in bytes.
    pub image_bytes_max: usize,
    /// Largest sum of a request's images, in bytes.
    pub total_bytes_max: usize,
    /// Time for all images of a request.
    pub timeout: Duration,
}

impl ImageLane {
    /// As it is configured.
    ///
    /// # Errors
    ///
    /// Where there is no TLS.
    pub fn new(configured: &ImageSettings) -> Result<Self, TlsError> {
        let rules = FetchRules {
            hosts: configured.hosts.clone(),
            private_hosts: configured.private_hosts.clone(),
            plain_http: configured.plain_http,
            redirects_max: configured.redirects_max,
        };
        let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Self {
            fetcher: Fetcher::new(rules, Tls::new(&[])?, Arc::new(SystemResolver)),
            stand_in: None,
            count_max: usize::try_from(configured.count_max).unwrap_or(usize::MAX),
            image_bytes_max: bytes(configured.image_limit_bytes),
            total_bytes_max: bytes(configured.total_limit_bytes),
            timeout: configured.timeout,
        })
    }
}

/// A request on its way to an upstream.
#[derive(Clone, Copy)]
pub struct Bound<'a> {
    /// How images are fetched.
    pub images: &'a ImageLane,
    /// Where fetches are counted.
    pub registry: &'a Registry,
    /// The upstream's name.
    pub upstream: &'a UpstreamName,
    /// What happens to addresses there.
    pub image_urls: ImageUrls,
    /// Whether local upstreams alone may see the request.
    pub local_only: bool,
}

impl Bound<'_> {
    /// Whether the body must be looked at.
    pub fn concerns(&self, head: &Head, body: &Bytes) -> bool {
        (self.image_urls != ImageUrls::Pass || self.local_only) && images::may_name_any(head, body)
    }

    /// Whether the body names media that do not travel in it, and that somebody must see to.
    ///
    /// # Errors
    ///
    /// The client's, where the body cannot be read or what is in it is no image.
    pub fn names_outside(&self, head: &Head, body: &Bytes) -> Result<bool, Fault> {
        Ok(self.concerns(head, body) && !self.outside(body)?.is_empty())
    }

    /// The media that do not travel in the body. Those that do are looked at.
    fn outside(&self, body: &Bytes) -> Result<Vec<Named>, Fault> {
        let mut outside = Vec::new();
        for one in images::find(body)? {
            if !one.is_inside() {
                outside.push(one);
            } else if one.is_image && self.image_urls != ImageUrls::Pass {
                images::check_data_url(one.url.trim())
                    .map_err(|why| fault(Code::InvalidImageUrl, &one, why))?;
            }
        }
        Ok(outside)
    }

    /// The request with its images inside, if it named any that must not pass. None: it goes as it is.
    ///
    /// # Errors
    ///
    /// The client's: an address that is refused, or that leads to no image within the limits.
    pub async fn inside(&self, head: &Head, body: &Bytes) -> Result<Option<Form>, Fault> {
        let outside = self.outside(body)?;
        if outside.is_empty() {
            return Ok(None);
        }
        match self.image_urls {
            ImageUrls::Pass => self.may_be_told(&outside).map(|()| None),
            ImageUrls::Refuse => Err(self.refused(&outside[0])),
            ImageUrls::Fetch => self.fetched(head, body, outside).await.map(Some),
        }
    }

    fn refused(&self, one: &Named) -> Fault {
        self.count("refused");
        let why = "is an address, and this upstream takes what is inside the request only; send \
                   its data (base64)";
        fault(Code::InvalidImageUrl, one, why)
    }

    /// The upstream of a local-only use case fetches itself: from hosts that are listed.
    fn may_be_told(&self, outside: &[Named]) -> Result<(), Fault> {
        outside.iter().try_for_each(|one| {
            self.images.fetcher.check(&one.url, true).map_err(|error| self.not_fetched(one, error))
        })
    }

    async fn fetched(&self, head: &Head, body: &Bytes, outside: Vec<Named>) -> Result<Form, Fault> {
        if let Some(other) = outside.iter().find(|one| !one.is_image) {
            return Err(self.refused(other));
        }
        let (count, count_max) = (outside.len(), self.images.count_max);
        if count > count_max {
            self.count("too_many");
            let why = format!("is one of {count} images by address; {count_max} are the most");
            return Err(fault(Code::InvalidImageUrl, &outside[count_max], &why));
        }
        let by = Instant::now() + self.images.timeout;
        let mut left = self.images.total_bytes_max;
        let mut with = Vec::with_capacity(count);
        // One after the other: what is fetched counts against one sum, and nobody's request makes this
        // machine knock at many doors at once.
        for one in outside {
            let limits = FetchLimits {
                listed_only: self.local_only,
                bytes_max: self.images.image_bytes_max.min(left),
                by,
            };
            let fetched = match &self.images.stand_in {
                None => self.images.fetcher.fetch(&one.url, limits).await,
                Some(image) => {
                    let allowed = self.images.fetcher.check(&one.url, self.local_only);
                    allowed.map(|()| image.clone())
                }
            };
            let image = fetched.map_err(|error| self.not_fetched(&one, error))?;
            let Some(kind) = images::sniff(&image) else {
                self.count("not_an_image");
                let why = "does not lead to a PNG, JPEG, GIF or WebP image";
                return Err(fault(Code::InvalidImageUrl, &one, why));
            };
            self.count("fetched");
            left -= image.len();
            with.push((one.range, images::data_url(kind, &image)));
        }
        let body = images::replace(body, &with);
        let mut again = Head::read(head.endpoint, &body)?;
        again.stream_options_are_ours = head.stream_options_are_ours;
        Ok(Form { head: again, body, losses: Vec::new() })
    }

    fn not_fetched(&self, one: &Named, error: FetchError) -> Fault {
        self.count(error.as_str());
        if error.is_silent() {
            return fault(Code::ImageFetchFailed, one, "could not be fetched");
        }
        fault(Code::InvalidImageUrl, one, &format!("is not fetched: {error}"))
    }

    fn count(&self, result: &'static str) {
        let upstream = self.upstream.as_str();
        self.registry.counter(families::IMAGE_FETCHES, [upstream, result]).inc();
    }
}

fn fault(code: Code, one: &Named, why: &str) -> Fault {
    Fault::of(code, one.param.clone(), format!("'{}' {why}", one.param))
}
