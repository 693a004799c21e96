//! One byte stream type for TCP, Unix sockets and TLS, of both sides.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connection of a test.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(stream.get_ref().0),
            Stream::Unix(_) => None,
        }
    }

    /// Closes with a reset. A Unix socket knows none; it is closed.
    pub fn reset(self) {
        if let Some(stream) = self.tcp() {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket lingers");
        }
    }

    /// Ends this side only; TLS says `close_notify` first.
    pub async fn finish(&mut self) {
        let _ = self.shutdown().await;
    }

    /// Ends this side with a bare FIN, also under TLS, where that is a truncation (RFC 8446 section 6.1).
    pub fn finish_raw(&self) {
        let how = std::net::Shutdown::Write;
        let _ = match self {
            Stream::Unix(stream) => socket2::SockRef::from(stream).shutdown(how),
            Stream::Tcp(_) | Stream::Tls(_) => {
                socket2::SockRef::from(self.tcp().expect("not a Unix socket")).shutdown(how)
            }
        };
    }

    /// Makes the kernel's buffers small, so that backpressure comes early and can be counted.
    pub fn shrink(&self, bytes: usize) {
        if let Some(stream) = self.tcp() {
            let socket = socket2::SockRef::from(stream);
            socket.set_recv_buffer_size(bytes).expect("a buffer can be small");
            socket.set_send_buffer_size(bytes).expect("a buffer can be small");
        }
    }

    /// What ALPN agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// The certificate the server showed, in DER.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        match self {
            Stream::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(|der| der.to_vec()),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, data),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
