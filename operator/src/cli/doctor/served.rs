//! The certificate that the webhook really serves: of each replica, by a TLS handshake where its
//! address is reachable, else by its own word, through the API server.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificate::files::verify;
use crate::certificate::validity::not_after;

/// Replicas that are reachable answer at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// What one replica serves.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) pod: String,
    pub(super) expires: Option<OffsetDateTime>,
    /// Why the caBundle does not vouch for it; `None`: it does, or that could not be seen.
    pub(super) untrusted: Option<String>,
}

/// `None`: it could not be seen from here.
pub(super) async fn by_handshake(
    pod: &str,
    address: &str,
    host: &str,
    bundle: &[CertificateDer<'static>],
) -> Option<Served> {
    let chain = tokio::time::timeout(PATIENCE, chain(address, host)).await;
    let chain = chain.ok()??;
    Some(Served {
        pod: pod.to_owned(),
        expires: chain.first().and_then(|leaf| not_after(leaf)),
        untrusted: verify(&chain, bundle, host)
            .err()
            .map(|error| error.to_string()),
    })
}

pub(super) async fn by_its_word(client: &Client, namespace: &str, pod: &str) -> Option<Served> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/metrics");
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    let answer = tokio::time::timeout(PATIENCE, client.request_text(request)).await;
    let text = answer.ok()?.ok()?;
    let name = r#"ws_operator_certificate_expiry_timestamp_seconds{certificate="leaf"} "#;
    let expires = text.lines().find_map(|line| line.strip_prefix(name))?;
    let expires = OffsetDateTime::from_unix_timestamp(expires.parse().ok()?).ok();
    Some(Served {
        pod: pod.to_owned(),
        expires,
        untrusted: None,
    })
}

async fn chain(address: &str, host: &str) -> Option<Vec<CertificateDer<'static>>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let stream = TcpStream::connect(address).await.ok()?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .ok()?;
    let (_, connection) = stream.get_ref();
    let chain = connection.peer_certificates()?;
    Some(chain.iter().map(|one| one.clone().into_owned()).collect())
}

/// Nothing is sent over such a connection: what is wrong with the certificate is to be seen.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
