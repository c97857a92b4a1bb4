//! The full form of `[surface]` and `[images]`.

use super::{Toml, list};
use crate::checked::Checked;
use crate::reader::quote;
use crate::surface::{ImageSettings, SurfaceSettings};

impl Toml {
    pub(super) fn surface(&mut self, checked: &Checked, surface: &SurfaceSettings) {
        self.section("surface");
        let upstream = surface.upstream.and_then(|at| checked.upstreams.get(at));
        self.optional("upstream", upstream.map(|upstream| quote(upstream.name.as_str())));
        let allow: Vec<_> = surface.allow.iter().map(|name| (*name).to_owned()).collect();
        self.line("allow", list(&allow));
        self.size("upload_limit", surface.upload_limit_bytes);
        self.duration("idle_timeout", surface.idle_timeout);
    }

    pub(super) fn images(&mut self, images: &ImageSettings) {
        self.section("images");
        self.line("hosts", list(&images.hosts));
        self.line("private_hosts", list(&images.private_hosts));
        self.line("plain_http", images.plain_http);
        self.line("max_images", images.count_max);
        self.size("image_limit", images.image_limit_bytes);
        self.size("total_limit", images.total_limit_bytes);
        self.duration("timeout", images.timeout);
        self.line("redirects", images.redirects_max);
    }
}
