//! Finds exchanges in blocks: by id, or by a query, newest first.
//!
//! Works beside the writer, in its process or another one, and on a directory whose process was killed. Connections are
//! opened for one question and closed after it. Blocks are decoded on the runtime's blocking pool, a few at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use model::{Exchange, RequestId};

use super::bytes::Corrupt;
use super::day::Day;
use super::decode::{Rows, unpack};
use super::file::{BlockRow, DayReader};
use super::query::{BlockCounts, Failures, IdRange, Page, Query};
use super::retention::days_with_file;
use super::shared::{Shared, just_above};
use crate::{DataDir, StoreError};

/// Rows of blocks read at once; each is about 200 bytes.
const ROWS_AT_ONCE: u32 = 256;
/// Blocks decoded at once, at most; the first step of a search is one, for the newest exchanges are mostly there.
const BLOCKS_AT_ONCE: usize = 8;

/// Reads the records of a data directory.
#[derive(Clone, Debug)]
pub struct RecordReader {
    directory: PathBuf,
    /// What the writer of this process has not written yet.
    unwritten: Option<Arc<Shared>>,
}

impl RecordReader {
    /// Reads what is in the files. The process that writes them uses [`RecordWriter::reader`](super::RecordWriter::reader),
    /// which also sees the last second.
    pub fn open(dir: &DataDir) -> RecordReader {
        RecordReader { directory: dir.records_path(), unwritten: None }
    }

    pub(super) fn beside(directory: PathBuf, unwritten: Arc<Shared>) -> RecordReader {
        RecordReader { directory, unwritten: Some(unwritten) }
    }

    /// The exchange with this id.
    pub async fn find(&self, id: RequestId) -> Result<Option<Exchange>, StoreError> {
        for raw in self.raw_blocks() {
            if let Ok(Some(found)) = find_in(&raw, id) {
                return Ok(Some(found));
            }
        }
        let path = self.directory.join(Day::of(id).file_name());
        let Some(mut file) = DayReader::open(path).await? else { return Ok(None) };
        let mut found = None;
        for block in file.blocks_around(id).await? {
            let Some(data) = file.data(block).await? else { continue };
            let looked = blocking(move || unpack(&data).and_then(|raw| find_in(&raw, id))).await;
            // A damaged block does not hide the id in another one.
            if let Ok(Some(exchange)) = looked {
                found = Some(exchange);
                break;
            }
        }
        file.close().await;
        Ok(found)
    }

    /// A page of exchanges, newest first.
    pub async fn search(&self, query: &Query) -> Result<Page, StoreError> {
        let mut search = Search::new(query);
        let unwritten = self.raw_blocks();
        if !unwritten.is_empty() {
            search.take(unwritten.into_iter().map(Block::Raw).collect()).await;
        }
        for day in self.days(search.range)?.into_iter().rev() {
            if search.is_settled_above(Day(day.0 + 1).first_id()) || search.ended_at.is_some() {
                break;
            }
            match DayReader::open(self.directory.join(day.file_name())).await {
                Ok(None) => {}
                Ok(Some(mut file)) => {
                    if search.run(&mut file).await.is_err() {
                        search.blocks.files_unreadable += 1;
                    }
                    file.close().await;
                }
                Err(_) => search.blocks.files_unreadable += 1,
            }
        }
        Ok(search.finish())
    }

    /// The indexed rows of failed exchanges that began in this time, newest first.
    pub async fn failures(
        &self,
        since: SystemTime,
        until: SystemTime,
        limit: usize,
    ) -> Result<Failures, StoreError> {
        let range = Query { since: Some(since), until: Some(until), ..Query::default() }.ids();
        let unwritten = self.unwritten.as_ref().map(|shared| shared.failures()).unwrap_or_default();
        let mut found: BTreeMap<_, _> = unwritten
            .into_iter()
            .filter(|failure| range.contains(failure.id))
            .map(|failure| (failure.id, failure))
            .collect();
        let mut unlisted = 0;
        for day in self.days(range)?.into_iter().rev() {
            let path = self.directory.join(day.file_name());
            let Some(mut file) = DayReader::open(path).await? else { continue };
            let (failures, without_row) = file.failures(range, limit).await?;
            file.close().await;
            unlisted += without_row;
            found.extend(failures.into_iter().map(|failure| (failure.id, failure)));
        }
        Ok(Failures { failures: found.into_values().rev().take(limit).collect(), unlisted })
    }

    fn raw_blocks(&self) -> Vec<Arc<Vec<u8>>> {
        self.unwritten.as_ref().map(|shared| shared.raw_blocks()).unwrap_or_default()
    }

    /// Days in the range that have a file, in order.
    fn days(&self, range: IdRange) -> Result<Vec<Day>, StoreError> {
        let days = days_with_file(&self.directory)
            .map_err(StoreError::file(&self.directory, "list the records in"))?;
        let (first, last) = (Day::of(range.since), Day::of(RequestId(range.before.0.saturating_sub(1))));
        Ok(days.into_iter().filter(|day| (first..=last).contains(day)).collect())
    }
}

/// A block on its way to be searched.
enum Block {
    /// From a file.
    Stored(Vec<u8>),
    /// Not written yet.
    Raw(Arc<Vec<u8>>),
}

/// One search under way. Blocks come in the order of their newest ids, but what is in them overlaps: an exchange is
/// settled when it is newer than anything in the blocks to come.
struct Search<'a> {
    query: &'a Query,
    range: IdRange,
    limit: usize,
    /// The newest matches so far; the map also drops what was seen twice, once open and once in its file.
    found: BTreeMap<RequestId, Exchange>,
    blocks: BlockCounts,
    /// Blocks decoded that count against the query's limit.
    spent: usize,
    /// Where the search gave up: nothing older than this was searched.
    ended_at: Option<RequestId>,
}

impl<'a> Search<'a> {
    fn new(query: &'a Query) -> Search<'a> {
        Search {
            query,
            range: query.ids(),
            limit: query.limit.clamp(1, Query::LIMIT_MAX),
            found: BTreeMap::new(),
            blocks: BlockCounts::default(),
            spent: 0,
            ended_at: None,
        }
    }

    /// Whether the page is full and nothing at or below this id can enter it.
    fn is_settled_above(&self, id: RequestId) -> bool {
        self.found.len() >= self.limit && self.found.first_key_value().is_some_and(|(oldest, _)| *oldest > id)
    }

    /// Searches the file of one day.
    async fn run(&mut self, file: &mut DayReader) -> Result<(), StoreError> {
        let mut below = None;
        let mut at_once = 1;
        let mut chosen = Vec::new();
        loop {
            let rows = file.blocks(self.range, below, ROWS_AT_ONCE).await?;
            let Some(last) = rows.last() else { break };
            below = Some((last.summary.max_id, last.id));
            for row in rows {
                if self.is_settled_above(row.summary.max_id) || self.gives_up_at(&row) {
                    return self.take_chosen(file, &mut chosen).await;
                }
                if !self.query.may_be_in(&row.summary) {
                    self.blocks.skipped += 1;
                    continue;
                }
                self.spent += usize::from(row.summary.max_id < self.range.before);
                chosen.push(row);
                if chosen.len() >= at_once {
                    self.take_chosen(file, &mut chosen).await?;
                    at_once = (at_once * 2).min(BLOCKS_AT_ONCE);
                }
            }
        }
        self.take_chosen(file, &mut chosen).await
    }

    /// Whether the limit on blocks is reached before this one. Blocks that also reach above the cursor do not count:
    /// each page of a search reads them again, and each page must get further than the last.
    fn gives_up_at(&mut self, row: &BlockRow) -> bool {
        let newest = row.summary.max_id;
        if newest >= self.range.before || self.spent < self.query.blocks_max.max(1) {
            return false;
        }
        self.ended_at = Some(newest);
        true
    }

    async fn take_chosen(
        &mut self,
        file: &mut DayReader,
        chosen: &mut Vec<BlockRow>,
    ) -> Result<(), StoreError> {
        let mut blocks = Vec::with_capacity(chosen.len());
        for row in chosen.drain(..) {
            if let Some(data) = file.data(row.id).await? {
                blocks.push(Block::Stored(data));
            }
        }
        if !blocks.is_empty() {
            self.blocks.decoded += blocks.len();
            self.take(blocks).await;
        }
        Ok(())
    }

    async fn take(&mut self, blocks: Vec<Block>) {
        let query = self.query.clone();
        let (found, corrupt) = blocking(move || look_through(blocks, &query)).await;
        self.blocks.corrupt += corrupt;
        for exchange in found {
            self.found.insert(exchange.id, exchange);
            if self.found.len() > self.limit {
                self.found.pop_first();
            }
        }
    }

    fn finish(mut self) -> Page {
        let mut next = None;
        if let Some(ended_at) = self.ended_at {
            self.found = self.found.split_off(&just_above(ended_at));
            next = Some(just_above(ended_at));
        }
        if self.found.len() >= self.limit {
            next = self.found.first_key_value().map(|(oldest, _)| *oldest);
        }
        Page { exchanges: self.found.into_values().rev().collect(), next, blocks: self.blocks }
    }
}

fn look_through(blocks: Vec<Block>, query: &Query) -> (Vec<Exchange>, usize) {
    let (mut found, mut corrupt) = (Vec::new(), 0);
    for block in blocks {
        let looked = match block {
            Block::Raw(raw) => look_into(&raw, query, &mut found),
            Block::Stored(data) => unpack(&data).and_then(|raw| look_into(&raw, query, &mut found)),
        };
        corrupt += usize::from(looked.is_err());
    }
    (found, corrupt)
}

fn look_into(raw: &[u8], query: &Query, found: &mut Vec<Exchange>) -> Result<(), Corrupt> {
    let rows = Rows::read(raw)?;
    if !query.may_be_among(&rows) {
        return Ok(());
    }
    for exchange in rows {
        let exchange = exchange?;
        if query.matches(&exchange) {
            found.push(exchange);
        }
    }
    Ok(())
}

fn find_in(raw: &[u8], id: RequestId) -> Result<Option<Exchange>, Corrupt> {
    let rows = Rows::read(raw)?;
    if !rows.has_id(id)? {
        return Ok(None);
    }
    for exchange in rows {
        let exchange = exchange?;
        if exchange.id == id {
            return Ok(Some(exchange));
        }
    }
    Ok(None)
}

/// Runs work that is too long for the runtime's own thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down drops work, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
