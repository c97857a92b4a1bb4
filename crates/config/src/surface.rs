//! The values of `[surface]` and `[images]`, and what an upstream may see of images' addresses.

use std::time::Duration;

use cutover_route::surface::{SURFACE, passed_names};

/// The names of the families of endpoints that can be passed on.
pub(crate) static FAMILY_NAMES: &[&str] = &{
    const COUNT: usize = {
        let (mut count, mut at) = (0, 0);
        while at < SURFACE.len() {
            if SURFACE[at].is_passed() {
                count += 1;
            }
            at += 1;
        }
        count
    };
    let mut names = [""; COUNT];
    let (mut to, mut at) = (0, 0);
    while at < SURFACE.len() {
        if SURFACE[at].is_passed() {
            names[to] = SURFACE[at].name;
            to += 1;
        }
        at += 1;
    }
    names
};

/// `[surface]`: endpoints that are passed on untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurfaceSettings {
    /// Position of the upstream that takes them unless a use case's own does; `None`: the default upstream
    /// if it can.
    pub upstream: Option<usize>,
    /// The families that are passed on, in the table's order.
    pub allow: Vec<&'static str>,
    /// Largest request body, in bytes.
    pub upload_limit_bytes: u64,
    /// Longest time in which not a byte of a request body moves.
    pub idle_timeout: Duration,
}

impl SurfaceSettings {
    /// The families that these names mean; `None` is all of them.
    pub(crate) fn families(names: Option<&[String]>) -> Vec<&'static str> {
        let wanted =
            |name: &&'static str| names.is_none_or(|names| names.iter().any(|n| n == name));
        passed_names().filter(wanted).collect()
    }
}

/// `[images]`: how images in chats are fetched for upstreams that shall not do it themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// The only hosts that images are fetched from; empty: any public one.
    pub hosts: Vec<String>,
    /// Hosts that may be at private addresses; allowed beside `hosts`.
    pub private_hosts: Vec<String>,
    /// Whether `http://` is fetched, too.
    pub plain_http: bool,
    /// Most images in a request.
    pub count_max: u32,
    /// Largest image, in bytes.
    pub image_limit_bytes: u64,
    /// Largest sum of a request's images, in bytes.
    pub total_limit_bytes: u64,
    /// Time for all images of a request.
    pub timeout: Duration,
    /// Most redirects of one image.
    pub redirects_max: u32,
}
