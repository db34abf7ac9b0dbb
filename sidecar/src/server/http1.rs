//! hyper's side of a client's connection. To make it takes as long as a third of a request, most of
//! it for two buffers of 8 KiB that the allocator gives back to the kernel each time. So it is kept
//! for the next request, if that comes soon.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::{Service, service_fn};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::head::Head;
use super::port::Port;
use super::stream::{Answer, Lent, RequestStream};
use super::{Asked, Request};
use crate::proxy::ServerBody;

pub(super) struct Http1 {
    served: Box<dyn Served>,
    lent: Arc<Lent>,
    /// How many header lines a head may have.
    lines: usize,
    /// Between two requests only so many are kept.
    pub place: Option<OwnedSemaphorePermit>,
}

/// hyper's connection, whatever the type of its service.
trait Served: Send {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>>;
    fn ends_with_this(&mut self);
}

/// hyper has room for as many without asking the allocator.
const LINES: usize = 100;
/// What hyper's buffer holds beyond a head.
const SPARE: usize = 16 << 10;

impl Http1 {
    pub(super) fn new(port: &Arc<Port>, head: &Head) -> Self {
        let lent = Arc::new(Lent::default());
        let lines = head.lines.max(LINES);
        let mut builder = http1::Builder::new();
        builder
            .max_headers(lines)
            .max_buf_size(port.longest_head() + SPARE)
            .preserve_header_case(true);
        let service = {
            let (port, lent) = (Arc::clone(port), Arc::clone(&lent));
            service_fn(move |request: Request| {
                let (port, lent) = (Arc::clone(&port), Arc::clone(&lent));
                async move {
                    let answer = port.answer(lent.asked()?, request).await;
                    let switches = answer.status() == http::StatusCode::SWITCHING_PROTOCOLS;
                    let lent = (!switches).then_some(lent);
                    Ok::<_, io::Error>(answer.map(|body| Answer::new(body, lent)))
                }
            })
        };
        let stream = RequestStream::new(Arc::clone(&lent));
        let served = builder.serve_connection(stream, service).with_upgrades();
        Self {
            served: Box::new(served),
            lent,
            lines,
            place: None,
        }
    }

    pub(super) fn takes(&self, head: &Head) -> bool {
        head.lines <= self.lines
    }

    /// The request that is to be served next; `behind` is what was read behind its head.
    pub(super) fn lend(
        &self,
        stream: TcpStream,
        behind: Vec<u8>,
        head: Head,
        asked: Asked,
    ) -> Arc<Lent> {
        self.lent.lend(stream, behind, head, asked);
        Arc::clone(&self.lent)
    }

    /// Serves it. What was lent comes back, if the connection may carry another request.
    pub(super) async fn serve(&mut self) -> hyper::Result<Option<(TcpStream, Vec<u8>)>> {
        poll_fn(|context| match self.served.poll(context) {
            // hyper would wait for another request, which is not its to read.
            Poll::Pending if self.lent.is_over() => Poll::Ready(Ok(self.lent.take())),
            polled => Poll::Ready(ready!(polled).map(|()| None)),
        })
        .await
    }

    /// The connection is not to carry another request.
    pub(super) fn ends_with_this(&mut self) {
        self.served.ends_with_this();
    }
}

impl<S> Served for UpgradeableConnection<RequestStream, S>
where
    S: Service<Request, Response = Response<Answer<ServerBody>>, Error = io::Error> + Send + Unpin,
    S::Future: Send,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(Pin::new(self), context)
    }

    fn ends_with_this(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}
