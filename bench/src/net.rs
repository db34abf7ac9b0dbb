//! Sockets of the load: non-blocking, from many loopback addresses.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};

/// Source addresses, so that 19,000 clients do not share the ports of one.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    next: u32,
}

const SOURCES: u32 = 500;

impl Sources {
    pub(crate) fn next(&mut self) -> Ipv4Addr {
        self.next = (self.next + 1) % SOURCES;
        let [_, _, high, low] = self.next.to_be_bytes();
        Ipv4Addr::new(127, 9, high, low + 1 - low / 255)
    }
}

/// Starts to connect. `receive_buffer` is for clients that are meant to be full soon.
pub(crate) fn start_connect(
    from: Ipv4Addr,
    to: SocketAddrV4,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // Without it the kernel searches for a port that is free for every destination, and the
    // search is what would be measured.
    setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    if let Some(bytes) = receive_buffer {
        setsockopt(&fd, sockopt::RcvBuf, &bytes)?;
    }
    bind(
        fd.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(from, 0)),
    )?;
    match connect(fd.as_raw_fd(), &SockaddrIn::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error.into()),
    }
}

/// Writes what the socket takes; the rest waits in `pending`. True when nothing is left.
pub(crate) fn write_some(
    mut stream: &TcpStream,
    pending: &mut Vec<u8>,
    bytes: &[u8],
) -> io::Result<bool> {
    if !pending.is_empty() {
        pending.extend_from_slice(bytes);
        return flush(stream, pending);
    }
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pending.extend_from_slice(&bytes[written..]);
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

pub(crate) fn flush(stream: &TcpStream, pending: &mut Vec<u8>) -> io::Result<bool> {
    let waiting = std::mem::take(pending);
    write_some(stream, pending, &waiting)
}
