//! An HTTP/1 client that writes the bytes it is given and reads answers strictly.

use std::net::SocketAddr;
use std::path::Path;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::certificate::Authority;
use crate::message::{Reader, Response};
use crate::net::End;
use crate::stream::Stream;
use crate::wait::within;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Client {
    fn new(stream: Stream) -> Client {
        Client { stream, buffer: Vec::new() }
    }

    pub async fn tcp(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("TCP has it");
        Client::new(Stream::Tcp(stream))
    }

    /// With a receive buffer so small that unread answers soon press back.
    pub async fn tcp_with_small_window(address: SocketAddr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.set_recv_buffer_size(4 << 10).expect("a buffer can be small");
        Client::new(Stream::Tcp(socket.connect(address).await.expect("the gateway listens")))
    }

    pub async fn unix(path: &Path) -> Client {
        Client::new(Stream::Unix(UnixStream::connect(path).await.expect("the gateway listens")))
    }

    /// Over TLS, believing the authority; fails with what the handshake says.
    pub async fn tls(
        address: SocketAddr,
        authority: &Authority,
        server_name: &str,
        alpn: &[&str],
    ) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(server_name.to_owned()).expect("a server name");
        let stream = TlsConnector::from(authority.client(alpn)).connect(name, stream).await?;
        Ok(Client::new(Stream::Tls(Box::new(stream.into()))))
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends; the gateway may have closed, which the next read says.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("the gateway to read", self.stream.write_all(bytes.as_ref())).await;
        let _ = self.stream.flush().await;
    }

    /// Sends each piece in a segment of its own, letting others run in between.
    pub async fn send_in_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.send(piece).await;
            tokio::task::yield_now().await;
        }
    }

    fn reader(&mut self) -> Reader<'_> {
        Reader { stream: &mut self.stream, buffer: &mut self.buffer }
    }

    /// The answer to a request with this method; an error if the connection ended before one.
    pub async fn try_response(&mut self, method: &str) -> Result<Response, End> {
        within("a response", self.reader().response(method)).await
    }

    pub async fn response(&mut self, method: &str) -> Response {
        self.try_response(method).await.unwrap_or_else(|end| panic!("{end} instead of a response"))
    }

    /// Sends a request and reads its answer.
    pub async fn exchange(&mut self, request: &str) -> Response {
        self.send(request).await;
        let method = request.split(' ').next().unwrap_or_default().to_owned();
        self.response(&method).await
    }

    /// Reads the answer to a request with this method while these bytes are still on their way.
    pub async fn response_while_sending(&mut self, method: &str, bytes: &[u8]) -> Result<Response, End> {
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let mut reader = Reader { stream: &mut read, buffer: &mut self.buffer };
        let sending = async {
            let _ = write.write_all(bytes).await;
            let _ = write.flush().await;
            std::future::pending::<()>().await;
        };
        let response = async {
            tokio::select! {
                response = reader.response(method) => response,
                () = sending => unreachable!("it never ends"),
            }
        };
        within("a response", response).await
    }

    /// Reads until the pattern has come, and keeps everything for what reads next; an error if it never comes.
    pub async fn until_arrived(&mut self, pattern: &[u8]) -> Result<(), End> {
        within("bytes from the gateway", async {
            while !self.buffer.windows(pattern.len()).any(|window| window == pattern) {
                self.reader().more().await?;
            }
            Ok(())
        })
        .await
    }

    pub async fn get(&mut self, target: &str) -> Response {
        self.exchange(&format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await
    }

    /// Raw bytes of an upgraded connection.
    pub async fn read_exactly(&mut self, n: usize) -> Result<Vec<u8>, End> {
        within("bytes from the gateway", self.reader().exactly(n)).await
    }

    /// Ends this side; the other one stays open.
    pub async fn finish(&mut self) {
        self.stream.finish().await;
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.stream.reset();
    }

    /// Waits for the end of the connection: the bytes that still came, and how it ended.
    pub async fn end(&mut self) -> (Vec<u8>, End) {
        let end = within("the gateway to close", async {
            loop {
                if let Err(end) = self.reader().more().await {
                    break end;
                }
            }
        })
        .await;
        (std::mem::take(&mut self.buffer), end)
    }
}
