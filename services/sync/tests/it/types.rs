//! A value means the same on every path: copy, stream, reverse, verification, intent.

use crate::server::Server;
use crate::values::{COLUMNS, literal};
use crate::world::{World, bucket, capability, quick};
use banyan_core::Row;
use banyan_core::protocol::monolith::VerifyReport;
use banyan_core::row::{FenceOwner, RowWrite};
use mysql_async::prelude::Queryable as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Random rows beside the first.
const RANDOM: usize = 80;

/// What the first row is in JSON.
fn first() -> [(&'static str, Value); 16] {
    [
        ("lu", json!(u64::MAX)),
        ("l", json!(i64::MIN)),
        ("d", json!("-12.50")),
        ("f", json!(1.1)),
        ("c", json!("Größe 😀")),
        ("la", json!("Grüße €–ÿ")),
        ("e", json!("größe")),
        ("st", json!("a,b")),
        ("dd", json!("2022-11-00")),
        ("ti", json!("-838:59:59")),
        ("ti6", json!("-00:00:00.000001")),
        ("dt", json!("0000-00-00 00:00:00")),
        ("ts6", json!("2038-01-19 02:14:07.000100")),
        ("bi", json!(341)),
        ("bin", json!("base64:AQIDAAAAAAAAAAAAAAAAAA==")),
        ("j", json!("{\"b\": [1,  2.50, \"ü😀\"], \"a\": null}")),
    ]
}

fn table() -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind, _)| format!("`{name}` {kind}")).collect();
    format!(
        "CREATE TABLE everything (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, user_id int unsigned NOT NULL, {},
         twice int AS (i DIV 2) VIRTUAL, KEY (user_id)) CHARACTER SET utf8mb4",
        columns.join(", ")
    )
}

fn names() -> String {
    COLUMNS.iter().map(|(name, ..)| format!("`{name}`")).collect::<Vec<_>>().join(",")
}

fn with_id(id: u64, row: &Row) -> Row {
    let mut row = row.clone();
    row.insert("id".into(), id.into());
    row
}

async fn insert_rows(world: &World) {
    let mut runner = TestRunner::deterministic();
    let mut rows = vec![COLUMNS.iter().map(|(_, _, value)| (*value).to_owned()).collect::<Vec<_>>()];
    rows.resize_with(1 + RANDOM, || COLUMNS.iter().map(|(_, kind, _)| literal(kind, &mut runner)).collect());
    let mut monolith = world.connect().await;
    monolith.query_drop("SET sql_mode = 'ALLOW_INVALID_DATES,STRICT_TRANS_TABLES'").await.unwrap();
    for row in rows {
        let insert = format!("INSERT INTO everything (user_id, {}) VALUES (7, {})", names(), row.join(","));
        monolith.query_drop(insert).await.unwrap();
    }
}

/// The same values as row events.
async fn check_stream(world: &World, count: u64) {
    let names = names();
    let again = format!(
        "INSERT INTO everything (id, user_id, {names}) SELECT id + 1000, user_id, {names} FROM everything"
    );
    world.sql(&again).await;
    world.carried().await;
    let held = world.peer.rows("everything");
    for id in 1..=count {
        assert_eq!(held[&(id + 1000)], with_id(id + 1000, &held[&id]), "row {id}: stream, copy");
    }
    for (column, wanted) in first() {
        assert_eq!(held[&1][column], wanted, "{column}");
    }
}

/// The same values written back under other keys.
async fn check_reverse(world: &World, held: &BTreeMap<u64, Row>, count: u64) {
    let again =
        |id: u64| RowWrite::Upsert { table: "everything".into(), row: with_id(id + 2000, &held[&id]) };
    let position = world.peer.publish((1..=count).map(again).collect());
    world.reversed(position).await;
    for (name, ..) in COLUMNS {
        let differing = format!(
            "SELECT a.id, HEX(a.`{name}`), HEX(b.`{name}`) FROM everything a
               LEFT JOIN everything b ON b.id = a.id + 2000
              WHERE a.id <= {count} AND NOT (BINARY a.`{name}` <=> BINARY b.`{name}`)"
        );
        let differing: Vec<(u64, Option<String>, Option<String>)> = world.rows(&differing).await;
        assert_eq!(differing, [], "{name}");
    }
}

/// The trigger's own JSON.
async fn check_intents(world: &World, held: &BTreeMap<u64, Row>, count: u64) {
    assert!(world.fence(bucket(7), FenceOwner::Service, 9).await);
    world.sql(&format!("UPDATE everything SET v = 'wanted', f = 2.5 WHERE id <= {count}")).await;
    world.carried().await;
    let intents = std::mem::take(&mut world.peer.memory().intents);
    assert_eq!(intents.len() as u64, count);
    for intent in intents {
        for (name, value) in &held[&intent.before["id"].as_u64().unwrap()] {
            let told = &intent.before[name];
            // 1e300 and 1.0 have several spellings in JSON.
            let same = value == told || value.as_f64().is_some() && value.as_f64() == told.as_f64();
            assert!(same, "{name}: {value} {told}");
        }
        assert_eq!((&intent.wanted["v"], &intent.wanted["f"]), (&json!("wanted"), &json!(2.5)));
    }
}

#[tokio::test]
async fn a_value_means_the_same_by_copy_stream_reverse_verification_and_intent() {
    let Some(server) = Server::shared() else { return };
    let tables = json!([{"name": "everything", "key": "id", "subject": "user_id", "stray_update": "import"}]);
    let mut world = World::build_on(server, &table(), capability(&tables)).await;
    insert_rows(&world).await;
    world.start_sync(quick()).await;
    world.install().await;
    world.until_copied().await;
    let held = world.peer.rows("everything");
    let count = held.len() as u64;
    assert_eq!(count, 1 + RANDOM as u64);
    check_stream(&world, count).await;
    check_reverse(&world, &held, count).await;
    let report: VerifyReport = world.sync.post("/v1/verify", &world.of()).await.unwrap();
    assert_eq!((report.rows_compared, report.mismatches, report.samples), (count * 3, 0, vec![]));
    check_intents(&world, &held, count).await;
    world.stop().await;
}
