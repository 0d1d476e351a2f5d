//! The outbox reaches the monolith exactly once, and nothing of it comes back.

use crate::world::{World, bucket, quick, until};
use banyan_core::row::{Change, FenceOwner, RowWrite};
use banyan_sync::Config;
use serde_json::{Value, json};

fn write(value: Value) -> RowWrite {
    serde_json::from_value(value).unwrap()
}

fn notification(id: u64, title: &str) -> RowWrite {
    write(json!({"op": "upsert", "table": "notifications", "row": {
        "id": id, "user_id": 1, "type": "system", "title": title, "body": null, "data": "{\"payment_id\": 7}", "priority": -1,
        "is_read": 0, "read_at": null, "mail_state": "none", "mailed_at": "0000-00-00 00:00:00",
        "created_at": "2026-10-25 02:30:00", "updated_at": "2026-03-29 02:30:00"}}))
}

fn activity(id: u64) -> RowWrite {
    write(json!({"op": "upsert", "table": "notification_activity",
        "row": {"id": id, "user_id": 1, "action": "read", "created_at": "2026-01-01 00:00:00"}}))
}

#[tokio::test]
async fn events_are_written_in_order_whatever_the_fence_says_and_never_come_back() {
    let Some(world) = World::start().await else { return };
    assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
    world.carried().await;
    let before = world.peer.memory().changes.len();
    world.peer.publish(vec![notification(1001, "first"), activity(1)]);
    world.peer.publish(vec![notification(1002, "second"), activity(2)]);
    world.peer.publish(vec![notification(1001, "first, it's read")]);
    let delete = write(json!({"op": "delete", "table": "notifications", "key": {"id": 1002}}));
    let position = world.peer.publish(vec![delete]);
    world.reversed(position).await;
    let rows: Vec<(u64, String, String, String)> = world
        .rows("SELECT id, title, CAST(created_at AS CHAR), CAST(updated_at AS CHAR) FROM notifications")
        .await;
    // Local times that a clock change skips or repeats stay as they are.
    let wanted =
        (1001, "first, it's read".into(), "2026-10-25 02:30:00".into(), "2026-03-29 02:30:00".into());
    assert_eq!(rows, [wanted]);
    assert_eq!(world.number("SELECT COUNT(*) FROM notification_activity").await, 2);
    world.carried().await;
    let back = world.peer.memory().changes[before..].to_vec();
    assert_eq!(back, []);
    let status = world.status().await;
    assert!(
        status.lag_ms.count > 0 && status.faults.is_empty() && status.reverse_lag_ms < 5000,
        "{status:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_monoliths_write_beside_reverse_still_comes_through() {
    let Some(world) = World::start().await else { return };
    for n in 0..20 {
        world.peer.publish(vec![notification(1000 + n, "service")]);
        world
            .sql(&format!(
                "INSERT INTO notifications (id, user_id, title) VALUES ({}, 2, 'monolith')",
                2000 + n
            ))
            .await;
    }
    world.reversed(20).await;
    world.carried().await;
    assert_eq!(world.peer.rows("notifications").len(), 40);
    let inserts = world.peer.memory().changes.iter().filter(|c| matches!(c, Change::Insert { .. })).count();
    assert_eq!(inserts, 20, "only the monolith's");
    world.stop().await;
}

#[tokio::test]
async fn every_event_takes_effect_once_across_restarts_of_sync_and_kills_of_the_database() {
    let Some(mut world) = World::start_alone().await else { return };
    // Each event adds a row under a key of its own: one written twice or not at all would show in the tag's
    // history, which a trigger of the test keeps.
    world.sql("CREATE TABLE seen (position bigint unsigned NOT NULL)").await;
    world.sql("CREATE TRIGGER seen_tag AFTER UPDATE ON banyan_tag FOR EACH ROW INSERT INTO seen VALUES (NEW.position)").await;
    let mut last = 0;
    for round in 0..6 {
        for n in 0..30 {
            last = world.peer.publish(vec![activity(1 + round * 30 + n)]);
        }
        match round % 3 {
            0 => {
                world.stop_sync().await;
                world.start_sync(Config { reverse_events_max: 7, ..quick() }).await;
            }
            1 => {
                world.server.with(|mariadb| mariadb.kill());
                world.server.with(|mariadb| mariadb.restart()).unwrap();
            }
            _ => {}
        }
    }
    world.reversed(last).await;
    let ids: Vec<u64> = world.rows("SELECT id FROM notification_activity ORDER BY id").await;
    assert_eq!(ids, (1..=180).collect::<Vec<_>>());
    let positions: Vec<u64> = world.rows("SELECT position FROM seen").await;
    assert!(positions.is_sorted_by(|a, b| a < b), "a position was written twice or went back: {positions:?}");
    world.until_copied().await;
    world.carried().await;
    world.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_written_is_told_and_not_passed_over() {
    let Some(world) = World::start().await else { return };
    let greek = |text: &str| {
        write(json!({"op": "upsert", "table": "notification_preferences",
            "row": {"user_id": 1, "email_enabled": 1, "salutation": text}}))
    };
    world.peer.publish(vec![greek("Grüße €")]);
    world.reversed(1).await;
    world.peer.publish(vec![greek("Γειά")]);
    world.peer.publish(vec![activity(5)]);
    until("the fault is told", async || {
        let faults = world.status().await.faults.join(" ");
        faults.contains("outbox events 2 to 3")
            && faults.contains("notification_preferences")
            && faults.contains("salutation")
    })
    .await;
    assert_eq!(world.number("SELECT COUNT(*) FROM notification_activity").await, 0);
    // Once the column can hold it, everything follows.
    world
        .sql("ALTER TABLE notification_preferences MODIFY salutation varchar(60) CHARACTER SET utf8mb4 NULL")
        .await;
    world.reversed(3).await;
    let salutation: Vec<String> = world.rows("SELECT salutation FROM notification_preferences").await;
    assert_eq!(salutation, ["Γειά"]);
    world.stop().await;
}

#[tokio::test]
async fn another_database_of_the_service_stops_reverse() {
    let Some(world) = World::start().await else { return };
    assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
    world.peer.publish(vec![activity(1)]);
    world.reversed(1).await;
    world.peer.memory().incarnation = "second".into();
    world.peer.publish(vec![activity(2)]);
    until("the fault is told", async || {
        let status = world.status().await;
        status.faults.join(" ").contains("holds events of first") && !status.reverse_live
    })
    .await;
    assert_eq!(world.number("SELECT COUNT(*) FROM notification_activity").await, 1);
    world.stop().await;
}
