//! One notification, one mail, whatever happens.

use crate::smtp::{Mood, Smtp};
use crate::world::{EPOCH, World, insert, notification, of, until};
use banyan_core::protocol::target::OutboxEvent;
use banyan_notify::Config;
use banyan_testkit::Part;
use serde_json::json;
use std::collections::BTreeMap;

async fn remind(world: &World, title: &str) -> u64 {
    let made =
        world.ask("POST", "/api/notifications").json(json!({ "title": title, "body": "Grüße" })).send().await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["id"].as_u64().unwrap()
}

/// The states of a notification's mail as the events tell them.
fn told(events: &[OutboxEvent], id: u64) -> Vec<String> {
    let rows = events.iter().flat_map(|event| &event.rows);
    let states = rows.filter_map(|write| match write {
        banyan_core::row::RowWrite::Upsert { table, row } if table == "notifications" && row["id"] == id => {
            row["mail_state"].as_str().map(Into::into)
        }
        _ => None,
    });
    states.collect()
}

#[tokio::test]
async fn every_notification_is_mailed_once() {
    let world = World::owned().await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(remind(&world, &format!("Erinnerung {n}")).await);
    }
    let stray = notification(20, json!({"mail_state": "pending", "user_id": 8}));
    assert_eq!(world.import(vec![insert("notifications", stray)]).await.imported, 1);
    ids.push(20);
    until("all are mailed", async || world.smtp.arrived().len() == ids.len()).await;
    for id in &ids {
        until("it is recorded", async || world.mail_state(*id).await == "sent").await;
    }
    assert_eq!(world.smtp.arrived(), ids.iter().map(|id| (*id, 1)).collect::<BTreeMap<_, _>>());
    let events = world.events(0).await;
    assert_eq!(told(&events, ids[0]), ["pending", "claimed", "sent"]);
    assert_ne!(world.row(ids[0]).await.unwrap()["mailed_at"], "0000-00-00 00:00:00");
    let text = world.smtp.texts().concat();
    assert!(text.contains("To: zoe@example.com") && text.contains("To: max@example.com"), "{text}");
    assert!(text.contains("From: \"FinTech Connect\" <noreply@shop.example>"), "{text}");
}

#[tokio::test]
async fn a_genuine_server_takes_the_mail() {
    let Some(()) = banyan_testkit::require(Part::Smtp) else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = banyan_testkit::Smtp::start(folder.path()).unwrap();
    let mut world = World::owned().await;
    world.mail_to(format!("127.0.0.1:{}", server.port())).await;
    let id = remind(&world, "Überweisung").await;
    until("it is sent", async || world.mail_state(id).await == "sent").await;
    let mails = server.messages().unwrap();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].header("X-Notification-Id"), Some(id.to_string().as_str()));
    assert_eq!(mails[0].header("To"), Some("zoe@example.com"));
}

#[tokio::test]
async fn no_more_than_the_days_bound_is_mailed() {
    let world = World::owned().await;
    let set = world.ask("PUT", "/api/notification-preferences").json(json!({"max_per_day": 2})).send().await;
    assert_eq!(set.status, 200);
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(remind(&world, &n.to_string()).await);
    }
    let mut states = Vec::new();
    for id in &ids {
        until("it is settled", async || matches!(world.mail_state(*id).await.as_str(), "sent" | "skipped"))
            .await;
        states.push(world.mail_state(*id).await);
    }
    assert_eq!(states, ["sent", "sent", "skipped", "skipped"]);
    assert_eq!(world.smtp.arrived().len(), 2);
}

#[tokio::test]
async fn a_server_that_puts_off_is_asked_again_and_one_that_refuses_is_not() {
    let world = World::owned().await;
    world.smtp.set(Mood::PutOff);
    let id = remind(&world, "later").await;
    until("it was put off", async || told(&world.events(0).await, id).len() >= 3).await;
    world.smtp.set(Mood::Take);
    until("it is sent", async || world.mail_state(id).await == "sent").await;
    assert_eq!(told(&world.events(0).await, id)[..3], ["pending", "claimed", "pending"]);
    world.smtp.set(Mood::Refuse);
    let never = remind(&world, "never").await;
    until("it has failed", async || world.mail_state(never).await == "failed").await;
    assert_eq!(told(&world.events(0).await, never), ["pending", "claimed", "failed"]);
    assert_eq!(world.smtp.arrived(), BTreeMap::from([(id, 1)]));
}

#[tokio::test]
async fn a_mail_that_is_put_off_too_often_fails() {
    let world = World::owned_with(Config { mail_tries_max: 2, ..Config::default() }).await;
    world.smtp.set(Mood::PutOff);
    let id = remind(&world, "later").await;
    until("it has failed", async || world.mail_state(id).await == "failed").await;
    assert_eq!(told(&world.events(0).await, id), ["pending", "claimed", "pending", "claimed", "failed"]);
}

#[tokio::test]
async fn a_text_that_is_not_answered_is_never_sent_again() {
    let world = World::owned_with(Config { mail_timeout_ms: 300, ..Config::default() }).await;
    world.smtp.set(Mood::SwallowText);
    let id = remind(&world, "lost").await;
    until("it has failed", async || world.mail_state(id).await == "failed").await;
    world.smtp.set(Mood::Take);
    let next = remind(&world, "next").await;
    until("the next is sent", async || world.mail_state(next).await == "sent").await;
    assert_eq!(world.smtp.arrived(), BTreeMap::from([(id, 1), (next, 1)]));
}

#[tokio::test]
async fn nothing_is_claimed_while_the_server_is_down() {
    let mut world = World::owned_with(Config { mail_backoff_ms_max: 100, ..Config::default() }).await;
    let address = banyan_testkit::free_port().map(|port| format!("127.0.0.1:{port}")).unwrap();
    world.mail_to(address.clone()).await;
    let id = remind(&world, "t").await;
    // A write and its answer lie behind several tries of the senders.
    for _ in 0..5 {
        world.ask("POST", "/api/notifications/read-all").send().await;
    }
    assert!(told(&world.events(0).await, id).iter().all(|state| state == "pending"));
    let server = Smtp::listen(&address).await;
    until("it is sent", async || world.mail_state(id).await == "sent").await;
    assert_eq!(server.arrived(), BTreeMap::from([(id, 1)]));
}

#[tokio::test]
async fn a_mail_of_a_service_that_ended_is_never_sent_again() {
    let mut world = World::owned().await;
    let id = remind(&world, "claimed").await;
    until("it is sent", async || world.mail_state(id).await == "sent").await;
    world
        .restart(async |file| {
            let db = rusqlite::Connection::open(file).unwrap();
            let claim = "UPDATE notifications SET mail_state = 'claimed' WHERE id = ?";
            assert_eq!(db.execute(claim, [id as i64]).unwrap(), 1);
            db.execute("INSERT INTO mail_claims VALUES (?, 7)", [id as i64]).unwrap();
        })
        .await;
    until("it has failed", async || world.mail_state(id).await == "failed").await;
    let last = world.events(0).await.pop().unwrap();
    assert_eq!(told(&[last], id), ["failed"], "the monolith is told");
    let next = remind(&world, "next").await;
    until("the next is sent", async || world.mail_state(next).await == "sent").await;
    assert_eq!(world.smtp.arrived(), BTreeMap::from([(id, 1), (next, 1)]));
}

#[tokio::test]
async fn a_close_waits_for_the_mail_under_way_and_then_nothing_is_claimed() {
    let config = Config { close_wait_ms: 200, mail_timeout_ms: 20_000, ..Config::default() };
    let world = World::owned_with(config).await;
    world.smtp.set(Mood::SwallowText);
    let id = remind(&world, "slow").await;
    let waits = remind(&world, "waits").await;
    until("the text is on its way", async || world.smtp.arrived().contains_key(&id)).await;
    assert!(world.close(of("7"), EPOCH + 1).await);
    let events = world.events(0).await;
    assert_eq!(told(&events, id), ["pending", "claimed", "failed"], "what it cannot wait for has failed");
    assert!(events.last().unwrap().mark.is_some(), "behind the outcome stands the mark");
    world.smtp.set(Mood::Take);
    assert_eq!(world.mail_state(waits).await, "pending", "the monolith will send it");
    let other = notification(30, json!({"mail_state": "pending", "user_id": 8}));
    world.import(vec![insert("notifications", other)]).await;
    until("others are mailed", async || world.mail_state(30).await == "sent").await;
    assert_eq!(world.smtp.arrived(), BTreeMap::from([(id, 1), (30, 1)]));
}

#[tokio::test]
async fn what_the_monolith_claims_is_left_to_it() {
    let world = World::start().await;
    world.copy().await;
    let rows = [(40, "claimed"), (41, "pending")];
    let inserts =
        rows.map(|(id, state)| insert("notifications", notification(id, json!({ "mail_state": state }))));
    world.import(inserts.into()).await;
    world.ready().await;
    assert!(world.open(of("7"), EPOCH).await);
    until("the pending one is sent", async || world.mail_state(41).await == "sent").await;
    assert_eq!((world.mail_state(40).await.as_str(), world.smtp.arrived().len()), ("claimed", 1));
}
