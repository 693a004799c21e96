//! The main database: its schema through versions, and the admin token.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use store::{ADMIN_TOKEN_PREFIX, DataDir, StoreError};

use crate::{Place, sqlite};

#[tokio::test]
async fn the_admin_token_is_made_once_and_only_its_hash_is_kept() {
    let place = Place::new();
    let database = place.dir.database().await.unwrap();
    assert!(!database.admin_token_verify("").await.unwrap());
    let token = database.admin_token_create_if_absent().await.unwrap().unwrap();
    assert_eq!(token.len(), ADMIN_TOKEN_PREFIX.len() + 43);
    assert!(token.starts_with("cw_admin_"));
    assert_eq!(database.admin_token_create_if_absent().await.unwrap(), None);
    assert!(database.admin_token_verify(&token).await.unwrap());
    for wrong in ["", "cw_admin_", &token[1..], &format!("{token}A"), &token.to_lowercase()] {
        assert!(!database.admin_token_verify(wrong).await.unwrap(), "{wrong}");
    }
    for name in ["clearway.db", "clearway.db-wal"] {
        let bytes = std::fs::read(place.dir.path().join(name)).unwrap();
        let secret = token.trim_start_matches(ADMIN_TOKEN_PREFIX).as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name}");
    }
    let beside = DataDir::open_read_only(place.dir.path()).unwrap().database().await.unwrap();
    assert!(beside.admin_token_verify(&token).await.unwrap());
    let replaced = database.admin_token_replace().await.unwrap();
    assert!(!database.admin_token_verify(&token).await.unwrap());
    assert!(beside.admin_token_verify(&replaced).await.unwrap());
}

#[tokio::test]
async fn facts_outlive_the_process_and_are_read_only_to_others() {
    let place = Place::new();
    let database = place.dir.database().await.unwrap();
    assert_eq!(database.meta("instance").await.unwrap(), None);
    database.set_meta("instance", "a").await.unwrap();
    database.set_meta("instance", "b").await.unwrap();
    let beside = DataDir::open_read_only(place.dir.path()).unwrap().database().await.unwrap();
    assert!(matches!(beside.set_meta("instance", "c").await, Err(StoreError::Database { .. })));
    drop((database, beside));
    let Place { directory, dir } = place;
    drop(dir);
    let again = DataDir::open(directory.path()).unwrap().database().await.unwrap();
    assert_eq!(again.meta("instance").await.unwrap().as_deref(), Some("b"));
}

/// Every object of the schema, in words.
async fn schema(connection: &mut SqliteConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_database_of_version_1_is_migrated_and_keeps_what_it_holds() {
    let place = Place::new();
    let mut connection = sqlite(&place.dir.database_path()).await;
    sqlx::raw_sql(include_str!("fixtures/schema-v1.sql")).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let database = place.dir.database().await.unwrap();
    assert_eq!(database.meta("instance").await.unwrap().as_deref(), Some("gateway-1"));
    let token = format!("{ADMIN_TOKEN_PREFIX}{}", "A".repeat(43));
    assert!(database.admin_token_verify(&token).await.unwrap());
    assert_eq!(database.admin_token_create_if_absent().await.unwrap(), None);

    let fresh = Place::new();
    drop(fresh.dir.database().await.unwrap());
    let mut migrated = sqlite(&place.dir.database_path()).await;
    let mut fresh = sqlite(&fresh.dir.database_path()).await;
    assert_eq!(schema(&mut migrated).await, schema(&mut fresh).await);
}

#[tokio::test]
async fn a_newer_database_is_refused_untouched() {
    let place = Place::new();
    drop(place.dir.database().await.unwrap());
    let mut connection = sqlite(&place.dir.database_path()).await;
    sqlx::raw_sql("INSERT INTO schema_version VALUES (999, 0)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let reader = DataDir::open_read_only(place.dir.path()).unwrap();
    for dir in [&place.dir, &reader] {
        let error = dir.database().await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaNewer { found: 999, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("schema version is 999") && text.contains("use the newer Clearway"), "{text}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let place = Place::new();
    std::fs::write(place.dir.database_path(), "not a database, but long enough to be looked at".repeat(100))
        .unwrap();
    let error = place.dir.database().await.unwrap_err().to_string();
    assert!(error.contains("clearway.db") && error.contains("not a database"), "{error}");
}
