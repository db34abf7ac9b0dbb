//! The app's calls of the admin API, over a few kept connections.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;
use slab::Slab;

use super::{ADMIN, Input, Io, Script, read};
use crate::net;
use crate::wire::http;

/// As many as an app's HTTP client would keep; what is beyond waits.
const CONNECTIONS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Admin {
    connections: Slab<AdminConnection>,
    idle: Vec<usize>,
    waiting: VecDeque<(Instant, Vec<u8>)>,
}

#[derive(Debug)]
struct AdminConnection {
    stream: TcpStream,
    partial: Vec<u8>,
    pending: Vec<u8>,
    /// When the call under way was made.
    called: Instant,
}

impl Io {
    /// Makes a call; `called` follows.
    pub(crate) fn call(&mut self, request: Vec<u8>) -> anyhow::Result<()> {
        let now = Instant::now();
        let key = match self.admin.idle.pop() {
            Some(key) => key,
            None if self.admin.connections.len() < CONNECTIONS => self.open_admin()?,
            None => {
                self.admin.waiting.push_back((now, request));
                return Ok(());
            }
        };
        self.write_admin(key, now, &request)
    }

    /// From now on calls go elsewhere.
    pub(crate) fn forget_calls(&mut self) {
        self.admin = Admin::default();
    }

    fn open_admin(&mut self) -> anyhow::Result<usize> {
        let stream = TcpStream::connect(self.target.admin)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = self.admin.connections.insert(AdminConnection {
            stream,
            partial: Vec::new(),
            pending: Vec::new(),
            called: Instant::now(),
        });
        self.watch(
            &self.admin.connections[key].stream,
            EpollFlags::EPOLLIN,
            ADMIN,
            key,
        )?;
        Ok(key)
    }

    fn write_admin(&mut self, key: usize, called: Instant, request: &[u8]) -> anyhow::Result<()> {
        let connection = &mut self.admin.connections[key];
        connection.called = called;
        if !net::write_some(&connection.stream, &mut connection.pending, request)? {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            self.watch_again(&self.admin.connections[key].stream, flags, ADMIN, key)?;
        }
        Ok(())
    }

    pub(super) fn admin_ready<S: Script>(
        &mut self,
        script: &mut S,
        key: usize,
        events: EpollFlags,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        let Some(connection) = self.admin.connections.get_mut(key) else {
            return Ok(());
        };
        if events.contains(EpollFlags::EPOLLOUT)
            && net::flush(&connection.stream, &mut connection.pending)?
        {
            self.watch_again(
                &self.admin.connections[key].stream,
                EpollFlags::EPOLLIN,
                ADMIN,
                key,
            )?;
        }
        let connection = &mut self.admin.connections[key];
        match read(&connection.stream, buffer) {
            Input::Nothing => return Ok(()),
            Input::End => {
                self.admin.connections.remove(key);
                self.admin.idle.retain(|&idle| idle != key);
                return Ok(());
            }
            Input::Bytes(count) => connection.partial.extend_from_slice(&buffer[..count]),
        }
        let Some(extent) = http::message(&connection.partial) else {
            return Ok(());
        };
        let status = http::status(&connection.partial);
        connection.partial.drain(..extent.size);
        let took = connection.called.elapsed();
        match self.admin.waiting.pop_front() {
            Some((called, request)) => self.write_admin(key, called, &request)?,
            None => self.admin.idle.push(key),
        }
        script.called(self, status, took);
        Ok(())
    }
}
