//! The data plane from outside: real sockets, scripted upstreams, raw clients, and the records of what happened.

#![expect(clippy::panic, clippy::unwrap_used, reason = "an unexpected byte is a failed test")]

mod proxy {
    mod gateway;

    mod avoidable;
    mod balance;
    mod basics;
    mod bodies;
    mod faults;
    mod health;
    mod hedging;
    mod http2_clients;
    mod http2_targets;
    mod inherit;
    mod lifecycle;
    mod listeners;
    mod overload;
    mod requests;
    mod slow_readers;
    mod targets;
}
