//! A TCP stream that hyper owns and that can still be looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::read_buffer;

/// The socket, and how much was written to it.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    written: AtomicU64,
}

#[derive(Debug)]
pub(super) struct SharedStream(Arc<Counted>);

impl Counted {
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads what there is. Less than there is room for was all: so the socket counts as empty, as
    /// tokio has it for a stream of one owner, and nobody asks the kernel in vain.
    fn read_all(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut all = None;
        let read = self.stream.try_io(Interest::READABLE, || {
            let (count, _) = recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT)?;
            if (1..buffer.len()).contains(&count) {
                all = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        all.map_or(read, Ok)
    }
}

impl SharedStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Counted {
            stream,
            written: AtomicU64::new(0),
        }))
    }

    pub(super) fn counted(&self) -> Arc<Counted> {
        Arc::clone(&self.0)
    }

    fn poll_write_with(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(context))?;
            match write(&self.0.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    self.0.written.fetch_add(count as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Read for SharedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's cursor gives no initialised slice without `unsafe`, so there is one copy, from a
        // buffer that all connections of a thread share.
        read_buffer::with(|chunk| {
            let want = buffer.remaining().min(chunk.len());
            loop {
                ready!(self.0.stream.poll_read_ready(context))?;
                match self.0.read_all(&mut chunk[..want]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(count) => {
                        buffer.put_slice(&chunk[..count]);
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
    }
}

impl Write for SharedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Already closed by the other side is as good as closed by us.
        let _ = rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
