//! Addresses that fail before any conversation begins.

use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// An address at which nothing listens for as long as the socket lives: bound, so that nobody else gets the port.
pub fn refused() -> (SocketAddr, Socket) {
    let socket = bound();
    (address(&socket), socket)
}

/// An address whose connections hang: its queue of connections is full, so the kernel drops further SYNs.
pub fn full() -> (SocketAddr, Vec<Socket>) {
    let listener = bound();
    listener.listen(0).expect("a bound socket listens");
    let address = address(&listener);
    let mut held = vec![listener];
    // A backlog of 0 takes one connection; the others stay half open and hold nothing up.
    for _ in 0..3 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        filler.set_nonblocking(true).expect("a socket can be non-blocking");
        let _ = filler.connect(&address.into());
        held.push(filler);
    }
    (address, held)
}

/// The same as a Unix socket, at this path: the kernel refuses to connect for now (EAGAIN).
pub fn full_unix(path: &Path) -> Vec<Socket> {
    let unix = || Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket can be made");
    let address = SockAddr::unix(path).expect("a short path");
    let listener = unix();
    listener.bind(&address).expect("the path is free");
    listener.listen(0).expect("a bound socket listens");
    let mut held = vec![listener];
    loop {
        let filler = unix();
        filler.set_nonblocking(true).expect("a socket can be non-blocking");
        if filler.connect(&address).is_err() {
            return held;
        }
        held.push(filler);
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("port 0 can be bound");
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().expect("a bound socket has an address").as_socket().expect("an IP socket")
}
