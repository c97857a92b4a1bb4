//! A connection's byte stream, plain or TLS, that counts what passes.
//!
//! The counts answer two questions that decide whether a request may be sent again: did a byte of it
//! leave, and did a byte come back.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// The stream itself.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    /// Boxed: a TLS session is ten times the size of a socket.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A counted stream.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    read: u64,
    written: u64,
}

impl Socket {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, read: 0, written: 0 }
    }

    /// Bytes read over the connection's life (inside TLS, where there is TLS).
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Bytes written over the connection's life (inside TLS, where there is TLS).
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether an idle connection has something to read: its end, or bytes that nobody asked for. The kernel is asked:
    /// what a server does reaches the runtime only when its thread has time to look, and an engine with more clients than
    /// threads closes a connection right after its answer.
    pub(crate) fn is_spoilt(&self) -> bool {
        let seen = SockRef::from(self.tcp()).peek(&mut [MaybeUninit::uninit(); 1]);
        !seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether a connection that has ended ended with something that the other side had not read, or that came after
    /// its end: its kernel answers that with a reset, which may come so long after the end.
    pub(crate) async fn was_reset(&self, within: Duration) -> bool {
        let _ = timeout(within, self.tcp().ready(Interest::ERROR)).await;
        self.tcp().take_error().is_ok_and(|error| error.as_ref().is_some_and(is_reset))
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// What the kernel says of a connection that was reset: after its end, and before.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        })?;
        self.read += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        })?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        })?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
