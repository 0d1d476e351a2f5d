//! Dead letters: they park their row, block their bucket, and never stop the stream.

use crate::world::{World, insert, notification, of, update};
use banyan_core::protocol::import::{DeadLetter, Discard};
use banyan_runtime::client::CallError;
use serde_json::{Value, json};

async fn letters(world: &World) -> Vec<DeadLetter> {
    world.role.get("/v1/letters").await.unwrap()
}

async fn retry(world: &World, id: u64) -> Result<Value, CallError> {
    world.role.post(&format!("/v1/letters/{id}/retry"), &Value::Null).await
}

async fn discard(world: &World, id: u64, reason: &str) -> Result<Value, CallError> {
    world.role.post(&format!("/v1/letters/{id}/discard"), &Discard { reason: reason.into() }).await
}

#[tokio::test]
async fn a_row_that_cannot_be_applied_parks_only_itself() {
    let world = World::start().await;
    let strange = notification(1, json!({"type": "push"}));
    let outcome = world
        .import(vec![
            insert("notifications", strange.clone()),
            insert("notifications", notification(2, json!({"user_id": 8}))),
            update(strange.clone(), notification(1, json!({}))),
        ])
        .await;
    assert_eq!((outcome.applied, outcome.dead_letters), (1, 2));
    assert_eq!(world.import_state().await.dead_letter_buckets, of("7"));
    let listed = letters(&world).await;
    assert!(listed[0].cause.contains("notifications.type is \"push\""), "{listed:?}");
    assert!(listed[1].cause.contains("notifications/1 is a dead letter"), "{listed:?}");
    assert!(
        world.import(vec![insert("notifications", notification(3, json!({"user_id": 8})))]).await.applied
            == 1
    );

    let stays = retry(&world, listed[1].id).await.unwrap_err();
    assert!(stays.is_refused("letter_stays") && stays.to_string().contains("comes first"), "{stays}");
    assert!(retry(&world, listed[0].id).await.unwrap_err().is_refused("letter_stays"));
    assert!(discard(&world, listed[0].id, " ").await.unwrap_err().is_refused("malformed_request"));
    discard(&world, listed[0].id, "the next change repairs it").await.unwrap();
    retry(&world, listed[1].id).await.unwrap();
    assert_eq!(world.row(1).await, Some(notification(1, json!({}))));
    assert!(letters(&world).await.is_empty() && world.import_state().await.dead_letter_buckets.is_empty());
    assert!(retry(&world, listed[1].id).await.unwrap_err().is_refused("letter_not_found"));
    assert!(discard(&world, 99, "x").await.unwrap_err().is_refused("letter_not_found"));
}
