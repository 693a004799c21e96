//! Disks that are full and files that are damaged: recording stops and says so, reading goes around it.

use std::time::Duration;

use model::ByteSize;
use store::{Query, RecordReader, RecordSettings, RecordState, StopReason};

use crate::traffic::Traffic;
use crate::{Place, ids, newest_first, settings, sqlite};

fn stopped_for(state: &RecordState) -> Option<StopReason> {
    match state {
        RecordState::Stopped { reason, .. } => Some(*reason),
        RecordState::Off | RecordState::Recording => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_recording_until_there_is_room_again() {
    let place = Place::new();
    let full = RecordSettings { file_bytes_max: Some(ByteSize::kib(256)), ..settings() };
    let mut writer = store::RecordWriter::new(&place.dir, full);
    let status = writer.status();
    let mut traffic = Traffic::today();
    let mut appended = Vec::new();
    while status.state() == RecordState::Recording {
        assert!(appended.len() < 100_000, "the file must become full");
        let batch = traffic.batch(500);
        appended.extend(ids(&batch));
        writer.append(batch).await;
    }
    let RecordState::Stopped { reason, message, .. } = status.state() else { panic!("{:?}", status.state()) };
    assert_eq!(reason, StopReason::DiskFull);
    assert!(message.contains("full") && message.contains(".db"), "{message}");
    assert!(reason.to_string().contains("free some"));

    // Nothing is taken in, and that is counted; what was written is still found, and what is open, too.
    writer.append(traffic.batch(700)).await;
    assert_eq!(status.counts().dropped, 700);
    let query = Query { limit: 10_000, ..Query::default() };
    assert_eq!(writer.reader().search(&query).await.unwrap().exchanges.len(), appended.len());

    // The probe finds the disk as full as before.
    writer.due().await;
    writer.tick().await;
    assert_eq!(stopped_for(&status.state()), Some(StopReason::DiskFull));
    assert_eq!(status.counts().stops, 1);

    // Then there is room, and the block that did not fit is not lost.
    writer.set_settings(settings());
    let before = tokio::time::Instant::now();
    loop {
        writer.due().await;
        writer.tick().await;
        if status.state() == RecordState::Recording {
            break;
        }
        assert!(before.elapsed() < Duration::from_secs(60), "{:?}", status.state());
    }
    let last = traffic.batch(10);
    appended.extend(ids(&last));
    writer.append(last).await;
    writer.close().await;
    let page = RecordReader::open(&place.dir).search(&query).await.unwrap();
    appended.sort_by(|a, b| b.cmp(a));
    assert_eq!(ids(&page.exchanges), appended);
    assert_eq!(status.counts().recorded, appended.len() as u64);
    assert_eq!(status.counts().dropped, 700);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_vanished_stops_recording_and_a_writer_that_closes_says_what_was_lost() {
    let place = Place::new();
    let mut writer = place.writer();
    let status = writer.status();
    std::fs::remove_dir(place.dir.records_path()).unwrap();
    writer.append(Traffic::today().batch(1_000)).await;
    assert!(stopped_for(&status.state()).is_some(), "{:?}", status.state());
    writer.close().await;
    assert_eq!((status.counts().recorded, status.counts().dropped), (0, 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_set_aside_and_recording_goes_on() {
    let place = Place::new();
    let mut traffic = Traffic::today();
    let mut writer = place.writer();
    writer.append(traffic.batch(10)).await;
    writer.close().await;
    let name = place.record_files().remove(0);
    std::fs::write(place.dir.records_path().join(&name), "this is not a database".repeat(1_000)).unwrap();

    let page = RecordReader::open(&place.dir).search(&Query::default()).await.unwrap();
    assert_eq!((page.exchanges.len(), page.blocks.files_unreadable), (0, 1));

    let mut writer = place.writer();
    let status = writer.status();
    let batch = traffic.batch(1_000);
    writer.append(batch.clone()).await;
    assert_eq!(stopped_for(&status.state()), Some(StopReason::Corrupt), "{:?}", status.state());
    writer.due().await;
    writer.tick().await;
    while status.state() != RecordState::Recording {
        writer.due().await;
        writer.tick().await;
    }
    let query = Query { limit: 10_000, ..Query::default() };
    let page = RecordReader::open(&place.dir).search(&query).await.unwrap();
    assert_eq!(ids(&page.exchanges), newest_first(&batch));
    assert_eq!(page.blocks.files_unreadable, 0);
    let aside = name.replace(".db", ".corrupt.db");
    assert!(place.record_files().contains(&aside), "{:?}", place.record_files());
}

#[tokio::test]
async fn a_damaged_block_hides_no_other() {
    let place = Place::new();
    let mut traffic = Traffic::today();
    let mut writer = place.writer();
    let batch = traffic.batch(3_000);
    writer.append(batch.clone()).await;
    writer.close().await;
    let path = place.dir.records_path().join(place.record_files().remove(0));
    let mut connection = sqlite(&path).await;
    sqlx::raw_sql(
        "UPDATE block_data SET data = CAST(substr(data, 1, 5000) || randomblob(100) AS BLOB) WHERE id = 2",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let reader = RecordReader::open(&place.dir);
    let page = reader.search(&Query { limit: 10_000, ..Query::default() }).await.unwrap();
    assert_eq!((page.blocks.decoded, page.blocks.corrupt), (3, 1));
    let expect = [&batch[..1_000], &batch[2_000..]].concat();
    assert_eq!(ids(&page.exchanges), newest_first(&expect));
    assert_eq!(reader.find(batch[1_500].id).await.unwrap(), None);
    assert_eq!(reader.find(batch[2_500].id).await.unwrap().as_ref(), Some(&batch[2_500]));
}

#[tokio::test(start_paused = true)]
async fn a_file_of_a_newer_version_is_neither_read_nor_written() {
    let place = Place::new();
    let mut traffic = Traffic::today();
    let mut writer = place.writer();
    writer.append(traffic.batch(10)).await;
    writer.close().await;
    let path = place.dir.records_path().join(place.record_files().remove(0));
    let mut connection = sqlite(&path).await;
    sqlx::raw_sql("PRAGMA user_version = 9").execute(&mut connection).await.unwrap();
    let page = RecordReader::open(&place.dir).search(&Query::default()).await.unwrap();
    assert_eq!(page.blocks.files_unreadable, 1);
    let mut writer = place.writer();
    writer.append(traffic.batch(1_000)).await;
    assert_eq!(stopped_for(&writer.status().state()), Some(StopReason::NewerSchema));
    writer.due().await;
    writer.tick().await;
    assert_eq!(stopped_for(&writer.status().state()), Some(StopReason::NewerSchema));
}
