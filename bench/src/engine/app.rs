//! The app: an HTTP server that reads callbacks and answers them.

use std::net::TcpStream;

use nix::sys::epoll::EpollFlags;

use super::{APP, Input, Io, Script, read};
use crate::net;
use crate::target::Answer;
use crate::wire::http;

#[derive(Debug)]
pub(super) struct AppConnection {
    stream: TcpStream,
    serial: u64,
    partial: Vec<u8>,
    pending: Vec<u8>,
}

/// One request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    key: usize,
    serial: u64,
}

/// What the server told the app.
#[derive(Debug)]
pub(crate) struct Callback<'a> {
    pub action: Action,
    pub connection: &'a [u8],
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Open,
    Message,
    Close,
}

impl Callback<'_> {
    /// The answer of an app that has nothing to say.
    pub(crate) fn plain_answer(&self) -> Answer<'static> {
        if self.action == Action::Open {
            Answer::Welcome
        } else {
            Answer::Plain
        }
    }
}

impl Io {
    /// Connections the server has open to the app.
    pub(crate) fn app_connections(&self) -> usize {
        self.app.len()
    }

    /// 200; what else is in it is up to the dialect.
    pub(crate) fn answer(&mut self, exchange: Exchange, answer: Answer<'_>) {
        let Some(connection) = self.app.get_mut(exchange.key) else {
            return;
        };
        if connection.serial != exchange.serial {
            return;
        }
        let answer = self.target.dialect.answer(answer);
        if let Ok(false) = net::write_some(&connection.stream, &mut connection.pending, &answer) {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            let _ = self.watch_again(&self.app[exchange.key].stream, flags, APP, exchange.key);
        }
    }

    pub(super) fn accept(&mut self) -> anyhow::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.serial += 1;
            let connection = AppConnection {
                stream,
                serial: self.serial,
                partial: Vec::new(),
                pending: Vec::new(),
            };
            let key = self.app.insert(connection);
            self.watch(&self.app[key].stream, EpollFlags::EPOLLIN, APP, key)?;
        }
        Ok(())
    }

    pub(super) fn app_ready<S: Script>(
        &mut self,
        script: &mut S,
        key: usize,
        events: EpollFlags,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        let Some(connection) = self.app.get_mut(key) else {
            return Ok(());
        };
        if events.contains(EpollFlags::EPOLLOUT)
            && let Ok(true) = net::flush(&connection.stream, &mut connection.pending)
        {
            self.watch_again(&self.app[key].stream, EpollFlags::EPOLLIN, APP, key)?;
        }
        let connection = &mut self.app[key];
        match read(&connection.stream, buffer) {
            Input::Nothing => {}
            Input::End => {
                self.app.remove(key);
            }
            Input::Bytes(count) if connection.partial.is_empty() => {
                self.app_bytes(script, key, &buffer[..count]);
            }
            Input::Bytes(count) => {
                let mut bytes = std::mem::take(&mut connection.partial);
                bytes.extend_from_slice(&buffer[..count]);
                self.app_bytes(script, key, &bytes);
            }
        }
        Ok(())
    }

    fn app_bytes<S: Script>(&mut self, script: &mut S, key: usize, mut bytes: &[u8]) {
        let exchange = Exchange {
            key,
            serial: self.app[key].serial,
        };
        while let Some(extent) = http::message(bytes) {
            let (request, rest) = bytes.split_at(extent.size);
            bytes = rest;
            let (head, body) = request.split_at(extent.head);
            match self.target.dialect.callback(head, body) {
                Some(callback) => script.callback(self, exchange, &callback),
                None => self.answer(exchange, Answer::Plain),
            }
        }
        if let Some(connection) = self.app.get_mut(key) {
            connection.partial = bytes.to_vec();
        }
    }
}
