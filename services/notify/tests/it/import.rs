//! The monolith's stream: exactly once, in order, decided by its own fence.

use crate::world::{EPOCH, World, fence, insert, notification, of, position, row, update};
use banyan_core::protocol::import::{CopyChunk, ImportBatch, ImportOutcome};
use banyan_core::row::{Change, FenceOwner, Intent};
use banyan_core::{BucketSet, Row};
use banyan_runtime::clock;
use serde_json::{Value, json};
use std::time::Duration;

fn intent(id: u64, before: Row, change: Value) -> Change {
    let mut wanted = before.clone();
    for (column, value) in change.as_object().unwrap() {
        wanted.insert(column.clone(), value.clone());
    }
    Change::Intent(Intent { id, table: "notifications".into(), before, wanted })
}

fn outcome(applied: u64, imported: u64, dead_letters: u64) -> ImportOutcome {
    ImportOutcome { applied, imported, dead_letters }
}

#[tokio::test]
async fn a_batch_takes_effect_once() {
    let world = World::start().await;
    assert_eq!(world.import_state().await.position, None);
    let changes = vec![insert("notifications", notification(1, json!({})))];
    let batch = ImportBatch { from: None, to: position(500), changes, chunk: None, traces: Vec::new() };
    let first: ImportOutcome = world.role.post("/v1/import", &batch).await.unwrap();
    assert_eq!(first, outcome(1, 0, 0));
    let again = world.role.post::<_, ImportOutcome>("/v1/import", &batch).await.unwrap_err();
    assert!(
        again.is_refused("position_mismatch") && again.to_string().contains("binlog.000001 500"),
        "{again}"
    );
    let read = notification(1, json!({"is_read": 1}));
    let changes = vec![update(notification(1, json!({})), read.clone())];
    let ahead = ImportBatch {
        from: Some(position(600)),
        to: position(700),
        changes,
        chunk: None,
        traces: Vec::new(),
    };
    let refused = world.role.post::<_, ImportOutcome>("/v1/import", &ahead).await.unwrap_err();
    assert!(refused.is_refused("position_mismatch"));
    assert_eq!(world.rows("notifications").await, [notification(1, json!({}))]);
    let next = ImportBatch { from: Some(position(500)), ..ahead };
    let applied: ImportOutcome = world.role.post("/v1/import", &next).await.unwrap();
    assert_eq!((applied, world.rows("notifications").await), (outcome(1, 0, 0), vec![read]));
    assert_eq!(world.import_state().await.position, Some(position(700)));
}

#[tokio::test]
async fn plain_rows_stand_as_the_monolith_has_them() {
    let world = World::start().await;
    let moved = notification(2, json!({"user_id": 8}));
    let outcome_of = world
        .import(vec![
            insert("notifications", notification(1, json!({"title": "a"}))),
            update(notification(1, json!({"title": "a"})), notification(2, json!({"title": "b"}))),
            update(notification(2, json!({"title": "b"})), moved.clone()),
            insert("notifications", notification(3, json!({}))),
            Change::Delete { table: "notifications".into(), before: notification(3, json!({})) },
            insert("notifications", notification(2, json!({"user_id": 8}))),
        ])
        .await;
    assert_eq!(outcome_of, outcome(6, 0, 0));
    assert_eq!(world.rows("notifications").await, [moved], "a changed key moves the row");
    assert!(world.events(0).await.is_empty(), "what the monolith wrote does not go back to it");
}

#[tokio::test]
async fn the_place_in_the_stream_decides_what_an_insert_is() {
    let world = World::owned().await;
    let rows = |id| insert("notifications", notification(id, json!({"mail_state": "none"})));
    let outcome_of = world
        .import(vec![
            rows(10),
            fence(FenceOwner::Moving, of("7"), EPOCH + 1),
            fence(FenceOwner::Service, of("7"), EPOCH),
            rows(11),
            Change::Delete { table: "notifications".into(), before: notification(1, json!({})) },
        ])
        .await;
    assert_eq!(outcome_of, outcome(0, 2, 1), "two strays, and a delete that nothing allows");
    assert!(world.row(10).await.is_some() && world.row(11).await.is_some() && world.row(1).await.is_some());
    assert!(world.close(of("7"), EPOCH + 2).await);
    let outcome_of = world
        .import(vec![
            fence(FenceOwner::Moving, of("7"), EPOCH + 2),
            fence(FenceOwner::Monolith, of("7"), EPOCH + 2),
            rows(12),
        ])
        .await;
    assert_eq!(outcome_of, outcome(1, 0, 0), "the monolith's own again");
}

#[tokio::test]
async fn a_plain_row_for_a_bucket_that_is_owned_is_put_aside() {
    let world = World::owned().await;
    // The stream says monolith, in an owner epoch that is not above the service's own.
    let late = fence(FenceOwner::Monolith, of("7"), EPOCH);
    let changes = vec![late, insert("notifications", notification(10, json!({})))];
    assert_eq!(world.import(changes).await, outcome(0, 0, 1));
    assert_eq!(world.row(10).await, None);
    assert_eq!(world.import_state().await.dead_letter_buckets, of("7"));
}

#[tokio::test]
async fn a_bucket_that_the_monolith_took_without_a_close_is_closed_by_the_stream() {
    let world = World::owned().await;
    let taken = fence(FenceOwner::Monolith, of("7"), EPOCH + 1);
    let changes = vec![taken, insert("notifications", notification(10, json!({})))];
    assert_eq!(world.import(changes).await, outcome(1, 0, 0));
    assert!(world.row(10).await.is_some());
    let open = world.ownership().await.open;
    assert!(open.iter().all(|(_, buckets)| buckets.intersection(&of("7")).is_empty()), "{open:?}");
}

#[tokio::test]
async fn a_row_that_is_here_already_stays_and_goes_back() {
    let world = World::owned().await;
    let own = world.ask("PUT", "/api/notification-preferences").json(json!({"max_per_day": 3})).send().await;
    assert_eq!(own.status, 200);
    let stray = row(json!({
        "user_id": 7, "email_enabled": 1, "sms_enabled": 1, "digest": "daily", "salutation": null, "max_per_day": 20,
        "quiet_hours": null, "created_at": "2026-11-24 10:00:00", "updated_at": "2026-11-24 10:00:00",
    }));
    let other = {
        let mut other = stray.clone();
        other.insert("user_id".into(), json!(8));
        other
    };
    let changes =
        vec![insert("notification_preferences", stray), insert("notification_preferences", other.clone())];
    assert_eq!(world.import(changes).await, outcome(0, 2, 0));
    let rows = world.rows("notification_preferences").await;
    assert_eq!((&rows[0]["max_per_day"], &rows[1]), (&json!(3), &other));
    let events = world.events(1).await;
    assert_eq!((events.len(), events[0].kind.as_str()), (1, "row.kept"));
    let activity = row(json!({
        "id": 5, "user_id": 7, "notification_id": null, "action": "read", "client_ref": null,
        "created_at": "2026-11-24 10:00:00",
    }));
    assert_eq!(world.import(vec![insert("notification_activity", activity)]).await, outcome(0, 0, 1));
}

#[tokio::test]
async fn intents_are_decided_by_what_the_service_holds() {
    let world = World::owned().await;
    let claimed = |id| notification(id, json!({"mail_state": "claimed"}));
    world.close(of("7"), EPOCH + 1).await;
    let back = fence(FenceOwner::Monolith, of("7"), EPOCH + 1);
    let strays = (20..24).map(|id| insert("notifications", claimed(id)));
    world.import(std::iter::once(back).chain(strays).collect()).await;
    world.import(vec![fence(FenceOwner::Moving, of("7"), EPOCH + 2)]).await;
    world.open(of("7"), EPOCH + 2).await;
    world.import(vec![fence(FenceOwner::Service, of("7"), EPOCH + 2)]).await;
    let head = world.page(0).await.head;

    let sent = json!({"mail_state": "sent", "mailed_at": "2026-11-24 10:00:00"});
    let read = json!({"is_read": 1, "read_at": "2026-11-24 10:00:00", "updated_at": "2026-11-24 10:00:00"});
    let mut stale = claimed(22);
    stale.insert("is_read".into(), json!(1));
    let unclaimed = notification(1, json!({"mail_state": "pending"}));
    let outcome_of = world
        .import(vec![
            intent(1, claimed(20), sent.clone()),
            intent(2, claimed(21), json!({"mail_state": "failed"})),
            intent(3, stale, json!({"is_read": 0})),
            intent(4, unclaimed, json!({"mail_state": "claimed"})),
            intent(5, claimed(23), read),
            intent(6, notification(99, json!({})), sent),
        ])
        .await;
    assert_eq!(outcome_of, outcome(0, 5, 1), "the last is of a row that this service does not have");
    let row_20 = world.row(20).await.unwrap();
    assert_eq!(
        (&row_20["mail_state"], &row_20["mailed_at"]),
        (&json!("sent"), &json!("2026-11-24 10:00:00"))
    );
    assert_eq!(world.mail_state(21).await, "failed");
    assert_eq!(world.row(22).await.unwrap()["is_read"], 0, "it was not what the statement saw");
    assert_eq!(world.mail_state(1).await, "none", "a claim of the monolith is not followed");
    assert_eq!(
        (&world.row(23).await.unwrap()["is_read"], world.mail_state(23).await.as_str()),
        (&json!(1), "claimed")
    );
    let events = world.events(head).await;
    let followed: Vec<_> = events.iter().filter(|event| event.kind == "intent.followed").collect();
    assert_eq!(followed.len(), 3);
}

#[tokio::test]
async fn a_chunk_writes_only_what_is_the_monoliths() {
    let world = World::start().await;
    world.import(vec![fence(FenceOwner::Moving, of("7"), 4)]).await;
    let rows = vec![
        notification(1, json!({})),
        notification(2, json!({"user_id": 8})),
        row(json!({"id": 3, "user_id": 8})),
    ];
    let chunk = CopyChunk { table: "notifications".into(), rows, through: Some(3), done: false };
    assert_eq!(world.try_import(vec![], Some(chunk)).await.unwrap(), outcome(1, 0, 1));
    assert_eq!(world.rows("notifications").await, [notification(2, json!({"user_id": 8}))]);
    let state = world.import_state().await;
    let copied = &state.copied[0];
    assert_eq!(
        (copied.table.as_str(), copied.through, copied.rows, copied.done),
        ("notifications", Some(3), 3, false)
    );
    assert_eq!(state.dead_letter_buckets, of("8"));
    let user = CopyChunk {
        table: "users".into(),
        rows: vec![row(json!({"id": 7, "name": "Zoë", "email": "z@example.com", "deleted_at": null}))],
        through: None,
        done: true,
    };
    assert_eq!(world.try_import(vec![], Some(user)).await.unwrap().applied, 1, "users are never fenced");
}

#[tokio::test]
async fn what_no_sync_sends_is_refused_whole() {
    let world = World::start().await;
    let changes =
        vec![insert("notifications", notification(1, json!({}))), insert("payments", row(json!({"id": 1})))];
    let refused = world.try_import(changes, None).await.unwrap_err();
    assert!(refused.is_refused("malformed_request"), "{refused}");
    assert_eq!((world.import_state().await.position, world.rows("notifications").await.len()), (None, 0));
}

#[tokio::test]
async fn an_intent_waits_for_the_lease() {
    let world = World::owned().await;
    crate::peers::Peers::set(&world.peers.granting, false);
    crate::world::until("the lease has run out", async || !world.ownership().await.leased).await;
    let change = || vec![intent(1, notification(1, json!({})), json!({"priority": 5}))];
    assert!(world.try_import(change(), None).await.unwrap_err().is_refused("no_lease"));
    assert_eq!(world.row(1).await.unwrap()["priority"], 0);
    crate::peers::Peers::set(&world.peers.granting, true);
    world.ready().await;
    assert_eq!(world.import(change()).await, outcome(0, 1, 0));
    assert_eq!(world.row(1).await.unwrap()["priority"], 5);
}

#[tokio::test]
async fn imports_keep_up_with_a_copy_and_small_ones_are_quick() {
    let world = World::start().await;
    let rows =
        |from: u64| (from..from + 1000).map(|id| notification(id, json!({"user_id": id % 50 + 1}))).collect();
    let start = clock::instant();
    for round in 0..5 {
        let chunk =
            CopyChunk { table: "notifications".into(), rows: rows(round * 1000), through: None, done: false };
        assert_eq!(world.try_import(vec![], Some(chunk)).await.unwrap().applied, 1000);
    }
    let copied = start.elapsed();
    let mut best = Duration::MAX;
    for id in 9000..9030 {
        let change = insert("notifications", notification(id, json!({"user_id": 9})));
        let from = world.import_state().await.position;
        let to = position(from.as_ref().unwrap().offset + 1);
        let batch = ImportBatch { from, to, changes: vec![change], chunk: None, traces: Vec::new() };
        let start = clock::instant();
        let _: ImportOutcome = world.role.post("/v1/import", &batch).await.unwrap();
        best = best.min(start.elapsed());
    }
    let start = clock::instant();
    world.import(vec![fence(FenceOwner::Service, BucketSet::all(), 3)]).await;
    println!("5000 rows in {copied:?}, one row in {best:?}, all fences in {:?}", start.elapsed());
    // Several times slower than on an idle machine, so that only a change of kind fails.
    assert!(copied < Duration::from_secs(5) && best < Duration::from_millis(50), "{copied:?} {best:?}");
}
