//! A small HTTP/1.1 server, plain or TLS: a permit before each accept, every connection owned,
//! and an end that lets running requests finish.

use std::convert::Infallible;
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
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Connections at once; the API server keeps a few and reuses them.
const CONNECTIONS: usize = 256;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, from the end of the one before: longer than the API server keeps
/// an idle connection, so that it is never us who closes one that is about to be used.
const IDLE: Duration = Duration::from_secs(150);

/// How a server ends.
#[derive(Clone, Default)]
pub struct Ending {
    /// From here on each answer is its connection's last. Whoever asks again finds a server that
    /// stays, and no connection is closed under a request that is on its way.
    pub parting: CancellationToken,
    /// Nobody is listened to any more; running requests are answered.
    pub shutdown: CancellationToken,
}

/// Serves until `shutdown`, then until the last request is answered.
pub async fn serve<H, F>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Arc<H>,
    ending: Ending,
) where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let accepted = tokio::select! {
            () = ending.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, handler, ending) = (tls.clone(), Arc::clone(&handler), ending.clone());
        connections.spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            match tls {
                None => converse(stream, handler, ending).await,
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, handler, ending).await,
                    Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
                    Err(_) => debug!("TLS handshake took too long"),
                },
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn converse<S, H, F>(stream: S, handler: Arc<H>, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let Ending { parting, shutdown } = ending;
    let service = service_fn(move |request| {
        let (handler, parting) = (Arc::clone(&handler), parting.clone());
        async move {
            let mut response = handler(request).await;
            if parting.is_cancelled() {
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
            .serve_connection(TokioIo::new(stream), service)
    );
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    const BODY: &str = "ready\n";

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(BODY.as_bytes()) {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "cut");
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_goes_says_so_with_its_last_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handler = async |_| Response::new(Full::from(BODY));
        let ending = Ending::default();
        let serving = tokio::spawn(serve(listener, None, Arc::new(handler), ending.clone()));

        let mut kept = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let answer = ask(&mut kept).await;
            assert!(!answer.contains("connection: close"), "{answer}");
        }
        ending.parting.cancel();
        let mut new = TcpStream::connect(address).await.unwrap();
        for stream in [&mut kept, &mut new] {
            let answer = ask(stream).await;
            assert!(answer.contains("connection: close"), "{answer}");
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        ending.shutdown.cancel();
        serving.await.unwrap();
    }
}
