//! Whom an upstream's instances trust, read anew for each picture.

use cutover_upstream::Tls;
use sha2::{Digest, Sha256};

use super::{BuildError, Materials, wrong};

/// The trusted certificates of one upstream.
pub(super) struct Trust {
    /// None: no instance uses TLS.
    pub(super) tls: Option<Tls>,
    /// Equal exactly if the same content is trusted: a file that was replaced under the same name
    /// makes new connections, one that was only touched keeps those there are.
    pub(super) digest: String,
}

impl Trust {
    /// Reads the upstream's `ca_file`. What is wrong with it shows here, before anything is replaced.
    pub(super) fn of(
        materials: &Materials<'_>,
        upstream: &cutover_config::Upstream,
    ) -> Result<Self, BuildError> {
        if !upstream.instances.iter().any(cutover_config::BaseUrl::is_tls) {
            return Ok(Self { tls: None, digest: "plain".to_owned() });
        }
        let key = format!("upstreams.{}.ca_file", upstream.name);
        let Some(path) = &upstream.ca_file else {
            let tls = Tls::new(&[]).map_err(|why| wrong(&key, why.to_string()))?;
            return Ok(Self { tls: Some(tls), digest: "built-in".to_owned() });
        };
        let pem = materials.surroundings.file(path).map_err(|why| wrong(&key, why))?;
        let tls = Tls::new(&[&pem])
            .map_err(|why| wrong(&key, format!("{} cannot be used: {why}", path.display())))?;
        let digest = format!("{:02x?}", Sha256::digest(&pem).as_slice());
        Ok(Self { tls: Some(tls), digest })
    }
}
