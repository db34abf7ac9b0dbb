//! One client's connection, from its first byte to its end: heads are read here, and hyper serves
//! one request after the other. While nothing is read of a head the connection has a place in one
//! crowd, while a request is under way in another; whoever is turned out of its place is gone.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::Asked;
use super::crowd::Seat;
use super::head::{self, Head, Refusal, Scan};
use super::http1::Http1;
use super::port::Port;
use super::proxy_protocol::{self, Beginning};
use crate::budget::Charge;
use crate::proxy::{Protocol, sniff};
use crate::{read_buffer, reply};

pub(super) struct Connection {
    port: Arc<Port>,
    peer: SocketAddr,
    stream: TcpStream,
    /// What was read and not used yet.
    read: Vec<u8>,
    /// What served the last request, for a while.
    http1: Option<Http1>,
    stop: CancellationToken,
}

enum Next {
    Request(Head, Option<Charge>),
    /// TLS or HTTP/2, for the app.
    Other(Protocol),
    Refused(Refusal),
    /// The client is gone or late, or has to go.
    End,
}

/// How long answers that are under way may take once everything else has ended.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// How long hyper's side of a connection waits for its next request.
const SOON: Duration = Duration::from_secs(1);
/// How long a client may go on sending after it was refused, so that it reads why.
const LINGER: Duration = Duration::from_secs(2);

impl Connection {
    pub(super) fn new(
        port: Arc<Port>,
        peer: SocketAddr,
        stream: TcpStream,
        stop: CancellationToken,
    ) -> Self {
        Self {
            port,
            peer,
            stream,
            read: Vec::new(),
            http1: None,
            stop,
        }
    }

    pub(super) async fn serve(mut self, newcomer: Seat) {
        let next = self.first(newcomer).await;
        self.go_on(next).await;
    }

    /// The same for a stranger: only the first request is served on this task's threads.
    pub(super) async fn serve_newcomer(
        mut self,
        newcomer: Seat,
        (connections, established): (TaskTracker, Handle),
    ) {
        match self.first(newcomer).await {
            Next::Request(head, charge) => {
                if let Some(mut again) = Box::pin(self.exchange(head, charge)).await {
                    let rest = async move {
                        let next = again.another().await;
                        again.go_on(next).await;
                    };
                    connections.spawn_on(rest, &established);
                }
            }
            Next::Other(protocol) => {
                connections.spawn_on(self.splice(protocol), &established);
            }
            next => self.go_on(next).await,
        }
    }

    async fn go_on(mut self, mut next: Next) {
        loop {
            match next {
                Next::Request(head, charge) => {
                    // Boxed, so that a connection that only waits is small.
                    let Some(again) = Box::pin(self.exchange(head, charge)).await else {
                        return;
                    };
                    self = again;
                }
                Next::Other(protocol) => return Box::pin(self.splice(protocol)).await,
                Next::Refused(refusal) => return Box::pin(self.refuse(refusal)).await,
                Next::End => return,
            }
            next = self.another().await;
        }
    }

    async fn first(&mut self, mut newcomer: Seat) -> Next {
        // Fails only on a socket that is gone.
        let _ = self.stream.set_nodelay(true);
        let handshake = self.port.limits().handshake;
        if self.port.takes_proxy_protocol(self.peer) {
            let balancer = self.peer;
            if let Some(end) = self.take_proxy_header(&newcomer, handshake).await {
                return end;
            }
            if self.peer != balancer {
                drop(newcomer);
                newcomer = self.port.newcomer(self.peer);
            }
        }
        self.next(&newcomer, handshake, self.port.upstream().is_some())
            .await
    }

    /// From now on the peer is who the header names, if there is one.
    async fn take_proxy_header(&mut self, seat: &Seat, within: Duration) -> Option<Next> {
        let deadline = in_time(within);
        loop {
            match proxy_protocol::read(&self.read) {
                Beginning::Unfinished => {}
                Beginning::Other => return None,
                Beginning::Header { length, client } => {
                    self.read.drain(..length);
                    self.peer = client;
                    return None;
                }
                Beginning::Malformed(why) => return Some(Next::Refused(head::malformed(why))),
            }
            tokio::select! {
                biased;
                () = seat.turned_out() => return Some(Next::End),
                read = fill(&mut self.stream, &mut self.read, self.port.longest_head()) => match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Some(Next::End),
                },
                () = sleep_until(deadline) => return Some(Next::End),
                () = self.stop.cancelled() => return Some(Next::End),
            }
        }
    }

    async fn another(&mut self) -> Next {
        let idle = self.port.between_requests(self.peer);
        let keep_alive = self.port.limits().keep_alive;
        self.next(&idle, keep_alive, false).await
    }

    /// The next head. What has not begun may idle for so long; what has begun is to end within
    /// `limits.handshake`.
    async fn next(&mut self, seat: &Seat, idle: Duration, may_be_other: bool) -> Next {
        let mut deadline = in_time(idle);
        let soon = Instant::now() + SOON;
        let mut begun = false;
        let mut scan = Scan::default();
        let mut weight = LIGHT;
        let mut charge = None;
        loop {
            self.skip_empty_lines();
            if self.read.capacity() > weight {
                weight = self.read.capacity();
                self.port.turned_out(seat.weigh(weight), self.peer);
                if let Err(refusal) = self.port.hold(weight, &mut charge) {
                    return Next::Refused(refusal);
                }
            }
            if !self.read.is_empty() {
                let protocol = if may_be_other {
                    sniff(&self.read)
                } else {
                    Some(Protocol::Http1)
                };
                match protocol {
                    None => {}
                    Some(Protocol::Http1) => match self.head(&mut scan) {
                        Ok(Some(head)) => return Next::Request(head, charge),
                        Ok(None) => {}
                        Err(refusal) => return Next::Refused(refusal),
                    },
                    Some(other) => return Next::Other(other),
                }
                if !begun {
                    begun = true;
                    deadline = deadline.min(in_time(self.port.limits().handshake));
                }
            }
            tokio::select! {
                biased;
                () = seat.turned_out() => return Next::End,
                read = fill(&mut self.stream, &mut self.read, self.port.longest_head()) => match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Next::End,
                },
                () = sleep_until(if self.http1.is_some() { soon.min(deadline) } else { deadline }) => {
                    if deadline <= Instant::now() {
                        return Next::End;
                    }
                    self.http1 = None;
                }
                () = self.stop.cancelled() => return Next::End,
            }
        }
    }

    fn head(&mut self, scan: &mut Scan) -> Result<Option<Head>, Refusal> {
        match scan.end(&self.read)? {
            Some(end) => {
                let behind = self.read.split_off(end);
                let bytes = std::mem::replace(&mut self.read, behind);
                Head::read(scan, bytes, self.port.trusted_proxy(self.peer)).map(Some)
            }
            None if self.read.len() > self.port.longest_head() => {
                Err(head::too_long(self.port.longest_head()))
            }
            None => Ok(None),
        }
    }

    /// RFC 9112 §2.2: a server should ignore an empty line before a request.
    fn skip_empty_lines(&mut self) {
        let empty = self
            .read
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let count = empty.count();
        self.read.drain(..count);
    }

    /// One request and its answer, with what its head was charged until then; the connection, if
    /// it may carry another.
    async fn exchange(self, head: Head, _charge: Option<Charge>) -> Option<Self> {
        let Self {
            port,
            peer,
            stream,
            read,
            http1,
            stop,
        } = self;
        let seat = Arc::new(port.with_a_request_of(head.client, peer));
        let asked = Asked {
            peer,
            head: head.bytes.len(),
            seat: Arc::clone(&seat),
        };
        let kept = http1.filter(|http1| http1.takes(&head));
        let mut http1 = kept.unwrap_or_else(|| Http1::new(&port, &head));
        let lent = http1.lend(stream, read, head, asked);
        let ended = tokio::select! {
            biased;
            served = http1.serve() => Some(served),
            () = seat.turned_out() => return None,
            () = idle(port.idle_limit(), || lent.has_moved()) => {
                debug!(%peer, "nothing moved for too long");
                return None;
            }
            () = stop.cancelled() => None,
        };
        match ended {
            Some(Ok(Some((stream, read)))) => Some(Self {
                http1: port.keep(http1),
                port,
                peer,
                stream,
                read,
                stop,
            }),
            Some(Ok(None)) => None,
            Some(Err(error)) => {
                debug!(%peer, %error, "connection ended");
                None
            }
            None => {
                // What is being answered is answered to the end.
                http1.ends_with_this();
                let _ = timeout(LAST_ANSWER, http1.serve()).await;
                None
            }
        }
    }

    async fn splice(self, protocol: Protocol) {
        let Self {
            port,
            peer,
            stream,
            read,
            stop,
            ..
        } = self;
        let Some(upstream) = port.upstream() else {
            return;
        };
        let seat = port.with_a_request(peer);
        tokio::select! {
            () = upstream.splice(protocol, stream, read, &stop) => {}
            () = seat.turned_out() => {}
        }
    }

    /// The answer to a head that is none, and some time to read it: what is closed with bytes
    /// unread is reset, and the answer may be lost with it.
    async fn refuse(mut self, refusal: Refusal) {
        self.port.refused(&refusal, self.peer);
        let seat = self.port.between_requests(self.peer);
        let answer = reply::raw(refusal.status, &refusal.message);
        let rest = async {
            self.stream.write_all(&answer).await?;
            self.stream.shutdown().await?;
            while self.discard().await? > 0 {}
            io::Result::Ok(())
        };
        // Late or gone: the answer was all there is.
        tokio::select! {
            _ = timeout(LINGER, rest) => {}
            () = seat.turned_out() => {}
        }
    }

    async fn discard(&mut self) -> io::Result<usize> {
        self.read.clear();
        fill(&mut self.stream, &mut self.read, UNWANTED).await
    }
}

/// Most heads are no longer, and weigh what their place weighs.
const LIGHT: usize = 4 << 10;
/// How much is read at once of what nobody wants.
const UNWANTED: usize = 16 << 10;

/// Reads until there is one byte more than so many.
async fn fill(stream: &mut TcpStream, into: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    poll_fn(|context| {
        read_buffer::with(|chunk| {
            let want = (limit + 1).saturating_sub(into.len()).clamp(1, chunk.len());
            let mut read = ReadBuf::new(&mut chunk[..want]);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            into.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    })
    .await
}

/// Resolves when nothing has moved for so long, or at most twice as long. Zero: never.
pub(crate) async fn idle(limit: Duration, has_moved: impl Fn() -> bool) {
    if limit.is_zero() {
        return std::future::pending().await;
    }
    loop {
        sleep_until(in_time(limit)).await;
        if !has_moved() {
            return;
        }
    }
}

/// When so much time is over. Zero: never.
fn in_time(span: Duration) -> Instant {
    const NEVER: Duration = Duration::from_hours(30 * 365 * 24);
    let span = if span.is_zero() {
        NEVER
    } else {
        span.min(NEVER)
    };
    Instant::now() + span
}
