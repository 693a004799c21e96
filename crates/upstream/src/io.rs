//! Byte streams of both sides: TCP, Unix sockets, and TLS over either, behind one enum, and an output buffer.
//!
//! One enum instead of a boxed trait keeps a plain TCP connection free of indirection, and lets the pool ask the
//! socket itself how it ended. Nothing here knows HTTP.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A socket without TLS.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to a client or a target.
#[derive(Debug)]
pub enum Transport {
    Plain(Socket),
    /// Boxed: its state is large, and most connections are plain.
    Tls(Box<TlsStream<Socket>>),
}

impl Socket {
    /// The address of the other end; `None` on a Unix socket.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Our own address; `None` on a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Makes the coming close a reset (RST) instead of a clean end, so that the peer cannot take what it has for the
    /// whole. Without effect on Unix sockets.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(stream) = self {
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Whether nothing has come that was not read, the peer's end included. Asks the kernel: what the runtime knows of a
    /// socket is as old as its last look at all of them.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let socket = match self {
            Socket::Tcp(stream) => socket2::SockRef::from(stream),
            Socket::Unix(stream) => socket2::SockRef::from(stream),
        };
        socket.peek(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// How many bytes the peer's kernel has acknowledged on this connection (`TCP_INFO.tcpi_bytes_acked`).
    pub fn bytes_acked(&self) -> Option<u64> {
        let bytes = self.tcp_info()?.get(TCPI_BYTES_ACKED..TCPI_BYTES_ACKED + 8)?.try_into().ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    /// How long a round trip takes, as the kernel has seen it (`TCP_INFO.tcpi_rtt`).
    pub fn round_trip(&self) -> Option<std::time::Duration> {
        let micros = self.tcp_info()?.get(TCPI_RTT..TCPI_RTT + 4)?.try_into().ok()?;
        Some(std::time::Duration::from_micros(u32::from_ne_bytes(micros).into()))
    }

    /// Whether the connection has come to its end in both directions, or to a reset.
    pub fn is_closed(&self) -> bool {
        self.tcp_info().is_some_and(|info| info.first() == Some(&TCP_CLOSE))
    }

    /// `struct tcp_info`, if the kernel gives as much of it as is used here.
    fn tcp_info(&self) -> Option<[u8; TCP_INFO_USED]> {
        use std::os::fd::AsRawFd;
        let Socket::Tcp(stream) = self else { return None };
        let mut info = [0u8; TCP_INFO_USED];
        let mut length = info.len() as libc::socklen_t;
        // SAFETY: `info` and `length` are valid for writes, and the kernel writes at most `length` bytes.
        let result = unsafe {
            libc::getsockopt(
                stream.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &mut length,
            )
        };
        (result == 0 && length as usize == TCP_INFO_USED).then_some(info)
    }
}

/// Offset of `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h); there since Linux 4.1. The state is its first byte.
const TCPI_BYTES_ACKED: usize = 120;
/// That of `tcpi_rtt`.
const TCPI_RTT: usize = 68;
const TCP_INFO_USED: usize = TCPI_BYTES_ACKED + 8;
/// include/net/tcp_states.h
const TCP_CLOSE: u8 = 7;

impl Transport {
    pub fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }

    /// The protocol that ALPN agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Reads once into the spare room of `buffer`, which must have some. `Ok(0)` is the end.
    pub fn poll_read_buf(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let spare = buffer.spare_capacity_mut();
        debug_assert!(!spare.is_empty(), "a read needs room");
        let mut read_buf = ReadBuf::uninit(spare);
        match Pin::new(self).poll_read(cx, &mut read_buf) {
            Poll::Ready(Ok(())) => {
                let read = read_buf.filled().len();
                // SAFETY: `ReadBuf` counts as filled only what was initialised.
                unsafe { buffer.advance_mut(read) };
                Poll::Ready(Ok(read))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, data),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// Bytes on their way to a peer. Small messages are collected here and leave in one write; large pieces pass beside
/// it without a copy.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether TLS may hold bytes that a flush has to push out.
    unflushed: bool,
    /// All bytes that the transport took, for the record.
    total: u64,
}

impl Output {
    /// Where encoders append.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes collected and not yet taken by the transport.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// All bytes taken by the transport since the last [`Output::reset`].
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Forgets what is pending and the count. Keeps the memory.
    pub fn reset(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.total = 0;
        self.unflushed = false;
    }

    /// Where the next byte will stand, counted from the last [`Output::reset`].
    pub fn position(&self) -> u64 {
        self.total + self.pending() as u64
    }

    /// Takes back everything from this position on, if the transport has taken none of it.
    pub fn retract(&mut self, position: u64) -> bool {
        let Some(keep) = position.checked_sub(self.total) else { return false };
        self.bytes.truncate(self.sent + keep as usize);
        true
    }

    /// Whether the peer, or TLS on its behalf, has still to take something.
    pub fn has_unsent(&self) -> bool {
        self.pending() > 0 || self.unflushed
    }

    /// Writes what is pending until all of it has left this process.
    pub fn poll_drain(&mut self, io: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pending() > 0 {
            let rest = self.bytes.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.took(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.poll_flush(io, cx)
    }

    /// Writes what is pending and then from `data` itself; returns how many bytes of `data` were taken. Ready with 0
    /// only for empty data.
    pub fn poll_write_through(
        &mut self,
        io: &mut Transport,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let pending = self.pending();
            let rest = self.bytes.get(self.sent..).unwrap_or_default();
            let result = if pending == 0 {
                if data.is_empty() {
                    return Poll::Ready(Ok(0));
                }
                Pin::new(&mut *io).poll_write(cx, data)
            } else {
                Pin::new(&mut *io).poll_write_vectored(cx, &[IoSlice::new(rest), IoSlice::new(data)])
            };
            match result {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    let own = n.min(pending);
                    if own > 0 {
                        self.took(own);
                    }
                    let of_data = n - own;
                    self.total += of_data as u64;
                    self.unflushed = true;
                    if of_data > 0 || (data.is_empty() && self.pending() == 0) {
                        return Poll::Ready(Ok(of_data));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Pushes out what TLS still holds.
    pub fn poll_flush(&mut self, io: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn took(&mut self, n: usize) {
        self.sent += n;
        self.total += n as u64;
        self.unflushed = true;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    async fn pair() -> (Transport, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        (Transport::Plain(Socket::Unix(a)), b)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn pending_bytes_leave_before_the_data_that_follows_them() {
        let (mut io, mut peer) = pair().await;
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"head ");
        let taken = poll_fn(|cx| output.poll_write_through(&mut io, cx, b"body")).await.unwrap();
        assert_eq!((taken, output.pending(), output.total()), (4, 0, 9));
        let mut got = [0; 9];
        peer.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"head body");
    }

    #[test]
    fn what_was_not_sent_can_be_taken_back_from_a_position_on() {
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"early hints; ");
        let position = output.position();
        output.bytes().extend_from_slice(b"head");
        // Some of what came before is out.
        output.took(5);
        assert!(output.retract(position));
        assert_eq!((output.pending(), output.position()), (8, position));
        output.bytes().extend_from_slice(b"other head");
        output.took(9);
        assert!(!output.retract(position), "the first byte of it is out");
        assert_eq!(output.pending(), 9);
    }

    /// Nothing here gives the runtime a chance to look at its sockets.
    #[tokio::test(flavor = "current_thread")]
    async fn a_socket_is_quiet_until_the_kernel_has_something() {
        use std::io::Write;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut io = Transport::Plain(Socket::Tcp(listener.accept().await.unwrap().0));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut buffer = BytesMut::with_capacity(16);
        assert!(io.poll_read_buf(&mut cx, &mut buffer).is_pending());
        assert!(io.socket().is_quiet());
        peer.write_all(b"x").unwrap();
        assert!(io.poll_read_buf(&mut cx, &mut buffer).is_pending(), "the runtime does not know yet");
        assert!(!io.socket().is_quiet());
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let io = Transport::Plain(Socket::Tcp(listener.accept().await.unwrap().0));
        drop(peer);
        assert!(!io.socket().is_quiet(), "an end is something, too");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn draining_a_closed_peer_is_an_error_not_a_loop() {
        let (mut io, peer) = pair().await;
        drop(peer);
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"x");
        let error = poll_fn(|cx| output.poll_drain(&mut io, cx)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(output.pending(), 1);
    }
}
