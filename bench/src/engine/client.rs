//! Clients: connect, upgrade, read, write, close.

use std::net::TcpStream;

use memchr::memmem;
use nix::sys::epoll::EpollFlags;

use super::{CLIENT, ClientId, Input, Io, Script, close_code, read};
use crate::net;
use crate::wire::frame::{self, Frame};

#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    state: State,
    /// The beginning of what has not come whole.
    partial: Vec<u8>,
    /// What the socket did not take yet.
    pending: Vec<u8>,
    close_sent: bool,
    code: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Upgrading,
    Open,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// A small one is full soon.
    pub receive_buffer: Option<usize>,
}

impl Io {
    pub(crate) fn connect(&mut self, manner: Manner) -> anyhow::Result<ClientId> {
        let from = self.sources.next();
        let stream = net::start_connect(from, self.target.clients, manner.receive_buffer)?;
        let client = Client {
            stream,
            state: State::Connecting,
            partial: Vec::new(),
            pending: Vec::new(),
            close_sent: false,
            code: None,
        };
        let key = self.clients.insert(client);
        self.watch(&self.clients[key].stream, EpollFlags::EPOLLOUT, CLIENT, key)?;
        Ok(key)
    }

    /// Sends bytes that are already framed.
    pub(crate) fn send(&mut self, client: ClientId, frame: &[u8]) {
        let Some(this) = self.clients.get_mut(client) else {
            return;
        };
        // A reset is seen on the next read.
        if let Ok(false) = net::write_some(&this.stream, &mut this.pending, frame) {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            let _ = self.watch_again(&self.clients[client].stream, flags, CLIENT, client);
        }
    }

    /// Starts the closing handshake.
    pub(crate) fn close(&mut self, client: ClientId) {
        let mut close = Vec::with_capacity(8);
        frame::encode(frame::CLOSE, &1000_u16.to_be_bytes(), &mut close);
        self.send(client, &close);
        if let Some(client) = self.clients.get_mut(client) {
            client.close_sent = true;
        }
    }

    /// From now on the client reads nothing.
    pub(crate) fn stop_reading(&mut self, client: ClientId) -> anyhow::Result<()> {
        match self.clients.get(client) {
            Some(this) => self.watch_again(&this.stream, EpollFlags::empty(), CLIENT, client),
            None => Ok(()),
        }
    }

    pub(crate) fn read_again(&mut self, client: ClientId) -> anyhow::Result<()> {
        match self.clients.get(client) {
            Some(this) => self.watch_again(&this.stream, EpollFlags::EPOLLIN, CLIENT, client),
            None => Ok(()),
        }
    }

    /// Drops every client without a word.
    pub(crate) fn hang_up(&mut self) {
        self.clients.clear();
    }

    pub(super) fn client_ready<S: Script>(
        &mut self,
        script: &mut S,
        key: ClientId,
        events: EpollFlags,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(());
        };
        if client.state == State::Connecting {
            let failed = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            if failed || client.stream.take_error()?.is_some() {
                self.lose(script, key);
                return Ok(());
            }
            client.state = State::Upgrading;
            self.watch_again(&self.clients[key].stream, EpollFlags::EPOLLIN, CLIENT, key)?;
            let request = self.target.upgrade_request(key);
            self.send(key, &request);
            return Ok(());
        }
        if events.contains(EpollFlags::EPOLLOUT) {
            if let Ok(true) = net::flush(&client.stream, &mut client.pending) {
                self.watch_again(&self.clients[key].stream, EpollFlags::EPOLLIN, CLIENT, key)?;
            }
            if !events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP)
            {
                return Ok(());
            }
        }
        let client = &mut self.clients[key];
        match read(&client.stream, buffer) {
            Input::Nothing => {}
            Input::End => self.lose(script, key),
            Input::Bytes(count) if client.partial.is_empty() => {
                self.client_bytes(script, key, &buffer[..count]);
            }
            Input::Bytes(count) => {
                let mut partial = std::mem::take(&mut client.partial);
                partial.extend_from_slice(&buffer[..count]);
                self.client_bytes(script, key, &partial);
            }
        }
        Ok(())
    }

    fn client_bytes<S: Script>(&mut self, script: &mut S, key: ClientId, mut bytes: &[u8]) {
        loop {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            if client.state == State::Upgrading {
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                    break;
                };
                if !bytes.starts_with(b"HTTP/1.1 101") {
                    self.lose(script, key);
                    return;
                }
                client.state = State::Open;
                bytes = &bytes[end + 4..];
                script.opened(self, key);
                continue;
            }
            let Some(frame) = frame::decode(bytes) else {
                break;
            };
            bytes = &bytes[frame.size..];
            match frame.opcode {
                frame::TEXT | frame::BINARY => script.message(self, key, frame.payload),
                frame::PING => self.pong(key, &frame),
                frame::CLOSE => self.client_closed(key, &frame),
                _ => {}
            }
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.partial = bytes.to_vec();
        }
    }

    fn pong(&mut self, key: ClientId, ping: &Frame<'_>) {
        let mut answer = Vec::new();
        frame::encode(frame::PONG, ping.payload, &mut answer);
        self.send(key, &answer);
    }

    fn client_closed(&mut self, key: ClientId, frame: &Frame<'_>) {
        let client = &mut self.clients[key];
        client.code = Some(close_code(frame));
        if !client.close_sent {
            self.close(key);
        }
    }

    fn lose<S: Script>(&mut self, script: &mut S, key: ClientId) {
        let code = self.clients.remove(key).code;
        script.gone(self, key, code);
    }
}
