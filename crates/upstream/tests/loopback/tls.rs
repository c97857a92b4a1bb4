//! TLS: an own CA, a wrong name, no CA, a protocol mix-up.

use std::sync::Arc;

use cutover_upstream::{Instance, InstanceAddress, InstanceSettings, SendErrorKind, Tls};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::server::{OK, Server, ask, ask_text, read_request};

/// A server with a certificate for `localhost`, and that certificate as PEM.
async fn secure() -> (Server, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |_, socket| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut tls) = acceptor.accept(socket).await else { return };
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            while read_request(&mut tls).await.is_some() {
                tls.write_all(OK.as_bytes()).await.unwrap();
                tls.flush().await.unwrap();
            }
        }
    })
    .await;
    (server, cert.pem())
}

fn instance(base: &str, pem: &[&[u8]]) -> Instance {
    let address = InstanceAddress::parse(base).unwrap();
    let tls = Some(Tls::new(pem).unwrap());
    Instance::http(address, InstanceSettings::default(), tls, Arc::default())
}

#[tokio::test]
async fn an_own_ca_is_trusted_and_the_connection_reused() {
    let (server, pem) = secure().await;
    let base = format!("https://localhost:{}/v1", server.address.port());
    let instance = instance(&base, &[pem.as_bytes()]);
    for _ in 0..5 {
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_unknown_ca_or_another_name_is_refused() {
    let (server, pem) = secure().await;
    let port = server.address.port();
    let unknown = instance(&format!("https://localhost:{port}"), &[]);
    let other_name = instance(&format!("https://127.0.0.1:{port}"), &[pem.as_bytes()]);
    for instance in [unknown, other_name] {
        let error = ask(&instance).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Tls);
        assert!(error.retry_safe());
        assert!(error.to_string().ends_with("the TLS handshake failed"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[tokio::test]
async fn http_where_https_was_meant_is_a_tls_error() {
    let server = Server::answering(OK).await;
    let plain = Server::start(|_, mut socket| async move {
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        crate::server::wait_for_close(&mut socket).await;
    })
    .await;
    drop(server);
    let instance = instance(&format!("https://localhost:{}", plain.address.port()), &[]);
    assert_eq!(ask(&instance).await.unwrap_err().kind(), SendErrorKind::Tls);
}

#[tokio::test]
async fn https_without_tls_settings_fails_and_sends_nothing() {
    let (server, _) = secure().await;
    let address = InstanceAddress::parse(&format!("https://localhost:{}", server.address.port()));
    let instance =
        Instance::http(address.unwrap(), InstanceSettings::default(), None, Arc::default());
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Tls);
    assert!(error.retry_safe());
}
