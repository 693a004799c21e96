//! Request bodies that are read before a target is taken: so that a slow client keeps no worker of it waiting, so that the
//! request can be sent again, and because the uwsgi protocol tells the length first.
//!
//! They are held in memory, and in a file where that is not enough. What must not or cannot be held is left to the client.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::gateway::{RequestBuffering, Timeouts};
use model::{Fault, Limit, LimitName, Phase};
use upstream::body::Offer;

use crate::answer::Answer;
use crate::client::Downstream;
use crate::exchange::{Context, Stop, limit_text};
use crate::pace::Pace;
use crate::spool::{self, PIECE_BYTES, Reservation, SpoolFile, Unspooled};
use crate::watch::Expiry;

/// Held in memory of one request that must be whole and finds no file. A client with more to send can say how much.
const COLLECTED_MAX: usize = 16 << 20;
/// Held in memory by all requests of a worker.
const COLLECTED_TOTAL_MAX: usize = 64 << 20;
/// How long the end of a body of unknown length is waited for: that of a form or a document is there by then, and somebody
/// who streams for longer does not notice.
const START_TIME: Duration = Duration::from_secs(1);

/// How much of a body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it; it has this length.
    Known(u64),
    /// What comes within [`START_TIME`] and fits into memory.
    Start,
    /// All of it, whatever its length.
    Whole,
}

/// What was read of a body, counted for as long as it is held.
#[derive(Debug)]
pub(crate) struct Collected {
    /// The beginning, if it is in a file.
    file: Option<SpoolFile>,
    /// What follows.
    bytes: Bytes,
    /// Nothing of it is left to the client.
    whole: bool,
    /// For the memory of `bytes`.
    _charge: Charge,
}

impl Collected {
    /// A body of our own making, counted like others; what there is no room for is held all the same, because it exists already.
    pub(crate) fn in_memory(ctx: Context<'_>, bytes: Bytes) -> Collected {
        let mut charge = Charge::new(ctx);
        charge.add(bytes.len());
        Collected { file: None, bytes, whole: true, _charge: charge }
    }

    /// The bytes that are held.
    pub(crate) fn length(&self) -> u64 {
        self.file.as_ref().map_or(0, SpoolFile::length) + self.bytes.len() as u64
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn file(&self) -> Option<&SpoolFile> {
        self.file.as_ref()
    }

    /// What is not in the file.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Memory that is counted against a worker's total.
#[derive(Debug)]
pub(crate) struct Charge {
    total: Rc<Cell<usize>>,
    held: usize,
}

impl Charge {
    pub(crate) fn new(ctx: Context<'_>) -> Charge {
        Charge { total: ctx.worker.collected.clone(), held: 0 }
    }

    /// Counts more; false when the total does not allow it.
    pub(crate) fn add(&mut self, n: usize) -> bool {
        let total = self.total.get() + n;
        if total > COLLECTED_TOTAL_MAX {
            return false;
        }
        self.total.set(total);
        self.held += n;
        true
    }

    /// What was held is in a file now.
    fn clear(&mut self) {
        self.total.set(self.total.get().saturating_sub(std::mem::take(&mut self.held)));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Reads what is wanted, as far as there is room for it. `None` if nothing is held.
pub(crate) async fn body<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    timeouts: &Timeouts,
    limits: RequestBuffering,
    wanted: Wanted,
) -> Result<Option<Collected>, Stop> {
    let mut reader = Reader::new(ctx, timeouts);
    let memory_max = limits.memory_max.as_usize();
    let filled = match wanted {
        Wanted::Known(length) if length > memory_max as u64 => {
            return Box::pin(into_file(reader, client, limits, wanted)).await;
        }
        Wanted::Known(_) | Wanted::Whole => reader.fill(client, memory_max, None).await?,
        Wanted::Start => {
            let until = ctx.worker.clock.now() + START_TIME;
            reader.fill(client, memory_max, Some(until)).await?
        }
    };
    match (filled, wanted) {
        (Filled::End, _) => Ok(reader.collected(None, true)),
        (Filled::Late, _) | (Filled::Full | Filled::NoMemory, Wanted::Start) => {
            Ok(reader.collected(None, false))
        }
        (Filled::NoMemory, Wanted::Known(_) | Wanted::Whole) => {
            ctx.worker.spool().count_unspooled(Unspooled::Memory);
            without_file(reader, client, None, wanted, Unspooled::Memory, limits).await
        }
        (Filled::Full, Wanted::Known(_) | Wanted::Whole) => {
            Box::pin(into_file(reader, client, limits, wanted)).await
        }
    }
}

/// Goes on with a body for which memory is not enough.
async fn into_file<D: Downstream>(
    mut reader: Reader<'_>,
    client: &mut D,
    limits: RequestBuffering,
    wanted: Wanted,
) -> Result<Option<Collected>, Stop> {
    let ctx = reader.ctx;
    let settings = &ctx.serving.gateway.spool;
    let usage = ctx.worker.spool();
    let file_max = limits.file_max.0;
    let mut file = match begin_file(&mut reader, limits, wanted).await? {
        Ok(file) => file,
        Err(why) => {
            usage.count_unspooled(why);
            return without_file(reader, client, None, wanted, why, limits).await;
        }
    };
    loop {
        let filled = reader.fill(client, PIECE_BYTES, None).await?;
        let (piece, whole) = (reader.bytes.len() as u64, filled == Filled::End);
        let room = if filled == Filled::NoMemory && piece == 0 {
            Err(Unspooled::Memory)
        } else if file.length() + piece > file_max {
            Err(Unspooled::Large)
        } else {
            file.make_room(piece, settings.size_max.0)
        };
        let written = match room {
            Ok(()) => reader.write(&mut file).await?,
            Err(why) => Err(why),
        };
        match written {
            Ok(()) if whole => return Ok(reader.collected(Some(file), true)),
            Ok(()) => {}
            Err(why) => {
                usage.count_unspooled(why);
                return if whole {
                    Ok(reader.collected(Some(file), true))
                } else {
                    without_file(reader, client, Some(file), wanted, why, limits).await
                };
            }
        }
    }
}

/// An empty file with room for what is known of the body.
async fn begin_file(
    reader: &mut Reader<'_>,
    limits: RequestBuffering,
    wanted: Wanted,
) -> Result<Result<SpoolFile, Unspooled>, Stop> {
    let ctx = reader.ctx;
    let settings = &ctx.serving.gateway.spool;
    let least = match wanted {
        Wanted::Known(length) => length,
        Wanted::Start | Wanted::Whole => reader.bytes.len() as u64,
    };
    if least > limits.file_max.0 {
        return Ok(Err(Unspooled::Large));
    }
    let reservation = match Reservation::new(ctx.worker.spool(), least, settings.size_max.0) {
        Ok(reservation) => reservation,
        Err(why) => return Ok(Err(why)),
    };
    let created = reader.disk(SpoolFile::create(&settings.directory, reservation)).await?;
    Ok(created.map_err(|_| Unspooled::Disk))
}

/// What could not be put into a file streams, unless it must be whole.
async fn without_file<D: Downstream>(
    mut reader: Reader<'_>,
    client: &mut D,
    file: Option<SpoolFile>,
    wanted: Wanted,
    why: Unspooled,
    limits: RequestBuffering,
) -> Result<Option<Collected>, Stop> {
    if wanted != Wanted::Whole {
        return Ok(reader.collected(file, false));
    }
    let in_memory = match why {
        Unspooled::Disk | Unspooled::Quota => reader.fill(client, COLLECTED_MAX, None).await?,
        Unspooled::Large => Filled::Full,
        Unspooled::Memory => Filled::NoMemory,
    };
    let limit = match in_memory {
        Filled::End => return Ok(reader.collected(file, true)),
        // There is no time for this one to be late by.
        Filled::NoMemory | Filled::Late => {
            return Err(Stop::refused(Phase::ReadRequest, Fault::Overloaded));
        }
        Filled::Full if why == Unspooled::Large => {
            Limit::Bytes { name: LimitName::RequestBuffering, max: limits.file_max.0 }
        }
        Filled::Full => {
            let max = reader.ctx.serving.gateway.spool.size_max.0;
            Limit::Bytes { name: LimitName::Spool, max }
        }
    };
    Err(Stop::Refused {
        answer: Answer::new(Fault::RequestLengthRequired),
        phase: Phase::ReadRequest,
        detail: Some(limit_text(limit)),
    })
}

/// How far reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// The body is over.
    End,
    /// All that may be held is held.
    Full,
    /// The time is over.
    Late,
    /// The worker's bodies have all the memory that they may have.
    NoMemory,
}

/// Reads a body into memory, within the limits of time and pace that its client has.
struct Reader<'a> {
    ctx: Context<'a>,
    timeouts: &'a Timeouts,
    bytes: Vec<u8>,
    charge: Charge,
    /// All that was read.
    total: u64,
    progress: Instant,
    pace: Pace,
}

impl<'a> Reader<'a> {
    fn new(ctx: Context<'a>, timeouts: &'a Timeouts) -> Reader<'a> {
        Reader {
            ctx,
            timeouts,
            bytes: Vec::new(),
            charge: Charge::new(ctx),
            total: 0,
            progress: Instant::now(),
            pace: Pace::new(ctx.listening.settings().limits.body_rate),
        }
    }

    /// Reads until so many bytes are held, or until that time.
    async fn fill<D: Downstream>(
        &mut self,
        client: &mut D,
        max: usize,
        until: Option<Instant>,
    ) -> Result<Filled, Stop> {
        let Reader { ctx, timeouts, bytes, charge, total, progress, pace } = self;
        let idle_max = ctx.listening.settings().timeouts.client_body_idle;
        let mut timer = ctx.worker.lend_timer();
        let filled = poll_fn(|cx| {
            loop {
                match client.poll_piece(cx) {
                    Poll::Ready(Ok(Offer::Piece)) => {
                        let piece = client.piece();
                        let n = piece.len().min(max.saturating_sub(bytes.len()));
                        if n == 0 {
                            return Poll::Ready(Ok(Filled::Full));
                        }
                        if !charge.add(n) {
                            return Poll::Ready(Ok(Filled::NoMemory));
                        }
                        bytes.extend_from_slice(piece.get(..n).unwrap_or_default());
                        client.consume(n);
                        *total += n as u64;
                        *progress = ctx.worker.clock.tick();
                    }
                    Poll::Ready(Ok(Offer::End)) => return Poll::Ready(Ok(Filled::End)),
                    Poll::Ready(Err(failure)) => {
                        return Poll::Ready(Err(Stop::Client { failure, phase: Phase::ReadRequest }));
                    }
                    Poll::Pending => break,
                }
            }
            let (fault, phase) = (Fault::ClientBodyTimeout, Phase::ReadRequest);
            let idle = Limit::Time { name: LimitName::ClientBodyIdle, max: idle_max };
            let mut next = Expiry::new(*progress + idle_max, fault, phase, idle);
            if let Some(at) = pace.deadline(ctx.worker.clock.tick(), *total, true) {
                next = next.or(Expiry::new(at, fault, phase, pace.limit()));
            }
            next = next.within_total(*ctx, timeouts);
            match until {
                Some(until) if until < next.at => timer.poll(until, cx).map(|()| Ok(Filled::Late)),
                _ => timer.poll(next.at, cx).map(|()| Err(next.stop())),
            }
        })
        .await;
        ctx.worker.return_timer(timer);
        filled
    }

    /// Puts what is held at the end of the file. It is still held if that fails.
    async fn write(&mut self, file: &mut SpoolFile) -> Result<Result<(), Unspooled>, Stop> {
        let piece = Bytes::from(std::mem::take(&mut self.bytes));
        let written = self.disk(file.write(piece.clone())).await?;
        match written {
            Ok(()) => {
                file.wrote(piece.len() as u64);
                self.charge.clear();
                // The thread is done with it, so that this is no copy.
                self.bytes = Vec::from(piece);
                self.bytes.clear();
                Ok(Ok(()))
            }
            Err(_) => {
                self.bytes = Vec::from(piece);
                Ok(Err(Unspooled::Disk))
            }
        }
    }

    /// Waits for the disk, which is not the client's time.
    async fn disk<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let ctx = self.ctx;
        let now = ctx.worker.clock.tick();
        self.pace.deadline(now, self.total, false);
        let limit = Limit::Time { name: LimitName::Spool, max: spool::WAIT_MAX };
        let expiry = Expiry::new(now + spool::WAIT_MAX, Fault::Overloaded, Phase::ReadRequest, limit);
        let expiry = expiry.within_total(ctx, self.timeouts);
        let mut timer = ctx.worker.lend_timer();
        let mut work = std::pin::pin!(work);
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            timer.poll(expiry.at, cx).map(|()| Err(expiry.stop()))
        })
        .await;
        ctx.worker.return_timer(timer);
        self.progress = ctx.worker.clock.tick();
        done
    }

    fn collected(self, file: Option<SpoolFile>, whole: bool) -> Option<Collected> {
        let Reader { bytes, charge, .. } = self;
        let holds = whole || file.is_some() || !bytes.is_empty();
        holds.then(|| Collected { file, bytes: Bytes::from(bytes), whole, _charge: charge })
    }
}
