//! What is passed on untouched, and to whom.

use std::sync::Arc;

use cutover_config::Checked;

use super::{BuildError, provider};
use crate::live::UpstreamLane;
use crate::passthrough::{SurfaceLane, carries};

/// The configured upstream, else the default one if it has such endpoints.
pub(super) fn lane(
    checked: &Checked,
    upstreams: &[Arc<UpstreamLane>],
) -> Result<SurfaceLane, BuildError> {
    let configured = &checked.surface;
    let at = configured.upstream.unwrap_or(checked.default_upstream);
    let can = carries(provider(&checked.upstreams[at])?);
    Ok(SurfaceLane {
        allow: configured.allow.clone(),
        upstream: can.then(|| Arc::clone(&upstreams[at])),
        upload_bytes_max: configured.upload_limit_bytes,
        idle: configured.idle_timeout,
    })
}
