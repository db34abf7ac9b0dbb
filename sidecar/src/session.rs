//! One connection from the 101 to the app's close callback.
//!
//! A session is a hand-polled future because there is one per connection: an idle one is a
//! socket, a few words and no buffer. It has two halves that end on their own: the `socket`
//! (frames in and out, the closing handshake) and the `lane` (events to the app, in order). A
//! client that is gone leaves the lane to deliver what arrived and the close; an app that is
//! slow stops the reading from this one client.

mod answered;
mod lane;
mod placed;
mod rate;
mod socket;
mod unfinished;

use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::callback::Transport;
use crate::callback::event::{ClientMessage, OpenRequest};
use crate::connection::{Connection, Pong};
use crate::gateway::Admission;
use crate::inbound::{self, Inbound};
use crate::metrics::{CallbackResult, MessageType};
use crate::protocol::CloseReason;
use crate::read_buffer;
use lane::Lane;
pub(crate) use placed::Placed;
use placed::Step;
use rate::Rate;
use socket::{Read, Socket};
use ws_codec::Frame;

pub struct Session<S, T: Transport> {
    gateway: Admission<T>,
    connection: Arc<Connection>,
    socket: Socket<S>,
    lane: Lane,
    rate: Rate,
    /// What this session has taken from the common budget for what its client sent.
    charged: usize,
    /// Of that, what is kept for as long as the connection lives.
    kept: u32,
    /// Not once the connection is closing: then nobody finds it any more.
    registered: bool,
    /// A frame that cannot be; the connection ends once all that came before it is answered.
    broken: Option<Box<CloseReason>>,
    /// On the threads for newcomers, or for floods, at least up to this time of the gateway's
    /// clock.
    aside: Option<NonZeroU64>,
    /// The client has sent without pause.
    flood: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Transport> Session<S, T> {
    /// `early` are bytes that came behind the upgrade request. Boxed, because a task of its own
    /// size takes memory in steps of 128 bytes.
    pub fn new(
        gateway: Admission<T>,
        connection: Connection,
        request: OpenRequest,
        stream: S,
        early: &[u8],
    ) -> Box<Self> {
        let connection = Arc::new(connection);
        let now = gateway.now_ms();
        connection.seen(now);
        gateway.metrics.opened();
        if let Some(journal) = &gateway.journal {
            journal.opened(&connection);
        }
        gateway.registry.insert(Arc::clone(&connection));
        if gateway.is_draining() {
            // Too late to be found by the drain's walk over the registry, perhaps.
            let code = gateway.settings.drain.code.0;
            connection.close(CloseReason::Shutdown { code });
        }
        let lane = if gateway.app.is_some() {
            Lane::opening(request)
        } else {
            Lane::leading_nowhere()
        };
        let rate = Rate::new(gateway.settings.limits.message_rate, now);
        let mut session = Box::new(Self {
            gateway,
            socket: Socket::new(stream, early),
            lane,
            rate,
            charged: 0,
            kept: u32::try_from(connection.kept()).unwrap_or(u32::MAX),
            connection,
            registered: true,
            broken: None,
            aside: None,
            flood: false,
        });
        session.charge();
        session
    }

    /// One round over everything: where there may be more to do at once, how many bytes it read.
    fn round(&mut self, context: &mut Context<'_>) -> Option<usize> {
        let asked = self.connection.poll_requests(context);
        if let Some(reason) = asked.close {
            self.begin_close(&reason);
        }
        if asked.let_go {
            self.let_go();
        }
        self.poll_write(context);
        let read = self.poll_read(context);
        // After reading, as reading starts this deadline, or starts it again.
        let patience = self.gateway.settings.limits.unfinished;
        if self.socket.is_unfinished(context, patience) {
            self.begin_close(&CloseReason::Unfinished);
            self.socket.stop_decoding();
            return Some(0);
        }
        self.charge();
        // Last, as everything before may have given the lane something to tell.
        let mut answered = false;
        while let Poll::Ready(step) =
            self.lane
                .poll(context, self.gateway.gateway(), &self.connection)
        {
            self.after_callback(step);
            answered = true;
        }
        self.charge();
        if self.lane.is_idle()
            && let Some(reason) = self.broken.take()
        {
            self.begin_close(&reason);
            self.socket.stop_decoding();
            return Some(0);
        }
        read.or_else(|| answered.then_some(0))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) {
        let room = self.gateway.room();
        match self.socket.poll_write(context, &self.connection, &room) {
            Ok(taken) => {
                self.lane.earn(taken.bytes);
                if taken.at_last {
                    let now = room.now_ms();
                    self.connection.has_taken(now);
                    if !self.gateway.settings.heartbeat.strict {
                        self.connection.seen(now);
                    }
                }
            }
            Err(gone) => {
                debug!(connection = %self.connection.id, error = %gone, "client takes nothing any more");
                self.connection.shut(true, &self.gateway.budget);
                self.socket.stop_writing();
            }
        }
    }

    // --- from the client ---

    /// How many bytes were read; then there may be more.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Option<usize> {
        if !self.socket.is_closing() && !self.may_read() {
            self.socket.pause();
            return None;
        }
        self.socket.resume();
        read_buffer::with(|buffer| match self.socket.poll_read(context, buffer) {
            Poll::Ready(Ok(Read::Data(count))) => {
                self.absorb(&mut buffer[..count]);
                Some(count)
            }
            Poll::Ready(Ok(Read::Stashed(mut bytes))) => {
                self.absorb(&mut bytes);
                Some(bytes.len())
            }
            Poll::Ready(Ok(Read::Discarded)) => Some(0),
            Poll::Ready(Ok(Read::End)) => {
                self.begin_close(&CloseReason::Abnormal);
                self.socket.drop_stream();
                None
            }
            Poll::Ready(Err(gone)) => {
                self.vanished(&gone);
                None
            }
            Poll::Pending => None,
        })
    }

    /// Back-pressure: not while the app is far behind with this client, and not for long while
    /// the client does not take what it was sent. Up to then pings and a close are heard.
    fn may_read(&mut self) -> bool {
        if self.is_full() || self.broken.is_some() {
            // It cannot be heard, so its silence is not its own.
            self.connection.hold_deadline();
            return false;
        }
        if self.connection.is_held() {
            self.connection.seen(self.gateway.now_ms());
        }
        self.socket.is_heeded(self.connection.is_unread())
    }

    fn is_full(&self) -> bool {
        let coming = self.socket.decoder.held();
        self.lane.is_full(&self.gateway.settings, coming)
    }

    fn absorb(&mut self, mut input: &mut [u8]) {
        /// Frames and fragments of one turn: a read may hold ten thousand of no byte.
        const STEPS: usize = 512;
        let limits = &self.gateway.settings.limits;
        let (limit, patience, bytes) = (limits.message.limit(), limits.unfinished, input.len());
        let (mut now, mut new_message, mut frames) = (None, false, 0);
        loop {
            frames += 1;
            if frames > STEPS || !self.socket.is_closing() && self.is_full() {
                self.socket.stash(input);
                break;
            }
            let next = self.socket.decoder.next_within(&mut input, limit, STEPS);
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.socket.stash(input);
                    break;
                }
                Err(_) if self.socket.is_closing() => return self.socket.stop_decoding(),
                Err(violation) => {
                    self.broken = Some(Box::new(violation.into()));
                    return;
                }
            };
            // A control frame amid a message does not make the message a new one.
            new_message |= !self.socket.decoder.in_message();
            if let Frame::Close { code, reason } = frame {
                self.client_closes(code, reason);
                return;
            }
            if !self.socket.is_closing() {
                let now = *now.get_or_insert_with(|| self.gateway.now_ms());
                self.receive(frame, now);
            }
        }
        self.socket.has_begun(bytes, new_message, patience);
    }

    fn receive(&mut self, frame: Frame<'_>, now: u64) {
        if !self.gateway.settings.heartbeat.strict {
            self.connection.seen(now);
        }
        let message = match frame {
            Frame::Ping(payload) => return self.answer(Pong::Control(ws_codec::pong(&payload))),
            Frame::Pong => return self.connection.pong_received(),
            Frame::Close { .. } => return,
            Frame::Binary(bytes) => ClientMessage::Binary((*bytes).into()),
            Frame::Text(text) => match self.text(&text, now) {
                Some(message) => message,
                None => return,
            },
        };
        self.gateway
            .metrics
            .received(kind_of(&message), message.size());
        if !self
            .rate
            .allows(self.gateway.settings.limits.message_rate, now)
        {
            return self.begin_close(&CloseReason::RateLimit);
        }
        self.lane.push(message, &self.gateway.settings);
    }

    /// `None` for a ping, which is answered here.
    fn text(&self, text: &str, now: u64) -> Option<ClientMessage> {
        let settings = &self.gateway.settings;
        match inbound::classify(text, settings.heartbeat.json_ping) {
            Inbound::Ping => {
                self.gateway.metrics.received(MessageType::Ping, text.len());
                self.connection.seen(now);
                self.answer(Pong::Text);
                None
            }
            Inbound::Json { event, kind } => {
                if event.as_deref() == Some(inbound::PING) {
                    self.connection.seen(now);
                }
                let wanted = !settings.routes.types.is_empty();
                let kinds = event.iter().chain(&kind).filter(|_| wanted);
                Some(ClientMessage::Json {
                    raw: text.into(),
                    kinds: kinds.map(|kind| kind.as_ref().into()).collect(),
                })
            }
            Inbound::Text => Some(ClientMessage::Text(text.into())),
        }
    }

    fn answer(&self, pong: Pong) {
        self.connection.answer(pong, &self.gateway.room());
    }

    fn client_closes(&mut self, code: Option<u16>, reason: Box<str>) {
        // RFC 6455 §7.1.5: a close frame without a body counts as 1005.
        self.begin_close(&CloseReason::Client {
            code: code.unwrap_or(1005),
            reason,
        });
        self.socket.peer_closed();
    }

    // --- the end ---

    fn vanished(&mut self, error: &std::io::Error) {
        debug!(connection = %self.connection.id, %error, "client gone");
        self.begin_close(&CloseReason::Abnormal);
        self.socket.drop_stream();
    }

    /// From here on the connection is out of the registry, no message is taken any more, and the
    /// app's close callback is on its way; the client's side ends by itself. Only the first
    /// reason counts.
    fn begin_close(&mut self, reason: &CloseReason) {
        if !self.unregister() {
            return;
        }
        debug!(connection = %self.connection.id, reason = reason.label(), "closing");
        self.gateway.metrics.closed(reason);
        self.connection
            .shut(reason.discards_outbox(), &self.gateway.budget);
        self.lane.close(reason);
        let settings = &self.gateway.settings;
        self.socket
            .begin_close(reason, settings.limits.close, settings.drain.timeout);
        if self.broken.take().is_some() {
            self.socket.stop_decoding();
        }
    }

    /// The common budget wants all back that it can get. What the app may have of it is in
    /// doubt, and the client hears so.
    fn let_go(&mut self) {
        /// Of whom much is kept until its end, that end does not wait for long.
        const MUCH: u32 = 4 << 10;
        const BRIEFLY: Duration = Duration::from_millis(200);
        self.begin_close(&CloseReason::Overloaded);
        if let Some(action) = self.lane.let_go() {
            let result = CallbackResult::InDoubt;
            self.gateway.metrics.callback(action, result);
        }
        self.socket.let_go();
        if self.kept > MUCH {
            self.socket.hurry(BRIEFLY);
        }
        self.charge();
        self.connection.has_let_go();
    }

    /// Settles with the common budget what is kept and what waits on its way in.
    fn charge(&mut self) {
        let held = self.kept as usize + self.lane.held() + self.socket.held();
        if held != self.charged {
            self.connection
                .holds(self.charged, held, &self.gateway.budget);
            self.charged = held;
        }
        if self.socket.is_gone() {
            self.connection.nothing_is_written(&self.gateway.budget);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Transport> Future for Session<S, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.step(context) {
            Step::Ended => return Poll::Ready(()),
            Step::Waits => {}
            Step::Moves => context.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl<S, T: Transport> Session<S, T> {
    /// Whether it was still to be found.
    fn unregister(&mut self) -> bool {
        let registered = std::mem::replace(&mut self.registered, false);
        if registered {
            self.gateway.registry.remove(self.connection.id);
        }
        registered
    }
}

impl<S, T: Transport> Drop for Session<S, T> {
    fn drop(&mut self) {
        self.unregister();
        let budget = &self.gateway.budget;
        self.connection.shut(true, budget);
        self.connection.nothing_is_written(budget);
        self.connection.holds(self.charged, 0, budget);
    }
}

fn kind_of(message: &ClientMessage) -> MessageType {
    match message {
        ClientMessage::Json { .. } => MessageType::Json,
        ClientMessage::Text(_) => MessageType::Text,
        ClientMessage::Binary(_) => MessageType::Binary,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::{Connection, Session};
    use crate::callback::client::AppClient;

    /// With the two counts of its `Arc`; 192 and 224 are sizes that allocators have.
    #[test]
    fn an_idle_session_is_small() {
        let connection = size_of::<Connection>() + 2 * size_of::<usize>();
        assert!(connection <= 192, "a connection is {connection} bytes");
        let session = size_of::<Session<TcpStream, AppClient>>();
        assert!(session <= 224, "a session is {session} bytes");
    }
}
