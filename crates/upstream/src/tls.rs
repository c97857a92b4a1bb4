//! The TLS side of an instance: always verified, with the compiled-in roots or the operator's own.

use std::fmt;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

/// Why a set of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is not PEM.
    #[error("the CA file is not valid PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The PEM holds no certificate.
    #[error("the CA file holds no certificate")]
    Empty,
    /// A certificate cannot be a root.
    #[error("a certificate of the CA file cannot be used as a root")]
    Certificate(#[source] rustls::Error),
    /// The compiled-in TLS parts do not fit together.
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
}

/// TLS settings: cheap to clone, and sessions are resumed among all who share one.
///
/// There is no switch to leave out verification: name an own CA instead.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Trusts the roots in these PEM texts; with none given, Mozilla's roots, which are compiled in.
    /// Whoever names an own CA for a service does not want a public one to vouch for it.
    pub fn new(own_ca_pem: &[&[u8]]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        if own_ca_pem.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in own_ca_pem {
            let mut found = false;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(TlsError::Pem)?).map_err(TlsError::Certificate)?;
                found = true;
            }
            if !found {
                return Err(TlsError::Empty);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) fn connector(&self) -> &TlsConnector {
        &self.connector
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_compiled_in_and_bad_pem_is_refused() {
        assert!(Tls::new(&[]).is_ok());
        assert!(matches!(Tls::new(&[b"no pem here"]), Err(TlsError::Empty)));
        let torn = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(Tls::new(&[torn]), Err(TlsError::Pem(_))));
        let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Tls::new(&[no_certificate]), Err(TlsError::Certificate(_))));
    }
}
