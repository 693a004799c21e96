//! Forgetting: by days, by size, and within a day that is too large by itself.

use model::ByteSize;
use store::{Query, RecordReader, RecordSettings, RecordWriter};

use crate::traffic::{Traffic, noon};
use crate::{Place, ids, settings};

#[tokio::test]
async fn days_that_are_too_old_are_deleted_when_the_writer_looks() {
    let place = Place::new();
    let mut writer = place.writer();
    for days_ago in [1, 3, 5] {
        writer.append(Traffic::at(noon(-days_ago)).batch(10)).await;
    }
    writer.append(Traffic::today().batch(10)).await;
    writer.close().await;
    assert_eq!(place.record_files().len(), 4);
    let mut writer = RecordWriter::new(&place.dir, RecordSettings { retention_days: 3, ..settings() });
    writer.due().await;
    writer.tick().await;
    assert_eq!(place.record_files().len(), 3);
    let mut writer_after = writer;
    writer_after.set_settings(RecordSettings { retention_days: 2, ..settings() });
    writer_after.due().await;
    writer_after.tick().await;
    assert_eq!(place.record_files().len(), 2);
    assert!(writer_after.status().counts().files_bytes > 0);
}

#[tokio::test(start_paused = true)]
async fn a_day_that_is_too_large_forgets_its_oldest_and_stays_within_the_limit() {
    let place = Place::new();
    let size_max = ByteSize::mib(1);
    let mut writer = RecordWriter::new(&place.dir, RecordSettings { size_max, ..settings() });
    let yesterday = Traffic::at(noon(-1)).batch(1_000);
    writer.append(yesterday).await;
    let mut traffic = Traffic::today();
    let mut last = Vec::new();
    for _ in 0..80 {
        last = traffic.batch(1_000);
        writer.append(last.clone()).await;
        writer.tick().await;
    }
    writer.close().await;
    let names = place.record_files();
    assert_eq!(names.len(), 1, "yesterday goes first: {names:?}");
    let bytes = std::fs::metadata(place.dir.records_path().join(&names[0])).unwrap().len();
    assert!(bytes < size_max.0 * 5 / 4, "{bytes}");
    let query = Query { limit: 10_000, ..Query::default() };
    let page = RecordReader::open(&place.dir).search(&query).await.unwrap();
    assert_eq!(page.exchanges.len(), 10_000, "most of what fits is kept");
    assert_eq!(page.exchanges[0].id, *ids(&last).last().unwrap());
    assert_eq!(page.blocks.corrupt, 0);
}
