//! The columns of a block: values of one kind side by side, because like values compress well together.

use super::bytes::{Corrupt, Cursor, put_bytes};

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One of something per column: a buffer to write, a cursor to read.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Columns<T> { $($(#[$doc])* pub(crate) $name: T,)* }

        impl Columns<Vec<u8>> {
            pub(crate) fn size_bytes(&self) -> usize {
                0 $(+ self.$name.len())*
            }

            pub(crate) fn write(&self, out: &mut Vec<u8>) {
                $(put_bytes(out, &self.$name);)*
            }

            /// Empties the columns and keeps their memory.
            pub(crate) fn clear(&mut self) {
                $(self.$name.clear();)*
            }
        }

        impl<'a> Columns<Cursor<'a>> {
            pub(crate) fn read(from: &mut Cursor<'a>) -> Result<Columns<Cursor<'a>>, Corrupt> {
                // A block of an earlier version has fewer columns, and no row that would read them.
                let mut next = || if from.left() == 0 { Ok(&[][..]) } else { from.bytes() };
                Ok(Columns { $($name: Cursor::new(next()?),)* })
            }
        }
    };
}

// The order is part of the format: a column is added at the end together with a new version.
columns! {
    /// Upper half of the id, near that of the row before.
    id_time,
    /// Lower half of the id, eight bytes.
    id_random,
    /// Start, near what the id says.
    started,
    /// What is there, see `codec::exchange_flag`.
    flags,
    listener,
    host,
    path,
    service,
    route,
    consumer,
    client,
    method,
    status,
    ending,
    request_bytes,
    response_bytes,
    head,
    response,
    done,
    /// Texts that are seldom the same twice: external ids and details.
    text,
    attempts,
    /// What is there, see `codec::attempt_flag`.
    attempt_flags,
    upstream,
    target,
    address,
    attempt_started,
    reuse_requests,
    reuse_idle,
    resolve,
    connect,
    tls,
    send,
    await_head,
    total,
    sent,
    received,
    acked,
    attempt_status,
    attempt_ending,
    /// errno, TLS alert and limit of attempts that had one.
    trouble,
    /// What only AI calls have. Since version 2.
    ai,
}
