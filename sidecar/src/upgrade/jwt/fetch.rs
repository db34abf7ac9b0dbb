//! One GET of a key set, over HTTP or HTTPS. No redirect is followed: the address is the one that
//! was configured, and nothing that a stranger or a key server says leads elsewhere.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use stanza::settings;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::warn;

/// A set of a hundred RSA keys has 60 KB; whoever answers more is no key server.
pub(super) const LARGEST: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Address {
    host: String,
    port: u16,
    request: uri::PathAndQuery,
    authority: uri::Authority,
    scheme: uri::Scheme,
}

pub(super) struct Fetcher {
    address: Address,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl Fetcher {
    pub(super) fn new(url: &str, settings: &settings::Jwt) -> anyhow::Result<Self> {
        let address = Address::new(url)?;
        let tls = (address.scheme == uri::Scheme::HTTPS)
            .then(|| connector(settings.jwks_ca.as_deref()))
            .transpose()?;
        let timeout = settings.jwks_timeout.0;
        Ok(Self {
            address,
            tls,
            timeout,
        })
    }

    pub(super) async fn fetch(&self) -> anyhow::Result<Bytes> {
        let fetching = tokio::time::timeout(self.timeout, self.fetch_once()).await;
        fetching.unwrap_or_else(|_| {
            let timeout = self.timeout;
            Err(anyhow!(
                "no answer within {timeout:?} (identity.jwt.jwksTimeout)"
            ))
        })
    }

    async fn fetch_once(&self) -> anyhow::Result<Bytes> {
        let Address { host, port, .. } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.with_context(|| format!("connecting to {host}:{port}"))?;
        let Some(tls) = &self.tls else {
            return self.ask(stream).await;
        };
        let name = ServerName::try_from(host.clone()).context("the host's name")?;
        let stream = tls.connect(name, stream).await.context("TLS")?;
        self.ask(stream).await
    }

    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<Bytes> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(self.address.request.as_str())
            .header(header::HOST, self.address.authority.as_str())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let asking = async move {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            if status != StatusCode::OK {
                bail!(
                    "the answer's status is {status}; expected 200, and redirects are not followed"
                );
            }
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(error) => anyhow!(*error),
                Err(_) => anyhow!("the answer is larger than {LARGEST} bytes"),
            })?;
            Ok(body.to_bytes())
        };
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            // All of the answer is there, or nothing more comes: the asking knows.
            _ = connection => asking.await,
        }
    }
}

impl Address {
    fn new(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse()?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            bail!("expected a URL with a host");
        };
        let default = if scheme == uri::Scheme::HTTPS {
            443
        } else {
            80
        };
        let request = parts.path_and_query;
        Ok(Self {
            // A literal IPv6 address stands in brackets.
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(default),
            request: request.unwrap_or_else(|| uri::PathAndQuery::from_static("/")),
            authority,
            scheme,
        })
    }
}

/// Trusts what the settings name, else what the system trusts.
fn connector(authorities: Option<&str>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = authorities {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.context("expected certificates in PEM")?)?;
        }
        if roots.is_empty() {
            bail!("expected certificates in PEM, found none");
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            warn!(
                "the system has no root certificates, so no key server can be trusted: set \
                     identity.jwt.jwksCa, or SSL_CERT_FILE to a file that has them"
            );
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
