//! Connections to Unix sockets whose server is busy.
//!
//! Where the queue of a listening socket is full, TCP sends its SYN again and again until there is room. A Unix socket that
//! must not block says EAGAIN instead, and tells nobody when there is room (connect(2)). So it is asked again, by one at a
//! time for each target, in the order in which they came.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// How soon a full queue is asked again: well below the time of most requests, for each of which a place becomes free.
const AGAIN: Duration = Duration::from_millis(2);

/// Who waits for a place in the queue of a target's socket. One per target and process.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    turn: Mutex<()>,
}

impl Backlog {
    /// Connects as soon as there is room. How long that may take is the caller's to say.
    pub(crate) async fn connect(&self, path: &Path) -> io::Result<UnixStream> {
        let overtakes_nobody = self.turn.try_lock().is_ok();
        if overtakes_nobody {
            let connected = UnixStream::connect(path).await;
            if !is_full(&connected) {
                return connected;
            }
        }
        let _turn = self.turn.lock().await;
        loop {
            let connected = UnixStream::connect(path).await;
            if !is_full(&connected) {
                return connected;
            }
            sleep(AGAIN).await;
        }
    }
}

fn is_full(connected: &io::Result<UnixStream>) -> bool {
    connected.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    use futures_util::poll;
    use socket2::{Domain, SockAddr, Socket, Type};

    /// A socket in whose queue there is no room any more, and what fills it.
    async fn full(path: &Path) -> (Socket, Vec<UnixStream>) {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
        socket.listen(1).unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = UnixStream::connect(path).await {
            held.push(stream);
        }
        (socket, held)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_waited_for_in_the_order_of_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (socket, _held) = full(&path).await;
        let backlog = Backlog::default();
        let mut first = pin!(backlog.connect(&path));
        let mut second = pin!(backlog.connect(&path));
        assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
        socket.accept().unwrap();
        assert!(poll!(pin!(backlog.connect(&path))).is_pending(), "nobody overtakes those who wait");
        first.await.unwrap();
        assert!(poll!(second.as_mut()).is_pending(), "there was one place");
        // One that leaves holds nobody up.
        let mut third = Box::pin(backlog.connect(&path));
        assert!(poll!(third.as_mut()).is_pending());
        let mut fourth = pin!(backlog.connect(&path));
        assert!(poll!(fourth.as_mut()).is_pending());
        drop(third);
        socket.accept().unwrap();
        second.await.unwrap();
        socket.accept().unwrap();
        fourth.await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_is_gone_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let backlog = Backlog::default();
        assert_eq!(backlog.connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        let (socket, _held) = full(&path).await;
        let mut waiting = pin!(backlog.connect(&path));
        assert!(poll!(waiting.as_mut()).is_pending());
        drop(socket);
        assert_eq!(waiting.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
