//! What the monolith's own statements may do under each fence.

use crate::world::{World, bucket, until};
use banyan_core::BucketSet;
use banyan_core::row::{Change, FenceOwner};
use serde_json::json;

const INSERT: &str = "INSERT INTO notifications (user_id, title) VALUES";

#[tokio::test]
async fn under_the_monoliths_fence_everything_passes_but_a_change_of_subject() {
    let Some(world) = World::start().await else { return };
    world.sql(&format!("{INSERT} (1, 'a'), (2, 'b')")).await;
    assert_eq!(world.try_sql("UPDATE notifications SET is_read = 1 WHERE user_id = 1").await.unwrap(), 1);
    assert_eq!(world.refused("UPDATE notifications SET user_id = 2 WHERE user_id = 1").await, "45B04");
    world.sql("DELETE FROM notifications WHERE user_id = 2").await;
    world
        .sql("REPLACE INTO notification_preferences (user_id, salutation) VALUES (1, 'Grüße'), (1, 'Größe')")
        .await;
    world.carried().await;
    let rows = world.peer.rows("notifications");
    assert_eq!(
        rows.values().map(|r| (&r["title"], &r["is_read"])).collect::<Vec<_>>(),
        [(&json!("a"), &json!(1))]
    );
    assert_eq!(world.peer.rows("notification_preferences")[&1]["salutation"], json!("Größe"));
    world.stop().await;
}

#[tokio::test]
async fn a_moving_bucket_and_one_without_a_fence_are_refused_and_no_other() {
    let Some(world) = World::start().await else { return };
    world.sql(&format!("{INSERT} (1, 'a'), (2, 'b'), (3, 'c')")).await;
    assert!(world.fence(bucket(1), FenceOwner::Moving, 7).await);
    world.sql("DELETE FROM banyan_gate WHERE bucket = CRC32('2') & 4095").await;
    for user in [1, 2] {
        assert_eq!(world.refused(&format!("{INSERT} ({user}, 'x')")).await, "45B02");
        for statement in ["UPDATE notifications SET is_read = 1", "DELETE FROM notifications"] {
            assert_eq!(world.refused(&format!("{statement} WHERE user_id = {user}")).await, "45B02");
        }
    }
    world.sql(&format!("{INSERT} (3, 'x')")).await;
    world.stop().await;
}

#[tokio::test]
async fn strays_are_imported_or_rejected_as_the_table_declares() {
    let Some(world) = World::start().await else { return };
    world.sql(&format!("{INSERT} (1, 'kept')")).await;
    world
        .sql("INSERT INTO notification_activity (user_id, action, created_at) VALUES (1, 'read', NOW())")
        .await;
    assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
    // Rejected: inserts and updates of a table without `import`, deletes everywhere.
    let insert = "INSERT INTO notification_activity (user_id, action, created_at) VALUES (1, 'x', NOW())";
    assert_eq!(world.refused(insert).await, "45B01");
    assert_eq!(world.refused("UPDATE notification_activity SET action = 'x'").await, "45B01");
    assert_eq!(world.refused("DELETE FROM notifications WHERE user_id = 1").await, "45B01");
    // Imported: an insert as it stands.
    world.sql(&format!("{INSERT} (1, 'stray')")).await;
    world.carried().await;
    let imported = world.peer.memory().imported.clone();
    assert_eq!(
        imported.iter().map(|(t, r)| (t.as_str(), &r["title"])).collect::<Vec<_>>(),
        [("notifications", &json!("stray"))]
    );
    world.stop().await;
}

#[tokio::test]
async fn an_update_of_a_service_owned_row_changes_nothing_and_becomes_an_intent() {
    let Some(world) = World::start().await else { return };
    world
        .sql(
            "INSERT INTO notifications (user_id, title, data, mail_state, updated_at) \
         VALUES (1, 'it''s \"x\"', '{\"a\": 1}', 'pending', '2020-01-01 00:00:00')",
        )
        .await;
    assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
    let claim = "UPDATE notifications SET mail_state = 'claimed' WHERE id = 1 AND mail_state = 'pending'";
    assert_eq!(world.try_sql(claim).await.unwrap(), 0, "the worker sees that it did not get the row");
    let row: Vec<(String, String)> =
        world.rows("SELECT mail_state, CAST(updated_at AS CHAR) FROM notifications").await;
    assert_eq!(row, [("pending".into(), "2020-01-01 00:00:00".into())], "the ON UPDATE column too");
    world.carried().await;
    let before = world.peer.rows("notifications")[&1].clone();
    let intent = world.peer.memory().intents[0].clone();
    assert_eq!(
        (intent.table.as_str(), &intent.before),
        ("notifications", &before),
        "as the stream tells the row"
    );
    assert_eq!(
        (&intent.wanted["mail_state"], &intent.wanted["title"]),
        (&json!("claimed"), &json!("it's \"x\""))
    );
    assert_ne!(intent.wanted["updated_at"], before["updated_at"]);
    // What wants nothing is no intent; what the service has decided is removed.
    world.sql("UPDATE notifications SET mail_state = 'pending' WHERE id = 1").await;
    world.carried().await;
    assert_eq!(world.peer.memory().intents.len(), 1);
    until("the intent is removed", async || world.number("SELECT COUNT(*) FROM banyan_intent").await == 0)
        .await;
    assert!(world.peer.memory().strays.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn fences_reach_the_service_in_their_place_among_the_rows() {
    let Some(world) = World::start().await else { return };
    world.sql(&format!("{INSERT} (1, 'before')")).await;
    assert!(world.fence(BucketSet::all(), FenceOwner::Moving, 7).await);
    assert!(!world.fence(BucketSet::all(), FenceOwner::Monolith, 1).await, "an old turn");
    assert!(world.fence(BucketSet::all(), FenceOwner::Service, 8).await);
    world.sql(&format!("{INSERT} (1, 'after')")).await;
    world.carried().await;
    let seen: Vec<String> = world
        .peer
        .memory()
        .changes
        .iter()
        .rev()
        .take(4)
        .rev()
        .map(|change| match change {
            Change::Fence(fence) => {
                format!("{} {} {}", fence.owner.as_str(), fence.owner_epoch, fence.buckets.len())
            }
            Change::Insert { after, .. } => after["title"].to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["\"before\"", "moving 7 4096", "service 8 4096", "\"after\""]);
    assert_eq!(world.peer.memory().imported.len(), 1);
    world.stop().await;
}
