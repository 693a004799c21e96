//! Time limits: which hold, and which can never be reached or are reached too soon.

use std::time::Duration;

use model::gateway::Timeouts;

use crate::ctx::Ctx;
use crate::decode::At;
use crate::scalar::Time;
use crate::shape;

/// What a server may need to say that its own time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Those of an upstream. An answer is awaited for a little longer than its servers let a request take, if that is known.
pub(crate) fn of_upstream(shape: &shape::Upstream) -> Timeouts {
    let timeouts = overridden(None, &shape.timeouts);
    match shape.worker_timeout.given() {
        Some(worker) if !shape.timeouts.await_head.given => {
            Timeouts { await_head: worker.0 + LAST_WORDS, ..timeouts }
        }
        _ => timeouts,
    }
}

/// The timeouts of the shape; where a base is given, only those that a person wrote.
pub(crate) fn overridden(base: Option<&Timeouts>, shape: &shape::Timeouts) -> Timeouts {
    let time = |at: &At<Time<1>>, base: Option<Duration>| base.filter(|_| !at.given).unwrap_or(at.0);
    let total = shape.total.0.map(|total| total.0);
    let attempt = shape.attempt.0.map(|attempt| attempt.0);
    Timeouts {
        connect: time(&shape.connect, base.map(|base| base.connect)),
        tls: time(&shape.tls, base.map(|base| base.tls)),
        send: time(&shape.send, base.map(|base| base.send)),
        await_head: time(&shape.await_head, base.map(|base| base.await_head)),
        body_idle: time(&shape.body_idle, base.map(|base| base.body_idle)),
        attempt: base.map_or(attempt, |base| if shape.attempt.given { attempt } else { base.attempt }),
        total: base.map_or(total, |base| if shape.total.given { total } else { base.total }),
    }
}

/// A limit for one step that is longer than the one for all of them can never be reached. Defaults may be longer:
/// who sets only `total` means just that.
pub(crate) fn check_total(shape: &shape::Timeouts, total: Option<Duration>, ctx: &mut Ctx) {
    let Some(total) = total else { return };
    let steps = [
        ("connect", &shape.connect),
        ("tls", &shape.tls),
        ("send", &shape.send),
        ("await-head", &shape.await_head),
        ("body-idle", &shape.body_idle),
    ];
    for (key, step) in steps {
        if step.given && step.0 > total {
            let message = format!("{key}: {:?} must not be longer than `total`, which is {total:?}", step.0);
            ctx.error(step.place, message);
        }
    }
    if let Some(attempt) = shape.attempt.0.filter(|attempt| shape.attempt.given && attempt.0 > total) {
        let message = format!("attempt: {:?} must not be longer than `total`, which is {total:?}", attempt.0);
        ctx.error(shape.attempt.place, message);
    }
}

/// A request that is given up sooner than its server gives it up keeps a worker busy for nobody.
pub(crate) fn check_worker(worker: Option<Duration>, shape: &shape::Timeouts, ctx: &mut Ctx) {
    let Some(worker) = worker else { return };
    let total =
        shape.total.0.filter(|_| shape.total.given).map(|total| ("total", total.0, shape.total.place));
    let head =
        Some(("await-head", shape.await_head.0, shape.await_head.place)).filter(|_| shape.await_head.given);
    for (key, time, place) in total.into_iter().chain(head).filter(|(_, time, _)| *time < worker) {
        let message =
            format!("{key}: {time:?} is less than the {worker:?} that a worker may take (`worker-timeout`)");
        ctx.warn(place, message, "the worker goes on with a request whose client has its 504 already");
    }
}
