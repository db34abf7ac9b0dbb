//! One thread, one epoll: the clients, the app and the app's admin calls.
//!
//! A [`Script`] says what happens on each event. Sockets are level-triggered and read once per
//! event, so a message costs one system call on each side of it.

mod admin;
mod app;
mod client;

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use crate::net::Sources;
use crate::target::Target;
use crate::wire::frame::Frame;

use admin::Admin;
use app::AppConnection;
use client::Client;

pub(crate) use app::{Action, Callback, Exchange};
pub(crate) use client::Manner;

/// A client's place; reused once it is gone.
pub(crate) type ClientId = usize;

/// What a load does when something happens.
#[allow(unused_variables, reason = "most loads care for a few of the events")]
pub(crate) trait Script {
    fn opened(&mut self, io: &mut Io, client: ClientId) {}
    fn message(&mut self, io: &mut Io, client: ClientId, payload: &[u8]) {}
    /// The connection is over; before `opened` if it was refused.
    fn gone(&mut self, io: &mut Io, client: ClientId, code: Option<u16>) {}
    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        io.answer(exchange, callback.plain_answer());
    }
    fn called(&mut self, io: &mut Io, status: u16, took: Duration) {}
    /// Called on each turn; answers when it wants to be called again at the latest.
    fn tick(&mut self, io: &mut Io, now: Instant) -> Option<Instant> {
        None
    }
}

/// What a script can do.
#[derive(Debug)]
pub(crate) struct Io {
    pub target: Target,
    epoll: Epoll,
    sources: Sources,
    listener: TcpListener,
    clients: Slab<Client>,
    app: Slab<AppConnection>,
    admin: Admin,
    serial: u64,
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub io: Io,
    events: Vec<EpollEvent>,
    buffer: Vec<u8>,
}

const KIND: u32 = 56;
const LISTENER: u64 = 0;
const CLIENT: u64 = 1;
const APP: u64 = 2;
const ADMIN: u64 = 3;

impl Engine {
    /// Listens as the app on a port of its own; `target` is set once the server runs.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, event(EpollFlags::EPOLLIN, LISTENER, 0))?;
        let io = Io {
            target: Target::default(),
            epoll,
            sources: Sources::default(),
            listener,
            clients: Slab::new(),
            app: Slab::new(),
            admin: Admin::default(),
            serial: 0,
        };
        Ok(Self {
            io,
            events: vec![EpollEvent::empty(); 512],
            buffer: vec![0; 256 << 10],
        })
    }

    /// Runs until the script is done, or says that it was not by `deadline`.
    pub(crate) fn run<S: Script>(
        &mut self,
        script: &mut S,
        deadline: Instant,
        done: impl Fn(&S) -> bool,
    ) -> anyhow::Result<bool> {
        loop {
            if done(script) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.turn(script, deadline)?;
        }
    }

    /// Runs for so long.
    pub(crate) fn run_for<S: Script>(
        &mut self,
        script: &mut S,
        time: Duration,
    ) -> anyhow::Result<()> {
        self.run(script, Instant::now() + time, |_| false).map(drop)
    }

    fn turn<S: Script>(&mut self, script: &mut S, deadline: Instant) -> anyhow::Result<()> {
        let now = Instant::now();
        let wake = script
            .tick(&mut self.io, now)
            .map_or(deadline, |next| next.min(deadline));
        // Rounded down: the last millisecond is spent looking, so that a paced load is on time.
        let patience = wake.saturating_duration_since(now).as_millis().min(100);
        let timeout = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::ZERO);
        let count = match self.io.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for index in 0..count {
            let event = self.events[index];
            let key = usize::try_from(event.data() & ((1 << KIND) - 1))?;
            match event.data() >> KIND {
                LISTENER => self.io.accept()?,
                CLIENT => self
                    .io
                    .client_ready(script, key, event.events(), &mut self.buffer)?,
                APP => self
                    .io
                    .app_ready(script, key, event.events(), &mut self.buffer)?,
                _ => self
                    .io
                    .admin_ready(script, key, event.events(), &mut self.buffer)?,
            }
        }
        Ok(())
    }
}

impl Io {
    /// The port the app listens on.
    pub(crate) fn app_port(&self) -> anyhow::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    fn watch(
        &self,
        stream: &TcpStream,
        flags: EpollFlags,
        kind: u64,
        key: usize,
    ) -> anyhow::Result<()> {
        Ok(self.epoll.add(stream.as_fd(), event(flags, kind, key))?)
    }

    fn watch_again(
        &self,
        stream: &TcpStream,
        flags: EpollFlags,
        kind: u64,
        key: usize,
    ) -> anyhow::Result<()> {
        Ok(self
            .epoll
            .modify(stream.as_fd(), &mut event(flags, kind, key))?)
    }
}

fn event(flags: EpollFlags, kind: u64, key: usize) -> EpollEvent {
    EpollEvent::new(flags, kind << KIND | key as u64)
}

/// What a read brought.
enum Input {
    Bytes(usize),
    Nothing,
    End,
}

fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> Input {
    match stream.read(buffer) {
        Ok(0) => Input::End,
        Ok(count) => Input::Bytes(count),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Input::Nothing
        }
        Err(_) => Input::End,
    }
}

/// The code of a close frame.
fn close_code(frame: &Frame<'_>) -> u16 {
    frame
        .payload
        .first_chunk()
        .map_or(1005, |code| u16::from_be_bytes(*code))
}
