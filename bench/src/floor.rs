//! The floor of a fan-out: one write(2) of a ready frame to each socket, and nothing else.
//!
//! No callbacks, no limits, no back-pressure: what is left is what the kernel asks for.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use memchr::memmem;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use crate::wire::{frame, http};

const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const LISTENER: u64 = u64::MAX;

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    open: bool,
}

pub(crate) fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut sockets: Slab<Socket> = Slab::new();
    let mut events = vec![EpollEvent::empty(); 512];
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(&listener, &epoll, &mut sockets)?;
            } else {
                ready(usize::try_from(event.data())?, &mut sockets, &mut buffer);
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &Epoll, sockets: &mut Slab<Socket>) -> anyhow::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = sockets.insert(Socket {
            stream,
            open: false,
        });
        epoll.add(
            sockets[key].stream.as_fd(),
            EpollEvent::new(EpollFlags::EPOLLIN, key as u64),
        )?;
    }
    Ok(())
}

/// Requests and frames of this size come whole over loopback.
fn ready(key: usize, sockets: &mut Slab<Socket>, buffer: &mut [u8]) {
    let Some(socket) = sockets.get_mut(key) else {
        return;
    };
    let count = match socket.stream.read(buffer) {
        Ok(0) => 0,
        Ok(count) => count,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
        Err(_) => 0,
    };
    let bytes = &buffer[..count];
    if bytes.is_empty() {
        sockets.remove(key);
    } else if bytes.starts_with(b"GET ") {
        socket.open = socket.stream.write(ACCEPTED).is_ok();
    } else if let Some(message) = http::message(bytes).filter(|_| !socket.open) {
        fan_out(sockets, &bytes[message.head..]);
        let _ = sockets[key]
            .stream
            .write(&http::ok("application/json", b"{\"code\":0}"));
    } else if bytes[0] & 0x0f == frame::CLOSE {
        let mut close = Vec::new();
        frame::encode_as_server(frame::CLOSE, &1000_u16.to_be_bytes(), &mut close);
        let _ = socket.stream.write(&close);
        sockets.remove(key);
    }
}

fn fan_out(sockets: &mut Slab<Socket>, call: &[u8]) {
    let Some(start) = memmem::find(call, b"\"payload\":") else {
        return;
    };
    let mut bytes = Vec::new();
    frame::encode_as_server(frame::TEXT, &call[start + 10..call.len() - 1], &mut bytes);
    for (_, socket) in sockets.iter_mut().filter(|(_, socket)| socket.open) {
        let _ = socket.stream.write(&bytes);
    }
}
