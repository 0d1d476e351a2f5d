//! What users get: the monolith's JSON byte for byte, its texts, its redirects.

use crate::peers::Peers;
use crate::world::{APP_KEY, EPOCH, World, insert, notification, row};
use banyan_core::row::{Change, RowWrite};
use serde_json::{Value, json};

const NOTIFICATION_1: &str = r#"{"id":1,"type":"payment","title":"Payment 1","body":null,"data":{"payment_id":5,"reference":"r/ü"},"priority":0,"is_read":false,"read_at":null,"mail_state":"none","created_at":"2026-11-01 09:30:00"}"#;

#[tokio::test]
async fn lists_and_counts_are_the_monoliths() {
    let world = World::owned().await;
    let list = world.ask("GET", "/api/notifications").send().await;
    let second = r#"{"id":2,"type":"payment","title":"Payment 2","body":null,"data":{"payment_id":5,"reference":"r/ü"},"priority":0,"is_read":true,"read_at":"2026-11-02 10:00:00","mail_state":"none","created_at":"2026-11-01 09:30:00"}"#;
    let wanted =
        format!(r#"{{"data":[{second},{NOTIFICATION_1}],"page":1,"per_page":20,"total":2,"unread":1}}"#);
    assert_eq!((list.status, list.body.as_str()), (200, wanted.as_str()));
    assert_eq!(list.header("content-type"), "application/json");
    let unread = world.ask("GET", "/api/notifications?unread=1&page=x").send().await;
    let wanted = format!(r#"{{"data":[{NOTIFICATION_1}],"page":1,"per_page":20,"total":1,"unread":1}}"#);
    assert_eq!(unread.body, wanted);
    let beyond = world.ask("GET", "/api/notifications/?page=3").send().await;
    assert_eq!(beyond.body, r#"{"data":[],"page":3,"per_page":20,"total":2,"unread":1}"#);
    let count = world.ask("GET", "/api/notifications/unread-count").send().await;
    assert_eq!(count.body, r#"{"unread":1}"#);
    let other = world.ask_as("8", "GET", "/api/notifications").send().await;
    assert_eq!(other.body, r#"{"data":[],"page":1,"per_page":20,"total":0,"unread":0}"#);
    let own = world.ask("GET", "/api/notification-preferences").send().await;
    let wanted = r#"{"email_enabled":true,"sms_enabled":false,"digest":"none","salutation":null,"max_per_day":20,"quiet_hours":null}"#;
    assert_eq!(own.body, wanted);
}

#[tokio::test]
async fn writes_by_json_answer_as_the_monolith_does_and_leave_one_activity_each() {
    let world = World::owned().await;
    let read = world.ask("POST", "/api/notifications/1/read").header("x-client-ref", "w1").send().await;
    let (before, after) = read.body.split_once(r#""is_read":true,"read_at":""#).unwrap();
    assert!(
        NOTIFICATION_1.starts_with(before)
            && after.ends_with(r#","mail_state":"none","created_at":"2026-11-01 09:30:00"}"#)
    );
    assert_eq!((read.status, read.header("banyan-position")), (200, "1"));
    let again = world.ask("POST", "/api/notifications/1/read").json(json!({"client_ref": "w2"})).send().await;
    assert_eq!(again.body, read.body, "it stays read since then");

    world.import(vec![insert("notifications", notification(3, json!({})))]).await;
    let all = world.ask("POST", "/api/notifications/read-all").header("x-client-ref", "w3").send().await;
    assert_eq!((all.status, all.body.as_str()), (200, r#"{"updated":1}"#));
    let deleted = world.ask("DELETE", "/api/notifications/1").header("x-client-ref", "w4").send().await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    for (method, path) in [
        ("DELETE", "/api/notifications/1"),
        ("POST", "/api/notifications/99/read"),
        ("POST", "/api/notifications/99999999999999999999/read"),
    ] {
        let gone = world.ask(method, path).send().await;
        assert_eq!((gone.status, gone.body.as_str()), (404, r#"{"message":"Notification not found."}"#));
    }
    let body = json!({"title": " Rent € ", "body": "  "});
    let made = world.ask("POST", "/api/notifications").json(body).header("x-client-ref", "w5").send().await;
    let json = made.json();
    assert_eq!((made.status, &json["title"], &json["body"]), (201, &json!("Rent €"), &Value::Null));
    assert_eq!((&json["type"], &json["mail_state"]), (&json!("reminder"), &json!("pending")));
    let change =
        json!({"salutation": "Zoë", "quiet_hours": {"from": "22:00", "to": "07:00"}, "max_per_day": "3"});
    let own = world
        .ask("PUT", "/api/notification-preferences")
        .json(change)
        .header("x-client-ref", "w6")
        .send()
        .await;
    let wanted = r#"{"email_enabled":true,"sms_enabled":false,"digest":"none","salutation":"Zoë","max_per_day":3,"quiet_hours":{"from":"22:00","to":"07:00"}}"#;
    assert_eq!((own.status, own.body.as_str()), (200, wanted));
    assert_eq!(world.ask("GET", "/api/notification-preferences").send().await.body, wanted);

    let activity = world.rows("notification_activity").await;
    let told: Vec<String> =
        activity.iter().map(|row| format!("{} {}", row["client_ref"], row["action"])).collect();
    let wanted = [
        r#""w1" "read""#,
        r#""w2" "read""#,
        r#""w3" "read_all""#,
        r#""w4" "delete""#,
        r#""w5" "reminder""#,
        r#""w6" "preferences""#,
    ];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn events_make_the_monolith_what_the_service_is() {
    let world = World::owned().await;
    for (method, path, body) in [
        ("POST", "/api/notifications/1/read", json!({})),
        ("POST", "/api/notifications", json!({"title": "t"})),
        ("PUT", "/api/notification-preferences", json!({"email_enabled": false})),
        ("POST", "/api/notifications/read-all", json!({})),
        ("DELETE", "/api/notifications/2", json!({})),
    ] {
        let answer = world.ask(method, path).json(body).header("traceparent", "00-a-b-01").send().await;
        assert!(answer.status < 300, "{answer:?}");
    }
    let mut monolith = std::collections::BTreeMap::new();
    for id in [1, 2] {
        let change =
            if id == 2 { json!({"is_read": 1, "read_at": "2026-11-02 10:00:00"}) } else { json!({}) };
        monolith.insert(("notifications".to_owned(), id), notification(id, change));
    }
    let events = world.events(0).await;
    for event in &events {
        assert_eq!(event.bucket, Some(banyan_core::Bucket::of("7")));
        for write in &event.rows {
            let RowWrite::Upsert { table, row } = write else { panic!("{write:?}") };
            let key = if table == "notification_preferences" { "user_id" } else { "id" };
            monolith.insert((table.clone(), row[key].as_u64().unwrap()), row.clone());
        }
    }
    assert!(
        events.iter().any(|e| e.kind == "notification.read" && e.traceparent.as_deref() == Some("00-a-b-01"))
    );
    for table in ["notifications", "notification_preferences", "notification_activity"] {
        let own: Vec<_> =
            monolith.iter().filter(|((t, _), _)| t == table).map(|(_, row)| row.clone()).collect();
        assert_eq!(world.rows(table).await, own, "{table}");
    }
}

#[tokio::test]
async fn what_is_invalid_is_told_in_the_monoliths_words() {
    let world = World::owned().await;
    let long = "x".repeat(81);
    let answer = world
        .ask("POST", "/api/notifications")
        .json(json!({"title": "", "body": 5}))
        .header("x-client-ref", &long)
        .send()
        .await;
    let wanted = r#"{"message":"The given data was invalid.","errors":{"title":["The title field is required."],"body":["The body must be a string."],"client_ref":["The client ref must not be greater than 80 characters."]}}"#;
    assert_eq!((answer.status, answer.body.as_str()), (422, wanted));
    let form = world.ask("POST", "/notifications/reminders").form(&[("title", "")]).send().await;
    assert_eq!((form.status, form.header("content-type")), (422, "text/html; charset=UTF-8"));
    assert!(
        form.body.contains("The title field is required.") && form.body.contains(r#"href="/notifications""#)
    );
    assert!(world.events(0).await.is_empty() && world.rows("notification_activity").await.is_empty());
}

#[tokio::test]
async fn forms_lead_back_to_their_pages() {
    let world = World::owned().await;
    for (path, fields, to) in [
        ("/notifications/1/read", vec![("client_ref", "f1")], "/notifications"),
        ("/notifications/read-all", vec![("client_ref", "f2")], "/notifications"),
        ("/notifications/1/delete", vec![("client_ref", "f3")], "/notifications"),
        ("/notifications/reminders", vec![("title", "t"), ("client_ref", "f4")], "/notifications"),
        (
            "/notifications/preferences",
            vec![
                ("email_enabled", "0"),
                ("quiet_hours[from]", ""),
                ("quiet_hours[to]", ""),
                ("client_ref", "f5"),
            ],
            "/notifications/preferences",
        ),
    ] {
        let answer = world.ask("POST", path).form(&fields).send().await;
        let location = format!("http://shop.example{to}");
        assert_eq!((answer.status, answer.header("location")), (302, location.as_str()), "{path}");
        assert!(answer.body.contains(&format!("url='{location}'")), "{}", answer.body);
    }
    let tls = world.ask("POST", "/notifications/read-all").header("x-forwarded-proto", "https");
    let tls = tls.header("x-forwarded-host", "www.shop.example").form(&[]).send().await;
    assert_eq!(tls.header("location"), "https://www.shop.example/notifications");
    let gone = world.ask("POST", "/notifications/1/delete").form(&[]).send().await;
    assert!(gone.status == 404 && gone.body.contains("Notification not found."));
    let own = world.ask("GET", "/api/notification-preferences").send().await.json();
    assert_eq!((&own["email_enabled"], &own["quiet_hours"]), (&json!(false), &Value::Null));
    assert_eq!(world.rows("notification_activity").await.len(), 6);
}

#[tokio::test]
async fn only_the_user_whom_the_token_names_is_answered() {
    let world = World::owned().await;
    let ask = || world.ask("POST", "/api/notifications/read-all");
    let expired =
        world.peers.token_at(("7", "notifications"), banyan_runtime::clock::unix_ms() / 1000 - 1000);
    for token in [
        world.peers.token("8", "notifications"),
        world.peers.token("7", "payments"),
        expired,
        "x.y.z".to_owned(),
        String::new(),
    ] {
        let answer = ask().header("banyan-identity", &token).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "identity"), "{token}");
    }
    let stranger = ask().header("banyan-role-token", "guess").send().await;
    assert_eq!((stranger.status, stranger.code().as_str()), (401, "role_token"));
    let headers = ask().header("banyan-owner-epoch", "").send().await;
    assert_eq!((headers.status, headers.code().as_str()), (400, "routing_header"));
    assert!(world.rows("notification_activity").await.is_empty());
    assert_eq!(ask().send().await.status, 200);
}

#[tokio::test]
async fn whoever_has_the_link_of_a_mail_is_unsubscribed() {
    let world = World::owned().await;
    let token = unsubscribe_token("zoe@example.com");
    let ask = |email: &str, token: &str, subject: &str| {
        let fields = [("email", email), ("token", token), ("client_ref", "u1")];
        world
            .ask("POST", "/unsubscribe")
            .header("banyan-identity", "")
            .header("banyan-subject", subject)
            .form(&fields)
    };
    for (email, token, subject) in [
        ("zoe@example.com", "0", "7"),
        ("max@example.com", token.as_str(), "8"),
        ("zoe@example.com", token.as_str(), "8"),
        ("zoe@example.com", token.as_str(), "99"),
    ] {
        let refused = ask(email, token, subject).send().await;
        assert!(refused.status == 403 && refused.body.contains("This link is not valid."), "{refused:?}");
    }
    let done = ask("ZOE@example.com ", &token, "7").send().await;
    assert!(done.status == 200 && done.body.contains("unsubscribed"), "{done:?}");
    let own = world.rows("notification_preferences").await;
    assert_eq!((own.len(), &own[0]["email_enabled"]), (1, &json!(0)));
    let activity = world.rows("notification_activity").await;
    assert_eq!((activity.len(), &activity[0]["action"]), (1, &json!("unsubscribe")));
    world.import(vec![Change::Update {
        table: "users".into(),
        before: row(json!({"id": 7, "name": "Zoë", "email": "zoe@example.com", "deleted_at": null})),
        after: row(json!({"id": 7, "name": "Zoë", "email": "zoe@example.com", "deleted_at": "2026-11-24 10:00:00"})),
    }])
    .await;
    assert_eq!(ask("zoe@example.com", &token, "7").send().await.status, 403);
}

fn unsubscribe_token(email: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(APP_KEY.as_bytes()).unwrap();
    mac.update(email.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn nothing_is_told_before_the_copy_is_complete() {
    let world = World::start().await;
    let answer = world.ask("GET", "/api/notifications").send().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_copied"));
}

#[tokio::test]
async fn without_ids_writes_are_refused_and_come_back_with_them() {
    let config = banyan_notify::Config { ids_block_size: 10, ..banyan_notify::Config::default() };
    let world = World::owned_with(config).await;
    let ask = async || world.ask("POST", "/api/notifications/read-all").epoch(EPOCH).send().await;
    for _ in 0..7 {
        assert_eq!(ask().await.status, 200, "ids are leased before they run short");
    }
    Peers::set(&world.peers.leasing_ids, false);
    let mut refused = None;
    for _ in 0..30 {
        let answer = ask().await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("no_ids", "1"));
    Peers::set(&world.peers.leasing_ids, true);
    crate::world::until("ids are there again", async || ask().await.status == 200).await;
    let ids: Vec<u64> =
        world.rows("notification_activity").await.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}
