//! The sockets that connections come through, and what each connection inherits of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tracing::warn;

/// With `loopback`: what asks for all addresses gets loopback's, of both families, as `localhost`
/// may be either.
pub(crate) fn listeners(address: SocketAddr, loopback: bool) -> anyhow::Result<Vec<TcpListener>> {
    if !address.ip().is_unspecified() {
        return Ok(vec![bind(address)?]);
    }
    if !loopback {
        let all = bind(address)?;
        let own = queue_of_the_pod(&all).inspect_err(
            |error| warn!(%error, %address, "the pod's own calls wait among those from outside"),
        );
        return Ok(own.into_iter().flatten().chain([all]).collect());
    }
    let on = |ip: IpAddr| bind(SocketAddr::new(ip, address.port()));
    let mut all = vec![on(Ipv4Addr::LOCALHOST.into())?];
    match on(Ipv6Addr::LOCALHOST.into()) {
        Ok(listener) => all.push(listener),
        Err(error) if taken(&error) => return Err(error),
        Err(error) => warn!("{error:#}; localhost is 127.0.0.1 alone here"),
    }
    Ok(all)
}

/// Listeners for loopback beside the one for all addresses: a crowd that knocks from outside fills
/// its queue in the kernel, not the one that the app's calls come through.
fn queue_of_the_pod(all: &TcpListener) -> std::io::Result<Vec<TcpListener>> {
    let address = all.local_addr()?;
    // Only while we bind ourselves: else another program could take a part of what comes.
    let all = SockRef::from(all);
    all.set_reuse_port(true)?;
    let on = |ip: IpAddr| {
        let socket = socket(SocketAddr::new(ip, address.port()))?;
        socket.set_reuse_port(true)?;
        let listener = listen(socket, SocketAddr::new(ip, address.port()))?;
        SockRef::from(&listener).set_reuse_port(false)?;
        Ok(listener)
    };
    let mut own = vec![on(Ipv4Addr::LOCALHOST.into())];
    if address.is_ipv6() {
        own.push(on(Ipv6Addr::LOCALHOST.into()));
    }
    all.set_reuse_port(false)?;
    own.into_iter().collect()
}

fn taken(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// All addresses of both families where `[::]` is asked for; of IPv4 alone on a host without IPv6.
fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let any_v4 = SocketAddr::from(([0, 0, 0, 0], address.port()));
    let on = |address| listen(socket(address)?, address);
    on(address)
        .or_else(|error| {
            let no_v6 = address.ip() == Ipv6Addr::UNSPECIFIED
                && error.kind() != std::io::ErrorKind::AddrInUse;
            if no_v6 { on(any_v4) } else { Err(error) }
        })
        .with_context(|| format!("cannot listen on {address}"))
}

fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    /// Left to itself the kernel keeps up to 4 MB for a client that has stopped reading, which
    /// counts against the pod's memory limit. This is what `limits.outbox` is about.
    const SEND_BUFFER: usize = 128 << 10;
    /// Left to itself the kernel keeps up to 6 MB of what an app does not read yet.
    const RECEIVE_BUFFER: usize = 256 << 10;
    /// What the kernel takes beyond what it has sent: more would wait there and not in
    /// `limits.outbox`. What is under way does not count, so it slows nobody who reads.
    const NOT_SENT: u32 = 16 << 10;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    // What is accepted inherits both.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    Ok(socket)
}

fn listen(socket: Socket, address: SocketAddr) -> std::io::Result<TcpListener> {
    const BACKLOG: i32 = 4096;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn all(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
    }

    #[tokio::test]
    async fn a_crowd_outside_does_not_fill_the_pods_own_queue() {
        let opened = listeners(all(0), false).unwrap();
        let (outside, own) = opened.split_last().unwrap();
        let port = outside.local_addr().unwrap().port();
        // The kernel takes the one whose address is the one that is called.
        let call = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let accept = async {
            tokio::select! {
                _ = outside.accept() => panic!("it came through the queue for outside"),
                accepted = own[0].accept() => accepted,
            }
        };
        let (called, accepted) = tokio::join!(call, accept);
        let (_, peer) = accepted.unwrap();
        assert_eq!(peer, called.unwrap().local_addr().unwrap());
    }

    #[tokio::test]
    async fn nobody_else_listens_on_our_port() {
        let opened = listeners(all(0), false).unwrap();
        let port = opened[0].local_addr().unwrap().port();
        for address in [all(port), SocketAddr::from((Ipv4Addr::LOCALHOST, port))] {
            listeners(address, false).unwrap_err();
            let other = socket(address).unwrap();
            other.set_reuse_port(true).unwrap();
            listen(other, address).unwrap_err();
        }
    }
}
