//! How images are fetched.

use std::sync::Arc;

use cutover_config::Checked;
use cutover_upstream::Tls;
use cutover_upstream::fetch::{FetchRules, Fetcher, SystemResolver};

use super::{BuildError, wrong};
use crate::images::ImageLane;

pub(super) fn lane(checked: &Checked) -> Result<Arc<ImageLane>, BuildError> {
    let configured = &checked.images;
    let tls = Tls::new(&[]).map_err(|why| wrong("images", why.to_string()))?;
    let rules = FetchRules {
        hosts: configured.hosts.clone(),
        private_hosts: configured.private_hosts.clone(),
        plain_http: configured.plain_http,
        redirects_max: configured.redirects_max,
    };
    let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Arc::new(ImageLane {
        fetcher: Fetcher::new(rules, tls, Arc::new(SystemResolver)),
        stand_in: None,
        count_max: usize::try_from(configured.count_max).unwrap_or(usize::MAX),
        image_bytes_max: bytes(configured.image_limit_bytes),
        total_bytes_max: bytes(configured.total_limit_bytes),
        timeout: configured.timeout,
    }))
}
