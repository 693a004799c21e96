//! Incidents outlive their process, are listed newest first, and are forgotten with the records.

use model::{Closed, ClosedBy, Incident, IncidentId, Moment, NamedCause};
use sqlx::Connection;
use store::{DataDir, IncidentQuery};

use super::{Place, sqlite};

fn incident(number: u128, service: &str, closed: Option<i64>) -> Incident {
    Incident {
        id: IncidentId(number << 80 | 7 << 76),
        service: service.into(),
        began: Moment(1_000),
        opened: Moment(2_000),
        closed: closed.map(|at| Closed { at: Moment(at), why: ClosedBy::Quiet }),
        reopened: 1,
        requests: 40,
        failed: 39,
        peak_share: 0.975,
        usual_share: 0.01,
        cause: Some(NamedCause {
            cause: "upstream-not-running".into(),
            confidence: 0.91,
            summary: "nothing listens".into(),
        }),
        diagnosed: Some(Moment(2_500)),
        report: Some("{\"version\":1}".into()),
    }
}

#[tokio::test]
async fn an_incident_outlives_the_process_and_changes_in_place() {
    let place = Place::new();
    let first = incident(1, "shop", None);
    place.dir.database().await.unwrap().incident_put(&first).await.unwrap();
    let read_only = DataDir::open_read_only(place.directory.path()).unwrap().database().await.unwrap();
    assert_eq!(read_only.incident(first.id).await.unwrap(), Some(first.clone()));
    let changed = Incident { cause: None, failed: 50, requests: 60, ..incident(1, "shop", Some(9_000)) };
    place.dir.database().await.unwrap().incident_put(&changed).await.unwrap();
    assert_eq!(read_only.incident(first.id).await.unwrap(), Some(changed));
    assert_eq!(read_only.incidents(&IncidentQuery::default()).await.unwrap().len(), 1);
    assert_eq!(read_only.incident(IncidentId(2)).await.unwrap(), None);
}

#[tokio::test]
async fn the_newest_are_listed_first_and_filters_hold() {
    let place = Place::new();
    let database = place.dir.database().await.unwrap();
    let (one, two, three) =
        (incident(1, "shop", Some(5_000)), incident(2, "blog", None), incident(3, "shop", Some(9_000)));
    for one in [&one, &two, &three] {
        database.incident_put(one).await.unwrap();
    }
    let listed = async |query: IncidentQuery| -> Vec<IncidentId> {
        database.incidents(&query).await.unwrap().into_iter().map(|incident| incident.id).collect()
    };
    let all = IncidentQuery::default;
    assert_eq!(listed(all()).await, [three.id, two.id, one.id]);
    assert_eq!(listed(IncidentQuery { service: Some("shop".into()), ..all() }).await, [three.id, one.id]);
    assert_eq!(listed(IncidentQuery { open_only: true, ..all() }).await, [two.id]);
    assert_eq!(listed(IncidentQuery { since: Some(Moment(6_000)), ..all() }).await, [three.id, two.id]);
    assert_eq!(listed(IncidentQuery { before: Some(three.id), limit: 1, ..all() }).await, [two.id]);
    // What is open is never forgotten.
    database.incidents_forget(Moment(6_000)).await.unwrap();
    assert_eq!(listed(all()).await, [three.id, two.id]);
}

#[tokio::test]
async fn a_directory_of_a_version_without_incidents_has_none_until_it_is_opened() {
    let place = Place::new();
    drop(place.dir.database().await.unwrap());
    let mut older = sqlite(&place.dir.database_path()).await;
    sqlx::raw_sql("DROP TABLE incident; DELETE FROM schema_version WHERE version = 2")
        .execute(&mut older)
        .await
        .unwrap();
    older.close().await.unwrap();
    let read_only = DataDir::open_read_only(place.directory.path()).unwrap().database().await.unwrap();
    assert_eq!(read_only.incidents(&IncidentQuery::default()).await.unwrap(), []);
    assert_eq!(read_only.incident(IncidentId(1)).await.unwrap(), None);
    let opened = place.dir.database().await.unwrap();
    opened.incident_put(&incident(1, "shop", None)).await.unwrap();
}
