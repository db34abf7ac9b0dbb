//! A small HTTP/1.1 server, plain or TLS. Nobody waits to be accepted, each step has a deadline,
//! and where there are too many it is the oldest who goes. Every connection is owned, and at the
//! end running requests are finished.

mod places;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::metrics::TurnedAway;
use places::{Place, Table};

pub use places::{Caller, Places};

/// For the head of a request, from the end of the one before: longer than the API server keeps
/// an idle connection, so that it is never us who closes one that is about to be used.
const IDLE: Duration = Duration::from_secs(150);
/// What is read at once, and so the longest head: whoever asks us writes a few hundred bytes.
const BUFFER: usize = 16 << 10;

/// What strangers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub places: Places,
    /// For a TLS handshake, and after it for the head of the first request.
    pub patience: Duration,
}

impl Limits {
    /// The API server keeps a few connections, the kubelet and Prometheus one each.
    pub fn new(patience: Duration) -> Self {
        Self {
            places: Places {
                per_address: 128,
                strangers: 512,
                known: 1024,
            },
            patience,
        }
    }
}

/// How a server ends.
#[derive(Clone, Default)]
pub struct Ending {
    /// From here on each answer is its connection's last. Whoever asks again finds a server that
    /// stays, and no connection is closed under a request that is on its way.
    pub parting: CancellationToken,
    /// Nobody is listened to any more; running requests are answered.
    pub shutdown: CancellationToken,
}

pub struct Server<H, T> {
    pub tls: Option<TlsAcceptor>,
    /// Finds its [`Caller`] among a request's extensions.
    pub handler: H,
    pub limits: Limits,
    pub ending: Ending,
    /// Hears of connections that were not let go on.
    pub on_turned_away: T,
}

impl<H, F, T> Server<H, T>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
    T: Fn(TurnedAway, IpAddr) + Send + Sync + 'static,
{
    /// Serves until `shutdown`, then until the last request is answered.
    pub async fn serve(self, listener: TcpListener) {
        let server = Arc::new(self);
        let table = Table::new(server.limits.places);
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = server.ending.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok((stream, address)) => (stream, address.ip()),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (place, crowded) = table.enter(address);
            if crowded {
                (server.on_turned_away)(TurnedAway::Crowded, address);
            }
            let server = Arc::clone(&server);
            connections.spawn(async move { server.welcome(stream, address, place).await });
        }
        connections.close();
        connections.wait().await;
    }

    async fn welcome(&self, stream: TcpStream, address: IpAddr, place: Place) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.converse(stream, address, &place).await;
        };
        let shaken = tokio::time::timeout(self.limits.patience, tls.accept(stream));
        let stream = tokio::select! {
            shaken = shaken => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return debug!(%address, %error, "TLS handshake failed"),
                Err(_) => return (self.on_turned_away)(TurnedAway::Late, address),
            },
            () = place.leave.cancelled() => return,
        };
        self.converse(stream, address, &place).await;
    }

    async fn converse<S>(&self, stream: S, address: IpAddr, place: &Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let asked = CancellationToken::new();
        let service = service_fn(|mut request: Request<Incoming>| {
            asked.cancel();
            request.extensions_mut().insert(place.caller(address));
            async {
                let mut response = (self.handler)(request).await;
                if self.ending.parting.is_cancelled() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(stream), service)
        );
        let silent = async {
            let first = tokio::time::timeout(self.limits.patience, asked.cancelled());
            if first.await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = silent => return (self.on_turned_away)(TurnedAway::Late, address),
            () = place.leave.cancelled() => {
                if !asked.is_cancelled() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                let last = tokio::time::timeout(self.limits.patience, connection);
                last.await.unwrap_or(Ok(()))
            }
            () = self.ending.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            debug!(%address, %error, "a connection ended");
        }
    }
}

#[cfg(test)]
mod tests;
