//! notify and the genuine monolith must answer alike, request by request, and leave alike what they leave.

use crate::world::{World, notification};
use banyan_testkit::{Browser, MariaDb, Monolith, MonolithConfig, Part, free_port, require};
use serde_json::{Value, json};
use tempfile::TempDir;

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=xX");
const WANTS_JSON: (&str, &str) = ("accept", "application/json");
const WANTS_HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

/// Both sides with the same user 7 and the same two notifications.
struct Both {
    world: World,
    browser: Browser,
    token: String,
    monolith: Monolith,
    database: MariaDb,
    _folder: TempDir,
}

/// What counts of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    content_type: String,
    cache_control: String,
    location: String,
    body: String,
}

impl Both {
    async fn start() -> Option<Self> {
        require(Part::Monolith)?;
        require(Part::Curl)?;
        let servers = tokio::task::spawn_blocking(start_servers);
        let (monolith, database, folder) = servers.await.unwrap();
        let world = World::owned_with_key(monolith.app_key()).await;
        let browser = Browser::new(monolith.base_url(), folder.path().join("cookies"));
        browser.login("user7@example.com").await;
        let token = browser.csrf_token().await;
        database.sql("shop", &same_data()).unwrap();
        Some(Self { world, browser, token, monolith, database, _folder: folder })
    }

    /// Asks both; what they agree on.
    async fn check(&self, target: (&str, &str), headers: &[(&str, &str)], body: &str) -> Seen {
        let (method, path) = target;
        let mut arguments = vec!["--request".into(), method.into(), "--header".into()];
        arguments.push(format!("X-CSRF-TOKEN: {}", self.token));
        for (name, value) in headers {
            arguments.extend(["--header".into(), format!("{name}: {value}")]);
        }
        if !body.is_empty() {
            arguments.extend(["--data-binary".into(), body.into()]);
        }
        let theirs = self.browser.request(path, &arguments).await;
        let theirs = Seen {
            status: theirs.status,
            content_type: theirs.content_type,
            cache_control: theirs.cache_control,
            location: self.masked(&theirs.location),
            body: self.masked(&theirs.body),
        };
        let mut ask = self.world.ask(method, path).body(body);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let ours = ask.send().await;
        let ours = Seen {
            status: ours.status,
            content_type: ours.header("content-type").into(),
            cache_control: ours.header("cache-control").into(),
            location: self.masked(ours.header("location")),
            body: self.masked(&ours.body),
        };
        assert_eq!(ours, theirs, "{method} {path} {headers:?} {body}");
        ours
    }

    /// A text without what differs by itself: hosts, times, ids that the two sides have given, and that only the
    /// service has a worker that mails here.
    fn masked(&self, text: &str) -> String {
        let mailed = ["claimed", "sent"].map(|state| format!("\"mail_state\":\"{state}\""));
        let pending = "\"mail_state\":\"pending\"";
        let text = mailed.iter().fold(text.to_owned(), |text, state| text.replace(state.as_str(), pending));
        let text = text.replace(self.monolith.base_url(), "BASE").replace("http://shop.example", "BASE");
        mask_ids(&mask_times(&text))
    }
}

fn start_servers() -> (Monolith, MariaDb, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = MariaDb::start(folder.path()).unwrap();
    let config = MonolithConfig {
        folder: folder.path().into(),
        database: &database,
        provider_url: format!("http://127.0.0.1:{}", free_port().unwrap()),
        smtp_port: free_port().unwrap(),
        php_workers: 2,
    };
    let monolith = Monolith::start(config).unwrap();
    monolith.artisan(&["db:seed-shop", "--users=8"]).unwrap();
    (monolith, database, folder)
}

/// What [`World::copy`] has copied, as statements.
fn same_data() -> String {
    let mut sql = String::from(
        "UPDATE users SET name = 'Zoë', email = 'zoe@example.com' WHERE id = 7;
         DELETE FROM notifications; DELETE FROM notification_preferences; DELETE FROM notification_activity;
         ALTER TABLE notifications AUTO_INCREMENT = 100;",
    );
    for row in
        [notification(1, json!({})), notification(2, json!({"is_read": 1, "read_at": "2026-11-02 10:00:00"}))]
    {
        let columns: Vec<&str> = row.keys().map(String::as_str).collect();
        let values: Vec<String> = row.values().map(literal).collect();
        sql += &format!("INSERT INTO notifications ({}) VALUES ({});", columns.join(", "), values.join(", "));
    }
    sql
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

/// Replaces `2026-11-01 09:30:00` and the like.
fn mask_times(text: &str) -> String {
    let is_time = |at: &str| {
        let shape = "dddd-dd-dd dd:dd:dd".bytes();
        at.len() >= shape.len()
            && shape.zip(at.bytes()).all(|(s, b)| if s == b'd' { b.is_ascii_digit() } else { s == b })
    };
    let (mut masked, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_here = is_time(rest);
        masked += if is_here { "TIME" } else { &rest[..first.len_utf8()] };
        rest = &rest[if is_here { 19 } else { first.len_utf8() }..];
    }
    masked
}

/// Replaces ids but those of the copied rows, which have one digit.
fn mask_ids(text: &str) -> String {
    let mut parts = text.split("\"id\":");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let id = if digits > 1 { "ID" } else { &part[..digits] };
        masked += &format!("\"id\":{id}{}", &part[digits..]);
    }
    masked
}

/// A part of a multipart form.
fn part(name: &str, value: &str) -> String {
    format!("--xX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[tokio::test]
async fn they_answer_reads_alike() {
    let Some(both) = Both::start().await else { return };
    for path in [
        "/api/notifications",
        "/api/notifications/",
        "/api/notifications?page=2",
        "/api/notifications?page=0",
        "/api/notifications?page=-1",
        "/api/notifications?page=x",
        "/api/notifications?page=99999999999",
        "/api/notifications?page[]=2",
        "/api/notifications?unread=1",
        "/api/notifications?unread=on&page=1",
        "/api/notifications?unread=no",
        "/api/notifications/unread-count",
        "/api/notification-preferences",
    ] {
        let seen = both.check(("GET", path), &[WANTS_JSON], "").await;
        assert_eq!(seen.status, 200, "{path}");
    }
}

#[tokio::test]
async fn they_answer_writes_by_json_alike_and_leave_the_same_activity() {
    let Some(both) = Both::start().await else { return };
    let long = "x".repeat(161);
    let cases = [
        ("POST", "/api/notifications/1/read", json!({"client_ref": "a"})),
        ("POST", "/api/notifications/1/read", json!({"client_ref": "b".repeat(81)})),
        ("POST", "/api/notifications/1/read", json!({"client_ref": ["c"]})),
        ("POST", "/api/notifications/99/read", json!({})),
        ("POST", "/api/notifications/read-all", json!({"client_ref": null})),
        ("POST", "/api/notifications", json!({"title": " Rent € ", "body": " "})),
        ("POST", "/api/notifications", json!({"title": "t", "body": "b/ü\u{2028}", "client_ref": "d"})),
        ("POST", "/api/notifications", json!({})),
        ("POST", "/api/notifications", json!({"title": "", "body": 5})),
        ("POST", "/api/notifications", json!({"title": ["x"], "body": {"a": 1}})),
        ("POST", "/api/notifications", json!({"title": long, "client_ref": "b".repeat(81)})),
        ("POST", "/api/notifications", json!({"title": "ü".repeat(160)})),
        ("POST", "/api/notifications", json!(["title"])),
        ("POST", "/api/notifications?title=query", json!({"body": "b"})),
        ("PUT", "/api/notification-preferences", json!({})),
        ("PUT", "/api/notification-preferences", json!({"email_enabled": false, "sms_enabled": "1"})),
        ("PUT", "/api/notification-preferences", json!({"email_enabled": "yes", "sms_enabled": null})),
        ("PUT", "/api/notification-preferences", json!({"digest": "daily", "max_per_day": "7"})),
        ("PUT", "/api/notification-preferences", json!({"digest": "hourly", "max_per_day": 1001})),
        ("PUT", "/api/notification-preferences", json!({"digest": ["daily"], "max_per_day": 1.5})),
        ("PUT", "/api/notification-preferences", json!({"digest": null, "max_per_day": null})),
        ("PUT", "/api/notification-preferences", json!({"max_per_day": -1})),
        ("PUT", "/api/notification-preferences", json!({"max_per_day": "x"})),
        ("PUT", "/api/notification-preferences", json!({"salutation": "Zoë"})),
        ("PUT", "/api/notification-preferences", json!({"salutation": "Łukasz"})),
        ("PUT", "/api/notification-preferences", json!({"salutation": null})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": {"from": "22:00", "to": "07:00"}})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": {"to": "07:00", "from": "22:00"}})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": {"from": "22:00"}})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": {"from": "24:00", "to": "7:00"}})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": "22:00"})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": {"from": "", "to": null}})),
        ("PUT", "/api/notification-preferences", json!({"quiet_hours": null})),
        ("DELETE", "/api/notifications/1", json!({"client_ref": "e"})),
        ("DELETE", "/api/notifications/1", json!({})),
    ];
    for (method, path, body) in cases {
        both.check((method, path), &[JSON, WANTS_JSON], &body.to_string()).await;
    }
    let ajax = ("x-requested-with", "XMLHttpRequest");
    for headers in
        [vec![JSON, ("accept", "*/*"), ajax], vec![JSON, ("accept", "*/*")], vec![JSON, WANTS_HTML]]
    {
        // What is invalid is left out: who does not want JSON is redirected by Laravel, and told 422 by notify.
        both.check(("POST", "/api/notifications"), &headers, r#"{"title": "t"}"#).await;
        both.check(("DELETE", "/api/notifications/98"), &headers, "").await;
    }
    for broken in ["{", "5", "\"title\""] {
        both.check(("POST", "/api/notifications"), &[JSON, WANTS_JSON], broken).await;
    }
    same_activity(&both).await;
}

#[tokio::test]
async fn they_answer_forms_alike() {
    let Some(both) = Both::start().await else { return };
    let headers = [FORM, WANTS_HTML];
    for (path, body) in [
        ("/notifications/1/read", "client_ref=a"),
        ("/notifications/1/read/", ""),
        ("/notifications/read-all", "client_ref=b"),
        ("/notifications/reminders", "title=+Rent+%E2%82%AC+&body=&client_ref=c"),
        ("/notifications/preferences", "email_enabled=0&digest=weekly&max_per_day=3&salutation=Zo%C3%AB"),
        ("/notifications/preferences", "quiet_hours[from]=22:00&quiet_hours[to]=07:00"),
        ("/notifications/preferences", "quiet_hours[from]=&quiet_hours[to]="),
        ("/notifications/1/delete", ""),
    ] {
        let seen = both.check(("POST", path), &headers, body).await;
        assert_eq!(seen.status, 302, "{path}");
    }
    let headers = [MULTIPART, WANTS_HTML];
    let body =
        part("title", " By parts ") + &part("body", "a\r\nb") + &part("client_ref", "d") + "--xX--\r\n";
    both.check(("POST", "/notifications/reminders"), &headers, &body).await;
    let body = part("quiet_hours[from]", "21:00") + &part("quiet_hours[to]", "06:30") + "--xX--\r\n";
    both.check(("POST", "/notifications/preferences"), &headers, &body).await;
    both.check(("GET", "/api/notification-preferences"), &[WANTS_JSON], "").await;
    both.check(("GET", "/api/notifications"), &[WANTS_JSON], "").await;
    same_activity(&both).await;
}

/// Compares what both sides say of who did what.
async fn same_activity(both: &Both) {
    let ours = both.world.rows("notification_activity").await;
    let text = |value: &Value| value.as_str().unwrap_or("NULL").to_owned();
    let ours: Vec<String> =
        ours.iter().map(|row| format!("{}\t{}", text(&row["action"]), text(&row["client_ref"]))).collect();
    let sql = "SELECT action, client_ref FROM notification_activity ORDER BY id";
    let theirs = both.database.sql("shop", sql).unwrap();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
}
