//! How a connection ended, as seen from this side.

use std::fmt;
use std::io;

/// How the peer ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Rst,
}

impl End {
    /// What the error of a read or write says. A TLS stream that ends without `close_notify` was cut by a FIN.
    pub(crate) fn of(error: &io::Error) -> End {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => End::Fin,
            _ => End::Rst,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Fin => "FIN",
            End::Rst => "RST",
        })
    }
}
