//! What auth does to the session table, how it looks up values, and what it says when the database fails.

use crate::world::{World, until};
use banyan_auth::Config;
use banyan_core::protocol::identity::{Identity, IdentityRequest, LookupAnswer, LookupRequest};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock;
use banyan_runtime::secrets::RoleToken;
use banyan_testkit::curl;
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

fn now_s() -> i64 {
    i64::try_from(clock::unix_ms() / 1000).unwrap()
}

async fn last_activity(world: &World, user: &str) -> i64 {
    world.numbers(&format!("SELECT last_activity FROM sessions WHERE user_id = {user}")).await[0]
}

async fn set_last_activity(world: &World, user: &str, to: i64) {
    world.sql(&format!("UPDATE sessions SET last_activity = {to} WHERE user_id = {user}")).await;
}

#[tokio::test]
async fn sliding_expiry_goes_on_without_the_monolith() {
    let Some(world) = World::start().await else { return };
    let (idle, busy) = (world.browser(), world.browser());
    idle.login("user1@example.com").await;
    busy.login("user2@example.com").await;
    let (idle_id, busy_id) =
        (world.user_id("user1@example.com").await, world.user_id("user2@example.com").await);
    let (old, recent) = (now_s() - 7000, now_s() - 5);
    set_last_activity(&world, &idle_id, old).await;
    set_last_activity(&world, &busy_id, recent).await;

    assert!(world.identity(&busy.cookies(), None).await.user.is_some());
    assert!(world.identity(&idle.cookies(), None).await.user.is_some());
    until("the idle session is touched", async || last_activity(&world, &idle_id).await > old).await;
    assert!(now_s() - last_activity(&world, &idle_id).await < 60);
    // Touches are in order, so that one for the busy session would have been seen.
    assert_eq!(last_activity(&world, &busy_id).await, recent, "recent activity costs no write");

    set_last_activity(&world, &idle_id, old).await;
    assert!(world.identity(&idle.cookies(), None).await.user.is_some());
    world.stop_auth().await;
    assert!(last_activity(&world, &idle_id).await > old, "what is queued is finished at shutdown");
}

#[tokio::test]
async fn a_session_that_is_deleted_while_a_request_is_under_way_stays_deleted() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    browser.login("user1@example.com").await;
    world.sql("UPDATE sessions SET last_activity = last_activity - 3600").await;
    let mut logout = world.connect().await;
    logout.query_drop("BEGIN").await.unwrap();
    logout.query_drop("SELECT id FROM sessions FOR UPDATE").await.unwrap();
    // Read before the logout commits; the touch waits behind its lock.
    assert!(world.identity(&browser.cookies(), None).await.user.is_some());
    logout.query_drop("DELETE FROM sessions").await.unwrap();
    logout.query_drop("COMMIT").await.unwrap();
    world.stop_auth().await;
    assert_eq!(world.numbers("SELECT COUNT(*) FROM sessions").await, [0], "a session came back");
}

#[tokio::test]
async fn a_database_that_fails_is_a_fault_and_never_a_guest() {
    let config = Config { database_timeout_ms: 300, database_connections_max: 2, ..Config::default() };
    let Some(mut world) = World::start_with(config).await else { return };
    let browser = world.browser();
    browser.login("user1@example.com").await;
    let request = World::request(&browser.cookies(), None);
    let ask = async |auth: &RoleClient| auth.post::<_, Identity>("/v1/identity", &request).await;
    assert!(ask(&world.auth).await.unwrap().user.is_some());

    let mut other = world.connect().await;
    other.query_drop("LOCK TABLES sessions WRITE").await.unwrap();
    for _ in 0..5 {
        let fault = ask(&world.auth).await.unwrap_err();
        assert!(fault.is_refused("session_store_unavailable"), "{fault}");
    }
    other.query_drop("UNLOCK TABLES").await.unwrap();
    until("the pool has recovered", async || ask(&world.auth).await.is_ok()).await;

    world.stop_database().await;
    let fault = ask(&world.auth).await.unwrap_err();
    assert!(fault.is_refused("session_store_unavailable"), "{fault}");
    assert!(matches!(fault, CallError::Refused { status: 503, .. }), "{fault}");
    // Without a valid cookie there is nothing to ask the database.
    let guest: Identity = world.auth.post("/v1/identity", &World::request("", None)).await.unwrap();
    assert!(guest.user.is_none());
    world.restart_database().await;
    until("the pool has recovered", async || ask(&world.auth).await.is_ok_and(|i| i.user.is_some())).await;
}

#[tokio::test]
async fn a_session_beyond_the_limits_is_a_fault_and_an_unreadable_one_a_guest() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    browser.login("user1@example.com").await;
    let request = World::request(&browser.cookies(), None);
    world.sql("UPDATE sessions SET payload = TO_BASE64(REPEAT('a:1:{i:0;', 1000))").await;
    let fault = world.auth.post::<_, Identity>("/v1/identity", &request).await.unwrap_err();
    assert!(fault.is_refused("session_too_large"), "{fault}");
    for payload in ["''", "'%'", "TO_BASE64('i:1;')", "TO_BASE64('a:1:{')"] {
        world.sql(&format!("UPDATE sessions SET payload = {payload}")).await;
        assert!(world.identity(&browser.cookies(), None).await.user.is_none(), "{payload}");
    }
}

#[tokio::test]
async fn a_lookup_compares_as_the_database_does() {
    let Some(world) = World::start().await else { return };
    let user = world.user_id("user3@example.com").await;
    world.sql("UPDATE users SET deleted_at = NOW() WHERE email = 'user4@example.com'").await;
    let long = "x".repeat(2000);
    let table = [
        ("user3@example.com", true),
        ("USER3@Example.com", true),
        ("user3@example.com  ", true),
        (" user3@example.com", false),
        ("user4@example.com", false),
        ("nobody@example.com", false),
        ("' OR '1'='1", false),
        ("\u{1f600}@example.com", false),
        ("", false),
        (long.as_str(), false),
    ];
    for (value, known) in table {
        let request = LookupRequest { lookup: "users.email".into(), value: value.into() };
        let answer: LookupAnswer = world.auth.post("/v1/lookup", &request).await.unwrap();
        assert_eq!(answer.subject, known.then(|| user.clone()), "{value}");
    }
    let request = LookupRequest { lookup: "users.password".into(), value: "x".into() };
    let fault = world.auth.post::<_, LookupAnswer>("/v1/lookup", &request).await.unwrap_err();
    assert!(fault.is_refused("unknown_lookup"), "{fault}");
}

#[tokio::test]
async fn requests_that_no_role_would_send_are_refused() {
    let Some(world) = World::start().await else { return };
    let post = async |auth: &RoleClient, body: Value| {
        auth.post::<_, Value>("/v1/identity", &body).await.unwrap_err()
    };
    let stranger = RoleClient::new(world.auth.base_url(), RoleToken::new("guess"));
    let valid = json!(IdentityRequest { audience: "notifications".into(), ..IdentityRequest::default() });
    assert!(post(&stranger, valid).await.is_refused("role_token"));
    let keys: Value = stranger.get("/v1/jwks").await.unwrap();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert!(keys["keys"][0].get("d").is_none(), "the private key is private");
    assert!(post(&world.auth, json!({"cookies": 1})).await.is_refused("malformed_request"));
    let elsewhere = json!(IdentityRequest { audience: "elsewhere".into(), ..IdentityRequest::default() });
    assert!(post(&world.auth, elsewhere).await.is_refused("unknown_audience"));
    let long = "x".repeat(300 << 10);
    assert!(
        post(&world.auth, json!({"cookies": long, "audience": "notifications"}))
            .await
            .is_refused("malformed_request")
    );
}

#[tokio::test]
async fn what_happened_is_counted() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    browser.login("user1@example.com").await;
    assert!(world.identity(&browser.cookies(), None).await.user.is_some());
    world.identity("", None).await;
    let metrics = curl(&format!("{}/metrics", world.auth.base_url()), &[]).await.body;
    for wanted in [
        "banyan_auth_identity_requests_total{outcome=\"user\"}",
        "banyan_auth_identity_requests_total{outcome=\"no_cookie\"}",
        "banyan_auth_database_seconds_count{statement=\"session_read\"}",
    ] {
        assert!(metrics.contains(wanted), "{wanted} is not in {metrics}");
    }
}
