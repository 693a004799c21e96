//! Recording and finding again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Exchange, Fault, RequestId};
use store::{Page, Query, RecordReader, RecordState, StatusMatch};

use crate::traffic::{Traffic, noon};
use crate::{Place, ids, newest_first, sqlite};

async fn all_pages(reader: &RecordReader, query: &Query) -> Vec<Page> {
    let mut pages = vec![reader.search(query).await.unwrap()];
    while let Some(next) = pages.last().unwrap().next {
        pages.push(reader.search(&Query { before: Some(next), ..query.clone() }).await.unwrap());
    }
    pages
}

async fn found(reader: &RecordReader, query: &Query) -> Vec<RequestId> {
    all_pages(reader, query).await.iter().flat_map(|page| ids(&page.exchanges)).collect()
}

#[tokio::test]
async fn what_was_recorded_is_found_by_id_in_files_and_before() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    let batch = traffic.batch(2_500);
    writer.append(batch.clone()).await;
    let inside = writer.reader();
    let outside = RecordReader::open(&place.dir);
    for at in [0, 999, 1_000, 1_999, 2_000, 2_499] {
        assert_eq!(inside.find(batch[at].id).await.unwrap().as_ref(), Some(&batch[at]), "{at}");
        // Two blocks are full and written; the rest is less than a second old.
        let expect = (at < 2_000).then_some(&batch[at]);
        assert_eq!(outside.find(batch[at].id).await.unwrap().as_ref(), expect, "{at}");
    }
    assert_eq!(inside.find(traffic.unused_id()).await.unwrap(), None);
    assert_eq!(inside.find(RequestId::first_at(5)).await.unwrap(), None);
    writer.close().await;
    assert_eq!(place.record_files().len(), 1, "{:?}", place.record_files());
    assert_eq!(outside.find(batch[2_499].id).await.unwrap().as_ref(), Some(&batch[2_499]));
}

#[tokio::test]
async fn a_writer_that_lets_go_leaves_the_files_to_another_and_can_go_on() {
    let place = Place::new();
    let (mut first, mut second) = (place.writer(), place.writer());
    let mut traffic = Traffic::today();
    let batch = traffic.batch(2_500);
    first.append(batch[..800].to_vec()).await;
    first.let_go().await;
    let outside = RecordReader::open(&place.dir);
    assert_eq!(found(&outside, &Query::default()).await, newest_first(&batch[..800]));
    assert_eq!(first.take_unwritten(), []);
    second.append(batch[800..1_600].to_vec()).await;
    second.close().await;
    first.append(batch[1_600..].to_vec()).await;
    first.close().await;
    assert_eq!(found(&outside, &Query::default()).await, newest_first(&batch));
}

#[tokio::test]
async fn what_could_not_be_written_can_be_taken_elsewhere() {
    let place = Place::new();
    let mut writer = place.writer();
    let batch = Traffic::today().batch(1_200);
    std::fs::remove_dir_all(place.dir.records_path()).unwrap();
    writer.append(batch.clone()).await;
    writer.let_go().await;
    let mut unwritten = ids(&writer.take_unwritten());
    unwritten.sort();
    let mut expect = ids(&batch);
    expect.sort();
    assert_eq!(unwritten, expect);
    assert_eq!(writer.take_unwritten(), []);
}

#[tokio::test(start_paused = true)]
async fn an_open_block_is_written_before_it_is_a_second_old() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.tick().await;
    let batch = Traffic::today().batch(3);
    let begin = tokio::time::Instant::now();
    writer.append(batch.clone()).await;
    writer.due().await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    writer.tick().await;
    let page = RecordReader::open(&place.dir).search(&Query::default()).await.unwrap();
    assert_eq!(ids(&page.exchanges), newest_first(&batch));
    // Then there is nothing to do for a long time.
    let begin = tokio::time::Instant::now();
    writer.due().await;
    assert!(begin.elapsed() >= Duration::from_secs(59));
}

#[tokio::test(start_paused = true)]
async fn a_busy_writer_does_not_wait_for_its_tick() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    writer.append(traffic.batch(1)).await;
    tokio::time::advance(Duration::from_millis(900)).await;
    writer.append(traffic.batch(1)).await;
    let page = RecordReader::open(&place.dir).search(&Query::default()).await.unwrap();
    assert_eq!(page.exchanges.len(), 2);
}

#[tokio::test]
async fn pages_hold_everything_once_newest_first_whatever_the_order_of_the_ends() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    let mut batch = traffic.batch(3_300);
    // Exchanges end in another order than they begin: every 7th takes longer, every 100th much longer.
    let mut late: Vec<Exchange> = Vec::new();
    let (mut at, mut longest) = (0, Vec::new());
    batch.retain(|exchange| {
        at += 1;
        match (at % 100, at % 7) {
            (0, _) => longest.push(exchange.clone()),
            (_, 0) => late.push(exchange.clone()),
            _ => return true,
        }
        false
    });
    late.reverse();
    let all = [batch, late, longest].concat();
    for part in all.chunks(300) {
        writer.append(part.to_vec()).await;
    }
    let reader = writer.reader();
    let mut query = Query::default();
    for (limit, blocks_max) in [(1_000, 100), (7_000, 100), (97, 100), (500, 1), (97, 1), (1_000, 2)] {
        query = Query { limit, blocks_max, ..query };
        assert_eq!(found(&reader, &query).await, newest_first(&all), "{limit} {blocks_max}");
    }
    writer.close().await;
    assert_eq!(found(&RecordReader::open(&place.dir), &query).await, newest_first(&all));
}

#[tokio::test]
async fn a_search_that_gives_up_goes_on_where_it_was() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    let mut wanted = traffic.exchange();
    wanted.path = "/rare".into();
    writer.append(vec![wanted.clone()]).await;
    writer.append(traffic.batch(9_999)).await;
    let reader = writer.reader();
    let query = Query { path_prefix: Some("/rare".into()), blocks_max: 3, ..Query::default() };
    let pages = all_pages(&reader, &query).await;
    assert_eq!(pages.iter().map(|page| page.blocks.decoded).collect::<Vec<_>>(), [3, 3, 3, 1]);
    assert_eq!(pages.iter().map(|page| page.exchanges.len()).collect::<Vec<_>>(), [0, 0, 0, 1]);
    writer.close().await;
}

type Wanted = Box<dyn Fn(&Exchange) -> bool>;

/// Queries by one part each, and what they mean.
fn queries(start: SystemTime) -> Vec<(Query, Wanted)> {
    fn case(query: Query, wanted: impl Fn(&Exchange) -> bool + 'static) -> (Query, Wanted) {
        (query, Box::new(wanted))
    }
    let all = Query::default;
    let propfind = model::Method::Extension("PROPFIND".into());
    let end = start + Duration::from_millis(50);
    vec![
        case(all(), |_| true),
        case(Query { statuses: vec![StatusMatch::Exact(404), StatusMatch::Class(5)], ..all() }, |one| {
            one.status == 404 || one.status >= 500
        }),
        case(Query { faults: vec![Fault::Reset, Fault::EarlyClose], ..all() }, |one| {
            one.ending.fault == Some(Fault::Reset)
        }),
        case(Query { failed_only: true, ..all() }, |one| one.status >= 500),
        case(Query { service: Some("orders".into()), ..all() }, |one| {
            one.service.as_deref() == Some("orders")
        }),
        case(Query { route: Some("users-list".into()), ..all() }, |one| {
            one.route.as_deref() == Some("users-list")
        }),
        case(Query { consumer: Some("web".into()), ..all() }, |one| one.consumer.as_deref() == Some("web")),
        case(Query { path_prefix: Some("/api/v1/search/".into()), ..all() }, |one| {
            one.path.starts_with("/api/v1/search/")
        }),
        case(Query { method: Some(propfind), ..all() }, |one| one.consumer.is_none()),
        case(Query { slower_than: Some(Duration::from_secs(6)), ..all() }, |one| {
            one.timeline.done_micros == 7_000_000
        }),
        case(
            Query { since: Some(start), until: Some(end), service: Some("users".into()), ..all() },
            move |one| {
                let at = UNIX_EPOCH + Duration::from_millis(one.id.unix_millis());
                one.service.as_deref() == Some("users") && at >= start && at < end
            },
        ),
    ]
}

#[tokio::test]
async fn each_part_of_a_query_decides() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    traffic.step = Duration::from_millis(1);
    let mut all = traffic.batch(400);
    all.push(traffic.failed());
    all.extend(traffic.batch(200));
    let mut slow = traffic.exchange();
    slow.timeline.done_micros = 7_000_000;
    slow.status = 503;
    all.push(slow);
    let mut odd = traffic.exchange();
    odd.method = model::Method::Extension("PROPFIND".into());
    odd.consumer = None;
    odd.service = None;
    all.push(odd);
    writer.append(all.clone()).await;
    let start = UNIX_EPOCH + Duration::from_millis(all[100].id.unix_millis());
    let check = async |reader: &RecordReader| {
        for (query, wanted) in queries(start) {
            let expect: Vec<Exchange> = all.iter().filter(|one| wanted(one)).cloned().collect();
            assert!(!expect.is_empty(), "{query:?}");
            assert_eq!(found(reader, &query).await, newest_first(&expect), "{query:?}");
        }
    };
    check(&writer.reader()).await;
    writer.close().await;
    check(&RecordReader::open(&place.dir)).await;
}

#[tokio::test]
async fn blocks_are_skipped_by_what_their_rows_say() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    let mut starts = Vec::new();
    for block in 0..10 {
        let mut batch = traffic.batch(999);
        batch.push(if block == 4 { traffic.failed() } else { traffic.exchange() });
        if block == 6 {
            batch[500].timeline.done_micros = 60_000_000;
        }
        if block == 7 {
            batch.iter_mut().for_each(|exchange| exchange.service = Some("reports".into()));
        }
        starts.push(UNIX_EPOCH + Duration::from_millis(batch[0].id.unix_millis()));
        writer.append(batch).await;
    }
    let reader = RecordReader::open(&place.dir);
    let decoded = async |query: Query| {
        let page = reader.search(&Query { limit: 10_000, ..query }).await.unwrap();
        assert!(!page.exchanges.is_empty());
        (page.blocks.decoded, page.blocks.skipped)
    };
    assert_eq!(decoded(Query::default()).await, (10, 0));
    assert_eq!(decoded(Query { statuses: vec![StatusMatch::Class(5)], ..Query::default() }).await, (1, 9));
    assert_eq!(decoded(Query { faults: vec![Fault::Reset], ..Query::default() }).await, (1, 9));
    assert_eq!(decoded(Query { failed_only: true, ..Query::default() }).await, (1, 9));
    assert_eq!(decoded(Query { service: Some("reports".into()), ..Query::default() }).await, (1, 9));
    assert_eq!(
        decoded(Query { slower_than: Some(Duration::from_secs(1)), ..Query::default() }).await,
        (1, 9)
    );
    // Time is looked up: the rows of other blocks are not even read.
    let (decoded_in_time, skipped) =
        decoded(Query { since: Some(starts[3]), until: Some(starts[4]), ..Query::default() }).await;
    assert!((1..=2).contains(&decoded_in_time) && skipped == 0, "{decoded_in_time} {skipped}");
    // The newest hundred are in the newest block.
    let newest = reader.search(&Query::default()).await.unwrap();
    assert_eq!((newest.exchanges.len(), newest.blocks.decoded), (100, 1));
    writer.close().await;
}

#[tokio::test]
async fn days_have_their_own_files_and_a_search_crosses_them() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut all = Vec::new();
    for days_ago in [0, -2, -1, 0] {
        let batch = Traffic::at(noon(days_ago) + Duration::from_secs(all.len() as u64)).batch(50);
        writer.append(batch.clone()).await;
        all.extend(batch);
    }
    writer.close().await;
    let names = place.record_files();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|name| name.len() == "2026-11-25.db".len()), "{names:?}");
    let reader = RecordReader::open(&place.dir);
    let query = Query { limit: 33, ..Query::default() };
    assert_eq!(found(&reader, &query).await, newest_first(&all));
    for exchange in [&all[0], &all[60], &all[110]] {
        assert_eq!(reader.find(exchange.id).await.unwrap().as_ref(), Some(exchange));
    }
}

#[tokio::test]
async fn an_exchange_that_took_an_hour_does_not_widen_the_block_of_its_last_second() {
    let place = Place::new();
    let mut writer = place.writer();
    let now = SystemTime::now();
    let old = Traffic::at(now - Duration::from_secs(3_600)).exchange();
    let mut traffic = Traffic::at(now);
    let mut batch = traffic.batch(1_000);
    batch.insert(500, old.clone());
    writer.append(batch).await;
    writer.close().await;
    let reader = RecordReader::open(&place.dir);
    assert_eq!(reader.find(old.id).await.unwrap(), Some(old));
    let query = Query {
        since: Some(now - Duration::from_secs(3_000)),
        until: Some(now - Duration::from_secs(1_000)),
        ..Query::default()
    };
    let page = reader.search(&query).await.unwrap();
    assert_eq!((page.exchanges.len(), page.blocks.decoded), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn failed_exchanges_are_listed_up_to_a_hundred_a_second_and_recorded_all() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    let failed: Vec<Exchange> = (0..250).map(|_| traffic.failed()).collect();
    writer.append([failed.clone(), traffic.batch(800)].concat()).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let later = traffic.failed();
    writer.append(vec![later.clone()]).await;
    let reader = writer.reader();
    let (since, until) = (noon(0), noon(0) + Duration::from_secs(3_600));
    let page = reader.failures(since, until, 1_000).await.unwrap();
    assert_eq!((page.failures.len(), page.unlisted), (101, 150));
    assert_eq!(writer.status().counts().failures_unlisted, 150);
    let newest = &page.failures[0];
    assert_eq!((newest.id, newest.status, newest.fault.as_deref()), (later.id, 502, Some("reset")));
    assert_eq!(newest.route.as_deref(), later.route.as_deref());
    let query = Query { faults: vec![Fault::Reset], limit: 1_000, ..Query::default() };
    assert_eq!(found(&reader, &query).await.len(), 251);
    writer.close().await;
    let page = RecordReader::open(&place.dir).failures(since, until, 5).await.unwrap();
    assert_eq!((page.failures.len(), page.unlisted), (5, 150));
}

#[tokio::test]
async fn who_follows_sees_what_matches_as_it_ends() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    writer.append(traffic.batch(10)).await;
    let mut follower = writer.follow(Query { failed_only: true, ..Query::default() });
    let failed = traffic.failed();
    writer.append(traffic.batch(10)).await;
    writer.append(vec![failed.clone(), traffic.exchange()]).await;
    assert_eq!(follower.next().await, Some((vec![failed], 0)));
    for _ in 0..100 {
        writer.append(vec![traffic.failed()]).await;
    }
    let (exchanges, missed) = follower.next().await.unwrap();
    assert_eq!((exchanges.len(), missed), (1, 36));
    let reader = writer.reader();
    writer.close().await;
    drop(reader);
    while follower.next().await.is_some() {}
}

#[tokio::test]
async fn with_no_days_to_keep_nothing_is_recorded() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.set_settings(store::RecordSettings { retention_days: 0, ..crate::settings() });
    assert_eq!(writer.status().state(), RecordState::Off);
    let mut traffic = Traffic::today();
    writer.append(traffic.batch(2_000)).await;
    writer.tick().await;
    assert_eq!(writer.reader().search(&Query::default()).await.unwrap().exchanges, []);
    assert_eq!(place.record_files(), [""; 0]);
    writer.set_settings(crate::settings());
    assert_eq!(writer.status().state(), RecordState::Recording);
    writer.append(traffic.batch(5)).await;
    writer.close().await;
    assert_eq!(RecordReader::open(&place.dir).search(&Query::default()).await.unwrap().exchanges.len(), 5);
}

#[tokio::test]
async fn a_person_can_ask_the_rows_too() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut traffic = Traffic::today();
    writer.append(vec![traffic.failed(), traffic.exchange(), traffic.failed()]).await;
    writer.close().await;
    let name = place.record_files().remove(0);
    let mut connection = sqlite(&place.dir.records_path().join(name)).await;
    let resets: i64 = sqlx::query_scalar("SELECT sum(counts ->> '$.fault.reset') FROM block")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(resets, 2);
}

#[tokio::test]
async fn a_directory_that_was_closed_can_be_read_where_nothing_can_be_written() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.append(Traffic::today().batch(20)).await;
    writer.close().await;
    // As on a read-only disk, SQLite cannot make its index: something else has that name.
    let name = place.record_files().remove(0);
    std::fs::create_dir(place.dir.records_path().join(format!("{name}-shm"))).unwrap();
    let page = RecordReader::open(&place.dir).search(&Query::default()).await.unwrap();
    assert_eq!((page.exchanges.len(), page.blocks.files_unreadable), (20, 0));
}
