//! When targets are taken out, and how they come back.

use super::shape;
use crate::decode::List;
use crate::scalar::{CheckPath, GrpcService, HostAndPort, Percent, PercentOrOff, StatusRange, Time, Whole};

shape! {
    /// When a target gets no requests for a while. What attempts show is counted per process, for all workers together.
    /// A target that is alone is always asked; where all are out, the one whose time is over first is asked.
    Health {
        /// Connections in a row that could not be made. After them only probes go there, and the first one that connects
        /// brings the target back.
        unreachable_after: Whole<1, 1000> [= "1"] "3";
        /// Failures in a row of attempts that did reach it: closed, reset, silent for too long, not HTTP, or answered 502,
        /// 503 or 504. After them it is ejected; one request is its trial when that time is over.
        eject_after: Whole<1, 1000> [= "5"] "3";
        /// How long the first ejection lasts. Each further one in a row lasts twice as long.
        ejection: Time<1> [= "5s"] "10s";
        /// The longest ejection.
        ejection_max: Time<1> [= "5m"] "1m";
        /// The largest share of the targets that may be out at once, whatever the reason, for another one to be ejected; with
        /// more, failing targets stay. With `0%` none is ever ejected.
        ejected_max: Percent<0, 100> [= "50%"] "30%";
        /// A target is ejected as well when the share of its requests that failed, or were answered 500 to 599, is so many
        /// points above that of the other targets together. An upstream that fails as a whole loses nobody.
        failure_share_margin: PercentOrOff<1, 99> [= "30%"] "off";
        /// Over which time shares are compared.
        failure_share_window: Time<1000> [= "10s"] "1m";
        /// Requests that a target must have had in that time.
        failure_share_requests: Whole<1, 1_000_000> [= "20"] "100";
        /// How long a target that returns takes to get its full share of the requests. `0s`: it has it at once.
        slow_start: Time<0> [= "10s"] "30s";
        /// Asks each target from time to time, whether requests come or not. Without this key only requests show what a target
        /// is worth.
        check: Check [optional] "{ http: /healthz }";
    }
}

shape! {
    /// An active check: one of `http`, `grpc` and `tcp`, on a connection of its own, made as those for requests are. A target
    /// that fails it gets no requests until it passes again; it then returns slowly. Where all targets fail, they are asked
    /// all the same. Passing does not end an ejection: an endpoint made for checks may be well while requests fail.
    Check {
        /// GET of this path, over the protocol of the target (a uwsgi request for `uwsgi://`), with `clearway-health-check` as
        /// `User-Agent`. If the first answer is 404, standard error has a warning. A query is sent, and shown nowhere.
        http: CheckPath [optional] "/healthz";
        /// Statuses that pass, singly or as ranges. For `http`.
        status: List<StatusRange, 1> [= "[200-399]"] "[200-299, 401]";
        /// The Host that is sent. Without this key it is that of the target. For `http`.
        host: HostAndPort [optional] "shop.internal";
        /// Whether this service is `SERVING`, asked of `grpc.health.v1.Health/Check`; `""` for the whole server. For targets
        /// that speak HTTP/2.
        grpc: GrpcService [optional] "shop.Orders";
        /// Only connects; over `https://` with the TLS handshake.
        tcp: bool [optional] "true";
        /// From one check to the next, a tenth more or less by chance.
        interval: Time<10> [= "5s"] "1s";
        /// For all of a check, connecting included.
        timeout: Time<1> [= "2s"] "500ms";
        /// Checks in a row that must pass to bring a target back.
        rise: Whole<1, 1000> [= "2"] "3";
        /// Checks in a row that must fail to take a target out. One that cannot be connected to is out at once
        /// (`unreachable-after`), and back as soon as it can.
        fall: Whole<1, 1000> [= "3"] "2";
    }
}
